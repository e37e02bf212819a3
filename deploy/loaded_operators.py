"""The stateless operators of a model, loaded once for all sessions of a process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import cv2
import threadpoolctl

from deploy.heap import bound_heap
from deploy.session.predicting import AffectBatcher, SpeechBatcher
from operators.batching import Batcher
from operators.encoders.speech import SpeechEncoder
from operators.faces.detection import CenterFaceDetector
from operators.interface import Transcriber
from operators.transcription.moonshine import MoonshineTranscriber
from operators.transcription.operator import SpeechStage
from operators.transcription.whisper import WhisperTranscriber
from operators.voice_activity import SileroNetwork
from stream.errors import SettingsError
from stream.prediction import ModelIdentity
from stream.recording.schemas import BatchPlan
from stream.timeline.settings import UtteranceSettings

TranscriberName = Literal["moonshine", "whisper"]
"""`moonshine` ships; `whisper` is an extra, and measures the times of its words."""
AFFECT_BATCH = 16
"""Segments that are fused at once: with more, a text costs no less."""


class LoadedOperators:
    """The stateless operators of one model, loaded once and shared by the sessions of this process.

    One thread computes speech and one computes affect, whatever the number of sessions; each library keeps to one thread
    of its own, since two on a busy machine make a call many times slower, and the process's heap to its bounds. Raises
    `InputError` where the model folder or the transcriber can't be used.
    """

    def __init__(
        self, model: str | Path | None = None, device: str = "cpu", *, transcriber: TranscriberName = "moonshine"
    ) -> None:
        bound_heap()
        encoder = SpeechEncoder()
        words = _transcriber(transcriber, encoder)
        # Here, since it takes seconds: a wrong path, an extra that is missing have been told by now.
        import torch

        from operators.model_folder import load_model

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        # numpy's own: a second one spins at the small matrices here, 4 % of the pipeline's CPU.
        threadpoolctl.threadpool_limits(limits=1, user_api="blas")
        self.transcriber = transcriber
        self.model = load_model(Path(model) if model is not None else None, device=device)
        self.model.prepare(UtteranceSettings().longest_ns)
        self.detector = CenterFaceDetector()
        self.voice = SileroNetwork()
        self.speech: SpeechBatcher = Batcher("speech", SpeechStage(encoder, words).infer)
        self.affect: AffectBatcher = Batcher("affect", self.model.infer, max_batch=AFFECT_BATCH)

    @property
    def batches(self) -> BatchPlan:
        """How the segment operators are called."""
        return BatchPlan(speech=1, affect=AFFECT_BATCH, device=self.model.device)

    @property
    def identity(self) -> ModelIdentity:
        """Which model it is."""
        model = self.model
        return ModelIdentity(name=model.name, digest=model.digest, licence=model.licence, licences=dict(model.licences) or None)

    def close(self) -> None:
        """Ends the two threads, after the calls that are under way."""
        self.speech.close()
        self.affect.close()


def _transcriber(name: TranscriberName, encoder: SpeechEncoder) -> Transcriber:
    if name not in get_args(TranscriberName):
        raise SettingsError("transcriber", found=repr(name), expected=" or ".join(get_args(TranscriberName)))
    return WhisperTranscriber() if name == "whisper" else MoonshineTranscriber(encoder)
