"""How fast each operator is alone: milliseconds a call and items a second, by batch size."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch

from deploy.demo_clip import packaged_speech
from operators.datasets.ravdess import read_samples
from operators.encoders.prosody import prosody
from operators.encoders.speech import SpeechEncoder
from operators.encoders.text import TextEncoder
from operators.evaluation.as_segments import face_segment, speech_segment, text_segment
from operators.faces.detection import CenterFaceDetector
from operators.interface import SegmentInput, SpeechResult
from operators.model import AffectModel
from operators.model_folder import load_model
from operators.transcription.moonshine import MoonshineTranscriber
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.timeline.packets import AudioChunk
from stream.timeline.time import NS_PER_SAMPLE, SAMPLE_RATE

SPEECH_SAMPLES = 5 * SAMPLE_RATE
"""Of the utterance that is timed: 5 s."""
BATCHES = (1, 4, 16)
FACE_BATCHES = (1, 2, 4, 8)
MEASURE_S = 1.0
"""For which each measure goes on, within the limits of calls."""
FEWEST_CALLS, MOST_CALLS = 5, 200
WARM_UP_CALLS = 2
PICTURE = (192, 320, 3)
"""Of a 16:9 video, as it is looked for faces in."""
ITEMS = {
    "face_detection": "pictures of 320 x 192",
    "face_encoder": "crops",
    "voice_activity": "seconds of sound",
    "speech_encoder": "utterances of 5 s",
    "prosody": "utterances of 5 s",
    "voice_head": "utterances of 5 s, their states given: prosody, attention, head",
    "speech_to_emotions": "utterances of 5 s: encoder, features, head",
    "transcription": "utterances of 5 s, their states given",
    "text_encoder": "sentences of 16 words",
    "affect": "segments with text, voice and face, features of face and voice given",
}
"""What is counted of each operator."""
_SENTENCE = "this film was so much better than I had ever dared to hope before seeing it"

Call = Callable[[], object]


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """The medians of the calls, in milliseconds of wall clock and of CPU, and how many items a second of wall clock that is."""

    milliseconds: float
    cpu_milliseconds: float
    """Which other programs lengthen less."""
    items_per_second: float


def measure_operators(
    model: Path | None = None, device: str = "cpu", *, seconds: float = MEASURE_S
) -> dict[str, dict[str, Speed]]:
    """The speed of each operator by batch size, each timed for about so many seconds, on one thread.

    What runs on onnxruntime or OpenCV computes on the CPU whatever the device. Raises `ModelFolderError`.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    speeds: dict[str, dict[str, Speed]] = {}
    for name, batch, call in _calls(model, device):
        speeds.setdefault(name, {})[str(batch)] = speed_of(call, batch, seconds=seconds, device=device)
    return speeds


def speed_of(call: Call, items: int, *, seconds: float, device: str = "cpu") -> Speed:
    """The median time of calls that compute `items` items each, after some that don't count."""
    for _ in range(WARM_UP_CALLS):
        call()
    took: list[float] = []
    cpu: list[float] = []
    while len(took) < FEWEST_CALLS or (sum(took) < seconds and len(took) < MOST_CALLS):
        _wait_for(device)
        begun, begun_cpu = time.perf_counter(), time.process_time()
        call()
        _wait_for(device)
        took.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    median = statistics.median(took)
    return Speed(
        milliseconds=median * 1e3,
        cpu_milliseconds=statistics.median(cpu) * 1e3,
        items_per_second=items / max(median, 1e-9),
    )


def _wait_for(device: str) -> None:
    """A GPU computes on while Python goes on."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _calls(folder: Path | None, device: str) -> Iterator[tuple[str, int, Call]]:
    """Each operator's name, a batch size, and a call that computes so many items."""
    model = load_model(folder, device=device)
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, PICTURE, dtype=np.uint8)
    yield "face_detection", 1, partial(CenterFaceDetector(), picture)
    crops = random.integers(0, 256, (FACE_BATCHES[-1], 48, 48), dtype=np.uint8)
    for batch in FACE_BATCHES:
        yield "face_encoder", batch, partial(model.face_encoder.infer, crops[:batch])

    samples, network = read_samples(packaged_speech()[-1])[:SPEECH_SAMPLES], SileroNetwork()
    yield "voice_activity", 1, partial(_hear_a_second, network, samples)
    encoder = SpeechEncoder()
    states = encoder.encode(samples, 0)
    spoken, _ = speech_segment(samples, network)
    spoken = msgspec.structs.replace(spoken, speech_ns=(0, spoken.end_ns))
    heard = SpeechResult(states=states, transcript=None)

    def voice() -> object:
        return model.infer([(spoken, SpeechResult(states=encoder.encode(samples, 0), transcript=None))])

    yield "speech_encoder", 1, partial(encoder.encode, samples, 0)
    yield "prosody", 1, partial(prosody, samples)
    yield "voice_head", 1, partial(model.infer, [(spoken, heard)])
    yield "speech_to_emotions", 1, voice
    yield "transcription", 1, partial(MoonshineTranscriber(encoder).transcribe, samples, 0, states)

    sentences = _sentences()
    shown = face_segment(crops[0], model.face_encoder.infer(crops[:1])[0])
    for batch in BATCHES:
        if model._text is not None:
            yield "text_encoder", batch, partial(_embed, model._text.encoder, sentences, batch)
    for batch in BATCHES:
        yield "affect", batch, partial(_judge, model, [(spoken, shown, heard)] * batch, sentences)


def _embed(encoder: TextEncoder, sentences: Iterator[str], batch: int) -> object:
    return encoder.encode(list(itertools.islice(sentences, batch)))


def _judge(
    model: AffectModel, rows: Sequence[tuple[SegmentInput, SegmentInput, SpeechResult]], sentences: Iterator[str]
) -> object:
    return model.infer([(_whole(spoken, shown, next(sentences)), heard) for spoken, shown, heard in rows])


def _hear_a_second(network: SileroNetwork, samples: np.ndarray) -> object:
    end_ns = SAMPLE_RATE * NS_PER_SAMPLE
    second = samples[:SAMPLE_RATE]
    chunk = AudioChunk(stream="audio", sequence=0, start_ns=0, end_ns=end_ns, samples=second, first_sample=0)
    return list(VoiceActivityOperator(network).process(chunk))


def _sentences() -> Iterator[str]:
    """Sentences of equal length that never repeat, since the encoder remembers its newest."""
    for order in itertools.permutations(_SENTENCE.split()):
        yield " ".join(order)


def _whole(spoken: SegmentInput, shown: SegmentInput, sentence: str) -> SegmentInput:
    """A segment with all three modalities."""
    return msgspec.structs.replace(
        spoken,
        text_state="present",
        words=text_segment(sentence).words,
        video_state="present",
        video_coverage=1.0,
        faces=shown.faces,
    )
