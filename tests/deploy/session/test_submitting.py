from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import msgspec

from deploy.session.queues import Channel
from deploy.session.shedding import Ladder, Step
from deploy.session.submitting import SessionNotice, Submitter
from deploy.settings import SheddingSettings
from stream.prediction import ModalityReport, Prediction, Result
from stream.recording.entries import CaughtUp, Entry, Shed
from stream.timeline.packets import Modality
from stream.timeline.segments import Revision, Status
from stream.timeline.time import NS_PER_SECOND

SETTINGS = SheddingSettings()
AMEND_NS = 10 * NS_PER_SECOND


def revision(number: int, status: Status = "final", start_ns: int = 0) -> Revision:
    return Revision(
        source_epoch=0,
        lane="speech",
        kind="utterance",
        start_ns=start_ns,
        end_ns=start_ns + NS_PER_SECOND,
        number=number,
        status=status,
        reason="silence" if status == "final" else "cadence",
        decided_ns=0,
    )


class Predictor:
    """Answers when it is told to; what is shed of text it reports as shed."""

    def __init__(self) -> None:
        self.asked: list[tuple[Revision, tuple[Modality, ...], int]] = []
        self.answers: list[Future[Prediction]] = []

    def submit(self, revision: Revision, shed: tuple[Modality, ...], uncertainty_ns: int) -> Future[Prediction]:
        self.asked.append((revision, shed, uncertainty_ns))
        self.answers.append(Future())
        return self.answers[-1]

    def answer(self) -> None:
        for (asked, shed, _), answer in zip(self.asked, self.answers, strict=True):
            if not answer.done():
                answer.set_result(prediction(asked, "shed" if Modality.TEXT in shed else "present"))


def prediction(of: Revision, state: Any) -> Prediction:
    return Prediction(
        result=Result(
            session="s",
            source_epoch=0,
            lane=of.lane,
            kind=of.kind,
            start_ns=of.start_ns,
            end_ns=of.end_ns,
            continues=False,
            revision=of.number,
            status=of.status,
            reason=of.reason,
            modalities={"text": ModalityReport(state=state)},
        )
    )


class Scene:
    """A submitter with everything around it noted down."""

    def __init__(self) -> None:
        self.predictor = Predictor()
        self.recorded: list[Entry] = []
        self.notices: list[SessionNotice] = []
        self.ladder = Ladder(SETTINGS)
        self.now_ns = 0
        self.submitter = Submitter(
            self.predictor,  # type: ignore[arg-type]
            Channel(100),
            ladder=self.ladder,
            recorder=self,  # type: ignore[arg-type]
            notify=self.notices.append,
            amend_ns=AMEND_NS,
        )

    def entry(self, entry: Entry, arrival_ns: int) -> None:
        self.recorded.append(entry)

    def fall_behind(self, step: Step) -> None:
        self.submitter.observe(self.now_ns - SETTINGS.thresholds_ns[step - 1], self.now_ns)
        assert self.submitter.step is step

    def catch_up(self) -> None:
        while self.submitter.step is not Step.NOTHING:
            self.pass_time(SETTINGS.calm_ns)

    def pass_time(self, ns: int) -> None:
        self.now_ns += ns
        self.submitter.observe(self.now_ns, self.now_ns)


def test_without_a_ladder_everything_is_asked_for() -> None:
    predictor = Predictor()
    submitter = Submitter(predictor, Channel(9))  # type: ignore[arg-type]
    submitter.uncertainty_ns = 7
    for status in ("provisional", "final", "amended"):
        submitter.submit(revision(1, status), 0)
    submitter.observe(0, 100 * NS_PER_SECOND)
    assert [(asked.status, shed, uncertain) for asked, shed, uncertain in predictor.asked] == [
        ("provisional", (), 7),
        ("final", (), 7),
        ("amended", (), 7),
    ]


def test_provisionals_lose_their_words_then_themselves_and_the_recorder_knows() -> None:
    scene = Scene()
    scene.fall_behind(Step.PROVISIONAL_TRANSCRIPTION)
    scene.submitter.submit(revision(1, "provisional"), 0)
    scene.fall_behind(Step.PROVISIONALS)
    scene.submitter.submit(revision(2, "provisional"), 0)
    scene.submitter.submit(revision(3), 0)
    assert [(asked.number, shed) for asked, shed, _ in scene.predictor.asked] == [(1, (Modality.TEXT,)), (3, ())]
    assert [(e.number, e.silent) for e in scene.recorded if isinstance(e, Shed)] == [(1, False), (2, True)]
    assert [notice.step for notice in scene.notices] == ["provisional-transcription", "provisionals"]


def test_finals_that_went_without_words_are_amended_one_by_one_once_all_is_calm() -> None:
    scene = Scene()
    scene.fall_behind(Step.FACES)
    for number in (4, 5):
        scene.submitter.submit(revision(number, start_ns=number * NS_PER_SECOND), 0)
    assert {shed for _, shed, _ in scene.predictor.asked} == {(Modality.TEXT, Modality.VIDEO)}
    scene.predictor.answer()
    scene.pass_time(0)
    while scene.submitter.step >= Step.HALF_FACE_RATE:
        scene.pass_time(SETTINGS.calm_ns)
    assert scene.now_ns < AMEND_NS
    for _ in range(3):
        scene.pass_time(1)  # the second one waits for the first
    assert [entry.number for entry in scene.recorded if isinstance(entry, CaughtUp)] == [4]
    scene.predictor.answer()
    scene.pass_time(1)
    amended = [asked for asked, shed, _ in scene.predictor.asked if not shed]
    assert [(a.number, a.status, a.reason) for a in amended] == [(5, "amended", "caught-up"), (6, "amended", "caught-up")]


def test_who_catches_up_too_late_amends_nothing() -> None:
    scene = Scene()
    scene.fall_behind(Step.TRANSCRIPTION)
    scene.submitter.submit(revision(4), 0)
    scene.predictor.answer()
    scene.now_ns = AMEND_NS
    scene.catch_up()
    assert not any(isinstance(entry, CaughtUp) for entry in scene.recorded)
    assert len(scene.predictor.asked) == 1


def test_a_hole_is_told_with_its_span() -> None:
    scene = Scene()
    hole = msgspec.structs.replace(revision(1), kind="hole")
    scene.submitter.submit(hole, 0)
    assert scene.notices == [SessionNotice(event="hole", start_ns=0, end_ns=NS_PER_SECOND)]
