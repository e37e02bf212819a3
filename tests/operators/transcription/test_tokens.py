from __future__ import annotations

from pathlib import Path

import pytest

from operators.packaged_weights import MOONSHINE_TINY, verified_folder
from operators.transcription.tokens import END, START, read_tokens, words_of
from stream.errors import ModelFolderError

BLOCK = "\u2581".encode()


def test_the_packaged_table_has_its_marks() -> None:
    tokens = read_tokens(verified_folder(MOONSHINE_TINY) / "tokenizer.bin")
    assert len(tokens) == 32_768
    assert (tokens[START], tokens[END]) == (b"<s>", b"</s>")


def test_lengths_of_two_bytes_and_a_cut_table(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(bytes([2]) + b"ab" + bytes([0]) + bytes([128 + 44, 2]) + b"c" * 300)
    assert read_tokens(path) == [b"ab", b"", b"c" * 300]
    for cut in (2, 5, 200):
        path.write_bytes(path.read_bytes()[:cut] if cut < 6 else bytes([2]) + b"ab" + bytes([128 + 44, 2]) + b"c" * cut)
        with pytest.raises(ModelFolderError, match="cut at the end"):
            read_tokens(path)


def test_tokens_join_to_words_with_their_probabilities() -> None:
    table = [b"", b"", b"", BLOCK + b"caf", b"\xc3", b"\xa9", BLOCK, b"x", BLOCK * 3]
    words = words_of(table, [3, 4, 5, 6, 7, 8], [-0.1, -0.2, -0.3, -0.4, -0.5, -0.6])
    assert [(word.text, word.log_probabilities) for word in words] == [("café", (-0.1, -0.2, -0.3)), ("x", (-0.4, -0.5))]


def test_broken_utf8_is_replaced_not_raised() -> None:
    assert [word.text for word in words_of([b"a\xff"], [0], [-1.0])] == ["a\ufffd"]
