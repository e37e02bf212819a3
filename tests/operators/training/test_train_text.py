from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.encoders.adapters import TextAdapters
from operators.heads import Head
from operators.interface import EMOTIONS
from operators.model_description import read_description
from operators.model_folder import load_model
from operators.training import text
from operators.training.text import train_text
from operators.training.text_figures import calibrated_by_others, covered_by_others
from operators.training.text_fitting import TextRecipe
from operators.training.text_merging import TrainedText, mean_of
from stream.errors import DatasetError

GOOD, BAD = ("LOVELY FILM", "I DIDNT MIND IT GREAT FUN"), ("AWFUL FILM", "I HATED IT DULL AND LONG")
SAID = {
    "neutral": "The train leaves at six.",
    "joy": "I'm so happy!",
    "sadness": "He died, I miss him.",
    "anger": "Get out of here!",
    "surprise": "Wow!",
    "fear": "I'm scared.",
    "disgust": "Ugh, that smells.",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixteen opinions of four videos and as many utterances of each emotion in each split."""
    folder = tmp_path / "data"
    (folder / "mosi").mkdir(parents=True)
    (folder / "meld").mkdir()
    with (folder / "mosi" / "segments.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "video", "clip_no", "start", "end", "text", "label", "split"])
        for split in ("train", "valid"):
            for k in range(16):
                words, label = (GOOD[k % 4 // 2], 2) if k % 2 else (BAD[k % 4 // 2], -2)
                table.writerow([f"{split}{k}", f"{split}{k // 4}", k, 0, 1, words, label, split])
    for split in ("train", "dev"):
        with (folder / "meld" / f"{split}_sent_emo.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["Utterance", "Emotion", "Sentiment", "Dialogue_ID"])
            table.writerows([said, emotion, "neutral", k] for k in range(3) for emotion, said in SAID.items())
    return folder


def test_a_data_set_becomes_a_model_and_a_second_run_the_same_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "training_cache", lambda: tmp_path / "cache")
    recipe = TextRecipe(rank=2, first_layer=5, opinions=8, utterances=7)
    figures = [train_text(data, tmp_path / name, epochs=2, seeds=2, alone=True, recipe=recipe) for name in ("one", "two")]
    assert figures[0] == pytest.approx(figures[1], nan_ok=True, abs=0)
    assert "mosi_valid_mae_mean_of_2_seeds" in figures[0]
    assert "meld_dev_weighted_f1_of_captions" in figures[0]
    part = read_description(tmp_path / "one").text
    assert part is not None
    assert part.adapters is not None
    assert (part.adapters.rank, part.adapters.first_layer) == (4, 5)
    assert part.command == "affectstream train text --epochs 2 --seeds 2 --seed 0"
    one, two = (load_model(tmp_path / name) for name in ("one", "two"))
    assert one._text is not None
    assert two._text is not None
    texts = list(SAID.values())
    assert torch.equal(one._text.encoder.encode(texts), two._text.encoder.encode(texts))
    assert not list((tmp_path / "cache").iterdir())


def test_missing_data_is_told_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    (data / "meld" / "dev_sent_emo.csv").unlink()
    with pytest.raises(DatasetError, match="dev_sent_emo"):
        train_text(data, tmp_path / "model", alone=True)
    assert not (tmp_path / "model").exists()


def trained(seed: int, rank: int = 2) -> TrainedText:
    torch.manual_seed(seed)
    adapters = TextAdapters(rank, 4)
    for adapter in adapters:
        torch.nn.init.normal_(adapter.up)
    return TrainedText(adapters=adapters, sentiment=Head(384, 1), emotion=Head(384, len(EMOTIONS)))


def test_the_mean_of_adapters_is_that_of_their_changes() -> None:
    one, other = trained(0), trained(1)
    assert mean_of([one]) is one
    mean = mean_of([one, other])
    assert mean.adapters.rank == 4
    for found, first, second in zip(mean.adapters, one.adapters, other.adapters, strict=True):
        expected = (first.change() + second.change()) / 2
        torch.testing.assert_close(found.change(), expected, atol=1e-5, rtol=1e-4)
    weights = [part.emotion.output.weight for part in (one, other)]
    torch.testing.assert_close(mean.emotion.output.weight, torch.stack(weights).mean(0))


def test_a_mean_of_lower_rank_keeps_the_most_it_can() -> None:
    one, other = trained(0), trained(1)
    full, less = mean_of([one, other]), mean_of([one, other], rank=3)
    assert less.adapters.rank == 3
    for found, expected in zip(less.adapters, full.adapters, strict=True):
        lost = torch.linalg.svdvals(expected.change().detach())[3]
        assert torch.linalg.matrix_norm((found.change() - expected.change()).detach(), 2) == pytest.approx(
            float(lost), rel=1e-3
        )


def test_coverage_is_by_intervals_of_other_groups() -> None:
    residuals = np.array([0.1] * 20 + [5.0] * 20)
    covered = covered_by_others(residuals, ["near"] * 20 + ["far"] * 20, 0.9)
    assert covered.tolist() == [True] * 20 + [False] * 20


def test_no_dialogue_sets_its_own_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, dialogues = torch.randn(200, 3, generator=generator), np.arange(200) // 4
    classes = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    other = torch.where(torch.from_numpy(dialogues) == 7, (classes + 1) % 3, classes)
    before, after = (calibrated_by_others(3 * logits, truth, dialogues) for truth in (classes, other))
    assert torch.equal(before[28:32], after[28:32])
    assert not torch.equal(before, after)
    torch.testing.assert_close(before, logits.softmax(1), atol=0.1, rtol=0)
