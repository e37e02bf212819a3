"""Labelled rows out of files as people have them, each fault told in one line that names file, line and what is missing."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from stream.errors import DatasetError

Row = tuple[int, dict[str, str]]
"""The number of a line, and its cells by column."""


def read_columns(path: Path) -> list[str]:
    """The columns of a csv file. Raises `DatasetError` where it can't be read or is empty."""
    with _reading(path) as file:
        columns = next(csv.reader(file), [])
    if not columns:
        raise DatasetError(f"table {path}", found="an empty file", expected="columns with names in the first line")
    return columns


def read_table(path: Path, needed: Collection[str]) -> list[Row]:
    """The rows of a csv file. Raises `DatasetError` where a needed column or cell is missing, or there is no row."""
    columns = read_columns(path)
    missing = [name for name in needed if name not in columns]
    if missing:
        found = f"no column {', '.join(missing)} among {', '.join(columns)}"
        raise DatasetError(f"table {path}", found=found, expected=", ".join(needed))
    rows: list[Row] = []
    with _reading(path) as file:
        reader = csv.DictReader(file)
        for row in reader:
            empty = next((name for name in needed if not (row.get(name) or "").strip()), None)
            if empty is not None:
                raise DatasetError(f"table {path}, line {reader.line_num}", found=f"no {empty}")
            rows.append((reader.line_num, {name: row.get(name) or "" for name in columns}))
    if not rows:
        raise DatasetError(f"table {path}", found="no row")
    return rows


def class_of(name: str, labels: Sequence[str], where: str) -> int:
    """The index of a label. Raises `DatasetError` where there is no such label."""
    if name not in labels:
        raise DatasetError(where, found=f"label {name}", expected=", ".join(labels))
    return labels.index(name)


def sentiment_of(text: str, where: str) -> float:
    """A sentiment in [-3, 3]. Raises `DatasetError` where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not -3 <= value <= 3:
        raise DatasetError(where, found=f"label {text}", expected="-3 to 3")
    return value


def number_of(text: str, what: str, where: str) -> int:
    """A whole number. Raises `DatasetError` that says of what it is none."""
    try:
        return int(text)
    except ValueError:
        raise DatasetError(where, found=f"{what} {text}", expected="a number") from None


def check_every_class(present: Collection[str], labels: Sequence[str], where: str) -> None:
    """Each label has a sample. Raises `DatasetError`: else a mean over classes would not say what it says."""
    absent = [label for label in labels if label not in present]
    if absent:
        raise DatasetError(where, found=f"no sample of {', '.join(absent)}", expected=f"some of each of {', '.join(labels)}")


def by_split(splits: Iterable[str]) -> dict[str, np.ndarray]:
    """The numbers of the rows of each split, int64 (m,), splits in order of their first row."""
    found: dict[str, list[int]] = {}
    for row, split in enumerate(splits):
        found.setdefault(split, []).append(row)
    return {split: np.array(rows) for split, rows in found.items()}


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    """The file, opened; what can go wrong with it becomes `DatasetError`."""
    what = f"table {path}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except FileNotFoundError as error:
        raise DatasetError(what, found="no such file", fix="check the path") from error
    except OSError as error:
        raise DatasetError(what, found=error.strerror, expected="a csv file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(what, found=str(error), expected="a csv file in UTF-8") from error
