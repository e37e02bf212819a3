from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_fakes import FakeInline, FakeSession

from deploy.cli.app import run
from deploy.cli.device import check_device
from stream.errors import SettingsError, SourceError

Run = Callable[..., Any]
MOSI = "id,video,clip_no,start,end,text,label,split\n"
OPINIONS = MOSI + "a,a,1,0,1,I LOVED IT,3,dev\nb,b,1,0,1,IT WAS AWFUL,-2.6,dev\nc,c,1,0,1,FINE,0,other\n"


@pytest.fixture
def opinions(tmp_path: Path) -> Path:
    path = tmp_path / "opinions.csv"
    path.write_text(OPINIONS)
    return path


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where a model is loaded before the fault is told."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("operators.model_folder.load_model", load)
    return


def test_one_object_by_split_and_metric(affectstream: Run, opinions: Path) -> None:
    outcome = affectstream("evaluate", "text", "--data", str(opinions), "--json")
    assert (outcome.code, outcome.err) == (0, "")
    figures = json.loads(outcome.out, parse_constant=pytest.fail)
    assert list(figures) == ["dev", "other"]
    assert figures["dev"]["rows"] == 2
    assert figures["dev"]["acc2_non0"] == 1.0
    assert figures["dev"]["mae_low"] <= figures["dev"]["mae"] <= figures["dev"]["mae_high"]
    # One row whose truth is 0: there is no correlation, and nothing is left for non0.
    assert figures["other"]["corr"] is None
    assert figures["other"]["acc2_non0"] is None
    numbers = [value for split in figures.values() for value in split.values()]
    assert all(value is None or isinstance(value, int | float) for value in numbers)


def test_tables_for_people_and_a_page(affectstream: Run, opinions: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = affectstream("evaluate", "text", "--data", str(opinions), "--report", str(page))
    assert (outcome.code, outcome.err) == (0, "")
    assert "acc2_has0" in outcome.out
    assert "not defined" in outcome.out
    assert "true \\ said" in outcome.out
    text = page.read_text()
    assert "I loved it." in text
    assert "affectstream evaluate text --data opinions.csv" in text
    assert str(tmp_path) not in text


def test_figures_are_the_same_each_time(affectstream: Run, opinions: Path) -> None:
    first, second = (affectstream("evaluate", "text", "--data", str(opinions), "--json").out for _ in range(2))
    assert first == second


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("part", "content", "named"),
    [
        ("text", "text,label\nFINE,1\n", "split"),
        ("text", MOSI + "a,a,1,0,1,FINE,9,dev\n", "line 2"),
        ("text", None, "no such file"),
        ("face", "no arrays", "npz"),
        ("face", None, "no such file"),
        ("speech", None, "no folder"),
        ("clips", "media,label\ngone.mp4,joy\n", "gone.mp4"),
        ("clips", "media\na.mp4\n", "label"),
        ("clips", None, "no such file"),
    ],
)
def test_bad_data_is_one_line_before_anything_is_loaded(
    affectstream: Run, tmp_path: Path, part: str, content: str | None, named: str
) -> None:
    path = tmp_path / "data"
    if content is not None:
        path.write_text(content)
    outcome = affectstream("evaluate", part, "--data", str(path))
    assert (outcome.code, outcome.out) == (2, "")
    assert named in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.usefixtures("unloaded")
def test_an_empty_folder_and_an_npz_of_another_shape(affectstream: Run, tmp_path: Path) -> None:
    outcome = affectstream("evaluate", "speech", "--data", str(tmp_path))
    assert outcome.code == 2
    assert "clips.csv" in outcome.err
    np.savez(tmp_path / "other.npz", text=np.zeros((3, 100)))
    outcome = affectstream("evaluate", "face", "--data", str(tmp_path / "other.npz"))
    assert outcome.code == 2
    assert "no array images" in outcome.err


@pytest.mark.usefixtures("unloaded")
def test_a_report_that_cant_be_written_is_told_first(affectstream: Run, opinions: Path, tmp_path: Path) -> None:
    for report in (tmp_path, tmp_path / "gone" / "page.html"):
        outcome = affectstream("evaluate", "text", "--data", str(opinions), "--report", str(report))
        assert outcome.code == 2
        assert outcome.err.count("\n") == 1
        assert "report" in outcome.err


def test_a_model_folder_that_is_none(affectstream: Run, opinions: Path, tmp_path: Path) -> None:
    outcome = affectstream("evaluate", "text", "--data", str(opinions), "--model", str(tmp_path / "gone"))
    assert outcome.code == 2
    assert "gone" in outcome.err
    assert outcome.err.count("\n") == 1


class Operators:
    """Those of a model, of which the evaluation asks its names alone."""

    closed = 0

    def __init__(self, _model: Path | None, _device: str) -> None:
        self.model = SimpleNamespace(name="fake", digest="0" * 64, licence="any")

    def close(self) -> None:
        Operators.closed += 1


def test_clips_go_through_the_pipeline(affectstream: Run, inline: FakeInline, tmp_path: Path) -> None:
    inline.LoadedOperators = Operators  # type: ignore[assignment]
    for name in ("a.mp4", "b.mp4", "b.vtt"):
        (tmp_path / name).write_bytes(b"")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("media,transcript,label\na.mp4,,1\nb.mp4,b.vtt,-1\n")
    outcome = affectstream("evaluate", "clips", "--data", str(manifest), "--json")
    assert (outcome.code, outcome.err) == (0, "")
    figures = json.loads(outcome.out)["clips"]
    assert (figures["rows"], figures["unanswered"]) == (2, 0)
    assert [asked["transcript"] for asked in inline.asked] == [None, str(tmp_path / "b.vtt")]
    assert not any(asked["provisional"] for asked in inline.asked)
    assert all(session.closed for session in inline.sessions)
    assert Operators.closed == 1


def test_a_clip_that_cannot_be_analysed_is_told_with_its_line_and_left_out(
    affectstream: Run, inline: FakeInline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.LoadedOperators = Operators  # type: ignore[assignment]
    good = inline.open_session

    def open_session(source: str, **options: Any) -> FakeSession:
        if source.endswith("b.mp4"):
            raise SourceError(f"source {source}", found="no media", expected="media")
        return good(source, **options)

    monkeypatch.setattr(inline, "open_session", open_session)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("media,label\na.mp4,1\nb.mp4,-1\nc.mp4,1\n")
    outcome = affectstream("evaluate", "clips", "--data", str(manifest), "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["clips"]["rows"] == 2
    told = " ".join(outcome.err.split())
    assert "line 3" in told
    assert "no media" in told
    manifest.write_text("media,label\nb.mp4,-1\n")
    outcome = affectstream("evaluate", "clips", "--data", str(manifest))
    assert outcome.code == 2
    assert "no clip that can be analysed" in " ".join(outcome.err.split())


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(SettingsError, match=device):
        check_device(device)
    check_device("cpu")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from deploy.cli.app import run; run(['evaluate', '--help']); "
        "sys.exit(bool({'torch', 'cv2', 'sklearn'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in ("face", "speech", "text", "clips"):
        assert part in done.stdout


def test_the_command_line_knows_the_group() -> None:
    assert run(["evaluate", "text"]) == 2
