from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from operators.faces.detection import CenterFaceDetector, Detections
from operators.faces.mouths import SIDE, MouthRecorder, MouthSettings, mouth_crop
from operators.faces.operator import FaceOperator, FaceSettings
from stream.timeline.packets import Bound, Face, Faces, VideoFrame
from stream.timeline.time import NS_PER_MS

Pictures = Callable[[np.ndarray], Any]
PERIOD_NS = 40 * NS_PER_MS
LANDMARKS = np.array([[-15, -16], [15, -16], [0, 0], [-11, 12], [11, 12]], np.float32)
"""Of a drawn face, in pixels from its nose."""


def draw(*places: tuple[float, float], opening: float = 0.0) -> np.ndarray:
    """Faces as discs with eyes and a mouth, uint8 (240, 320, 3), their noses at (x, y)."""
    picture = np.full((240, 320, 3), 90, np.uint8)
    for x, y in places:
        centre = int(x), int(y)
        cv2.circle(picture, centre, 32, (190, 190, 190), -1)
        for eye in LANDMARKS[:2]:
            cv2.circle(picture, (int(x + eye[0]), int(y + eye[1])), 4, (40, 40, 40), -1)
        cv2.ellipse(picture, (int(x), int(y) + 13), (10, 2 + int(opening)), 0, 0, 360, (30, 30, 30), -1)
    return picture


def detect_at(places: list[tuple[float, float]]) -> Detections:
    middles = np.array(places, np.float32).reshape(-1, 2)
    size = np.array([320, 240], np.float32)
    boxes = np.concatenate([(middles - 30) / size, (middles + 30) / size], axis=1)
    landmarks = (middles[:, None] + LANDMARKS) / size
    return Detections(scores=np.ones(len(middles), np.float32), boxes=boxes, landmarks=landmarks.astype(np.float32))


def run(picture: Pictures, paths: Callable[[int], list[tuple[float, float]]], count: int, **settings: Any) -> list[Faces]:
    """What the operator gives of `count` frames with faces drawn and found where `paths` says; every frame has its bound."""
    now = [0]
    operator = FaceOperator(
        lambda _: detect_at(paths(now[0])),
        lambda crops: np.zeros((len(crops), 0), np.float32),
        settings=FaceSettings(**settings),
    )
    given = []
    for k in range(count):
        now[0] = k
        at_ns = k * PERIOD_NS
        image = picture(draw(*paths(k), opening=k % 5))
        *items, bound = operator.process(VideoFrame(stream="video", sequence=k, start_ns=at_ns, end_ns=at_ns, image=image))
        assert bound == Bound(stream="video", bound_ns=at_ns)
        given += [item for item in items if isinstance(item, Faces)]
    return given


def test_a_mouth_is_in_the_middle_whatever_the_faces_size() -> None:
    small = cv2.cvtColor(draw((160, 120), opening=3), cv2.COLOR_RGB2GRAY)
    large = cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    points = LANDMARKS + np.array([160.5, 120.5], np.float32)
    crop, enlarged = mouth_crop(small, points), mouth_crop(large, points * 3)
    assert crop.shape == (SIDE, SIDE)
    assert crop.dtype == np.uint8
    assert crop[16, 16] < 70 < crop[4, 16]
    assert np.abs(crop.astype(int) - enlarged).mean() < 4


def test_each_pick_has_the_mouths_since_the_one_before(picture: Pictures) -> None:
    picks = run(picture, lambda _: [(80, 100), (230, 120)], 16)
    assert [len(pick.faces) for pick in picks] == [2] * 4
    for number, pick in enumerate(picks):
        for face in pick.faces:
            assert face.mouths is not None
            first = 5 * number - 4 if number else 0
            assert face.mouths.times_ns.tolist() == [k * PERIOD_NS for k in range(first, 5 * number + 1)]
            assert face.mouths.crops.shape == (len(face.mouths.times_ns), SIDE, SIDE)
    opened = picks[2].faces[0].mouths
    assert opened is not None
    dark = (opened.crops < 80).sum(axis=(1, 2))
    assert dark.argmax() == 3  # opening is 1, 2, 3, 4, 0


def test_a_mouth_stays_in_place_while_its_face_moves(picture: Pictures) -> None:
    picks = run(picture, lambda k: [(60 + 3 * k, 100), (250, 120 + k)], 16)
    (moving, *_) = [face.mouths for face in picks[-1].faces if face.track == 0]
    assert moving is not None
    assert len(moving.crops) == 5
    assert all(crop[16, 16] < 80 for crop in moving.crops)
    assert (moving.crops[:, 16, :4] > 80).all()


def test_with_one_face_no_frame_is_looked_at_and_there_are_no_mouths(picture: Pictures) -> None:
    assert all(face.mouths is None for pick in run(picture, lambda _: [(80, 100)], 11) for face in pick.faces)


def test_who_comes_has_a_mouth_from_then_on(picture: Pictures) -> None:
    picks = run(picture, lambda k: [(80, 100), (230, 120)] if k >= 5 else [(80, 100)], 11)
    assert [[None if f.mouths is None else len(f.mouths.times_ns) for f in p.faces] for p in picks] == [[None], [1, 1], [5, 5]]


def test_who_is_hidden_at_a_pick_lacks_the_frames_around_it(picture: Pictures) -> None:
    def paths(k: int) -> list[tuple[float, float]]:
        return [(80, 100), (230, 120)] if not 5 <= k < 10 else [(80, 100)]

    picks = run(picture, paths, 16)
    times = [f.mouths.times_ns // PERIOD_NS for p in picks for f in p.faces if f.track == 1 and f.mouths is not None]
    assert np.concatenate(times).tolist() == [0, 10, 11, 12, 13, 14, 15]


def test_a_new_epoch_forgets_the_frames_before(picture: Pictures) -> None:
    operator = FaceOperator(lambda _: detect_at([(80, 100), (230, 120)]), lambda crops: np.zeros((len(crops), 0), np.float32))
    image = picture(draw((80, 100), (230, 120)))
    for k in range(3):
        list(
            operator.process(VideoFrame(stream="video", sequence=k, start_ns=k * PERIOD_NS, end_ns=k * PERIOD_NS, image=image))
        )
    at_ns = 10 * PERIOD_NS
    operator.reset(1, at_ns)
    first, _ = operator.process(VideoFrame(stream="video", epoch=1, sequence=3, start_ns=at_ns, end_ns=at_ns, image=image))
    assert isinstance(first, Faces)
    assert [face.mouths.times_ns.tolist() for face in first.faces if face.mouths is not None] == [[at_ns], [at_ns]]


def test_what_is_held_is_bounded(picture: Pictures) -> None:
    picks = run(picture, lambda _: [(80, 100), (230, 120)], 26, rate=1, mouths=MouthSettings(most_held=10))
    mouths = picks[1].faces[0].mouths
    assert mouths is not None
    assert (mouths.times_ns // PERIOD_NS).tolist() == list(range(15, 26))


def test_a_face_at_the_edge_has_a_mouth(picture: Pictures) -> None:
    picks = run(picture, lambda _: [(5, 100), (318, 236)], 6)
    assert [len(face.mouths.crops) for face in picks[1].faces if face.mouths is not None] == [5, 5]


@pytest.mark.parametrize("size", [0.8, 1.4])
def test_real_faces_have_real_mouths(
    detector: CenterFaceDetector, picture: Pictures, canvas: Callable[..., np.ndarray], face: np.ndarray, size: float
) -> None:
    scaled = cv2.resize(face, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
    operator = FaceOperator(detector, lambda crops: np.zeros((len(crops), 0), np.float32))
    image = picture(canvas((scaled, 150, 200), (scaled, 450, 220)))
    first, _ = operator.process(VideoFrame(stream="video", sequence=0, start_ns=0, end_ns=0, image=image))
    assert isinstance(first, Faces)
    left, right = (each.mouths for each in first.faces)
    assert left is not None
    assert right is not None
    assert np.corrcoef(left.crops.ravel(), right.crops.ravel())[0, 1] > 0.8


def test_a_recorder_that_was_told_of_nobody_holds_nothing(picture: Pictures) -> None:
    recorder = MouthRecorder()
    recorder.see(picture(draw()), 0)
    assert recorder.pick([], picture(draw()), 1, None) == ()  # type: ignore[arg-type]


def test_face_keeps_its_other_fields(picture: Pictures) -> None:
    (pick,) = run(picture, lambda _: [(80, 100), (230, 120)], 1)
    assert all(isinstance(face, Face) and face.feature is None and face.crop.shape == (48, 48) for face in pick.faces)
