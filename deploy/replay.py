"""Replay: the recorded inputs of the aligner in door order into a fresh one, and the segment operators again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import msgspec
import numpy as np

from deploy.inline import LoadedOperators, new_predictor
from deploy.session.listening import speaking_track
from deploy.session.submitting import amended
from deploy.settings import EngineSettings
from operators.interface import FaceEncoder
from stream.errors import RecordingError, TimelineError
from stream.prediction import Prediction
from stream.recording.entries import Advanced, Arrived, CaughtUp, ClockUncertainty, Closed, Dropped, Entry, Shed
from stream.recording.reader import Recording
from stream.timeline.alignment import Aligner
from stream.timeline.dispositions import StreamDispositions
from stream.timeline.packets import Faces, Modality
from stream.timeline.segments import Output, Revision

_DEFAULTS = EngineSettings()


class Replay:
    """Iterate it for the predictions that a recording's inputs lead to; twice on one machine, the same bytes.

    With a model other than the recorded one the faces are encoded again. `pace`, where given, is called with each arrival
    and may wait, or end the replay (False). A recording that is cut is replayed to its cut, as if its streams ended there.
    Raises `RecordingError` where the recording holds what no session of this version records.
    """

    def __init__(
        self,
        recording: Recording,
        operators: LoadedOperators,
        *,
        pace: Callable[[int], bool] | None = None,
        engine: EngineSettings = _DEFAULTS,
    ) -> None:
        head = recording.head
        self._recording = recording
        self._pace = pace
        self._engine = engine
        self._provisionals = head.provisionals
        timeline = head.timeline_settings()
        self._aligner = Aligner(head.streams, timeline, subject_of=speaking_track(timeline))
        self._predictor = new_predictor(head.session, operators, timeline, patience_s=0.0 if pace else engine.batch_patience_s)
        foreign = operators.identity.digest != head.model.digest
        self._encoder: FaceEncoder | None = operators.model.face_encoder if foreign else None
        self._waiting: deque[Future[Prediction]] = deque()
        self._due: list[Revision] = []
        self._shed: list[Shed] = []
        self._without_words: dict[tuple[int, str, int, int], Revision] = {}
        self._uncertainty_ns = 0
        self._closed = False

    def dispositions(self) -> dict[str, StreamDispositions]:
        """What became of every packet so far, by stream."""
        return self._aligner.ledger.summary()

    def __iter__(self) -> Iterator[Prediction]:
        arrival_ns = 0
        for arrival_ns, entry in self._entries():
            if self._pace is not None and not self._pace(arrival_ns):
                return
            self._take(entry, arrival_ns)
            while len(self._waiting) >= self._engine.predictions_under_way or (self._waiting and self._waiting[0].done()):
                yield self._waiting.popleft().result(self._engine.call_deadline_s)
        if not self._closed:
            self._take(Closed(), arrival_ns)
        self._submit()
        self._predictor.finish()
        while self._waiting:
            yield self._waiting.popleft().result(self._engine.call_deadline_s)

    def _entries(self) -> Iterator[Arrived]:
        for arrived in self._recording.arrived():
            if self._closed:
                raise TimelineError("a recorded entry", found="one after the closing", expected="none")
            yield arrived

    def _take(self, entry: Entry, arrival_ns: int) -> None:
        if isinstance(entry, Shed):  # it stands after what made its revision due
            self._shed.append(entry)
            return
        self._submit()
        if isinstance(entry, ClockUncertainty):
            self._uncertainty_ns = entry.uncertainty_ns
        elif isinstance(entry, CaughtUp):
            self._amend(entry)
        elif isinstance(entry, Advanced):
            self._keep(self._aligner.advance(arrival_ns))
        elif isinstance(entry, Dropped):
            self._aligner.ledger.received_and_dropped(entry.stream, entry.reason, entry.count)
        elif isinstance(entry, Closed):
            self._closed = True
            self._keep(self._aligner.close(arrival_ns))
        else:
            if isinstance(entry, Faces) and self._encoder is not None:
                entry = _encoded(entry, self._encoder)
            self._keep(self._aligner.push(entry, arrival_ns))

    def _keep(self, outputs: list[Output]) -> None:
        self._due += [
            output
            for output in outputs
            if isinstance(output, Revision) and (self._provisionals or output.status != "provisional")
        ]

    def _submit(self) -> None:
        """Hands what has become due to the segment operators, less what was shed of it."""
        shed = {(s.source_epoch, s.lane, s.start_ns, s.number, s.status): s for s in self._shed}
        for revision in self._due:
            key = (revision.source_epoch, revision.lane, revision.start_ns, revision.number, revision.status)
            left_out = shed.get(key)
            if left_out is None:
                self._ask(revision)
            elif not left_out.silent:
                self._ask(revision, left_out.modalities)
                if revision.status == "final" and Modality.TEXT in left_out.modalities:
                    self._without_words[key[:4]] = revision
        self._due.clear()
        self._shed.clear()

    def _amend(self, entry: CaughtUp) -> None:
        key = (entry.source_epoch, entry.lane, entry.start_ns, entry.number)
        revision = self._without_words.pop(key, None)
        if revision is None:
            raise RecordingError(
                "a recorded amendment", found="one of a segment that was not shed", fix="the recording is damaged"
            )
        self._ask(amended(revision))

    def _ask(self, revision: Revision, shed: tuple[Modality, ...] = ()) -> None:
        self._waiting.append(self._predictor.submit(revision, shed, self._uncertainty_ns))


def _encoded(faces: Faces, encoder: FaceEncoder) -> Faces:
    """The faces of a frame with the features of another model."""
    if not faces.faces:
        return faces
    features = encoder.infer(np.stack([face.crop for face in faces.faces]))
    renewed = tuple(msgspec.structs.replace(face, feature=feature) for face, feature in zip(faces.faces, features, strict=True))
    return msgspec.structs.replace(faces, faces=renewed)
