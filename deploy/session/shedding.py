"""The ladder of a live session that falls behind: which step is in force, by how far behind it is. Pure (design, section 5)."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from deploy.session.reading import Read
from deploy.settings import SheddingSettings
from stream.recording.entries import Dropped
from stream.timeline.packets import Bound, VideoFrame
from stream.timeline.time import NS_PER_SECOND


class Step(IntEnum):
    """What is left out, each step on top of those before it."""

    NOTHING = 0
    PROVISIONAL_TRANSCRIPTION = 1
    """Provisional revisions get no new words."""
    PROVISIONALS = 2
    """Provisional revisions get no prediction at all: their numbers leave a gap."""
    HALF_FACE_RATE = 3
    """Of the face picks every second one is left out."""
    VIDEO = 4
    """Video instants are dropped: the frame and all that would come of it."""
    TRANSCRIPTION = 5
    """Finals get no words; they are amended when the session has caught up."""
    FACES = 6
    """Finals go without faces too."""


class Ladder:
    """The step in force, climbed at once and left one step at a time: load that comes and goes must not flicker."""

    def __init__(self, settings: SheddingSettings) -> None:
        self._settings = settings
        self._step = Step.NOTHING
        self._since_ns = 0

    @property
    def step(self) -> Step:
        """The step in force."""
        return self._step

    def observe(self, behind_ns: int, now_ns: int) -> bool:
        """Takes how far the session is behind at `now_ns`; whether the step in force has changed.

        A step is left when the session has for `calm_ns` been less behind than `leave_share` of what the step begins at.
        """
        thresholds = self._settings.thresholds_ns
        wanted = Step(sum(behind_ns >= threshold_ns for threshold_ns in thresholds))
        if wanted > self._step:
            self._step, self._since_ns = wanted, now_ns
            return True
        if self._step is Step.NOTHING or behind_ns >= self._settings.leave_share * thresholds[self._step - 1]:
            self._since_ns = now_ns
            return False
        if now_ns - self._since_ns < self._settings.calm_ns:
            return False
        self._step, self._since_ns = Step(self._step - 1), now_ns
        return True


def is_left_out(step: Step, start_ns: int, picks_per_second: int) -> bool:
    """Whether a frame is dropped: all are from `VIDEO` on; from `HALF_FACE_RATE` on those of every second pick.

    Picks are the first frame in each cell of the timeline's grid, so every second cell goes.
    """
    if step >= Step.VIDEO:
        return True
    return step is Step.HALF_FACE_RATE and start_ns * picks_per_second // NS_PER_SECOND % 2 == 1


def without_frames(read: Read, step: Step, picks_per_second: int) -> Read:
    """A read without the frames that a step leaves out; their bounds stay."""
    if step < Step.HALF_FACE_RATE:
        return read
    items, dropped = list(read.items), list(read.dropped)
    for place, item in enumerate(items):
        if isinstance(item, VideoFrame) and is_left_out(step, item.start_ns, picks_per_second):
            items[place] = Bound(stream=item.stream, bound_ns=item.start_ns)
            dropped.append(Dropped(stream=item.stream, reason="shed", count=1))
    return msgspec.structs.replace(read, items=items, dropped=tuple(dropped))
