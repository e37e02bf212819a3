"""What the speech head learns from: recordings through the operators that run live, as they are, changed and degraded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from operators.datasets.ravdess import SpokenClip, read_samples
from operators.encoders import prosody, speech
from operators.encoders.speech import SpeechEncoder
from operators.evaluation import voice_robustness
from operators.evaluation.voice_robustness import DEGRADATIONS, band_limited, coloured_noise, degraded, in_noise
from operators.packaged_weights import MOONSHINE_TINY, SILERO
from operators.training.feature_cache import cached_arrays
from operators.training.progress import Track
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.errors import DatasetError
from stream.timeline.packets import AudioChunk, SpeechActivity
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import ACTIVITY_STEP_NS, NS_PER_SAMPLE

PLAIN: Final = "plain"
CHANGED: Final = ("changed_1", "changed_2")
"""Copies to train on, each clip changed by chance: faster or slower (and higher or lower with it: another speaker), in noise,
over a telephone, louder or softer."""
VARIANTS: Final = (PLAIN, *CHANGED, *DEGRADATIONS)


class VoiceFeatures(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Features of n recordings: `layers` float32 (sum of counts, 1152), `counts` int64 (n,), `prosody` float32 (n, 62)."""

    layers: np.ndarray
    counts: np.ndarray
    prosody: np.ndarray


def clip_features(folder: Path, clips: Sequence[SpokenClip], variant: str, track: Track) -> VoiceFeatures:
    """Features of the clips in one of `VARIANTS`; from the cache where they are known.

    Made by the operators that run live: what Silero hears as speech, padded, goes through the speech encoder and prosody.
    Of a changed copy it is what Silero hears in the recording as it is.
    """
    made_of: tuple[str | bytes, ...] = (
        variant,
        *MOONSHINE_TINY.digests.values(),
        *SILERO.digests.values(),
        *(Path(str(module.__file__)).read_bytes() for module in (prosody, speech, voice_robustness)),
        Path(__file__).read_bytes(),
        *(f"{clip.path.relative_to(folder)} {clip.path.stat().st_size}" for clip in clips),
    )

    def compute() -> dict[str, np.ndarray]:
        encoder, network = SpeechEncoder(), SileroNetwork()
        heard = []
        for number, clip in enumerate(track(clips, f"Recordings, {variant}")):
            samples = variant_of(read_samples(clip.path), variant, number, network)
            if not len(samples):
                raise DatasetError(f"recording {clip.path}", found="no sample", expected="sound")
            heard.append((encoder.encode(samples, 0).layers, prosody.prosody(samples)))
        return {
            "layers": np.concatenate([layers for layers, _ in heard]),
            "counts": np.array([len(layers) for layers, _ in heard], np.int64),
            "prosody": np.stack([spoken for _, spoken in heard]),
        }

    return VoiceFeatures(**cached_arrays("speech", made_of, compute))


def variant_of(samples: np.ndarray, variant: str, number: int, network: SileroNetwork) -> np.ndarray:
    """What is heard as speech of the `number`-th recording int16 (n,) in a variant; the same each time."""
    if variant in CHANGED:
        return changed(spoken_samples(samples, network), np.random.default_rng((1 + CHANGED.index(variant), number)))
    if variant in DEGRADATIONS:
        samples = degraded(samples, DEGRADATIONS[variant])
    return spoken_samples(samples, network)


def changed(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Speech int16 (n,) as another speaker, room and microphone might give it."""
    steps: list[tuple[float, Callable[[np.ndarray], np.ndarray]]] = [
        (0.6, lambda sound: at_speed(sound, random.uniform(0.85, 1.18))),
        (0.7, lambda sound: in_noise(sound, random.uniform(-3, 25), coloured_noise(len(sound), random.uniform(0, 2), random))),
        (0.3, lambda sound: band_limited(sound, random.choice([0.0, 200.0, 300.0]), random.uniform(3400, 4000))),
        (1.0, lambda sound: at_gain(sound, random.uniform(-12, 10))),
    ]
    for share, step in steps:
        if random.random() < share and len(samples):
            samples = step(samples)
    return samples


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


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Int16 samples played faster, and so higher, by linear interpolation."""
    places = np.arange(int(len(samples) / speed)) * speed
    return np.round(np.interp(places, np.arange(len(samples)), samples)).astype(np.int16)
