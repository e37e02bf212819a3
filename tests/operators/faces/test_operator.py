from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.faces.detection import CenterFaceDetector, Detections
from operators.faces.operator import FaceOperator, FaceSettings
from operators.interface import largest_face
from stream.errors import OperatorError
from stream.timeline.packets import AudioChunk, Bound, Faces, FrameImage, VideoFrame, packets_equal
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

Pictures = Callable[[np.ndarray], Any]
NOBODY = Detections(
    scores=np.zeros(0, np.float32), boxes=np.zeros((0, 4), np.float32), landmarks=np.zeros((0, 5, 2), np.float32)
)


class Blank:
    """A frame that nobody is in."""

    width, height = 320, 240

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)

    def grey(self) -> np.ndarray:
        return np.zeros((self.height, self.width), np.uint8)


def means(crops: np.ndarray) -> np.ndarray:
    return crops.reshape(len(crops), -1).mean(axis=1, keepdims=True, dtype=np.float32)


def frame(at_ns: int, image: FrameImage | None = None, sequence: int = 0, epoch: int = 0) -> VideoFrame:
    return VideoFrame(stream="video", epoch=epoch, sequence=sequence, start_ns=at_ns, end_ns=at_ns, image=image or Blank())


def picks(operator: FaceOperator, times_ns: Sequence[int]) -> list[int]:
    """The times of the frames that gave faces; every frame gives its bound last."""
    picked = []
    for sequence, at_ns in enumerate(times_ns):
        *faces, bound = operator.process(frame(at_ns, sequence=sequence))
        assert bound == Bound(stream="video", bound_ns=at_ns)
        assert all(isinstance(item, Faces) and item.sequence == sequence for item in faces)
        picked += [item.start_ns for item in faces if isinstance(item, Faces)]
    return picked


def faces_of(operator: FaceOperator, packet: VideoFrame) -> Faces:
    first, _ = operator.process(packet)
    assert isinstance(first, Faces)
    (completed,) = operator.complete([first])
    assert isinstance(completed, Faces)
    return completed


@given(
    times_ns=st.lists(st.integers(0, 20 * NS_PER_SECOND), min_size=1, max_size=200, unique=True).map(sorted),
    rate=st.sampled_from([1, 3, 5, 7]),
)
def test_the_first_frame_at_or_after_each_instant_of_the_grid_is_picked(times_ns: list[int], rate: int) -> None:
    operator = FaceOperator(lambda _: NOBODY, means, settings=FaceSettings(rate=rate))
    picked = picks(operator, times_ns)
    # Instant k / rate in whole nanoseconds, rounded up.
    grid = [-(-k * NS_PER_SECOND // rate) for k in range(21 * rate)]
    expected = {next((at_ns for at_ns in times_ns if at_ns >= instant_ns), None) for instant_ns in grid} - {None}
    assert picked == sorted(at_ns for at_ns in expected if at_ns is not None)
    assert operator.sampled == len(times_ns) - len(picked)


@given(dropped=st.sets(st.integers(0, 99), max_size=60))
def test_a_drop_shifts_no_later_pick(dropped: set[int]) -> None:
    times_ns = [k * 33_333_333 for k in range(100)]
    left = [at_ns for k, at_ns in enumerate(times_ns) if k not in dropped]
    whole = set(picks(FaceOperator(lambda _: NOBODY, means), times_ns))
    thinned = set(picks(FaceOperator(lambda _: NOBODY, means), left))
    # A pick that was not dropped is picked still; new picks stand in for dropped ones, in the same fifth of a second.
    assert whole & set(left) <= thinned
    fifth = NS_PER_SECOND // 5
    assert all(at_ns in whole or any(w < at_ns and w // fifth == at_ns // fifth for w in whole) for at_ns in thinned)


def test_the_rate_can_be_halved_on_the_way() -> None:
    operator = FaceOperator(lambda _: NOBODY, means, settings=FaceSettings(rate=4))
    times_ns = [k * 50 * NS_PER_MS for k in range(40)]
    first = picks(operator, times_ns[:20])
    operator.rate = 2
    second = picks(operator, times_ns[20:])
    assert [at_ns // NS_PER_MS for at_ns in first] == [0, 250, 500, 750]
    assert [at_ns // NS_PER_MS for at_ns in second] == [1_000, 1_500]


def test_a_new_epoch_goes_on_with_the_grid_and_new_tracks(
    detector: CenterFaceDetector, picture: Pictures, canvas: Callable[..., np.ndarray], face: np.ndarray
) -> None:
    operator = FaceOperator(detector, means)
    image = picture(canvas((face, 320, 240)))
    before = faces_of(operator, frame(100 * NS_PER_MS, image))
    operator.reset(1, 250 * NS_PER_MS)
    assert [type(item) for item in operator.process(frame(260 * NS_PER_MS, image, epoch=1))] == [Bound]
    after = faces_of(operator, frame(400 * NS_PER_MS, image, epoch=1))
    assert [each.track for each in before.faces] == [0]
    assert [each.track for each in after.faces] == [1]
    assert after.epoch == 1
    operator.reset(2, 600 * NS_PER_MS)
    assert faces_of(operator, frame(600 * NS_PER_MS, image, epoch=2)).faces[0].track == 2


def test_faces_are_described_the_largest_first_and_encoded_in_one_call(
    detector: CenterFaceDetector, picture: Pictures, canvas: Callable[..., np.ndarray], face: np.ndarray
) -> None:
    calls = []

    def encode(crops: np.ndarray) -> np.ndarray:
        calls.append(crops)
        return means(crops)

    small, large = cv2.resize(face, None, fx=0.8, fy=0.8), cv2.resize(face, None, fx=1.5, fy=1.5)
    faces = faces_of(FaceOperator(detector, encode), frame(0, picture(canvas((small, 150, 150), (large, 450, 250))))).faces
    assert len(faces) == 2
    (crops,) = calls
    assert crops.shape == (2, 48, 48)
    assert crops.dtype == np.uint8
    for each, crop in zip(faces, crops, strict=True):
        assert np.array_equal(each.crop, crop)
        assert each.feature is not None
        np.testing.assert_array_equal(each.feature, means(crop[None])[0])
    assert faces[0].box[0] < 450 / 640 < faces[0].box[2]
    assert faces[1].box[0] < 150 / 640 < faces[1].box[2]


def test_picks_are_encoded_together_each_face_with_its_own_feature(
    detector: CenterFaceDetector, picture: Pictures, canvas: Callable[..., np.ndarray], face: np.ndarray
) -> None:
    calls = []

    def encode(crops: np.ndarray) -> np.ndarray:
        calls.append(len(crops))
        return means(crops)

    operator = FaceOperator(detector, encode)
    dim = (face * 0.6).astype(np.uint8)
    pictures = [canvas((face, 150, 150), (dim, 450, 250)), canvas(), canvas((dim, 320, 240))]
    frames = [frame(k * 200 * NS_PER_MS, picture(each), sequence=k) for k, each in enumerate(pictures)]
    given = [item for each in frames for item in operator.process(each) if isinstance(item, Faces)]
    assert all(each.feature is None for item in given for each in item.faces)
    completed = operator.complete(given)
    assert calls == [3]
    assert [(item.start_ns, len(item.faces)) for item in completed if isinstance(item, Faces)] == [
        (item.start_ns, len(item.faces)) for item in given
    ]
    for item in completed:
        assert packets_equal(item, *operator.complete([item]))
        for each in item.faces:
            np.testing.assert_array_equal(each.feature, means(each.crop[None])[0])
    assert calls == [3, 2, 1]


def test_the_largest_face_of_the_interface_is_the_first(
    detector: CenterFaceDetector, picture: Pictures, canvas: Callable[..., np.ndarray], face: np.ndarray
) -> None:
    large = cv2.resize(face, None, fx=1.5, fy=1.5)
    packet = faces_of(FaceOperator(detector, means), frame(0, picture(canvas((face, 150, 150), (large, 450, 250)))))
    assert largest_face(packet) is packet.faces[0]


def test_only_picked_frames_are_converted_and_small_faces_once_more(
    detector: CenterFaceDetector, picture: Pictures, canvas: Callable[..., np.ndarray], face: np.ndarray
) -> None:
    operator = FaceOperator(detector, means)
    near = picture(canvas((cv2.resize(face, None, fx=1.6, fy=1.6), 320, 240)))
    far = picture(canvas((cv2.resize(face, None, fx=0.8, fy=0.8), 320, 240)))
    skipped = picture(canvas())
    assert len(faces_of(operator, frame(0, near)).faces) == 1
    list(operator.process(frame(40 * NS_PER_MS, skipped)))
    assert len(faces_of(operator, frame(200 * NS_PER_MS, far)).faces) == 1
    assert near.asked == [(256, 192)]
    assert skipped.asked == []
    assert far.asked[0] == (256, 192)
    (again,) = far.asked[1:]
    assert 256 < again[0] <= 640


def test_a_frame_of_one_pixel_is_a_frame_without_faces(detector: CenterFaceDetector, picture: Pictures) -> None:
    assert faces_of(FaceOperator(detector, means), frame(0, picture(np.zeros((1, 1, 3), np.uint8)))).faces == ()


def test_a_crowd_is_bounded_by_the_largest() -> None:
    count = 30
    sizes = np.linspace(0.02, 0.03, count, dtype=np.float32)
    corners = np.linspace(0, 0.9, count, dtype=np.float32)
    crowd = Detections(
        scores=np.ones(count, np.float32),
        boxes=np.stack([corners, corners, corners + sizes, corners + sizes], axis=1),
        landmarks=np.repeat(corners[:, None, None] + sizes[:, None, None] / 2, 5, axis=1).repeat(2, axis=2),
    )
    faces = faces_of(FaceOperator(lambda _: crowd, means, settings=FaceSettings(most_faces=3)), frame(0)).faces
    assert [round(each.box[0], 3) for each in faces] == [round(float(corner), 3) for corner in corners[:-4:-1]]


def test_a_bare_bound_and_the_end_pass_through() -> None:
    assert list(FaceOperator(lambda _: NOBODY, means).bound(5)) == [Bound(stream="video", bound_ns=5)]
    assert list(FaceOperator(lambda _: NOBODY, means).finish(7)) == [Bound(stream="video", bound_ns=7)]


def test_another_modality_is_refused() -> None:
    chunk = AudioChunk(stream="audio", sequence=0, start_ns=0, end_ns=0, samples=np.zeros(0, np.int16), first_sample=0)
    with pytest.raises(OperatorError, match="found AudioChunk of audio, expected VideoFrame of video"):
        list(FaceOperator(lambda _: NOBODY, means).process(chunk))
