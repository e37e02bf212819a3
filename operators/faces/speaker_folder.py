"""The folder of the active speaker's weights: a description with their digest, licence and figures, safetensors, a card."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file

from operators.faces.speaker import MOUTH_DIM, SOUND_DIM, SpeakerWeights
from operators.model_description import WeightsDescription
from operators.packaged_weights import check_digest
from stream.errors import ModelFolderError

DEFAULT_SPEAKER: Final = Path(__file__).parent.parent / "weights" / "speaker"
"""The weights that ship beside the models: they all use them."""
WEIGHTS_FILE: Final = "speaker.safetensors"
DESCRIPTION_FILE: Final = "speaker.yaml"


class SpeakerDescription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a folder of speaker weights holds: the digest, licence and permitted use of its file; figures; what made it."""

    format: Literal[1]
    weights: WeightsDescription
    metrics: dict[str, dict[str, float]] = {}
    command: str = ""

    @property
    def licence(self) -> str:
        """The permitted use and the licence, in a line."""
        return f"{self.weights.use} ({self.weights.licence})"


def read_speaker_description(folder: Path) -> SpeakerDescription:
    """The description in a folder. Raises `ModelFolderError` that names what is missing, unknown or of a wrong type."""
    path = folder / DESCRIPTION_FILE
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), SpeakerDescription)
    except OSError as error:
        raise ModelFolderError(
            f"speaker's description {path}", found=error.strerror, fix="install affectstream anew"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ModelFolderError(f"speaker's description {path}", found=str(error)) from error


def write_speaker_description(folder: Path, description: SpeakerDescription) -> None:
    """Writes `speaker.yaml`."""
    text = yaml.safe_dump(msgspec.to_builtins(description), sort_keys=False, width=120)
    (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")


@cache
def load_speaker_weights(folder: Path = DEFAULT_SPEAKER) -> SpeakerWeights:
    """The weights of a folder, checked. Raises `ModelFolderError` that names the file or the tensor."""
    description = read_speaker_description(folder)
    check_digest(folder / WEIGHTS_FILE, description.weights.sha256, fix="install affectstream anew")
    return msgspec.structs.replace(read_speaker_weights(folder / WEIGHTS_FILE), licence=description.licence)


def read_speaker_weights(path: Path) -> SpeakerWeights:
    """Weights out of a file. Raises `ModelFolderError` that names the file or the tensor."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelFolderError(f"weights file {path}", found=str(error), expected="safetensors") from error
    count = tensors["mouth"].shape[-1] if "mouth" in tensors else 0
    for name, shape in {"mouth": (MOUTH_DIM, count), "sound": (SOUND_DIM, count), "certainty": (2,)}.items():
        found = tensors[name].shape if name in tensors else "nothing"
        if found != shape:
            raise ModelFolderError(f"tensor {name} of {path}", found=str(found), expected=str(shape))
    gain, level = map(float, tensors["certainty"])
    return SpeakerWeights(mouth=tensors["mouth"], sound=tensors["sound"], gain=gain, level=level)
