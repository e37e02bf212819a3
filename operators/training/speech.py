"""Trains the head on speech: emotions on RAVDESS, on the frozen speech encoder's pooled states and prosody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch.nn import functional

from operators.calibration import calibration_error, fit_temperature, reliability
from operators.datasets.ravdess import LABELS, TRAIN_ACTORS, VALID_ACTORS, SpokenClip, read_ravdess, read_samples
from operators.encoders import prosody
from operators.encoders.speech import SpeechEncoder
from operators.evaluation.metrics import unweighted_average_recall
from operators.interface import EMOTIONS
from operators.model import EmotionReader
from operators.model_description import EmotionHeadDescription, PartDescription, WeightsDescription
from operators.model_folder import ENCODERS, PartModules
from operators.packaged_weights import MOONSHINE_TINY, SILERO
from operators.training.assembly import begin_folder, put_part
from operators.training.feature_cache import cached_features
from operators.training.head_fitting import fit_head
from operators.training.progress import Track, silently
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.timeline.packets import AudioChunk, SpeechActivity
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import ACTIVITY_STEP_NS, NS_PER_SAMPLE

HIDDEN = 128
EPOCHS = 20
FAMILIAR = 0.95
"""Share of the validation clips within the distance that counts as familiar."""
GAINS_DB = ((0.0, 0.0), (-12.0, 6.0), (4.0, 14.0))
"""Ranges of gain at which each clip is heard: a microphone's level says nothing of its speaker."""


def train_speech(
    data: Path,
    output: Path,
    *,
    epochs: int = EPOCHS,
    device: str = "cpu",
    seed: int = 0,
    alone: bool = False,
    track: Track = silently,
) -> dict[str, float]:
    """Puts an audio part into the model folder `output`; the figures on actors who were not trained on.

    `data` is RAVDESS's folder. Raises `DatasetError` where something of it is missing.
    """
    train, valid = read_ravdess(data, TRAIN_ACTORS), read_ravdess(data, VALID_ACTORS)
    begin_folder(output, alone=alone)
    part = PartDescription(
        encoder=ENCODERS["audio"][0],
        weights="speech.safetensors",
        emotion=EmotionHeadDescription(labels=LABELS, hidden=HIDDEN, temperature=1.0, reliability=0.0),
        command=f"affectstream train speech --epochs {epochs} --seed {seed}",
    )
    torch.manual_seed(seed)
    modules = PartModules("audio", part)
    modules.emotion.dropout.p = 0.5
    features = torch.from_numpy(clip_features(data, train, GAINS_DB, track))
    features_valid = torch.from_numpy(clip_features(data, valid, GAINS_DB[:1], track))[0]
    emotions = functional.one_hot(torch.tensor([clip.emotion for clip in train]), len(LABELS)).float()
    fit_head(
        modules.emotion,
        features,
        emotions,
        functional.cross_entropy,
        epochs=epochs,
        mixup=0.4,
        device=device,
        seed=seed,
        track=track,
        title="Emotions",
    )
    truth = torch.tensor([clip.emotion for clip in valid])
    with torch.inference_mode():
        logits = modules.emotion(features_valid)
        familiar = float(modules.emotion.distance(features_valid).quantile(FAMILIAR))
    temperature = fit_temperature(logits, truth)
    emotion = msgspec.structs.replace(part.emotion, temperature=temperature, familiar=familiar)
    published = torch.where(truth == LABELS.index("calm"), EMOTIONS.index("neutral"), truth)
    with torch.inference_mode():
        probabilities = torch.from_numpy(EmotionReader(head=modules.emotion, about=emotion).probabilities(features_valid))
    emotion = msgspec.structs.replace(emotion, reliability=reliability(probabilities, published))
    metrics = {
        "ravdess_valid_unweighted_recall_8": unweighted_average_recall(truth.numpy(), logits.argmax(1).numpy()),
        "ravdess_valid_unweighted_recall_7": unweighted_average_recall(published.numpy(), probabilities.argmax(1).numpy()),
        "ravdess_valid_calibration_error": calibration_error(probabilities, published),
    }
    put_part(
        output,
        "audio",
        msgspec.structs.replace(part, emotion=emotion, metrics={name: round(value, 4) for name, value in metrics.items()}),
        modules,
        licence=WeightsDescription(
            sha256="0" * 64,
            licence="CC BY-NC-SA 4.0",
            use="non-commercial",
            data="RAVDESS speech, actors 1-14 (840 clips)",
        ),
        base=MOONSHINE_TINY,
    )
    return metrics


def clip_features(
    folder: Path, clips: Sequence[SpokenClip], gains_db: Sequence[tuple[float, float]], track: Track
) -> np.ndarray:
    """Features float32 (v, n, 638) of n clips, each at a gain drawn from each of v ranges; from the cache where they are known.

    Made by the operators that run live: what Silero hears as speech, padded, goes through the speech encoder and prosody.
    """
    made_of: tuple[str | bytes, ...] = (
        *MOONSHINE_TINY.digests.values(),
        *SILERO.digests.values(),
        Path(prosody.__file__).read_bytes(),
        repr(gains_db),
        *(f"{clip.path.relative_to(folder)} {clip.path.stat().st_size}" for clip in clips),
    )

    def compute() -> np.ndarray:
        encoder, network = SpeechEncoder(), SileroNetwork()
        random = np.random.default_rng(0)
        rows = []
        for clip in track(clips, "Recordings"):
            speech = spoken_samples(read_samples(clip.path), network)
            heard = [at_gain(speech, random.uniform(low, high)) for low, high in gains_db]
            rows.append([prosody.speech_features(encoder.encode(samples, 0).states, samples) for samples in heard])
        return np.array(rows, np.float32).swapaxes(0, 1)

    return cached_features("speech", made_of, compute)


def spoken_samples(samples: np.ndarray, network: SileroNetwork) -> np.ndarray:
    """The part of int16 (n,) samples from the first to the last step of speech, padded as live; all of them without speech."""
    settings = UtteranceSettings()
    end_ns = len(samples) * NS_PER_SAMPLE
    chunk = AudioChunk(stream="audio", sequence=0, start_ns=0, end_ns=end_ns, samples=samples, first_sample=0)
    steps = [step for step in VoiceActivityOperator(network).process(chunk) if isinstance(step, SpeechActivity)]
    speech_ns = [step.start_ns for step in steps if step.probability >= settings.threshold]
    if not speech_ns:
        return samples
    first_ns, last_ns = speech_ns[0] - settings.pad_ns, speech_ns[-1] + ACTIVITY_STEP_NS + settings.pad_ns
    return samples[max(0, first_ns) // NS_PER_SAMPLE : last_ns // NS_PER_SAMPLE]


def at_gain(samples: np.ndarray, gain_db: float) -> np.ndarray:
    """Int16 samples made louder or softer, limited as a microphone limits."""
    return np.clip(np.round(samples * 10 ** (gain_db / 20)), -32768, 32767).astype(np.int16)
