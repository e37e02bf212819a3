from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from media_making import Pictures, Sound, every, sine, write

from stream.errors import SourceError
from stream.sources.live import Capture, Captured, Disconnected, LiveContainer, ReconnectSettings
from stream.sources.media import MediaSource


class Clock:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.s = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.s += seconds


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write(tmp_path / "clip.mkv", Pictures(every(40, 1000)), Sound(sine(1)))


def live(clip: Path, clock: Clock, *, reopen: Callable[[], MediaSource] | None = None, pace: bool = False) -> LiveContainer:
    return LiveContainer(MediaSource(str(clip)), pace=pace, reopen=reopen, sleep=clock.sleep, now_s=clock)


def captures(source: LiveContainer) -> list[Capture]:
    given: list[Capture] = []
    while (some := source.read()) is not None:
        given += some
    return given


def numbers(given: list[Capture], stream: str) -> list[int]:
    return [each.sequence for each in given if isinstance(each, Captured) and each.stream == stream]


def test_a_paced_container_gives_its_packets_at_their_time_numbered_and_says_when_streams_end(clip: Path) -> None:
    clock = Clock()
    given = captures(live(clip, clock, pace=True))
    assert numbers(given, "video") == list(range(25))
    assert numbers(given, "audio") == list(range(len(numbers(given, "audio"))))
    assert sum(clock.slept) == pytest.approx(1, abs=0.05)
    assert {each.stream for each in given if isinstance(each, Disconnected)} == {"video", "audio"}


def test_a_network_stream_that_ends_is_opened_again_and_goes_on_counting(clip: Path) -> None:
    clock, left = Clock(), [SourceError("camera"), SourceError("camera"), None]

    def reopen() -> MediaSource:
        error = left.pop(0) if left else SourceError("camera")
        if error is not None:
            raise error
        return MediaSource(str(clip))

    given = captures(live(clip, clock, reopen=reopen))
    assert numbers(given, "video") == list(range(50))
    ends = [place for place, each in enumerate(given) if isinstance(each, Disconnected) and each.stream == "video"]
    assert len(ends) == 2
    assert clock.slept[:3] == [0.5, 1, 2]
    assert max(clock.slept) == ReconnectSettings().longest_s
    assert sum(clock.slept[3:]) == pytest.approx(ReconnectSettings().give_up_s, abs=ReconnectSettings().longest_s)


def test_a_stream_with_other_tracks_is_not_taken_for_the_one_that_ended(clip: Path, tmp_path: Path) -> None:
    sound = write(tmp_path / "sound.mkv", Sound(sine(1)))
    source = live(sound, Clock(), reopen=lambda: MediaSource(str(clip)))
    assert numbers(captures(source), "video") == []


def test_a_closed_one_is_not_opened_again(clip: Path) -> None:
    opened: list[int] = []
    source = live(clip, Clock(), reopen=lambda: opened.append(1) or MediaSource(str(clip)))  # type: ignore[func-returns-value]
    while not source._source.ended:
        source.read()
    source.close()
    assert source.read() is None
    assert opened == []
