from __future__ import annotations

import numpy as np
import torch

from operators.datasets.meld import Utterances
from operators.datasets.mosi import Opinions
from operators.model_description import read_description
from operators.model_folder import DEFAULT_MODEL
from operators.training.card import card_of
from operators.training.text_figures import FEWEST, group_figures


def test_figures_by_group_count_the_rows_of_their_group() -> None:
    opinions = Opinions(texts=[""] * 3, sentiment=np.array([1, 2, -1], np.float32), videos=["b", "a", "b"])
    speakers = ("Ross",) * FEWEST + ("Gunther", "Carol")
    truth = np.zeros(len(speakers), np.int64)
    logits = torch.nn.functional.one_hot(torch.tensor([0] * FEWEST + [0, 3]), 7).float()
    utterances = Utterances(
        texts=[""] * len(speakers),
        emotions=truth,
        sentiments=np.array([1] * (FEWEST + 1) + [0]),
        dialogues=np.arange(len(speakers)),
        speakers=speakers,
    )
    assert group_figures(np.array([1.5, 2.0, 0.0]), opinions, logits, utterances) == {
        "mosi_valid_mae by video": {"a (1 rows)": 0.0, "b (2 rows)": 0.75},
        "meld_dev_weighted_f1 by speaker": {f"Ross ({FEWEST} rows)": 1.0, "others (2 rows)": round(2 / 3, 4)},
        "meld_dev_accuracy by sentiment": {"negative (1 rows)": 0.0, f"neutral ({FEWEST + 1} rows)": 1.0},
    }


def test_the_card_that_ships_is_that_of_its_description_and_tells_groups() -> None:
    card = (DEFAULT_MODEL / "card.md").read_text(encoding="utf-8")
    assert card == card_of(read_description(DEFAULT_MODEL))
    for told in ("## Use", "## Out of scope", "## Data and licences", "## Metrics", "## By group", "## Fusion", "## Limits"):
        assert told in card
    assert "by speaker" in card
