"""From what the aligner decides to predictions under way; in a live session less what is shed while it is behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal

import msgspec

from deploy.session.predicting import Predictor
from deploy.session.queues import Channel
from deploy.session.recorder import SessionRecorder
from deploy.session.shedding import Ladder, Step
from stream.prediction import Prediction
from stream.recording.entries import CaughtUp, Shed
from stream.timeline.packets import Modality
from stream.timeline.segments import Revision
from stream.timeline.time import NS_PER_SECOND


class SessionNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a session that subscribers want to know besides its predictions.

    `count` packets of `stream` were dropped for `detail`, or came late; `step` of the ladder came into force; nothing is
    there between `start_ns` and `end_ns` (a hole), or since `start_ns` (session time).
    """

    event: Literal["stream-idle", "stream-back", "drops", "sheds", "hole", "late"]
    start_ns: int
    end_ns: int | None = None
    stream: str | None = None
    count: int | None = None
    step: str | None = None
    detail: str | None = None


class Submitter:
    """Asks the predictor for each revision, in order; owned by the door's thread.

    With a `ladder` the session is live: what its step says is left out and told to the recorder, and finals that went
    without words are amended when the session has caught up, within `amend_ns`.
    """

    def __init__(
        self,
        predictor: Predictor,
        answers: Channel[Future[Prediction]],
        *,
        provisionals: bool = True,
        ladder: Ladder | None = None,
        recorder: SessionRecorder | None = None,
        notify: Callable[[SessionNotice], None] | None = None,
        amend_ns: int = 0,
    ) -> None:
        self.uncertainty_ns = 0
        """How uncertain the clocks of live devices are: part of what is predicted from now on."""
        self._predictor = predictor
        self._answers = answers
        self._provisionals = provisionals
        self._ladder = ladder
        self._recorder = recorder
        self._notify = notify
        self._amend_ns = amend_ns
        self._under_way: deque[tuple[int, Future[Prediction]]] = deque()
        self._without_words: deque[tuple[int, Revision, Future[Prediction]]] = deque()

    @property
    def step(self) -> Step:
        """The step of the ladder in force."""
        return Step.NOTHING if self._ladder is None else self._ladder.step

    def submit(self, revision: Revision, arrival_ns: int) -> None:
        """Asks for the prediction of a revision that became due at `arrival_ns`."""
        if revision.status == "provisional" and not self._provisionals:
            return
        shed = self._shed(revision)
        if shed is not None and self._recorder is not None:
            self._recorder.entry(shed, arrival_ns)
        if shed is not None and shed.silent:
            return
        modalities = () if shed is None else shed.modalities
        answer = self._ask(revision, modalities, arrival_ns)
        if revision.status == "final" and Modality.TEXT in modalities:
            self._without_words.append((arrival_ns, revision, answer))
        if revision.kind == "hole" and self._notify is not None:
            self._notify(SessionNotice(event="hole", start_ns=revision.start_ns, end_ns=revision.end_ns))

    def observe(self, arrival_ns: int, now_ns: int) -> None:
        """In a live session: how far it is behind, by the arrival that has just passed the door."""
        if self._ladder is None:
            return
        while self._under_way and self._under_way[0][1].done():
            self._under_way.popleft()
        oldest_ns = min([arrival_ns, *(at_ns for at_ns, _ in list(self._under_way)[:1])])
        if self._ladder.observe(now_ns - oldest_ns, now_ns) and self._notify is not None:
            step = self._ladder.step.name.lower().replace("_", "-")
            behind = f"{(now_ns - oldest_ns) / NS_PER_SECOND:.1f} s behind"
            self._notify(SessionNotice(event="sheds", start_ns=arrival_ns, step=step, detail=behind))
        if self._ladder.step < Step.HALF_FACE_RATE:
            self._amend(arrival_ns, now_ns)

    def _shed(self, revision: Revision) -> Shed | None:
        """What the step in force leaves out of a revision; None for nothing."""
        step, provisional = self.step, revision.status == "provisional"
        if step is Step.NOTHING or revision.kind == "hole":
            return None
        modalities: list[Modality] = []
        if step >= Step.TRANSCRIPTION or (provisional and step >= Step.PROVISIONAL_TRANSCRIPTION):
            modalities.append(Modality.TEXT)
        if step >= Step.FACES:
            modalities.append(Modality.VIDEO)
        silent = provisional and step >= Step.PROVISIONALS
        if not (modalities or silent):
            return None
        return Shed(
            source_epoch=revision.source_epoch,
            lane=revision.lane,
            start_ns=revision.start_ns,
            number=revision.number,
            status=revision.status,
            modalities=tuple(modalities),
            silent=silent,
        )

    def _amend(self, arrival_ns: int, now_ns: int) -> None:
        """Asks once more for what went without words, one at a time: what is new goes first."""
        while self._without_words and now_ns - self._without_words[0][0] > self._amend_ns:
            self._without_words.popleft()
        if not self._without_words or self._under_way or not self._without_words[0][2].done():
            return
        _, revision, answer = self._without_words.popleft()
        report = answer.result().result.modalities.get(Modality.TEXT) if answer.exception() is None else None
        if report is None or report.state != "shed":
            return
        caught_up = CaughtUp(
            source_epoch=revision.source_epoch, lane=revision.lane, start_ns=revision.start_ns, number=revision.number
        )
        if self._recorder is not None:
            self._recorder.entry(caught_up, arrival_ns)
        self._ask(amended(revision), (), arrival_ns)

    def _ask(self, revision: Revision, shed: tuple[Modality, ...], arrival_ns: int) -> Future[Prediction]:
        answer = self._predictor.submit(revision, shed, self.uncertainty_ns)
        if self._ladder is not None:
            self._under_way.append((arrival_ns, answer))
        self._answers.put(answer)
        return answer


def amended(revision: Revision) -> Revision:
    """The revision that follows a final which went without words."""
    return msgspec.structs.replace(revision, number=revision.number + 1, status="amended", reason="caught-up")
