"""Features that an encoder gave once, kept in the user's cache until anything changes of which they are made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file


def training_cache() -> Path:
    """Where trainings keep what can be made again."""
    return user_cache_path("affectstream") / "training"


def key_of(*parts: str | bytes) -> str:
    """A name for what was made of these."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return digest.hexdigest()[:16]


def cached_arrays(
    name: str, made_of: Iterable[str | bytes], compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays that `compute` gives, from the cache where they were computed of the same parts before."""
    path = training_cache() / f"{name}-{key_of(*made_of)}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        arrays = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, unfinished)
    unfinished.replace(path)
    return arrays
