"""Listeners: for each visible person a lane of windows, but for those in which the person is the speaker. Pure.

docs/timeline.md, section 12, has the rules.
"""

from __future__ import annotations

from collections import deque

import msgspec

from stream.timeline.membership import coverage
from stream.timeline.packets import Faces, Modality
from stream.timeline.segments import Reason, Revision, Slice, listener_lane
from stream.timeline.settings import TimelineSettings
from stream.timeline.time import Span
from stream.timeline.watermark import StreamState


class _Window(msgspec.Struct, frozen=True, eq=False):
    """A closed window of the person `track`, with the pictures that show them, each with their face alone."""

    track: int
    epoch: int
    span: Span
    reason: Reason
    pictures: tuple[Faces, ...]


class _Person:
    """Somebody visible: where the open window begins, when they were last seen, and the pictures since it began."""

    __slots__ = ("epoch", "last_ns", "pictures", "start_ns", "track")

    def __init__(self, track: int, epoch: int, start_ns: int) -> None:
        self.track = track
        self.epoch = epoch
        self.start_ns = start_ns
        self.last_ns = start_ns
        self.pictures: deque[Faces] = deque()

    def close(self, end_ns: int, reason: Reason) -> _Window:
        """The open window, closed; the next one begins where it ends."""
        inside = []
        while self.pictures and self.pictures[0].start_ns < end_ns:
            inside.append(self.pictures.popleft())
        window = _Window(self.track, self.epoch, Span(self.start_ns, end_ns), reason, tuple(inside))
        self.start_ns = end_ns
        return window


class Listeners:
    """The windows of the people that one stream of faces shows.

    Takes the pictures that pass the aligner's door and who was judged to speak; `due` is asked after every item.
    """

    def __init__(self, stream: StreamState, settings: TimelineSettings) -> None:
        self.stream = stream
        self._window_ns = settings.listener_ns
        self._gap_ns = settings.max_gap_ns
        self._gone_ns = settings.listener_gone_ns
        self._people: dict[int, _Person] = {}
        self._closed: list[_Window] = []
        self._spoken: list[tuple[Span, int]] = []

    def see(self, faces: Faces) -> None:
        """Takes a picture that passed the door."""
        at_ns = faces.start_ns
        self._lose(at_ns)
        for face in faces.faces:
            person = self._people.setdefault(face.track, _Person(face.track, faces.epoch, at_ns))
            while at_ns >= person.start_ns + self._window_ns:
                self._closed.append(person.close(person.start_ns + self._window_ns, "window"))
            person.last_ns = at_ns
            person.pictures.append(msgspec.structs.replace(faces, faces=(face,)))

    def speaks(self, span: Span, track: int) -> None:
        """In a segment of the speech lane, final now, the person `track` is the subject."""
        self._spoken.append((span, track))

    def restart(self, at_ns: int) -> None:
        """The stream begins a new epoch: track numbers are not used again, so everybody's lane ends."""
        for person in list(self._people.values()):
            self._end(person, min(person.last_ns + self._gap_ns, at_ns), "reconnect")

    def due(self, decided_ns: int, now_ns: int) -> list[Revision]:
        """The windows that have closed and end before `decided_ns`, to where the speech lane is final, in order of end."""
        if not self._people and not self._closed:
            return []
        self._lose(self.stream.bound_ns)
        if self.stream.ended:
            for person in list(self._people.values()):
                self._end(person, min(person.last_ns + self._gap_ns, self.stream.bound_ns), "end")
        ready = [window for window in self._closed if window.span.end_ns <= decided_ns]
        if not ready:
            return []
        self._closed = [window for window in self._closed if window.span.end_ns > decided_ns]
        ready.sort(key=lambda window: (window.span.end_ns, window.span.start_ns, window.track))
        revisions = [self._revision(window, now_ns) for window in ready if not self._is_speaker(window)]
        self._forget()
        return revisions

    def _lose(self, at_ns: int) -> None:
        """Ends the lanes of those who had not been seen for too long at `at_ns`."""
        for person in [p for p in self._people.values() if at_ns >= p.last_ns + self._gone_ns]:
            self._end(person, person.last_ns + self._gap_ns, "end")

    def _end(self, person: _Person, end_ns: int, reason: Reason) -> None:
        end_ns = max(end_ns, person.last_ns + 1)
        while end_ns > person.start_ns + self._window_ns:
            self._closed.append(person.close(person.start_ns + self._window_ns, "window"))
        self._closed.append(person.close(end_ns, reason))
        del self._people[person.track]

    def _is_speaker(self, window: _Window) -> bool:
        span = window.span
        return any(
            track == window.track and max(spoken.start_ns, span.start_ns) < min(spoken.end_ns, span.end_ns)
            for spoken, track in self._spoken
        )

    def _forget(self) -> None:
        """Lets go who spoke before every window that is open, closed or to come."""
        starts = [person.start_ns for person in self._people.values()] + [window.span.start_ns for window in self._closed]
        needed_ns = min([*starts, self.stream.bound_ns])
        self._spoken = [(span, track) for span, track in self._spoken if span.end_ns > needed_ns]

    def _revision(self, window: _Window, now_ns: int) -> Revision:
        seen = Slice(
            stream=self.stream.name,
            modality=Modality.VIDEO,
            state="present" if window.pictures else "absent",
            absence=None if window.pictures else "nothing-there",
            coverage=coverage(window.pictures, Modality.VIDEO, window.span, self._gap_ns),
            packets=window.pictures,
        )
        return Revision(
            source_epoch=window.epoch,
            lane=listener_lane(window.track),
            kind="window",
            start_ns=window.span.start_ns,
            end_ns=window.span.end_ns,
            number=1,
            status="final",
            reason=window.reason,
            decided_ns=now_ns,
            slices=(seen,),
        )
