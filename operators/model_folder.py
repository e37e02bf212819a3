"""Model folders: a description, weights as safetensors and a card, checked and loaded. No pickle, no import path, no hub."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from operators.encoders.adapters import TextAdapters
from operators.encoders.face import FEATURE_DIM, FaceCropEncoder, FaceNetwork
from operators.encoders.text import TEXT_DIM, TextEncoder
from operators.encoders.voice import VoicePooling, voice_dim
from operators.fusion.decision import UNIFORM
from operators.heads import Head
from operators.interface import EMOTIONS
from operators.model import AffectModel, AudioPart, EmotionReader, SentimentReader, TextPart, VideoPart
from operators.model_description import (
    DESCRIPTION_FILE,
    BaseWeights,
    FusionDescription,
    Modality,
    ModelDescription,
    PartDescription,
    read_description,
)
from operators.packaged_weights import ALL, check_digest, verified_folder
from stream.errors import ModelFolderError

DEFAULT_MODEL = Path(__file__).parent / "weights" / "default"
"""The model that ships."""
CARD_FILE = "card.md"
ENCODERS = {
    "text": ("minilm-l6-v2", TEXT_DIM),
    "audio": ("moonshine-tiny-en-layers+prosody", voice_dim(1)),
    "video": ("face-48", FEATURE_DIM),
}
"""The registered encoder of each modality, and how many features its heads read, of audio times the members."""
FUSION_METHODS = ("decision",)
_FOREIGN = "these weights are of another model: take those that its description was written for"


def load_model(folder: Path | None = None, device: str = "cpu") -> AffectModel:
    """The model in a folder (None: the one that ships), ready on `device`, a name that torch knows.

    Every file is checked before anything is loaded. Raises `ModelFolderError`, one line, where the description is wrong,
    a file is missing, foreign, not named or outside, or a tensor is not as the operators need it.
    """
    folder = DEFAULT_MODEL if folder is None else folder
    description = read_description(folder)
    _check_names(folder, description)
    check_files(folder, description)
    for base in description.base_weights:
        _check_base(folder, base)
    text, audio, video = description.text, description.audio, description.video
    return AffectModel(
        name=description.name,
        digest=folder_digest(folder, description),
        licence=description.permitted_use,
        licences={name: f"{weights.use} ({weights.licence})" for name, weights in description.weights.items()},
        device=device,
        text=_text_part(folder, text, description.fusion, device) if text else None,
        audio=_audio_part(folder, audio, description.fusion, device) if audio else None,
        video=_video_part(folder, video, description.fusion, device) if video else None,
        sentiment_from_valence=description.fusion.sentiment_from_valence,
    )


def folder_digest(folder: Path, description: ModelDescription) -> str:
    """SHA-256 over the names and the contents of the folder's files, in order of name."""
    digest = hashlib.sha256()
    for name in sorted({DESCRIPTION_FILE, CARD_FILE, *description.weights}):
        with (folder / name).open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


class PartModules(nn.Module):
    """What is trained of a part, under the names that its file of weights has."""

    sentiment: Head | None
    encoder: FaceNetwork | None
    adapters: TextAdapters | None
    pooling: VoicePooling | None

    def __init__(self, modality: str, part: PartDescription) -> None:
        super().__init__()
        members = part.members or 1
        inputs = ENCODERS[modality][1] * members
        self.emotion = Head(inputs, len(part.emotion.labels), hidden=part.emotion.hidden)
        self.sentiment = Head(inputs, 1, hidden=part.sentiment.hidden) if part.sentiment else None
        self.encoder = FaceNetwork() if modality == "video" else None
        self.adapters = TextAdapters(part.adapters.rank, part.adapters.first_layer) if part.adapters else None
        self.pooling = VoicePooling(members) if modality == "audio" else None


def save_weights(path: Path, modules: nn.Module) -> None:
    """Writes what was trained of a part as safetensors."""
    save_file({name: tensor.cpu().contiguous() for name, tensor in modules.state_dict().items()}, path)


def load_weights(path: Path, modules: nn.Module) -> None:
    """Fills the modules. Raises `ModelFolderError` that names the tensor which is missing, unknown, not finite or misshapen."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelFolderError(f"weights file {path}", found=str(error), expected="safetensors") from error
    expected = modules.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        what = f"tensor {name} of {path}"
        if name not in tensors:
            raise ModelFolderError(what, found="nothing", expected=_shape(expected[name]), fix=_FOREIGN)
        if name not in expected:
            raise ModelFolderError(what, found=_shape(tensors[name]), expected="no such tensor", fix=_FOREIGN)
        if _shape(tensors[name]) != _shape(expected[name]):
            raise ModelFolderError(what, found=_shape(tensors[name]), expected=_shape(expected[name]), fix=_FOREIGN)
        if not bool(torch.isfinite(tensors[name]).all()):
            raise ModelFolderError(what, found="a value that is not finite")
    modules.load_state_dict(tensors)


def check_files(folder: Path, description: ModelDescription) -> None:
    """Each named file is there, inside and as pinned; nothing else is. Raises `ModelFolderError` that names the file."""
    for name in (CARD_FILE, *description.weights):
        path = folder / name
        if Path(name).name != name or path.resolve().parent != folder.resolve():
            raise ModelFolderError(f"file {name} of model folder {folder}", found="a path that leaves the folder")
        if not path.is_file():
            raise ModelFolderError(f"model folder {folder}", found=f"no file {name}", fix="copy the folder again, whole")
        if name != CARD_FILE and path.suffix != ".safetensors":
            fix = "other formats can run code when they are read"
            raise ModelFolderError(f"weights file {path}", found=path.suffix or "no suffix", expected=".safetensors", fix=fix)
    for name, weights in description.weights.items():
        check_digest(folder / name, weights.sha256, fix=f"copy it again: {DESCRIPTION_FILE} pins another file")
    for path in sorted(folder.iterdir()):
        if path.name not in {DESCRIPTION_FILE, CARD_FILE, *description.weights}:
            found = f"{path.name}, which {DESCRIPTION_FILE} does not name"
            raise ModelFolderError(f"model folder {folder}", found=found, fix="remove it")


def _check_names(folder: Path, description: ModelDescription) -> None:
    what = f"model description {folder / DESCRIPTION_FILE}"
    if description.labels != EMOTIONS:
        raise ModelFolderError(f"{what}: labels", found=", ".join(description.labels), expected=", ".join(EMOTIONS))
    if description.fusion.method not in FUSION_METHODS:
        raise ModelFolderError(f"{what}: fusion", found=description.fusion.method, expected=" or ".join(FUSION_METHODS))
    if not description.parts:
        raise ModelFolderError(what, found="no part", expected="one at least of text, audio, video")
    for modality, part in description.parts.items():
        if part.encoder != ENCODERS[modality][0]:
            raise ModelFolderError(f"{what}: encoder of {modality}", found=part.encoder, expected=ENCODERS[modality][0])
        if part.weights not in description.weights:
            raise ModelFolderError(f"{what}: weights of {modality}", found=f"{part.weights}, which is not under weights")
        if part.adapters is not None and modality != "text":
            raise ModelFolderError(f"{what}: adapters of {modality}", found="some", expected="none: they are for text")
        if part.members is not None and modality != "audio":
            raise ModelFolderError(f"{what}: members of {modality}", found="some", expected="none: they are for audio")
        unknown = set(part.emotion.labels) - {*EMOTIONS, "calm"}
        if unknown or not part.emotion.labels:
            found = ", ".join(sorted(unknown)) or "none"
            raise ModelFolderError(f"{what}: labels of {modality}", found=found, expected=", ".join((*EMOTIONS, "calm")))
        repeated = [label for label, count in Counter(part.emotion.labels).items() if count > 1]
        if repeated:
            raise ModelFolderError(f"{what}: labels of {modality}", found=f"{repeated[0]} twice", expected="each once")


def _check_base(folder: Path, base: BaseWeights) -> None:
    """The weights in the package are those that were trained on."""
    known = next((weights for weights in ALL if weights.package == base.package), None)
    what = f"base weights of {folder}"
    if known is None:
        raise ModelFolderError(what, found=f"package {base.package}", expected=", ".join(w.package for w in ALL))
    verified_folder(known)
    for name, digest in base.files.items():
        if known.digests.get(name) != digest:
            fix = f"train it anew on {known.distribution}"
            raise ModelFolderError(f"{what}: {base.package}/{name}", found=known.digests.get(name), expected=digest, fix=fix)


def _loaded(folder: Path, modality: str, part: PartDescription, device: str) -> PartModules:
    modules = PartModules(modality, part)
    load_weights(folder / part.weights, modules)
    return modules.eval().requires_grad_(False).to(device)


def _text_part(folder: Path, part: PartDescription, fusion: FusionDescription, device: str) -> TextPart:
    modules = _loaded(folder, "text", part, device)
    sentiment = None
    if modules.sentiment is not None and part.sentiment is not None:
        sentiment = SentimentReader(head=modules.sentiment, about=part.sentiment)
    emotion = _reader("text", modules, part, fusion)
    return TextPart(encoder=TextEncoder(device, modules.adapters), emotion=emotion, sentiment=sentiment)


def _audio_part(folder: Path, part: PartDescription, fusion: FusionDescription, device: str) -> AudioPart:
    modules = _loaded(folder, "audio", part, device)
    assert modules.pooling is not None  # a part of audio has one
    return AudioPart(pooling=modules.pooling, emotion=_reader("audio", modules, part, fusion))


def _video_part(folder: Path, part: PartDescription, fusion: FusionDescription, device: str) -> VideoPart:
    modules = _loaded(folder, "video", part, device)
    assert modules.encoder is not None  # a part of video has one
    encoder = FaceCropEncoder(modules.encoder, device)
    return VideoPart(encoder=encoder, emotion=_reader("video", modules, part, fusion))


def _reader(modality: Modality, modules: PartModules, part: PartDescription, fusion: FusionDescription) -> EmotionReader:
    frequencies = {str(name): share for name, share in fusion.frequencies.get(modality, {}).items()}
    return EmotionReader(
        head=modules.emotion,
        about=part.emotion,
        trust=fusion.trust.get(modality, 1.0),
        prior=np.array([frequencies.get(name, 0.0) for name in EMOTIONS]) if frequencies else UNIFORM,
    )


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
