from __future__ import annotations

import pytest
import torch

from operators.encoders.text import TEXT_DIM, TextEncoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def test_embeddings_have_length_one_and_do_not_depend_on_neighbours(encoder: TextEncoder) -> None:
    texts = ["I loved it.", "a much longer sentence about nothing at all", "no"]
    together = encoder.encode(texts)
    assert together.shape == (3, TEXT_DIM)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    for row, text in zip(together, texts, strict=True):
        assert torch.equal(row, encoder.encode([text])[0])


def test_padding_is_masked(encoder: TextEncoder) -> None:
    texts = ["no", "a much longer sentence about nothing at all"]
    torch.testing.assert_close(encoder._embed(texts), encoder.encode(texts), atol=1e-5, rtol=0)


def test_like_sentences_are_nearer_than_unlike_ones(encoder: TextEncoder) -> None:
    film, movie, train = encoder.encode(["The film was wonderful!", "what a great movie", "The train leaves at six."])
    assert film @ movie > film @ train + 0.2


def test_long_and_odd_texts_pass(encoder: TextEncoder) -> None:
    assert torch.isfinite(encoder.encode(["word " * 5_000, "\u200b", "日本語", "🙂"])).all()
