from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from operators.encoders.minilm import FEWEST_ROWS, PackedMiniLM
from operators.encoders.text import LONGEST_TOKENS, REMEMBERED_TEXTS, TEXT_DIM, TextEncoder
from operators.packaged_weights import MINILM, verified_folder

TEXTS = ["I loved it.", "a much longer sentence about nothing at all", "no", "", "word " * 200, "日本語 🙂 \u200b"]
WORDS = ["a", "no", "film", "was", "wonderful", "extraordinarily", "it's", "42", "?", "straßenbahn", "日本語"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=30)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As sessions compute: two threads share out the rows of a product, which need not be byte-equal then."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def compute(encoder: TextEncoder, texts: list[str]) -> list[Tensor]:
    """Embeddings, none remembered."""
    with torch.inference_mode():
        return list(encoder._embed(texts))


def test_embeddings_are_those_of_transformers(encoder: TextEncoder) -> None:
    folder = verified_folder(MINILM)
    network = transformers.BertModel(transformers.BertConfig.from_pretrained(folder), add_pooling_layer=False).eval()
    weights = load_file(folder / "model.safetensors")
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with torch.inference_mode():
        for text, embedding in zip(TEXTS, encoder.encode(TEXTS), strict=True):
            tokens = tokenizer([text], truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt")
            assert encoder._tokenizer.encode(text).ids == tokens["input_ids"][0].tolist()
            mean = network(**tokens).last_hidden_state[0].mean(0)
            torch.testing.assert_close(embedding, torch.nn.functional.normalize(mean, dim=0), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(SENTENCES, min_size=1, max_size=12), data=st.data())
@pytest.mark.parametrize("together", [True, False])
def test_however_texts_are_split_into_batches_the_bytes_are_the_same(
    encoder: TextEncoder, together: bool, texts: list[str], data: st.DataObject
) -> None:
    if together and not encoder._network.rows_stand_alone:
        pytest.skip("on this CPU rows of a product depend on their number: texts are computed one by one")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(texts)))) | {0, len(texts)})
    parts = [texts[first:last] for first, last in itertools.pairwise(cuts)]
    most_tokens = encoder._most_tokens
    try:
        encoder._most_tokens = data.draw(st.integers(8, most_tokens)) if together else 0
        whole = compute(encoder, texts)
        split = [embedding for part in parts for embedding in compute(encoder, part)]
    finally:
        encoder._most_tokens = most_tokens
    assert [embedding.numpy().tobytes() for embedding in whole] == [embedding.numpy().tobytes() for embedding in split]


def test_filling_up_a_short_text_changes_only_rounding(encoder: TextEncoder) -> None:
    short = encoder._tokenizer.encode("no").ids
    assert len(short) < FEWEST_ROWS
    with torch.inference_mode():
        (filled,) = encoder._network([short])
        beside, _ = encoder._network([short, encoder._tokenizer.encode(TEXTS[1]).ids])
    torch.testing.assert_close(filled, beside, atol=1e-6, rtol=0)


def test_embeddings_have_length_one_in_the_order_of_their_texts(encoder: TextEncoder) -> None:
    texts = [*TEXTS, TEXTS[0]]
    together = encoder.encode(texts)
    assert together.shape == (len(texts), TEXT_DIM)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(texts)))
    for row, text in zip(together, texts, strict=True):
        assert torch.equal(row, encoder.encode([text])[0])


def test_the_newest_texts_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder()
    computed: list[int] = []
    call = PackedMiniLM.__call__

    def counted(network: PackedMiniLM, texts: list[list[int]]) -> list[Tensor]:
        computed.append(len(texts))
        return call(network, texts)

    monkeypatch.setattr(PackedMiniLM, "__call__", counted)
    first = encoder.encode(["one", "two", "one"])
    assert sum(computed) == 2
    assert torch.equal(encoder.encode(["two", "one"]), first[[1, 0]])
    assert sum(computed) == 2
    encoder.encode([f"text {k}" for k in range(REMEMBERED_TEXTS - 1)])
    encoder.encode(["one"])
    assert sum(computed) == 2 + REMEMBERED_TEXTS - 1
    encoder.encode(["two"])
    assert sum(computed) == 2 + REMEMBERED_TEXTS


def test_like_sentences_are_nearer_than_unlike_ones(encoder: TextEncoder) -> None:
    film, movie, train = encoder.encode(["The film was wonderful!", "what a great movie", "The train leaves at six."])
    assert film @ movie > film @ train + 0.2


def test_long_and_odd_texts_pass(encoder: TextEncoder) -> None:
    assert torch.isfinite(encoder.encode(["word " * 5_000, "\u200b", "日本語", "🙂"])).all()
