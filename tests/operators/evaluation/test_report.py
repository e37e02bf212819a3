from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest

from operators.evaluation.judgement import (
    DEFINITIONS,
    SUFFIXES,
    Judged,
    JudgedClasses,
    JudgedSentiment,
    JudgedSplit,
    figures_of,
)
from operators.evaluation.report import WORST, Subject, report_page
from operators.evaluation.voice_robustness import DEGRADATIONS

SUBJECT = Subject(model="m<odel>", digest="0" * 64, licence="any", data="d&ta.csv", command="affectstream evaluate text")
ROWS = 40


class Page(HTMLParser):
    """What of a page would be fetched, and what would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]


def judged(kind: str) -> Judged:
    random = np.random.default_rng(0)
    if kind == "sentiment":
        truth, predicted = random.uniform(-3, 3, ROWS), random.uniform(-3, 3, ROWS)
        return JudgedSentiment(truth=truth, predicted=predicted, low=predicted - 1, high=predicted + 1, level=0.9)
    probabilities = random.dirichlet([1.0] * 3, ROWS).astype(np.float32)
    return JudgedClasses(labels=("a", "<b>", "c"), truth=random.integers(0, 3, ROWS), probabilities=probabilities)


def page(kind: str, pictures: np.ndarray | None = None) -> str:
    split = JudgedSplit(judged=judged(kind), items=[f"row <{k}>" for k in range(ROWS)], pictures=pictures)
    return report_page(SUBJECT, {"va<lid>": split}, {"va<lid>": figures_of(split, resamples=20)})


@pytest.mark.parametrize("kind", ["classes", "sentiment"])
def test_the_page_asks_for_nothing_and_runs_nothing(kind: str) -> None:
    text = page(kind, np.zeros((ROWS, 48, 48), np.uint8))
    found = Page(text)
    assert all(address.startswith("data:image/png;base64,") for address in found.fetched)
    assert len(found.fetched) == WORST
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("kind", ["classes", "sentiment"])
def test_what_comes_from_outside_is_text(kind: str) -> None:
    text = page(kind)
    assert "va&lt;lid&gt;" in text
    assert "m&lt;odel&gt; on d&amp;ta.csv" in text
    assert not re.search(r"<(\d|b>|odel|lid)", text)


@pytest.mark.parametrize("kind", ["classes", "sentiment"])
def test_three_plots_that_are_well_formed(kind: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", page(kind), re.DOTALL)
    assert len(plots) == 3
    confusion, reliability, errors = (ElementTree.fromstring(plot) for plot in plots)
    side = 3 if kind == "classes" else 7
    assert len(confusion.findall("rect")) == side**2
    counts = [int(t.text or "") for t in confusion.findall("text") if t.get("text-anchor") == "middle"]
    assert sum(counts) == ROWS
    assert reliability.findall("circle")
    assert 1 <= len(errors.findall("rect")) <= side
    for plot in (confusion, reliability, errors):
        width, height = (float(plot.get(name) or 0) for name in ("width", "height"))
        for shape in plot.iter():
            assert float(shape.get("x") or 0) <= width
            assert float(shape.get("y") or 0) <= height


def test_the_worst_examples_are_the_worst() -> None:
    rows = judged("sentiment")
    assert isinstance(rows, JudgedSentiment)
    worst = int(np.abs(rows.truth - rows.predicted).argmax())
    listed = re.findall(r"row &lt;(\d+)&gt;", page("sentiment"))
    assert len(listed) == WORST
    assert int(listed[0]) == worst


def test_what_is_not_defined_is_said_to_be() -> None:
    split = JudgedSplit(
        judged=JudgedSentiment(truth=np.zeros(3), predicted=np.zeros(3), low=np.zeros(3), high=np.zeros(3), level=0.9),
        items=["a", "b", "c"],
    )
    text = report_page(SUBJECT, {"all": split}, {"all": figures_of(split, resamples=5)})
    assert "not defined" in text
    assert ">nan<" not in text


def test_what_the_same_rows_were_also_judged_by_is_defined() -> None:
    """As `evaluate speech` judges them: some of the conditions' names have underscores."""
    conditions = [*SUFFIXES, *DEGRADATIONS]
    split = JudgedSplit(
        judged=judged("classes"), items=["row"] * ROWS, further={name: judged("classes") for name in conditions}
    )
    text = report_page(SUBJECT, {"valid": split}, {"valid": figures_of(split, resamples=5)})
    for name in conditions:
        row = re.search(rf"<tr><td><code>macro_f1_{name}</code>.*?</tr>", text)
        assert row is not None
        assert escape(f"{DEFINITIONS['macro_f1']}; {SUFFIXES[name]}") in row.group()
