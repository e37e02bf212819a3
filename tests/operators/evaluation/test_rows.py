from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.rows import by_split, check_every_class, class_of, read_table, sentiment_of
from stream.errors import DatasetError

NEEDED = ("text", "label")


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_carry_the_number_of_their_line(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, '\ufefftext,label,more\n"a\nb",1\nc,2,d\n'), NEEDED)
    assert rows == [(3, {"text": "a\nb", "label": "1", "more": ""}), (4, {"text": "c", "label": "2", "more": "d"})]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "empty file"),
        ("text,labels\na,1\n", "no column label among text, labels"),
        ("text,label\n", "no row"),
        ("text,label\na,1\nb\n", "line 3.*no label"),
        ("text,label\n , 1\n", "line 2.*no text"),
        (b"text,label\n\xff\xfe\x00,1\n", "UTF-8"),
        ("text,label\n" + "a" * 200_000 + ",1\n", "field larger"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, content: str | bytes, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        read_table(table(tmp_path, content), NEEDED)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read_table(tmp_path / "gone.csv", NEEDED)
    with pytest.raises(DatasetError, match="csv file"):
        read_table(tmp_path, NEEDED)


@pytest.mark.parametrize("text", ["3.1", "-4", "nan", "inf", "good", ""])
def test_labels_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(DatasetError, match=r"line 7.*-3 to 3"):
        sentiment_of(text, "line 7")
    with pytest.raises(DatasetError, match=r"line 7.*joy, anger"):
        class_of(text, ("joy", "anger"), "line 7")


def test_labels_within() -> None:
    assert sentiment_of("-3.0", "") == -3
    assert class_of("anger", ("joy", "anger"), "") == 1


def test_a_class_without_a_sample_is_named() -> None:
    check_every_class({"joy", "anger"}, ("joy", "anger"), "here")
    with pytest.raises(DatasetError, match="here: found no sample of anger"):
        check_every_class({"joy"}, ("joy", "anger"), "here")


def test_splits_in_order_of_their_first_row() -> None:
    found = by_split(["valid", "train", "valid"])
    assert list(found) == ["valid", "train"]
    np.testing.assert_array_equal(found["valid"], [0, 2])
