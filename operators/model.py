"""A model: encoders, heads and fusion of one model folder; a pure function of segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import torch
from torch import Tensor

from operators.circumplex import place_of
from operators.encoders.prosody import prosody
from operators.encoders.speech import block_count
from operators.encoders.text import TextEncoder
from operators.encoders.voice import VoicePooling
from operators.faces.speaker_folder import load_speaker_weights
from operators.faces.subject import subject_of
from operators.fusion.decision import UNIFORM, Opinion, fuse_opinions
from operators.heads import Head
from operators.interface import EMOTIONS, AffectResult, FaceEncoder, SegmentInput, SpeechResult
from operators.model_description import EmotionHeadDescription, SentimentHeadDescription, ValenceMap
from stream.prediction import SentimentEstimate, Subject
from stream.timeline.time import NS_PER_SAMPLE

Batch = Sequence[tuple[SegmentInput, SpeechResult]]


class EmotionReader(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A head for emotions with its calibration; `trust` and `prior` (7,) as in `Opinion`."""

    head: Head
    about: EmotionHeadDescription
    trust: float = 1.0
    prior: np.ndarray = UNIFORM

    def probabilities(self, features: Tensor) -> np.ndarray:
        """Calibrated probabilities float32 (n, 7) in the order of `EMOTIONS`; a head's calm counts as neutral."""
        temperature = torch.full((len(features), 1), self.about.temperature, device=features.device)
        if self.about.familiar is not None:
            # Another microphone, another way of speaking: the calibration does not hold there, so it is less sure.
            beyond = self.head.distance(features) / self.about.familiar
            temperature = temperature * beyond.clamp(min=1.0).square()[:, None]
        probabilities = (_outputs(self.head, features) / temperature).softmax(1).cpu().numpy()
        published = np.zeros((len(features), len(EMOTIONS)), np.float32)
        for column, label in enumerate(self.about.labels):
            published[:, EMOTIONS.index("neutral" if label == "calm" else label)] += probabilities[:, column]
        return published

    def read(
        self, features: Tensor, rows: Sequence[tuple[int, float]], modality: str, opinions: list[dict[str, Opinion]]
    ) -> None:
        """Adds to `opinions` of the batch what features (n, d) say, which are of `rows` (n) of it: (row, coverage)."""
        for (row, coverage), emotions in zip(rows, self.probabilities(features), strict=True):
            opinions[row][modality] = Opinion(
                emotions=emotions,
                reliability=self.about.reliability,
                coverage=coverage,
                trust=self.trust,
                prior=self.prior,
            )


class SentimentReader(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A head for sentiment with its calibration."""

    head: Head
    about: SentimentHeadDescription

    def values(self, features: Tensor) -> np.ndarray:
        """Sentiment float32 (n,), not yet limited to [-3, 3]."""
        values: np.ndarray = _outputs(self.head, features)[:, 0].cpu().numpy()
        return values


class TextPart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is said."""

    encoder: TextEncoder
    emotion: EmotionReader
    sentiment: SentimentReader | None


class AudioPart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How it is said."""

    pooling: VoicePooling
    emotion: EmotionReader


class VideoPart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the face shows."""

    encoder: FaceEncoder
    emotion: EmotionReader


class NoFaceEncoder:
    """The face encoder of a model that reads no faces: features of no width."""

    feature_dim = 0

    def prepare(self) -> None:
        """Nothing is run."""

    def infer(self, crops: np.ndarray) -> np.ndarray:
        """Float32 (n, 0)."""
        return np.zeros((len(crops), 0), np.float32)


class AffectModel:
    """Text, audio and video of segments to affect by decision-level fusion; any of the three may be missing.

    On a CPU a row is byte-equal whatever its neighbours; a GPU computes the rows of a batch together.
    """

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        licence: str,
        licences: Mapping[str, str] = {},
        device: str = "cpu",
        text: TextPart | None = None,
        audio: AudioPart | None = None,
        video: VideoPart | None = None,
        sentiment_from_valence: ValenceMap | None = None,
    ) -> None:
        self.name = name
        self.digest = digest
        self.licence = licence
        self.licences = licences
        self.device = device
        self.face_encoder: FaceEncoder = video.encoder if video else NoFaceEncoder()
        self._speaker = load_speaker_weights()
        self._text = text
        self._audio = audio
        self._video = video
        self._sentiment_from_valence = sentiment_from_valence

    def prepare(self, longest_ns: int) -> None:
        """Runs each network once at each shape that utterances of up to `longest_ns` bring.

        Libraries compile for each and keep that: here, and not over half an hour while predictions wait and memory grows.
        """
        if self._text is not None:
            self._text.encoder.prepare()
        if self._audio is not None:
            self._audio.pooling.prepare(block_count(longest_ns // NS_PER_SAMPLE))
        self.face_encoder.prepare()

    @torch.inference_mode()
    def infer(self, batch: Batch) -> list[AffectResult]:
        """One result per segment, in order; all None, without weights, where nothing present says anything."""
        texts = [spoken_text(segment, speech) for segment, speech in batch]
        subjects = [subject_of(segment, self._speaker) for segment, _ in batch]
        opinions: list[dict[str, Opinion]] = [{} for _ in batch]
        sentiments: dict[int, SentimentEstimate] = {}
        self._read_texts(texts, opinions, sentiments)
        self._read_voices(batch, opinions)
        self._read_faces(batch, subjects, opinions)
        return [self._result(opinions[row], sentiments.get(row), subjects[row]) for row in range(len(batch))]

    def _read_texts(
        self, texts: list[str], opinions: list[dict[str, Opinion]], sentiments: dict[int, SentimentEstimate]
    ) -> None:
        rows = [row for row, text in enumerate(texts) if text]
        if self._text is None or not rows:
            return
        features = self._text.encoder.encode([texts[row] for row in rows])
        # Words say all that they say, however long it took: they cover their segment.
        self._text.emotion.read(features, [(row, 1.0) for row in rows], "text", opinions)
        if self._text.sentiment is not None:
            about = self._text.sentiment.about
            for row, value in zip(rows, self._text.sentiment.values(features), strict=True):
                sentiments[row] = _interval(float(value), about)

    def _read_voices(self, batch: Batch, opinions: list[dict[str, Opinion]]) -> None:
        """Silence says nothing of affect."""
        features: list[Tensor] = []
        seen = []
        for row, (segment, speech) in enumerate(batch):
            if self._audio is None or speech.states is None or segment.speech_ns is None:
                continue
            first, last = ((edge_ns - segment.start_ns) // NS_PER_SAMPLE for edge_ns in segment.speech_ns)
            layers, spoken = torch.from_numpy(speech.states.layers), torch.from_numpy(prosody(segment.samples[first:last]))
            features.append(self._audio.pooling(layers.to(self.device), spoken.to(self.device)))
            seen.append((row, float(segment.sample_mask[first:last].sum()) / max(1, len(segment.samples))))
        if self._audio is not None and seen:
            self._audio.emotion.read(torch.stack(features), seen, "audio", opinions)

    def _read_faces(self, batch: Batch, subjects: list[Subject | None], opinions: list[dict[str, Opinion]]) -> None:
        """The mean over the frames in which the subject is seen; the head's logits are those of the mean feature."""
        features, seen = [], []
        for row, (segment, _) in enumerate(batch):
            subject = subjects[row]
            if subject is None or subject.track is None:
                continue
            faces = [face for frame in segment.faces for face in frame.faces if face.track == subject.track]
            known = [face.feature for face in faces if face.feature is not None]
            if self._video is not None and known:
                features.append(np.mean(known, axis=0, dtype=np.float32))
                seen.append((row, segment.video_coverage * len(known) / len(segment.faces)))
        if self._video is not None and seen:
            self._video.emotion.read(torch.from_numpy(np.stack(features)).to(self.device), seen, "video", opinions)

    def _result(
        self, opinions: dict[str, Opinion], sentiment: SentimentEstimate | None, subject: Subject | None
    ) -> AffectResult:
        emotions, weights = fuse_opinions(opinions)
        place = None if emotions is None else place_of(emotions)
        if sentiment is None and place is not None and self._sentiment_from_valence is not None:
            mapping = self._sentiment_from_valence
            sentiment = _interval(mapping.slope * place.valence, mapping)
        return AffectResult(
            sentiment=sentiment,
            emotions=emotions,
            valence=place.valence if place else None,
            arousal=place.arousal if place else None,
            weights=weights,
            subject=subject,
        )


def spoken_text(segment: SegmentInput, speech: SpeechResult) -> str:
    """The words of a segment: the given ones where a stream of words is declared, else the transcript that was kept."""
    if segment.text_state is not None:
        return " ".join(word.text for word in segment.words)
    if speech.transcript is None or speech.transcript.rejected:
        return ""
    return " ".join(word.text for word in speech.transcript.words)


def _outputs(head: Head, features: Tensor) -> Tensor:
    """The head's outputs (n, k) of features (n, d): on a CPU row by row, so that a row never depends on its neighbours."""
    if features.device.type == "cpu":
        return torch.cat([head(row) for row in features.split(1)])
    return head(features)


def _interval(value: float, about: SentimentHeadDescription | ValenceMap) -> SentimentEstimate:
    """A sentiment limited to [-3, 3] with its interval, limited likewise."""
    low, high = (min(3.0, max(-3.0, value + side * about.half_width)) for side in (-1, 1))
    return SentimentEstimate(value=min(3.0, max(-3.0, value)), low=low, high=high, level=about.level)
