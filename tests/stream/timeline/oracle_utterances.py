"""Oracle of docs/timeline.md sections 3.3 and 3.4: utterances and silence, driven by the voice detector's stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

from oracle_segmentation import Lane, Open, Segment, silences
from oracle_streams import Declared, Trace, Views, accepts, first_views, lane_end, reference_bounds

from stream.timeline.packets import EpochStart, Modality, SpeechActivity
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import Span


@dataclass
class Speech:
    """Speech that was seen: a candidate, and an utterance from its confirmation on, when it has a start."""

    first: int
    last: int
    heard: int = 0
    start: int | None = None
    epoch: int = 0
    continues: bool = False


class Utterances:
    """The lane's state while it walks along the trace."""

    def __init__(self, settings: UtteranceSettings) -> None:
        self.settings, self.lane = settings, Lane()
        self.boundary, self.frontier = 0, -math.inf
        self.speech: Speech | None = None
        self.steps: list[tuple[float, int]] = []
        """(probability, start) of every step that came while the activity stream drove."""
        self.silence_epoch: int | None = None
        """Source epoch of the open silence window, None where it is not open."""
        self.epoch = self.i = 0

    def utterance(self) -> Speech | None:
        return self.speech if self.speech and self.speech.start is not None else None

    def close(self, kind: str, end: float, reason: str, epoch: int | None, continues: bool = False) -> None:
        """The segment [boundary, end) is closed; nothing where it is empty."""
        if end > self.boundary:
            epoch = self.epoch if epoch is None else epoch
            self.lane.closed.append(Segment(kind, self.boundary, int(end), reason, epoch, self.i, continues))
        self.boundary, self.silence_epoch = int(end), None

    def close_silence(self, end: float, rest: str, full: str = "window") -> None:
        """Silence from the boundary up to `end`: full windows, then the rest."""
        for _, start, stop, _ in list(silences(self.boundary, end, self.settings.silence_ns)):
            self.close("silence", stop, full if stop == start + self.settings.silence_ns else rest, self.silence_epoch)
        self.silence_epoch = None

    def close_utterance(self, end: float, reason: str) -> None:
        speech = self.speech
        self.close("utterance", end, reason, speech.epoch, speech.continues)
        self.speech = None

    def settle(self, drive: float, pad: int) -> None:
        """What follows from the bound of the driver: ends of speech (of the activity stream only), silence windows."""
        s = self.settings
        if self.speech and drive >= self.speech.last + s.hang_over_ns:
            if self.utterance():
                self.close_utterance(self.speech.last + s.pad_ns, "silence")
            self.speech = None
        if self.utterance():
            return
        self.frontier = max(self.frontier, (self.speech.first if self.speech else drive) - pad)
        while self.frontier >= self.boundary + s.silence_ns:
            self.close_silence(self.boundary + s.silence_ns, "window")
        if self.frontier > self.boundary and self.silence_epoch is None:
            self.silence_epoch = self.epoch

    def hear(self, step: SpeechActivity) -> None:
        """A step that ends beyond the last boundary and the silence frontier."""
        s = self.settings
        self.steps.append((0.0 if step.masked else step.probability, step.start_ns))
        if step.masked or step.probability < s.threshold:
            return
        speech = self.speech = self.speech or Speech(step.start_ns, step.end_ns)
        speech.last = step.end_ns
        speech.heard += step.end_ns - step.start_ns
        if speech.start is None and speech.heard >= s.shortest_ns:
            self.close_silence(max(speech.first - s.pad_ns, self.boundary, self.frontier), "speech")
            speech.start, speech.epoch, self.silence_epoch = self.boundary, self.epoch, None
        if speech.start is not None and step.end_ns + s.pad_ns - speech.start > s.longest_ns:
            earliest = max(step.end_ns - s.cut_search_ns, speech.start + 1, speech.first)
            searched = [(p, start) for p, start in self.steps if start >= earliest]
            if searched:
                cut = min(searched)[1]
                self.close_utterance(cut, "longest")
                self.speech = Speech(cut, step.end_ns, start=cut, epoch=self.epoch, continues=True)

    def reconnect(self, reached: float, item: EpochStart) -> None:
        """Everything up to E, where the lane's driver had come, is closed; the rest up to the restart is a hole."""
        end = int(max([reached, self.boundary, self.frontier] + ([self.speech.last] if self.utterance() else [])))
        if self.utterance():
            self.close_utterance(min(self.speech.last + self.settings.pad_ns, end), "reconnect")
        self.speech = None
        self.close_silence(end, "reconnect", "reconnect")
        if end < item.at_ns:
            self.close("hole", item.at_ns, "reconnect", item.epoch)

    def record(self, driver: float) -> None:
        """Note what is open after this item."""
        speech, opened = self.utterance(), []
        if speech:
            s = self.settings
            tip = min(speech.last + s.pad_ns, self.boundary + s.longest_ns - s.pad_ns - s.cut_search_ns)
            opened = [Open("utterance", self.boundary, speech.epoch, driver, tip, speech.continues)]
        elif self.silence_epoch is not None:
            opened = [Open("silence", self.boundary, self.silence_epoch, driver)]
        self.lane.open.append(opened)


def utterance_lane(settings: UtteranceSettings, streams: list[Declared], trace: Trace, history: list[Views]) -> Lane:
    """The lane after each item."""
    activity = next(s for s in streams if s.modality is Modality.ACTIVITY)
    state, pad = Utterances(settings), settings.pad_ns
    before, reached, was_end = first_views(streams)[activity.name], -math.inf, math.inf
    for i, ((item, _), bound) in enumerate(zip(trace, reference_bounds(streams, trace, history), strict=True)):
        end_of_all = lane_end(streams, history[i])
        now, state.i = history[i][activity.name], i
        if isinstance(item, EpochStart):
            if now.epoch != before.epoch:
                state.reconnect(before.reach if before.waited else reached, item)
            state.epoch = item.epoch
        if was_end == math.inf or end_of_all == math.inf:  # while all sources have ended, R is T
            reached = max(reached, bound)
        if now.waited:
            if isinstance(item, SpeechActivity) and accepts(before, item):
                state.settle(item.start_ns, pad)
                if item.end_ns > max(state.boundary, state.frontier):
                    state.hear(item)
            state.settle(now.reach, pad)
        else:
            if before.waited and now.ended:  # its end is taken as a bound first
                state.settle(now.reach, pad)
            if state.utterance():
                end = min(state.speech.last + pad, max(now.reach, state.speech.last))
                state.close_utterance(end, "end" if now.ended else "idle")
            state.speech = None
            state.settle(reached, 0)
        if was_end == math.inf > end_of_all:
            reached = max(reached, end_of_all, state.boundary, state.frontier)
        over = not now.waited and end_of_all < math.inf
        if over:
            state.frontier = reached = max(reached, state.boundary, state.frontier)
            state.close_silence(state.frontier, "end")
        state.record(now.reach if state.utterance() else state.frontier)
        state.lane.claims.append([] if over else [Span(state.boundary, math.inf)])
        state.lane.over.append(over)
        before, was_end = now, end_of_all
    return state.lane
