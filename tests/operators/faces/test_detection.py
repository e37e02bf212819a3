from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.faces.detection import CenterFaceDetector, Detections, detection_size


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((640, 480), (256, 192)),
        ((360, 288), (256, 192)),
        ((1280, 720), (288, 160)),
        ((720, 1280), (160, 288)),
        ((512, 512), (256, 256)),
        ((1, 1), (256, 256)),
    ],
)
def test_detection_size_of_usual_sources(source: tuple[int, int], size: tuple[int, int]) -> None:
    assert detection_size(*source) == size


@given(width=st.integers(1, 9_000), height=st.integers(1, 9_000))
def test_detection_size_is_small_and_in_steps_of_the_network(width: int, height: int) -> None:
    size = detection_size(width, height)
    assert 256 <= max(size) <= 320
    assert all(side > 0 and side % 32 == 0 for side in size)
    if 1 / 4 <= width / height <= 4:
        assert 0.85 < size[0] / size[1] / (width / height) < 1.18


def test_a_face_is_found_with_its_landmarks_in_order(
    detector: CenterFaceDetector, face: np.ndarray, canvas: Callable[..., np.ndarray]
) -> None:
    found = detector(cv2.resize(canvas((face, 400, 200)), (256, 192), interpolation=cv2.INTER_AREA))
    assert len(found) == 1
    x1, y1, x2, y2 = found.boxes[0]
    assert x1 < 400 / 640 < x2
    assert y1 < 200 / 480 < y2
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert 0.5 < found.scores[0] <= 1


def test_nobody_is_found_where_nobody_is(detector: CenterFaceDetector, canvas: Callable[..., np.ndarray]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (192, 256, 3), np.uint8)
    for empty in (np.zeros((192, 256, 3), np.uint8), noise, cv2.resize(canvas(), (256, 192))):
        found = detector(empty)
        assert len(found) == 0
        assert found.boxes.shape == (0, 4)
        assert found.landmarks.shape == (0, 5, 2)


def test_threads_and_other_sizes_between_change_nothing(
    detector: CenterFaceDetector, face: np.ndarray, canvas: Callable[..., np.ndarray]
) -> None:
    pictures = [cv2.resize(canvas((face, 100 + 60 * k, 240)), ((256, 192), (288, 160))[k % 2]) for k in range(6)]
    alone = [detector(picture) for picture in pictures]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(detector, pictures))
    assert sum(map(len, alone)) == 6
    for left, right in zip(alone, together, strict=True):
        assert np.array_equal(left.boxes, right.boxes)
        assert np.array_equal(left.landmarks, right.landmarks)


def test_both_faces_of_a_real_clip_are_found_in_every_frame(detector: CenterFaceDetector, shared_data: object) -> None:
    import av

    with av.open(f"{shared_data}/clips/obama_speech.mp4") as container:
        frames = [frame for k, frame in enumerate(container.decode(video=0)) if k % 12 == 0]
    size = detection_size(frames[0].width, frames[0].height)
    assert len(frames) > 5
    assert {len(detector(frame.reformat(*size, format="rgb24").to_ndarray())) for frame in frames} == {2}


def test_the_largest_come_first() -> None:
    boxes = np.array([[0, 0, 0.1, 0.1], [0, 0, 0.5, 0.5], [0, 0, 0.3, 0.3]], np.float32)
    found = Detections(scores=np.array([1, 2, 3], np.float32), boxes=boxes, landmarks=np.zeros((3, 5, 2), np.float32))
    assert found.largest(2).scores.tolist() == [2, 3]
