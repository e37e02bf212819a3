from __future__ import annotations

import io
import json
import re

import msgspec
import pytest
from cli_fakes import prediction
from rich.console import Console

from deploy.cli import render, summary
from deploy.cli.terminal import printable
from deploy.cli.view import PredictionView
from stream.prediction import Prediction

SECOND = 1_000_000_000


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, highlight=False, emoji=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "0:00.0"),
        (59_990_000_000, "0:59.9"),
        (60 * SECOND, "1:00.0"),
        (3_599_999_999_999, "59:59.9"),
        (3_600 * SECOND, "1:00:00.0"),
        (-1_500_000_000, "-0:01.5"),
    ],
)
def test_session_time_reads_as_a_clock(ns: int, expected: str) -> None:
    assert render.clock(ns) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "   │   "),
        (0.5, "   │╸  "),
        (1.0, "   │━  "),
        (2.4, "   │━━╸"),
        (3.0, "   │━━━"),
        (-0.5, "  ╺│   "),
        (-1.5, " ╺━│   "),
        (-3.0, "━━━│   "),
    ],
)
def test_the_bar_of_sentiment(value: float, expected: str) -> None:
    assert render.sentiment_bar(value).plain == expected


def test_columns_stand_under_their_headings() -> None:
    line = render.row(prediction(2, 6.5, -0.04, "words", text="pending", video="shed")).plain
    for heading, expected in (("time", "0:02.0"), ("emotion", "joy"), ("TAV", "…A×"), ("words", "words")):
        at = render.HEADINGS.index(heading)
        assert line[at : at + len(expected)] == expected
    assert "+0.0" in line


def test_a_row_without_anything_keeps_its_columns() -> None:
    line = render.row(prediction(0, 2, None, kind="hole", text="absent")).plain
    assert line.index("(nothing is known of this stretch)") == render.ROW_WIDTH


def test_words_that_do_not_fit_go_on_below_themselves() -> None:
    words = "one two three four five six seven eight nine ten"
    lines = render.row(prediction(0, 2, 1.0, words), width=80).plain.split("\n")
    assert len(lines) > 1
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(line[render.ROW_WIDTH :] for line in lines) == words
    assert all(line[: render.ROW_WIDTH].isspace() for line in lines[1:])


def test_a_word_that_is_wider_than_its_column_is_broken() -> None:
    lines = render.row(prediction(0, 2, 1.0, "x" * 90), width=80).plain.split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert sum(line.count("x") for line in lines) == 90


def test_text_from_outside_is_one_harmless_line() -> None:
    assert printable("a\x1b[31mb\r\nc\x07\u202ed\x9be") == "a [31mb c d e"


def test_sentiment_over_time_is_weighted_by_overlap() -> None:
    predictions = [prediction(0, 1, 3.0), prediction(1, 4, -1.0), prediction(6, 8, 0.0), prediction(4, 6, None)]
    assert summary.sentiment_over_time(predictions, 4) == [1.0, -1.0, None, 0.0]


@pytest.mark.parametrize("width", [20, 80, 120, 400])
@pytest.mark.parametrize("length_s", [0.001, 7, 7200])
def test_the_chart_fits_its_width(width: int, length_s: float) -> None:
    chart = summary.sentiment_chart([prediction(0, length_s, 3.0)], width, reverse=False)
    lines = chart.plain.split("\n")
    assert len(lines) == 2 * summary.CHART_ROWS + 2
    assert all(len(line) <= max(width, 20) for line in lines)
    assert "█" in lines[0]


def test_the_chart_goes_up_and_down() -> None:
    up, down = (summary.sentiment_chart([prediction(0, 1, v)], 40, reverse=False).plain.split("\n") for v in (1.0, -1.0))
    assert set("".join(up[:2])) & set("▁▂▃▄▅▆▇█")
    assert not set("".join(up[3:5])) & set("▔▀█")
    assert not set("".join(down[:2])) & set("▁▂▃▄▅▆▇█")
    assert set("".join(down[3:5])) & set("▔▀█")


def test_emotion_shares_are_weighted_by_time() -> None:
    shares = summary.emotion_shares([prediction(0, 3, 1.0, emotion="joy"), prediction(3, 4, 1.0, emotion="anger")])
    assert shares == pytest.approx({"joy": 0.48, "neutral": 0.36, "anger": 0.16})
    assert list(shares) == ["joy", "neutral", "anger"]
    assert summary.emotion_shares([prediction(0, 3, None)]) == {}


def test_the_tally_keeps_the_newest_final_state_of_each_segment() -> None:
    tally = summary.Tally()
    first, amended = prediction(0, 2, 1.0, text="pending"), prediction(0, 2, 2.0, "late words", status="amended", revision=2)
    for one in (prediction(2, 4, 0.0), prediction(0, 1, 0.5, status="provisional"), first, amended):
        tally.add(one)
    assert tally.finals == [amended, prediction(2, 4, 0.0)]


def test_on_a_terminal_the_provisional_one_moves_and_the_final_one_stays() -> None:
    console = terminal(80)
    with PredictionView(console, console, position_ns=lambda: 3 * SECOND, duration_ns=12 * SECOND) as view:
        view.show(prediction(2, 3, 0.4, "Thank", status="provisional"))
        assert view._live is not None
        view._live.refresh()
        view.show(prediction(2, 4, 1.2, "Thank you"))
    output = written(console)
    assert output.count("time          sentiment") == 1
    assert "Thank you" in output
    assert "0:03.0" in output
    assert "25%" in output
    assert output.endswith("\x1b[?25h") or "\x1b[?25h" in output  # the cursor is back


def test_without_a_live_console_only_final_ones_show() -> None:
    console = Console(file=io.StringIO(), width=80)
    with PredictionView(console, None, position_ns=lambda: 0) as view:
        view.show(prediction(2, 3, 0.4, "Thank", status="provisional"))
        view.show(prediction(2, 4, 1.2, "Thank you"))
    assert written(console).count("–") == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_figures_are_a_table_or_one_object(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    class Latency(msgspec.Struct):
        median_ms: float
        spread: tuple[float, float]

    figures = {"latency": Latency(0.123456, (1.0, 2.5)), "memory": None, "events": 5}
    render.print_figures(figures, as_json=as_json)
    output = capsys.readouterr().out
    if as_json:
        assert json.loads(output) == {"latency": {"median_ms": 0.123456, "spread": [1.0, 2.5]}, "memory": None, "events": 5}
        assert output.count("\n") == 1
    else:
        assert re.search(r"latency: median ms +0\.1235", output)
        assert re.search(r"latency: spread +1 to 2\.5", output)
        assert "memory" not in output


def test_a_prediction_without_modalities_is_a_row() -> None:
    bare = msgspec.structs.replace(prediction(0, 1, 1.0).result, modalities={}, emotions=None, valence=None, arousal=None)
    assert "···" in render.row(Prediction(result=bare)).plain
