from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from operators.encoders.speech import SpeechEncoder
from operators.transcription.moonshine import MoonshineTranscriber
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.timeline.packets import AudioChunk, SpeechActivity
from stream.timeline.time import ACTIVITY_STEP_SAMPLES, NS_PER_SAMPLE

PAD = 3_200
HANG_OVER_STEPS = 22


def package_folder(name: str) -> Path:
    """Where an installed package lies; the package is not imported."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="session")
def load_audio() -> Callable[[Path], np.ndarray]:
    """int16 (n,) samples at 16 kHz of a file's first audio track."""

    def load(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("s16", "mono", 16_000)
            parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            parts += resampler.resample(None)
        return np.concatenate([part.to_ndarray()[0] for part in parts])

    return load


@pytest.fixture(scope="session")
def silero() -> SileroNetwork:
    return SileroNetwork()


@pytest.fixture(scope="session")
def speech_encoder() -> SpeechEncoder:
    return SpeechEncoder()


@pytest.fixture(scope="session")
def moonshine(speech_encoder: SpeechEncoder) -> MoonshineTranscriber:
    return MoonshineTranscriber(speech_encoder)


@pytest.fixture(scope="session")
def beckett(load_audio: Callable[[Path], np.ndarray]) -> np.ndarray:
    """Ten seconds of one voice with pauses."""
    return load_audio(package_folder("moonshine_voice") / "assets" / "beckett.wav")


@pytest.fixture(scope="session")
def activity_of(silero: SileroNetwork) -> Callable[[np.ndarray], list[SpeechActivity]]:
    """All steps of int16 (n,) samples that start at zero."""

    def steps(samples: np.ndarray) -> list[SpeechActivity]:
        operator = VoiceActivityOperator(silero)
        end_ns = len(samples) * NS_PER_SAMPLE
        chunk = AudioChunk(stream="audio", sequence=0, start_ns=0, end_ns=end_ns, samples=samples, first_sample=0)
        given = [*operator.process(chunk), *operator.finish(end_ns)]
        return [packet for packet in given if isinstance(packet, SpeechActivity)]

    return steps


@pytest.fixture(scope="session")
def utterances(activity_of: Callable[[np.ndarray], list[SpeechActivity]]) -> Callable[[np.ndarray], list[tuple[int, int]]]:
    """First and last sample of each stretch of speech, padded by 0.2 s, shorter ones than 0.25 s left out."""

    def stretches(samples: np.ndarray) -> list[tuple[int, int]]:
        speech = np.flatnonzero([step.probability >= 0.5 for step in activity_of(samples)])
        groups = np.split(speech, np.flatnonzero(np.diff(speech) > HANG_OVER_STEPS) + 1)
        return [
            (
                max(0, int(group[0]) * ACTIVITY_STEP_SAMPLES - PAD),
                min(len(samples), (int(group[-1]) + 1) * ACTIVITY_STEP_SAMPLES + PAD),
            )
            for group in groups
            if len(group) * ACTIVITY_STEP_SAMPLES >= 4_000
        ]

    return stretches


def _sounds_without_speech() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    t = np.arange(3 * 16_000) / 16_000
    return {
        "silence": np.zeros(len(t), np.int16),
        "faint noise": rng.normal(0, 20, len(t)).astype(np.int16),
        "white noise": rng.normal(0, 4_000, len(t)).astype(np.int16),
        "bursts": (rng.normal(0, 6_000, len(t)) * (np.sin(2 * np.pi * 3 * t) > 0)).astype(np.int16),
        "low tone": (9_000 * np.sin(2 * np.pi * 150 * t)).astype(np.int16),
        "high tone": (9_000 * np.sin(2 * np.pi * 1_000 * t)).astype(np.int16),
        "chord": sum(3_000 * np.sin(2 * np.pi * f * t) for f in (220, 277, 330)).astype(np.int16),  # type: ignore[union-attr]
        "full scale square": (32_767 * np.sign(np.sin(2 * np.pi * 60 * t))).astype(np.int16),
    }


@pytest.fixture(scope="session", params=_sounds_without_speech().items(), ids=lambda item: item[0])
def without_speech(request: pytest.FixtureRequest) -> np.ndarray:
    """int16 (48000,) samples in which nobody speaks."""
    return request.param[1]
