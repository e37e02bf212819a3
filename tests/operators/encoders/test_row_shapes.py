from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from operators.encoders import minilm, voice
from operators.encoders.minilm import PackedMiniLM
from operators.encoders.prosody import PROSODY_DIM
from operators.encoders.row_shapes import FEWEST_ROWS, filled_rows, row_numbers
from operators.encoders.speech import LAYERS_DIM
from operators.encoders.text import TextEncoder
from operators.encoders.voice import VoicePooling
from operators.packaged_weights import MINILM, verified_folder


@given(st.integers(0, 4096))
def test_a_little_is_filled_up_and_what_is_full_stays(rows: int) -> None:
    filled = filled_rows(rows)
    assert rows <= filled <= max(FEWEST_ROWS, rows + max(FEWEST_ROWS - 1, rows // 8))
    assert filled_rows(filled) == filled


def test_few_numbers_of_rows_are_left() -> None:
    assert len({filled_rows(rows) for rows in range(513)}) == 32


@torch.inference_mode()
def test_texts_of_all_lengths_reach_the_layers_in_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    network = PackedMiniLM(verified_folder(MINILM), torch.device("cpu"))
    seen: set[int] = set()

    def noted(layers: object, x: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        assert sum(lengths) == len(x)
        seen.add(len(x))
        return x

    monkeypatch.setattr(minilm, "run", noted)
    for length in range(1, 300):
        assert len(network([[7] * length, [8]])) == 2
    assert seen == {filled_rows(length) for length in range(2, 301)}


@torch.inference_mode()
def test_utterances_of_all_lengths_reach_the_voice_in_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    pooling = VoicePooling().eval()
    seen: set[int] = set()
    reduce = voice.VoicePooling.reduce

    def noted(self: VoicePooling, layers: torch.Tensor) -> torch.Tensor:
        seen.add(len(layers))
        return reduce(self, layers)

    monkeypatch.setattr(voice.VoicePooling, "reduce", noted)
    for length in range(1, 160):
        pooling(torch.ones(length, LAYERS_DIM), torch.zeros(PROSODY_DIM))
    assert seen == {filled_rows(length) for length in range(1, 160)}


def test_the_numbers_of_rows_are_those_that_are_filled_up_to() -> None:
    assert row_numbers(20) == [8, 16, 24]
    assert len(row_numbers(512)) == 32


@torch.inference_mode()
def test_after_they_have_been_prepared_texts_and_utterances_bring_no_new_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, pooling = TextEncoder(), VoicePooling()
    shapes: dict[str, set[int]] = {"text": set(), "voice": set()}
    run, pool = minilm.run, pooling.pool
    monkeypatch.setattr(minilm, "run", lambda layers, x, lengths: shapes["text"].add(len(x)) or run(layers[:1], x, lengths))
    monkeypatch.setattr(pooling, "pool", lambda *parts: shapes["voice"].add(parts[0].shape[1]) or pool(*parts))
    encoder.prepare()
    pooling.prepare(160)
    prepared = {name: set(seen) for name, seen in shapes.items()}
    for words in range(1, 140):
        encoder.encode(["word " * words])
    for blocks in range(1, 161):
        pooling(torch.zeros(blocks, LAYERS_DIM), torch.zeros(PROSODY_DIM))
    assert shapes == prepared
    assert all(prepared.values())
