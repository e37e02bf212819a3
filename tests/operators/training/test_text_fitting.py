from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from operators.encoders.adapters import TextAdapters
from operators.encoders.minilm import PackedMiniLM
from operators.encoders.text import TextEncoder, text_tokenizer
from operators.interface import EMOTIONS
from operators.packaged_weights import MINILM, verified_folder
from operators.training.epochs import CHOSEN_BY
from operators.training.text_fitting import AdaptedMiniLM, TextRecipe, TextTraining, fit_text, polarity_of, rarity_weights
from operators.training.text_rows import TextBatches, TextRows, WrittenTexts, states_below

OPINIONS = ["I loved it.", "An awful film!", "It was long, and good.", "boring", "the best i have seen", "I hated the end."]
UTTERANCES = ["Wow!", "Oh no, he's dead.", "The train leaves at six.", "Get out of here!", "ugh, that smells", "I'm so happy."]
QUICK = TextRecipe(rank=4, first_layer=4, dropout=0.0, head_dropout=0.0, opinions=6, utterances=6, patience=80)


@pytest.fixture(scope="module")
def network() -> PackedMiniLM:
    return PackedMiniLM(verified_folder(MINILM), torch.device("cpu"))


@pytest.fixture(scope="module")
def rows(network: PackedMiniLM) -> TextRows:
    """Six opinions and utterances in two ways."""

    def states(texts: list[str]) -> WrittenTexts:
        return WrittenTexts(ways=(texts, [text.upper().strip(".!") for text in texts]))

    return TextRows(
        opinions=states_below(network, 4, states(OPINIONS)),
        sentiment=torch.tensor([2.5, -2.0, 0.5, -1.5, 3.0, -2.5]),
        utterances=states_below(network, 4, states(UTTERANCES)),
        emotions=torch.tensor([EMOTIONS.index(e) for e in ("surprise", "sadness", "neutral", "anger", "disgust", "joy")]),
        polarities=torch.tensor([2, 0, 1, 0, -1, 2]),
    )


def some_adapters(first_layer: int = 0) -> TextAdapters:
    """Adapters that change something."""
    adapters = TextAdapters(4, first_layer)
    generator = torch.Generator().manual_seed(first_layer)
    for adapter in adapters:
        torch.nn.init.normal_(adapter.up, std=0.05, generator=generator)
    return adapters


@pytest.mark.parametrize("first_layer", [0, 4])
def test_adapters_beside_the_packaged_weights_compute_what_merged_ones_do(network: PackedMiniLM, first_layer: int) -> None:
    adapters = some_adapters(first_layer)
    states = states_below(network, first_layer, WrittenTexts(ways=(OPINIONS,))).plain
    beside = AdaptedMiniLM(network, adapters).eval()
    with torch.inference_mode():
        found = beside(torch.cat(states), [len(text) for text in states])
    merged = TextEncoder(adapters=adapters).encode(OPINIONS)
    torch.testing.assert_close(found, merged, atol=2e-3, rtol=0)  # states are kept in half precision
    assert (merged - TextEncoder().encode(OPINIONS)).norm(dim=1).min() > 0.1


def test_few_rows_are_learnt_by_heart(network: PackedMiniLM, rows: TextRows, tmp_path: Path) -> None:
    module = fit_text(network, rows, rows, tmp_path, epochs=80, recipe=QUICK)
    features = embedded(module, rows)
    assert (module.sentiment(features[0])[:, 0] - rows.sentiment).abs().mean() < 0.15
    assert torch.equal(module.emotion(features[1]).argmax(1), rows.emotions)


def embedded(module: TextTraining, rows: TextRows) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        found = [
            module.encoder(torch.cat(texts.plain), [len(text) for text in texts.plain])
            for texts in (rows.opinions, rows.utterances)
        ]
    return found[0], found[1]


def test_a_seed_gives_the_same_again_and_a_run_that_was_broken_off_too(
    network: PackedMiniLM, rows: TextRows, tmp_path: Path
) -> None:
    recipe = TextRecipe(rank=4, first_layer=4, opinions=2, utterances=2)

    def weights(folder: str, *, seed: int = 1) -> dict[str, Tensor]:
        return fit_text(network, rows, rows, tmp_path / folder, epochs=3, seed=seed, recipe=recipe).state_dict()

    whole = weights("whole")

    class BrokenError(Exception):
        pass

    def break_off(self: TextTraining) -> None:
        if self.current_epoch == 2:
            raise BrokenError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextTraining, "on_train_epoch_end", break_off)
        with pytest.raises(BrokenError):
            weights("broken")
    for again in (weights("again"), weights("broken")):
        for name, tensor in whole.items():
            torch.testing.assert_close(again[name], tensor, atol=0, rtol=0)
    assert not torch.equal(weights("other", seed=2)["emotion.output.weight"], whole["emotion.output.weight"])


def test_a_run_that_got_worse_loses_no_whole_epoch_either(
    network: PackedMiniLM, rows: TextRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TextRecipe(rank=4, first_layer=4, opinions=2, utterances=2, patience=9)
    begun: list[int] = []

    def weights(folder: str) -> dict[str, Tensor]:
        return fit_text(network, rows, rows, tmp_path / folder, epochs=4, recipe=recipe).state_dict()

    def worse_each_time(self: TextTraining) -> None:
        self._judged.clear()
        self.log(CHOSEN_BY, float(self.current_epoch))

    class BrokenError(Exception):
        pass

    def break_off(self: TextTraining) -> None:
        if self.current_epoch == 3:
            raise BrokenError

    monkeypatch.setattr(TextTraining, "on_validation_epoch_end", worse_each_time)
    whole = weights("whole")
    with monkeypatch.context() as patch:
        patch.setattr(TextTraining, "on_train_epoch_end", break_off)
        with pytest.raises(BrokenError):
            weights("broken")
    monkeypatch.setattr(TextTraining, "on_train_epoch_end", lambda self: begun.append(self.current_epoch))
    again = weights("broken")
    assert begun == [3]
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, atol=0, rtol=0)


def test_an_epoch_holds_every_utterance_once_and_validation_all_rows_as_they_are(rows: TextRows) -> None:
    train = TextBatches(rows, opinions=4, utterances=2, plain=0.5, seed=(0, 0))
    first, again, other = (list(TextBatches(rows, opinions=4, utterances=2, plain=0.5, seed=(0, e))) for e in (0, 0, 1))
    assert len(train) == len(first) == 3
    assert sorted(torch.cat([batch.emotions for batch in first]).tolist()) == sorted(rows.emotions.tolist())
    assert all(torch.equal(a.states, b.states) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.emotions, b.emotions) for a, b in zip(first, other, strict=True))
    valid = list(TextBatches(rows, opinions=4, utterances=4))
    assert torch.equal(torch.cat([batch.sentiment for batch in valid]), rows.sentiment)
    assert torch.equal(torch.cat([batch.states for batch in valid]), torch.cat([*rows.opinions.plain, *rows.utterances.plain]))


def test_tokenizer_takes_no_notice_of_capitals() -> None:
    tokenizer = text_tokenizer()
    assert tokenizer.encode("I LOVED IT").ids == tokenizer.encode("i loved it").ids


def test_seldom_emotions_weigh_more_and_opinions_without_sign_have_no_polarity() -> None:
    classes = torch.tensor([0] * 16 + [1])
    weights = rarity_weights(classes, 0.25)
    assert float(weights[1] / weights[0]) == pytest.approx(2)
    assert torch.equal(rarity_weights(classes, 0.0), torch.ones(len(EMOTIONS)))
    assert polarity_of(torch.tensor([-0.2, 0.0, 3.0])).tolist() == [0, -1, 2]
