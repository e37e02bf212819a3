"""Utterances: spans of speech out of the voice detector's steps, and silence windows where nobody speaks."""

from __future__ import annotations

from collections import deque

from stream.timeline.packets import SpeechActivity
from stream.timeline.segmentation import Tiling
from stream.timeline.segments import Reason
from stream.timeline.settings import UtteranceSettings
from stream.timeline.watermark import FOREVER_NS, NEVER_NS, Watermarks


class _Speech:
    """Speech under way: a candidate until it is confirmed, then the open utterance.

    `steps` are (start, probability) of its steps, spoken or not, as far back as a cut may lie.
    """

    __slots__ = ("confirmed", "first_ns", "last_ns", "speech_ns", "steps")

    def __init__(self, first_ns: int) -> None:
        self.first_ns = first_ns
        self.last_ns = first_ns
        self.speech_ns = 0
        self.steps: deque[tuple[int, float]] = deque()
        self.confirmed = False


class Utterances(Tiling):
    """Driven by the bound of the activity stream (A) while somebody waits for it, by R otherwise."""

    heeds_activity = True

    def __init__(self, settings: UtteranceSettings) -> None:
        super().__init__()
        self._settings = settings
        self._speech: _Speech | None = None
        self._heard_ns = NEVER_NS  # A
        self._frontier_ns = NEVER_NS  # F: up to here silence is decided
        self._driven = False

    def advance(self, marks: Watermarks) -> None:
        """Closes the utterance or drops the candidate that is over, then goes on with silence up to its frontier."""
        activity = marks.activity
        if activity is not None and activity.waited_for:
            self._driven = True
            self._heard_ns = max(self._heard_ns, activity.bound_ns)
            self._hear_silence()
        else:
            if self._driven:
                self._stop("end" if activity is not None and activity.ended else "idle")
            self._frontier_ns = max(self._frontier_ns, marks.reference_ns)
        if self._speech is None or not self._speech.confirmed:
            self._silence_until(self._frontier_ns, "window")
        end_ns = max(marks.reference_ns, self._frontier_ns, self.boundary_ns)
        self._settle_end(marks.all_sources_ended and not self._driven, end_ns)

    def hear(self, step: SpeechActivity) -> None:
        """Begins, extends, confirms or cuts speech; what lies before the decided part changes nothing."""
        end_ns = step.end_ns
        self._heard_ns = max(self._heard_ns, end_ns)
        if not self._driven or end_ns <= max(self.boundary_ns, self._frontier_ns):
            return
        probability = 0.0 if step.masked else step.probability
        is_speech = not step.masked and probability >= self._settings.threshold
        speech = self._speech
        if speech is None:
            if not is_speech:
                return
            speech = self._speech = _Speech(step.start_ns)
        steps = speech.steps
        steps.append((step.start_ns, probability))
        while steps[0][0] < step.start_ns - self._settings.cut_search_ns:
            steps.popleft()
        if is_speech:
            speech.last_ns = end_ns
            speech.speech_ns += end_ns - step.start_ns
            if not speech.confirmed and speech.speech_ns >= self._settings.shortest_ns:
                self._confirm(speech)
            if speech.confirmed and end_ns + self._settings.pad_ns - self.boundary_ns > self._settings.longest_ns:
                self._cut_longest(speech)

    @property
    def pace_ns(self) -> int:
        """A for an utterance, the frontier of silence for a silence window."""
        return self._heard_ns if self._speech is not None and self._speech.confirmed else self._frontier_ns

    @property
    def provisional_end_ns(self) -> int:
        """The padded end of the speech heard so far, for an utterance, and no instant that a cut for length may take away."""
        if self._speech is not None and self._speech.confirmed:
            s = self._settings
            return min(self._speech.last_ns + s.pad_ns, self.boundary_ns + s.longest_ns - s.pad_ns - s.cut_search_ns)
        return FOREVER_NS

    def _hear_silence(self) -> None:
        """What A alone decides: the end of speech, and the frontier of silence."""
        speech = self._speech
        if speech is not None and self._heard_ns >= speech.last_ns + self._settings.hang_over_ns:
            if speech.confirmed:
                self._close(speech.last_ns + self._settings.pad_ns, "silence")
            speech = self._speech = None
        if speech is None:
            self._frontier_ns = max(self._frontier_ns, self._heard_ns - self._settings.pad_ns)
        elif not speech.confirmed:
            self._frontier_ns = max(self._frontier_ns, speech.first_ns - self._settings.pad_ns)

    def _confirm(self, speech: _Speech) -> None:
        start_ns = max(speech.first_ns - self._settings.pad_ns, self.boundary_ns, self._frontier_ns)
        self._silence_until(start_ns, "window")
        if self.open:
            self._close(start_ns, "speech")
        speech.confirmed = True
        self._begin("utterance")

    def _cut_longest(self, speech: _Speech) -> None:
        """Ends the utterance where the voice was least probable of late; the next one goes on from there."""
        earliest_ns = max(speech.last_ns - self._settings.cut_search_ns, self.boundary_ns + 1)
        eligible = [step for step in speech.steps if step[0] >= earliest_ns]
        if eligible:
            cut_ns, _ = min(eligible, key=lambda step: step[1])
            self._close(cut_ns, "longest")
            self._begin("utterance", continues=True)

    def _stop(self, reason: Reason) -> None:
        """Voice activity drives no longer."""
        self._driven = False
        if self._speech is not None and self._speech.confirmed:
            self._close(min(self._speech.last_ns + self._settings.pad_ns, self._heard_ns), reason)
        self._speech = None

    def _silence_until(self, frontier_ns: int, reason: Reason) -> None:
        while self.boundary_ns < frontier_ns:
            self._begin("silence")
            end_ns = self.boundary_ns + self._settings.silence_ns
            if frontier_ns < end_ns:
                break
            self._close(end_ns, reason)

    def _cut(self, at_ns: int, marks: Watermarks) -> int:  # noqa: ARG002 - of windows
        end_ns = max(self._heard_ns if self._driven else marks.reference_ns, self.boundary_ns, self._frontier_ns)
        if self._speech is not None and self._speech.confirmed:
            end_ns = max(end_ns, self._speech.last_ns)
            self._close(min(self._speech.last_ns + self._settings.pad_ns, end_ns), "reconnect")
        self._speech = None
        self._silence_until(end_ns, "reconnect")
        if self.open:
            self._close(end_ns, "reconnect")
        return end_ns
