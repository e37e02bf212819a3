"""The yardstick computes what the operators compute: else the ratio compares two different things."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import skimage
import torch
from torch import nn

from deploy.bench import bare, bare_faces, bare_mouths, bare_operators
from operators.encoders.face import FaceCropEncoder, FaceNetwork
from operators.encoders.prosody import PROSODY_DIM, prosody
from operators.encoders.speech import LAYERS_DIM, SpeechEncoder
from operators.encoders.text import TextEncoder
from operators.encoders.voice import VoicePooling
from operators.faces.detection import CenterFaceDetector
from operators.faces.operator import FaceOperator
from operators.faces.speaker import certainties
from operators.faces.speaker_folder import load_speaker_weights
from operators.heads import Head
from operators.model_folder import ENCODERS, save_weights
from operators.transcription.moonshine import MoonshineTranscriber
from operators.transcription.tokens import read_tokens, words_of
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.sources.picture import DecodedPicture, PictureConverter
from stream.timeline.packets import AudioChunk, Faces, Mouths, SpeechActivity, VideoFrame

TEXTS = ["a short one", "this one is a good deal longer than the other two, and so makes the batch's width", "no"]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Eight seconds of somebody speaking, int16 at 16 kHz."""
    with wave.open(str(bare_operators.package_folder("moonshine_voice") / "assets" / "beckett.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(8 * 16_000), np.int16)


@pytest.fixture(scope="module")
def face_frame() -> av.VideoFrame:
    """A picture with one face in it."""
    picture = skimage.data.astronaut()[:384, :512]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuv420p")


def test_voice_activity_is_the_operators(speech: np.ndarray) -> None:
    chunk = AudioChunk(stream="audio", sequence=0, start_ns=0, end_ns=8_000_000_000, samples=speech, first_sample=0)
    given = VoiceActivityOperator(SileroNetwork()).process(chunk)
    expected = [step.probability for step in given if isinstance(step, SpeechActivity)]
    np.testing.assert_allclose(bare_operators.Silero()(speech), expected, atol=1e-6)


def test_transcript_is_the_operators(speech: np.ndarray) -> None:
    expected = MoonshineTranscriber(SpeechEncoder()).transcribe(speech, 0)
    moonshine = bare_operators.Moonshine()
    states, layers = moonshine.encode(speech)
    np.testing.assert_allclose(layers, SpeechEncoder().encode(speech, 0).layers, rtol=1e-5, atol=1e-5)
    ids, log_probabilities = moonshine.decode(states, len(speech))
    table = read_tokens(bare_operators.package_folder("moonshine_voice") / "assets" / "tiny-en" / "tokenizer.bin")
    words = words_of(table, ids, log_probabilities[: len(ids)])
    assert expected.words
    assert [word.text for word in words] == [word.text for word in expected.words]
    assert np.mean(log_probabilities) == pytest.approx(expected.log_probability, abs=1e-6)


def test_faces_are_the_operators(face_frame: av.VideoFrame) -> None:
    operator = FaceOperator(CenterFaceDetector(), lambda crops: np.zeros((len(crops), 1), np.float32))
    image = DecodedPicture(face_frame, PictureConverter())
    packet = VideoFrame(stream="video", sequence=0, start_ns=0, end_ns=0, image=image)
    (expected,) = (given for given in operator.process(packet) if isinstance(given, Faces))
    finder = bare_faces.FaceFinder()
    picture, landmarks = finder.detect(face_frame)
    crops = finder.crops(face_frame, picture, landmarks)
    assert len(expected.faces) >= 1
    np.testing.assert_allclose(landmarks, [face.landmarks for face in expected.faces], atol=1e-6)
    np.testing.assert_array_equal(crops, [face.crop for face in expected.faces])


def test_mouths_and_who_speaks_are_the_operators(speech: np.ndarray) -> None:
    """Two copies of a face, one of which moves its lips with the sound, followed from pick to pick."""
    operator = FaceOperator(CenterFaceDetector(), lambda crops: np.zeros((len(crops), 1), np.float32))
    finder, cutter, converter = bare_faces.FaceFinder(), bare_mouths.MouthCutter(), PictureConverter()
    heard = speech[: 2 * 16_000]
    mouths: dict[int, list[Mouths]] = {}
    for number in range(50):
        at_ns = number * 40_000_000
        frame = _two_faces(number, loudness=float(np.abs(heard[number * 640 : (number + 1) * 640].astype(float)).mean()))
        packet = VideoFrame(
            stream="video", sequence=number, start_ns=at_ns, end_ns=at_ns, image=DecodedPicture(frame, converter)
        )
        found = [given for given in operator.process(packet) if isinstance(given, Faces)]
        for face in (face for faces in found for face in faces.faces if face.mouths is not None):
            mouths.setdefault(face.track, []).append(face.mouths)
        if found:
            _, landmarks = finder.detect(frame)
            cutter.pick(frame, at_ns, finder.boxes, landmarks)
        else:
            cutter.see(frame, at_ns)
    assert cutter.mouths.keys() == mouths.keys() == {0, 1}
    for track, parts in mouths.items():
        assert [each.at_ns for each in cutter.mouths[track]] == np.concatenate([part.times_ns for part in parts]).tolist()
        # Grey levels: rounded otherwise, the same to one of them.
        crops = np.stack([each.crop for each in cutter.mouths[track]])
        np.testing.assert_allclose(crops.astype(int), np.concatenate([part.crops for part in parts]), atol=1)
    expected = certainties(mouths, heard, 0, load_speaker_weights())
    fits = bare_mouths.SpeakerFit()(list(cutter.mouths.values()), heard, 0)
    np.testing.assert_allclose(fits, list(expected.values()), atol=0.02)
    assert fits[0] > fits[1]


def _two_faces(number: int, loudness: float) -> av.VideoFrame:
    """Two copies of a face that wander; over the mouth of the left one a dark bar, as high as the sound is loud."""
    face = np.ascontiguousarray(skimage.data.astronaut()[20:220, 140:320])
    picture = np.full((288, 560, 3), 110, np.uint8)
    for place, (left, top) in enumerate(((40 + number // 5, 40), (320, 40 + number // 7))):
        copy = face.copy()
        if place == 0:
            copy[110 : 112 + int(min(20, loudness / 150)), 70:110] = 40
        picture[top : top + 200, left : left + 180] = copy
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")


def test_features_are_the_encoders(speech: np.ndarray) -> None:
    network = FaceNetwork()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.weight, 0.5, 2.0)
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    expected = FaceCropEncoder(network).infer(crops)
    with torch.inference_mode():
        np.testing.assert_allclose(bare_faces.FaceNetwork(network.state_dict())(torch.from_numpy(crops)), expected, atol=1e-5)
        np.testing.assert_allclose(bare_operators.Prosody()(speech), prosody(speech), atol=1e-5)
        np.testing.assert_allclose(bare_operators.MiniLM()(TEXTS), TextEncoder().encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("hidden", [0, 7])
def test_heads_are_the_models(hidden: int) -> None:
    head = Head(5, 3, hidden=hidden).eval()
    features = torch.randn(4, 5)
    head.standardise(torch.randn(9, 5))
    torch.testing.assert_close(bare_operators.head(head.state_dict(), features), head(features))


@pytest.mark.parametrize("members", [1, 3])
def test_attention_over_a_voice_is_the_models(members: int) -> None:
    torch.manual_seed(0)
    pooling = VoicePooling(members).eval()
    for tensor in (pooling.mean, pooling.components, pooling.prosody_mean, pooling.attention.data):
        nn.init.normal_(tensor, std=0.3)
    layers, spoken = torch.randn(9, LAYERS_DIM), torch.randn(PROSODY_DIM)
    with torch.inference_mode():
        found = bare_operators.voice(pooling.state_dict(), layers, spoken)
        torch.testing.assert_close(found[0], pooling(layers, spoken), rtol=1e-4, atol=1e-4)


def test_run_times_every_operator(face_frame: av.VideoFrame, speech: np.ndarray, tmp_path: Path) -> None:
    media = tmp_path / "speaking.mkv"
    _write(media, face_frame, speech[: 2 * 16_000])
    plan = [
        bare.PlannedSegment(start_ns=0, end_ns=10**9, speech_ns=(0, 10**9), transcribe=False, text=""),
        bare.PlannedSegment(start_ns=0, end_ns=2 * 10**9, speech_ns=(0, 2 * 10**9), transcribe=True, text=TEXTS[0]),
    ]
    for modality, (_, width) in ENCODERS.items():
        modules: dict[str, nn.Module] = {"emotion": Head(width, 7)}
        further: dict[str, dict[str, nn.Module]] = {
            "video": {"encoder": FaceNetwork()},
            "text": {"sentiment": Head(width, 1)},
            "audio": {"pooling": VoicePooling()},
        }
        modules |= further[modality]
        save_weights(tmp_path / f"{modality}.safetensors", nn.ModuleDict(modules))
    times = bare.run(str(media), plan, str(tmp_path))
    assert set(times.operators_s) == {
        "decoding",
        "face detection",
        "face crops",
        "mouths",
        "face network",
        "face head",
        "voice activity",
        "speech encoder",
        "transcription",
        "voice head",
        "text encoder",
        "text heads",
    }
    assert all(seconds > 0 for seconds in times.operators_s.values())
    assert sum(times.operators_s.values()) <= times.total_s


def _write(path: Path, picture: av.VideoFrame, samples: np.ndarray) -> None:
    """A still picture at 10 frames a second, with sound."""
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = picture.width, picture.height, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for index, part in enumerate(samples.reshape(-1, 1_600)):
            picture.pts, picture.time_base = index, Fraction(1, 10)
            sound = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 16_000, index * 1_600, Fraction(1, 16_000)
            container.mux(video.encode(picture))
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
