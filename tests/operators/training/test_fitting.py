from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from operators.datasets.fer2013 import FaceImages
from operators.encoders.face import INPUT_SIZE, normalise
from operators.heads import Head
from operators.model_folder import load_model
from operators.training import feature_cache
from operators.training.assembly import begin_folder
from operators.training.face import FaceBatches, FaceTraining, augment, put_face_part
from operators.training.feature_cache import cached_features
from operators.training.head_fitting import fit_head
from operators.training.speech import at_gain
from operators.training.text import as_sentence, with_less_punctuation


def test_a_head_learns_a_small_set_by_heart() -> None:
    features = 5 + 3 * torch.randn(1, 64, 20, generator=torch.Generator().manual_seed(0))
    classes = torch.randint(0, 7, (64,), generator=torch.Generator().manual_seed(1))
    head = Head(20, 7, hidden=64)
    fit_head(head, features, functional.one_hot(classes, 7).float(), functional.cross_entropy, epochs=150, weight_decay=0.0)
    assert (head(features[0]).argmax(1) == classes).all()


def test_a_head_finds_a_line_and_the_same_one_again() -> None:
    features = torch.randn(2, 300, 5, generator=torch.Generator().manual_seed(0))
    features[1] = features[0]
    target = features[0] @ torch.tensor([[1.0], [-2.0], [0.0], [0.5], [3.0]]) + 1
    heads = []
    for _ in range(2):
        torch.manual_seed(0)
        heads.append(Head(5, 1))
        fit_head(heads[-1], features, target, functional.l1_loss, epochs=60, learning_rate=0.03, weight_decay=0.0)
    assert functional.l1_loss(heads[0](features[0]), target) < 0.05
    torch.testing.assert_close(heads[0].state_dict(), heads[1].state_dict(), rtol=0, atol=0)


def faces(count: int) -> FaceImages:
    """Bright upper or lower halves: two emotions."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 90, (count, 48, 48))
    emotions = np.arange(count) % 2
    images[emotions == 0, :24] += 150
    images[emotions == 1, 24:] += 150
    return FaceImages(images=images.astype(np.uint8), emotions=emotions)


def test_the_face_network_learns_a_small_set_and_becomes_a_model(tmp_path: Path) -> None:
    few = faces(64)
    torch.manual_seed(0)
    module = FaceTraining()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    module.train()
    for _ in range(20):
        logits = module(augment(normalise(torch.from_numpy(few.images))))
        optimizer.zero_grad()
        functional.cross_entropy(logits, torch.from_numpy(few.emotions)).backward()
        optimizer.step()
    begin_folder(tmp_path / "model", alone=True)
    metrics = put_face_part(tmp_path / "model", module, few, command="test")
    assert metrics["fer2013_valid_accuracy"] == 1.0
    assert metrics["fer2013_valid_calibration_error"] < 0.1
    model = load_model(tmp_path / "model")
    features = torch.from_numpy(model.face_encoder.infer(few.images))
    assert model._video is not None
    with torch.inference_mode():
        probabilities = model._video.emotion.probabilities(features)
    np.testing.assert_array_equal(probabilities.argmax(1), few.emotions)


def test_batches_hold_every_face_once_in_another_order_each_epoch() -> None:
    some = faces(300)
    numbered = FaceImages(images=some.images, emotions=np.arange(300))
    valid = FaceBatches(numbered, shuffle=False)
    assert torch.cat([emotions for _, emotions in valid]).tolist() == list(range(300))
    train = FaceBatches(numbered, shuffle=True)
    first, second = ([e for _, rows in train for e in rows.tolist()] for _ in range(2))
    assert len(set(first)) == len(first) == 256
    assert first != second


def test_augmented_faces_keep_their_range_and_differ() -> None:
    batch = normalise(torch.from_numpy(faces(64).images))
    torch.manual_seed(0)
    changed = augment(batch)
    assert changed.shape == (64, 1, INPUT_SIZE, INPUT_SIZE)
    assert changed.abs().max() <= 1.25 * batch.abs().max() + 0.25
    assert not torch.equal(changed, augment(batch))


def test_features_are_computed_once_until_their_parts_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "training_cache", lambda: tmp_path)
    made: list[int] = []

    def compute() -> np.ndarray:
        made.append(len(made))
        return np.full((2, 3), len(made), np.float32)

    assert cached_features("test", ("a", b"b"), compute)[0, 0] == 1
    assert cached_features("test", ("a", b"b"), compute)[0, 0] == 1
    assert cached_features("test", ("ab", b""), compute)[0, 0] == 2
    for path in tmp_path.iterdir():
        path.write_bytes(b"broken")
    assert cached_features("test", ("a", b"b"), compute)[0, 0] == 3


def test_gain_is_limited_as_a_microphone_is() -> None:
    samples = np.array([-20_000, 100, 20_000], np.int16)
    assert at_gain(samples, 20).tolist() == [-32_768, 1_000, 32_767]
    assert at_gain(samples, 0).tolist() == samples.tolist()


def test_texts_are_varied_as_transcribers_and_captions_write() -> None:
    assert as_sentence("i loved it") == "I loved it."
    assert with_less_punctuation("No! It isn't - is it?") == "No It isn't  is it?"
