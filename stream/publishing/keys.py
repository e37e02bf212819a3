"""CURVE keys: a pair for each program, and the folder of those that may subscribe."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import zmq

from stream.errors import InputError

Read = Literal["full", "redacted"]
SECRET_SUFFIX, PUBLIC_SUFFIX = ".key", ".pub"
LARGEST_KEY_FILE = 4_096
MOST_KEYS = 10_000
_KEY_LENGTH = 40
"""Characters of a key in Z85."""


class PublicKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What others may know: the key in Z85, and what it may read, full predictions or those without words."""

    name: str
    public: str
    read: Read = "full"


class SecretKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pair, in Z85. Its file is for its owner's eyes alone."""

    name: str
    public: str
    secret: str

    def __repr__(self) -> str:
        return f"SecretKey({self.name})"


_log = logging.getLogger(__name__)

Key = TypeVar("Key", SecretKey, PublicKey)


def new_key(name: str, folder: Path, read: Read = "full") -> tuple[Path, Path]:
    """Makes NAME.key (secret, readable by its owner alone) and NAME.pub. Raises `InputError`, also where one is there."""
    if not (0 < len(name) <= 64 and name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        raise InputError("key name", found=repr(name), expected="1 to 64 letters, digits, - and _")
    public, secret = (part.decode() for part in zmq.curve_keypair())
    paths = folder / f"{name}{SECRET_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    contents = SecretKey(name=name, public=public, secret=secret), PublicKey(name=name, public=public, read=read)
    for path in paths:
        if path.exists():
            raise InputError(f"key {path}", found="a file that is there", fix="choose another name, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content, mode in zip(paths, contents, (0o600, 0o644), strict=True):
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    except OSError as error:
        raise InputError(f"key {name}", found=error.strerror, expected=f"{folder} to be a folder to write in") from error
    return paths


def secret_key(path: Path) -> SecretKey:
    """Reads NAME.key. Raises `InputError`, also where others can read it."""
    key = _read(path, SecretKey)
    if path.stat().st_mode & 0o077:
        raise InputError(f"key {path}", found="others may read it", expected="its owner alone", fix=f"chmod 600 {path}")
    return key


def public_key(path: Path) -> PublicKey:
    """Reads NAME.pub. Raises `InputError`."""
    return _read(path, PublicKey)


class Authorised:
    """The keys in a folder, read again when it changes; `refused` says which files are no keys, and why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: dict[str, str] = {}
        self._keys: dict[str, PublicKey] = {}
        self._seen: object = None
        if not folder.is_dir():
            raise InputError(f"authorised keys {folder}", found="no such folder", expected="a folder of *.pub files")
        self.reload()

    def reload(self) -> bool:
        """Reads the folder where it has changed; whether it had. A folder that has gone authorises nobody."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        self._keys, self.refused = {}, {}
        for path in sorted(self.folder.glob(f"*{PUBLIC_SUFFIX}"))[:MOST_KEYS]:
            try:
                key = public_key(path)
            except InputError as error:
                self.refused[path.name] = str(error)
                _log.warning("%s; it lets nobody in", error)
            else:
                self._keys[key.public] = key
        return True

    def read_of(self, public: str) -> Read | None:
        """What a key may read, None for one that is not authorised."""
        key = self._keys.get(public)
        return None if key is None else key.read

    def _stamp(self) -> object:
        try:
            with os.scandir(self.folder) as entries:
                return sorted(
                    (e.name, e.stat().st_mtime_ns, e.stat().st_size, e.inode())
                    for e in entries
                    if e.name.endswith(PUBLIC_SUFFIX)
                )
        except OSError:
            return None


def _read(path: Path, kind: type[Key]) -> Key:
    try:
        with path.open("rb") as file:
            key = msgspec.json.decode(file.read(LARGEST_KEY_FILE + 1), type=kind)
    except OSError as error:
        raise InputError(f"key {path}", found=error.strerror, expected="a file that `affectstream keys new` made") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(f"key {path}", found=str(error), expected="a file that `affectstream keys new` made") from error
    for part in (key.public, key.secret) if isinstance(key, SecretKey) else (key.public,):
        if len(part) != _KEY_LENGTH or not part.isascii():
            raise InputError(f"key {path}", found=f"{len(part)} characters", expected=f"{_KEY_LENGTH} in Z85")
    return key
