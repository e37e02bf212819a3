from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeInline, FakeSession

from deploy.settings import Settings
from stream.errors import OperatorError, SourceError
from stream.prediction import Prediction, decode
from stream.publishing.publisher import Publisher
from stream.publishing.subscriber import Subscriber
from stream.publishing.wire import Message, SessionEvent
from stream.recording.ring import RingSettings

Run = Callable[..., Any]


def lines(text: str) -> list[Prediction]:
    return [decode(line) for line in text.splitlines()]


def test_every_final_prediction_is_a_row_and_then_comes_the_summary(affectstream: Run, inline: FakeInline) -> None:
    outcome = affectstream("analyze", "clip.mp4")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [line for line in outcome.out.splitlines() if "–" in line]
    assert len(rows) == 4
    assert rows[0].startswith("0:00.0–0:02.0")
    assert rows[0].endswith("(silence)")
    assert "+1.2" in rows[1]
    assert "joy       64%" in rows[1]
    assert "TAV Thank you all very much for being here today, and welcome to this place" in rows[1]
    assert "-1.8" in rows[2]
    assert "[bold]we[/bold]" in rows[2]
    assert "TA· It [31m goes on" in rows[3]
    assert "84 (sampling 84)" in outcome.out
    assert "12.0 s of media in 4.0 s: 3.0 x real time, 0.25 CPU-seconds a second of media" in outcome.out
    assert "+3 " in outcome.out
    assert inline.sessions[0].closed


def test_without_a_terminal_there_are_no_control_codes(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    for target in (str(tmp_path / "out.jsonl"), "-"):
        outcome = affectstream("analyze", "clip.mp4", "--output", target)
        assert "\x1b" not in outcome.out + outcome.err
        assert "\r" not in outcome.out + outcome.err


def test_options_reach_the_session(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    affectstream("analyze", "a.mp4", "--transcript", "a.vtt", "--segments", "lines", "--realtime", "--session", "x")
    affectstream(
        "analyze", "a.mp4", "--model", str(tmp_path), "--transcriber", "whisper", "--record", "a.mcap", "--keep-in", "disk"
    )
    assert inline.asked == [
        {
            "source": "a.mp4",
            "transcript": "a.vtt",
            "segments": "lines",
            "realtime": True,
            "live": None,
            "model": None,
            "transcriber": "moonshine",
            "session": "x",
            "settings": Settings(),
            "record": None,
        },
        {
            "source": "a.mp4",
            "transcript": None,
            "segments": "utterances",
            "realtime": False,
            "live": None,
            "model": tmp_path,
            "transcriber": "whisper",
            "session": None,
            "settings": Settings(ring=RingSettings(store="disk")),
            "record": Path("a.mcap"),
        },
    ]


def test_a_recording_that_fails_is_told_and_the_session_goes_on(
    affectstream: Run, inline: FakeInline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSession, "recording_failure", "the recording: no space left")
    outcome = affectstream("analyze", "clip.mp4", "--record", "a.mcap")
    assert outcome.code == 1
    assert "Thank you all very much" in outcome.out
    assert outcome.out.count("no space left") == 1


def test_the_output_holds_every_revision(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    outcome = affectstream("analyze", "clip.mp4", "--output", str(target))
    assert outcome.code == 0
    assert lines(target.read_text()) == list(inline.steps)


def test_standard_output_holds_nothing_else(affectstream: Run, inline: FakeInline) -> None:
    inline.notices = ("no audio: speech and words are absent",)
    outcome = affectstream("analyze", "clip.mp4", "--output", "-")
    assert lines(outcome.out) == list(inline.steps)
    assert "no audio: speech and words are absent" in outcome.err
    assert "Thank you all" in outcome.err
    assert "real time" in outcome.err


def test_a_cut_source_is_told_after_the_summary(affectstream: Run, inline: FakeInline) -> None:
    inline.cut = "source clip.mp4: video declares 20.00 s and holds 12.00 s"
    outcome = affectstream("analyze", "clip.mp4")
    assert outcome.code == 1
    assert outcome.err == f"affectstream: {inline.cut}; what is there was analysed, fetch it again for the rest\n"
    assert "real time" in outcome.out


def test_what_was_predicted_before_a_failure_stays_written(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    inline.steps = (*inline.steps[:3], OperatorError("operator faces", found="nothing for 60 s"))
    target = tmp_path / "out.jsonl"
    outcome = affectstream("analyze", "clip.mp4", "--output", str(target))
    assert outcome.code == 1
    assert outcome.err == "affectstream: operator faces: found nothing for 60 s\n"
    assert lines(target.read_text()) == list(inline.steps[:3])
    assert inline.sessions[0].closed


def test_an_interrupt_shows_the_summary_so_far(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    inline.steps = (*inline.steps[:3], KeyboardInterrupt())
    target = tmp_path / "out.jsonl"
    outcome = affectstream("analyze", "clip.mp4", "--output", str(target))
    assert outcome.code == 130
    assert "6.5 s of media in 4.0 s" in outcome.out
    assert lines(target.read_text()) == list(inline.steps[:3])


def test_nothing_predicted_is_a_summary_too(affectstream: Run, inline: FakeInline) -> None:
    inline.steps = ()
    outcome = affectstream("analyze", "clip.mp4")
    assert outcome.code == 0
    assert "0.0 s of media" in outcome.out


def test_the_source_is_not_overwritten(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_text("film")
    outcome = affectstream("analyze", str(clip), "--output", str(tmp_path / "." / "clip.mp4"))
    assert outcome.code == 2
    assert "the source itself" in outcome.err
    assert clip.read_text() == "film"


def test_a_source_that_is_refused_leaves_the_output_as_it_was(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("of yesterday")
    inline.refusal = SourceError("source clip.mp4", found="no such file")
    assert affectstream("analyze", "clip.mp4", "--output", str(target)).code == 2
    assert target.read_text() == "of yesterday"


def test_an_output_that_cannot_be_written(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    outcome = affectstream("analyze", "clip.mp4", "--output", str(tmp_path / "none" / "out.jsonl"))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "No such file or directory" in outcome.err


def test_a_standard_output_that_was_closed_before_the_start(
    affectstream: Run, inline: FakeInline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    outcome = affectstream("analyze", "clip.mp4", "--output", "-")
    assert outcome.code == 2
    assert outcome.err == "affectstream: output -: found a closed standard output; name a file, or leave it open\n"


def test_a_full_disk_is_one_line(affectstream: Run, inline: FakeInline) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    outcome = affectstream("analyze", "clip.mp4", "--output", "/dev/full")
    assert outcome.code == 1
    assert outcome.err == "affectstream: output /dev/full: found No space left on device; what fitted stays written\n"


@pytest.mark.parametrize("options", [("--output", "-"), ()])
def test_nobody_reads_standard_output_any_more(
    affectstream: Run, inline: FakeInline, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        outcome = affectstream("analyze", "clip.mp4", *options)
    assert outcome.code == 141
    assert "Traceback" not in outcome.err
    assert inline.sessions[0].closed


def test_an_endpoint_that_is_taken_is_told_before_anything_is_loaded(affectstream: Run, inline: FakeInline) -> None:
    with Publisher("tcp://127.0.0.1:*") as other:
        outcome = affectstream("analyze", "clip.mp4", "--publish", other.endpoint)
    assert outcome.code == 2
    assert "in use" in outcome.err
    assert outcome.err.count("\n") == 1
    assert inline.asked == []


def test_a_session_name_that_fits_no_topic_is_told_before_anything_is_loaded(affectstream: Run, inline: FakeInline) -> None:
    outcome = affectstream("analyze", "clip.mp4", "--session", "a\nb")
    assert outcome.code == 2
    assert "session name" in outcome.err
    assert inline.asked == []


class Follower:
    """Subscribes to the publisher that the command makes, and holds the session back until it is there."""

    def __init__(self, inline: FakeInline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies: list[Prediction | SessionEvent] = []
        self.threads: list[threading.Thread] = []
        make = Publisher.__init__

        def made(publisher: Publisher, endpoint: list[str], **options: Any) -> None:
            make(publisher, endpoint, **options)
            subscriber = Subscriber(publisher.endpoint, "s", 20, until_ended=True)
            thread = threading.Thread(target=self._follow, args=(subscriber,))
            thread.start()
            self.threads.append(thread)
            assert publisher.wait_for_subscriber(20)

        monkeypatch.setattr(Publisher, "__init__", made)

    def _follow(self, subscriber: Subscriber) -> None:
        with subscriber:
            self.bodies.extend(m.body for m in subscriber.messages() if isinstance(m, Message))

    def join(self) -> list[Prediction | SessionEvent]:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.bodies


@pytest.mark.parametrize(
    ("end", "event", "detail"),
    [
        (None, "ended", None),
        (OperatorError("operator faces", found="nothing"), "failed", "operator faces: found nothing"),
        (KeyboardInterrupt(), "ended", "interrupted"),
    ],
)
def test_everything_is_published_with_start_and_end(
    affectstream: Run,
    inline: FakeInline,
    monkeypatch: pytest.MonkeyPatch,
    end: BaseException | None,
    event: str,
    detail: str | None,
) -> None:
    follower = Follower(inline, monkeypatch)
    inline.steps = (*inline.steps, *([end] if end else []))
    affectstream("analyze", "clip.mp4", "--publish", "tcp://127.0.0.1:*", "--session", "s")
    bodies = follower.join()
    assert [b.result.start_ns for b in bodies if isinstance(b, Prediction)] == [
        s.result.start_ns for s in inline.steps if isinstance(s, Prediction)
    ]
    last = bodies[-1]
    assert isinstance(last, SessionEvent)
    assert (last.event, last.detail) == (event, detail)
    if event == "ended":
        assert last.summary is not None
        assert last.summary["media_ns"] == 12_000_000_000
        assert last.summary["dispositions"]["video"]["dropped"] == {"sampling": 84}
