from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.nn import functional

from operators.datasets.fer2013 import FaceImages
from operators.encoders.face import INPUT_SIZE, network_input
from operators.training.face_augmentation import FaceAugmentation
from operators.training.face_fitting import RECIPE, Cycle, FaceBatches, FaceRecipe, FaceTraining, fit_face, one_cycle

CYCLES = (
    Cycle(until=0.3, learning_rate=0.02, sizes=((1.0, 32),)),
    Cycle(until=1.0, learning_rate=0.01, sizes=((1.0, 36),), taught=0.5),
)
QUICK = FaceRecipe(batch=16, averaging=0.5, averaging_steps=1, cycles=CYCLES)


def faces(count: int) -> FaceImages:
    """Bright upper or lower halves: two emotions."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 90, (count, 48, 48))
    emotions = np.arange(count) % 2
    images[emotions == 0, :24] += 150
    images[emotions == 1, 24:] += 150
    return FaceImages(images=images.astype(np.uint8), emotions=emotions)


def test_batches_hold_every_face_once_in_an_order_that_seed_and_epoch_give() -> None:
    some = faces(300)
    numbered = FaceImages(images=some.images, emotions=np.arange(300))
    valid = FaceBatches(numbered)
    assert torch.cat([emotions for _, emotions, _ in valid]).tolist() == list(range(300))
    assert torch.equal(torch.cat([crops for crops, _, _ in valid]), torch.from_numpy(some.images))

    def epoch(*seed: int) -> tuple[list[int], list[torch.Tensor]]:
        batches = list(FaceBatches(numbered, augmentation=FaceAugmentation(), size=40, seed=(seed[0], seed[1])))
        return [number for _, emotions, _ in batches for number in emotions.tolist()], [crops for crops, _, _ in batches]

    first, again, next_epoch, other_seed = epoch(0, 0), epoch(0, 0), epoch(0, 1), epoch(1, 0)
    assert len(set(first[0])) == len(first[0]) == 256
    assert first[0] == again[0]
    assert all(torch.equal(one, two) for one, two in zip(first[1], again[1], strict=True))
    assert first[1][0].shape == (128, 40, 40)
    assert len({tuple(order) for order, _ in (first, next_epoch, other_seed)}) == 3


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 84, 112])
def test_each_cycle_ends_with_pictures_as_the_network_sees_them(epochs: int) -> None:
    places = [RECIPE.cycle(epoch, epochs) for epoch in range(epochs)]
    for cycle in RECIPE.cycles:
        numbers = [number for found, number, _ in places if found is cycle]
        assert numbers == list(range(len(numbers)))
        assert all(count == len(numbers) for found, _, count in places if found is cycle)
        sizes = [RECIPE.size(epoch, epochs) for epoch in range(epochs) if places[epoch][0] is cycle]
        assert sizes == sorted(sizes)
        assert sizes[-1:] in ([], [INPUT_SIZE])
    assert epochs == 1 or places[-1][0] is RECIPE.cycles[-1]


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_the_learning_rate_rises_and_falls_as_the_library_has_it(steps: int) -> None:
    shares = [one_cycle(step, steps, 0.2) for step in range(steps)]
    assert all(0 <= share <= 1 for share in shares)
    if steps < 10:
        return
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, pct_start=0.2)
    rates = []
    for step in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    np.testing.assert_allclose(shares, rates, atol=1e-5)


def test_the_network_learns_a_handful_by_heart() -> None:
    few = faces(16)
    torch.manual_seed(0)
    module = FaceTraining(few, few)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    seen, truth = network_input(torch.from_numpy(few.images)), torch.from_numpy(few.emotions)
    for _ in range(30):  # as many as the running means and deviations of the batches need
        optimizer.zero_grad()
        functional.cross_entropy(module(seen), truth).backward()
        optimizer.step()
    module.eval()
    assert torch.equal(module(seen).argmax(1), truth)


def test_a_cycle_is_taught_what_the_network_said_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some, said = faces(48), list[tuple[int, torch.Tensor]]()
    step = FaceTraining.training_step

    def noted(self: FaceTraining, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        said.append((self.current_epoch, self.teaching.clone()))
        return step(self, batch, index)

    monkeypatch.setattr(FaceTraining, "training_step", noted)
    fit_face(some, some, tmp_path, epochs=4, recipe=QUICK)
    assert {epoch for epoch, teaching in said if not teaching.any()} == {0}
    taught = [teaching for epoch, teaching in said if epoch]
    assert all(torch.equal(teaching, taught[0]) for teaching in taught)
    torch.testing.assert_close(taught[0].sum(1), torch.ones(48))


class BrokenOffError(Exception):
    pass


def test_a_run_that_was_broken_off_ends_as_it_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = faces(48)
    whole = fit_face(some, some, tmp_path / "whole", epochs=3, recipe=QUICK)

    step, trained = FaceTraining.training_step, []

    def broken_off(self: FaceTraining, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        if (self.current_epoch, index) == (2, 1):
            raise BrokenOffError
        return step(self, batch, index)

    def counted(self: FaceTraining, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        trained.append(self.current_epoch)
        return step(self, batch, index)

    monkeypatch.setattr(FaceTraining, "training_step", broken_off)
    with pytest.raises(BrokenOffError):
        fit_face(some, some, tmp_path / "broken", epochs=3, recipe=QUICK)
    monkeypatch.setattr(FaceTraining, "training_step", counted)
    resumed = fit_face(some, some, tmp_path / "broken", epochs=3, recipe=QUICK)
    assert trained == [2, 2, 2]
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    # After the last epoch there is nothing to train, and what comes out is the same.
    again = fit_face(some, some, tmp_path / "broken", epochs=3, recipe=QUICK)
    assert trained == [2, 2, 2]
    torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_run_goes_on_from_a_folder_that_was_moved(tmp_path: Path) -> None:
    some = faces(32)
    half = fit_face(some, some, tmp_path / "one", epochs=1, recipe=QUICK)
    (tmp_path / "one").rename(tmp_path / "other")
    (tmp_path / "other" / "ended").unlink()
    module = fit_face(some, some, tmp_path / "other", epochs=2, recipe=QUICK)
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["ended", "face.ckpt", "last.ckpt"]
    assert not torch.equal(module.head.bias, half.head.bias)


def test_a_run_that_does_not_get_better_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(FaceTraining, "on_train_epoch_end", lambda self: epochs.append(self.current_epoch))
    still = tuple(msgspec.structs.replace(cycle, learning_rate=1e-9) for cycle in CYCLES)
    recipe = msgspec.structs.replace(QUICK, patience=0.1, cycles=still)
    fit_face(faces(16), faces(4), tmp_path, epochs=20, recipe=recipe)
    assert epochs == [0, 1, 2]
    fit_face(faces(16), faces(4), tmp_path, epochs=20, recipe=recipe)
    assert epochs == [0, 1, 2]  # asked again, as where another seed was broken off, it does not go on


def test_what_is_judged_and_kept_is_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averages = []
    monkeypatch.setattr(
        EMAWeightAveraging,
        "on_train_end",
        lambda self, *_: averages.append({name: p.clone() for name, p in self._average_model.module.state_dict().items()}),
    )
    some = faces(32)
    module = fit_face(some, some, tmp_path, epochs=1, recipe=QUICK)
    torch.testing.assert_close(module.state_dict(), averages[0], rtol=0, atol=0)
