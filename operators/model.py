"""A model: encoders, heads and fusion of one model folder; a pure function of segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from torch import Tensor

from operators.circumplex import place_of
from operators.encoders.prosody import speech_features
from operators.encoders.text import TextEncoder
from operators.fusion.decision import Opinion, fuse_opinions
from operators.heads import Head
from operators.interface import EMOTIONS, AffectResult, FaceEncoder, SegmentInput, SpeechResult, largest_face
from operators.model_description import EmotionHeadDescription, SentimentHeadDescription, ValenceMap
from stream.prediction import SentimentEstimate
from stream.timeline.time import NS_PER_SAMPLE


class EmotionReader(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A head for emotions with its calibration."""

    head: Head
    about: EmotionHeadDescription

    def probabilities(self, features: Tensor) -> np.ndarray:
        """Calibrated probabilities float32 (n, 7) in the order of `EMOTIONS`; a head's calm counts as neutral."""
        probabilities = (self.head(features) / self.about.temperature).softmax(1).cpu().numpy()
        published = np.zeros((len(features), len(EMOTIONS)), np.float32)
        for column, label in enumerate(self.about.labels):
            published[:, EMOTIONS.index("neutral" if label == "calm" else label)] += probabilities[:, column]
        return published


class SentimentReader(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A head for sentiment with its calibration."""

    head: Head
    about: SentimentHeadDescription

    def values(self, features: Tensor) -> np.ndarray:
        """Sentiment float32 (n,), not yet limited to [-3, 3]."""
        values: np.ndarray = self.head(features)[:, 0].cpu().numpy()
        return values


class TextPart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is said."""

    encoder: TextEncoder
    emotion: EmotionReader
    sentiment: SentimentReader | None


class AudioPart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How it is said."""

    emotion: EmotionReader


class VideoPart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the face shows."""

    encoder: FaceEncoder
    emotion: EmotionReader


class NoFaceEncoder:
    """The face encoder of a model that reads no faces: features of no width."""

    feature_dim = 0

    def infer(self, crops: np.ndarray) -> np.ndarray:
        """Float32 (n, 0)."""
        return np.zeros((len(crops), 0), np.float32)


class AffectModel:
    """Text, audio and video of segments to affect by decision-level fusion; any of the three may be missing.

    Every row is computed apart from the others of its batch, but for what a GPU batches.
    """

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        licence: str,
        device: str = "cpu",
        text: TextPart | None = None,
        audio: AudioPart | None = None,
        video: VideoPart | None = None,
        sentiment_from_valence: ValenceMap | None = None,
    ) -> None:
        self.name = name
        self.digest = digest
        self.licence = licence
        self.device = device
        self.face_encoder: FaceEncoder = video.encoder if video else NoFaceEncoder()
        self._text = text
        self._audio = audio
        self._video = video
        self._sentiment_from_valence = sentiment_from_valence

    @torch.inference_mode()
    def infer(self, batch: Sequence[tuple[SegmentInput, SpeechResult]]) -> list[AffectResult]:
        """One result per segment, in order; all None, without weights, where nothing present says anything."""
        texts = [spoken_text(segment, speech) for segment, speech in batch]
        subjects = [subject_track(segment) for segment, _ in batch]
        opinions: list[dict[str, Opinion]] = [{} for _ in batch]
        sentiments: list[SentimentEstimate | None] = [None] * len(batch)
        for row, sentiment, opinion in self._read_texts(texts):
            sentiments[row] = sentiment
            opinions[row]["text"] = opinion
        for row, (segment, speech) in enumerate(batch):
            heard = self._read_voice(segment, speech)
            if heard:
                opinions[row]["audio"] = heard
            seen = self._read_face(segment, subjects[row])
            if seen:
                opinions[row]["video"] = seen
        return [self._result(o, s, t) for o, s, t in zip(opinions, sentiments, subjects, strict=True)]

    def _read_texts(self, texts: list[str]) -> list[tuple[int, SentimentEstimate | None, Opinion]]:
        rows = [row for row, text in enumerate(texts) if text]
        if self._text is None or not rows:
            return []
        features = self._text.encoder.encode([texts[row] for row in rows])
        emotion, sentiment = self._text.emotion, self._text.sentiment
        probabilities = emotion.probabilities(features)
        values = sentiment.values(features) if sentiment else None
        return [
            (
                row,
                _interval(float(values[k]), sentiment.about) if sentiment and values is not None else None,
                # Words say all that they say, however long it took.
                Opinion(emotions=probabilities[k], reliability=emotion.about.reliability, coverage=1.0),
            )
            for k, row in enumerate(rows)
        ]

    def _read_voice(self, segment: SegmentInput, speech: SpeechResult) -> Opinion | None:
        """None where nobody speaks: silence says nothing of affect."""
        if self._audio is None or speech.states is None or segment.speech_ns is None:
            return None
        first, last = ((edge_ns - segment.start_ns) // NS_PER_SAMPLE for edge_ns in segment.speech_ns)
        samples = segment.samples[first:last]
        features = torch.from_numpy(speech_features(speech.states.states, samples)).to(self.device)
        return Opinion(
            emotions=self._audio.emotion.probabilities(features[None])[0],
            reliability=self._audio.emotion.about.reliability,
            coverage=min(1.0, float(segment.sample_mask[first:last].sum()) / max(1, len(segment.samples))),
        )

    def _read_face(self, segment: SegmentInput, subject: int | None) -> Opinion | None:
        """The mean over the frames in which the subject is seen; the head's logits are those of the mean feature."""
        if self._video is None or subject is None:
            return None
        features = [face.feature for frame in segment.faces for face in frame.faces if face.track == subject]
        seen = [feature for feature in features if feature is not None]
        if not seen:
            return None
        pooled = torch.from_numpy(np.mean(seen, axis=0, dtype=np.float32)).to(self.device)
        return Opinion(
            emotions=self._video.emotion.probabilities(pooled[None])[0],
            reliability=self._video.emotion.about.reliability,
            coverage=min(1.0, segment.video_coverage * len(seen) / len(segment.faces)),
        )

    def _result(self, opinions: dict[str, Opinion], sentiment: SentimentEstimate | None, subject: int | None) -> AffectResult:
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


def subject_track(segment: SegmentInput) -> int | None:
    """The track that is the largest face in most frames, of those in equally many the oldest; None without a face."""
    largest = Counter(face.track for frame in segment.faces if (face := largest_face(frame)) is not None)
    return min(largest, key=lambda track: (-largest[track], track), default=None)


def _interval(value: float, about: SentimentHeadDescription | ValenceMap) -> SentimentEstimate:
    """A sentiment limited to [-3, 3] with its interval, limited likewise."""
    low, high = (min(3.0, max(-3.0, value + side * about.half_width)) for side in (-1, 1))
    return SentimentEstimate(value=min(3.0, max(-3.0, value)), low=low, high=high, level=about.level)
