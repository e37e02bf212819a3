from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from operators.faces import speaker
from operators.faces.speaker import SpeakerSettings, SpeakerWeights, certainties, lagged_fit
from operators.faces.speaker_folder import DEFAULT_SPEAKER, WEIGHTS_FILE, load_speaker_weights, read_speaker_weights
from stream.errors import ModelFolderError
from stream.timeline.packets import Mouths
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND, SAMPLE_RATE

SECONDS = 4
START_NS = 7 * NS_PER_SECOND


def voice(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The course of a voice's loudness (n,) at 100 a second, and noise of that loudness, int16 at 16 kHz."""
    rng = np.random.default_rng(seed)
    steps = np.convolve(rng.standard_normal(SECONDS * 100 + 40), np.hanning(20), "same")[20:-20]
    level = 1 / (1 + np.exp(-steps))
    loud = np.interp(np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE, np.arange(len(level)) / 100, level)
    return level, (6_000 * loud**3 * rng.standard_normal(len(loud))).clip(-32768, 32767).astype(np.int16)


def lips(level: np.ndarray, *, rate: float = 25, late_ns: int = 0, light: float = 1.0, start_ns: int = START_NS) -> Mouths:
    """A face whose mouth, a dark bar, opens as a voice is loud."""
    count = int(SECONDS * rate)
    times_ns = start_ns + np.round(np.arange(count) * NS_PER_SECOND / rate).astype(np.int64)
    opening = np.interp((times_ns - start_ns - late_ns) / 1e7, np.arange(len(level)), level)
    row, column = np.mgrid[:32, :32]
    crops = []
    for k, share in enumerate(opening):
        dark = np.clip(1 + 7 * share - np.abs(row - 16), 0, 1) * (np.abs(column - 16) < 9)
        skin = 150 - 60 * dark + np.random.default_rng(k).normal(0, 2, (32, 32))
        crops.append(np.clip(light * skin, 0, 255).astype(np.uint8))
    return Mouths(times_ns=times_ns, crops=np.stack(crops))


@pytest.fixture(scope="module")
def weights() -> SpeakerWeights:
    """Projections that suit the made lips: fitted on voices that no test has."""
    pairs = []
    for seed in range(100, 106):
        level, samples = voice(seed)
        grid_ns = START_NS + np.arange(SECONDS * 25) * speaker.STEP_NS
        mouth = speaker.mouth_features([lips(level)], grid_ns)
        sound = speaker.sound_features(samples, grid_ns - START_NS)
        pairs.append((mouth - mouth.mean(0), sound - sound.mean(0)))
    mouths, sounds = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    axis = np.linalg.svd(mouths, full_matrices=False)[2][:1].T
    onto = np.linalg.lstsq(sounds, mouths @ axis, rcond=1e-3)[0]
    return SpeakerWeights(mouth=axis, sound=onto, gain=0.3, level=0.3)


@pytest.mark.parametrize("rate", [12.5, 25, 29.97, 60])
@pytest.mark.parametrize("light", [1.0, 0.4])
def test_the_face_that_moves_with_the_voice_speaks(weights: SpeakerWeights, rate: float, light: float) -> None:
    (first, heard), (second, other) = voice(1), voice(2)
    mouths = {4: [lips(first, rate=rate, light=light)], 9: [lips(second, rate=rate, light=light)]}
    assert certainties(mouths, heard, START_NS, weights)[4] > 0.9
    assert certainties(mouths, other, START_NS, weights)[9] > 0.9


def test_nobody_visible_speaks_where_the_voice_is_another(weights: SpeakerWeights) -> None:
    mouths = {1: [lips(voice(1)[0])], 2: [lips(voice(2)[0])]}
    certain = certainties(mouths, voice(3)[1], START_NS, weights)
    assert certain.keys() == {1, 2}
    assert max(certain.values()) < SpeakerSettings().certain
    assert sum(certain.values()) < 1


def test_a_still_mouth_does_not_speak(weights: SpeakerWeights) -> None:
    level, samples = voice(1)
    certain = certainties({1: [lips(np.full_like(level, 0.3))], 2: [lips(level)]}, samples, START_NS, weights)
    assert certain[2] > 0.9
    still = lips(level)
    frozen = msgspec.structs.replace(still, crops=np.repeat(still.crops[:1], len(still.crops), axis=0))
    assert certainties({1: [frozen]}, samples, START_NS, weights)[1] < 0.5


@pytest.mark.parametrize("late_ms", [-80, 0, 80])
def test_sound_may_be_off_by_two_frames(weights: SpeakerWeights, late_ms: int) -> None:
    level, samples = voice(1)
    mouths = {1: [lips(level, late_ns=late_ms * NS_PER_MS)], 2: [lips(voice(2)[0])]}
    assert certainties(mouths, samples, START_NS, weights)[1] > 0.8


def test_it_depends_on_no_order_and_on_no_track_number(weights: SpeakerWeights) -> None:
    level, samples = voice(1)
    one, other = [lips(level)], [lips(voice(2)[0])]
    given = certainties({1: one, 2: other}, samples, START_NS, weights)
    assert given == certainties({2: other, 1: one}, samples, START_NS, weights)
    assert sorted(given.values()) == sorted(certainties({7: other, 8: one}, samples, START_NS, weights).values())


def test_mouths_in_pieces_are_the_same_mouth(weights: SpeakerWeights) -> None:
    level, samples = voice(1)
    whole = lips(level)
    pieces = [Mouths(times_ns=whole.times_ns[k : k + 5], crops=whole.crops[k : k + 5]) for k in range(0, len(whole.crops), 5)]
    assert certainties({1: pieces}, samples, START_NS, weights) == certainties({1: [whole]}, samples, START_NS, weights)


def test_who_is_seen_too_shortly_or_too_seldom_is_not_judged(weights: SpeakerWeights) -> None:
    level, samples = voice(1)
    whole = lips(level)
    short = Mouths(times_ns=whole.times_ns[:20], crops=whole.crops[:20])
    seldom = Mouths(times_ns=whole.times_ns[::5], crops=whole.crops[::5])
    elsewhere = lips(level, start_ns=START_NS + 20 * NS_PER_SECOND)
    assert certainties({1: [short], 2: [seldom], 3: [elsewhere], 4: []}, samples, START_NS, weights) == {}
    assert certainties({1: [short], 2: [whole]}, samples, START_NS, weights).keys() == {2}
    assert certainties({1: [whole]}, samples[:1], START_NS, weights) == {}
    assert certainties({1: [whole]}, samples[:0], START_NS, weights) == {}


def test_what_was_hidden_for_a_second_is_not_compared(weights: SpeakerWeights) -> None:
    level, samples = voice(1)
    whole = lips(level)
    hidden = (whole.times_ns >= START_NS + NS_PER_SECOND) & (whole.times_ns < START_NS + 2 * NS_PER_SECOND)
    rest = Mouths(times_ns=whole.times_ns[~hidden], crops=whole.crops[~hidden])
    grid_ns = START_NS + np.arange(SECONDS * 25) * speaker.STEP_NS
    seen = speaker.visible_steps([rest], grid_ns, SpeakerSettings().max_gap_ns)
    assert not seen[25:50].any()
    assert seen[:24].all()
    assert seen[50:].all()
    assert certainties({1: [rest], 2: [lips(voice(2)[0])]}, samples, START_NS, weights)[1] > 0.8


def test_digital_silence_and_noise_are_no_voice(weights: SpeakerWeights) -> None:
    mouths = {1: [lips(voice(1)[0])]}
    noise = (300 * np.random.default_rng(0).standard_normal(SECONDS * SAMPLE_RATE)).astype(np.int16)
    for samples in (np.zeros(SECONDS * SAMPLE_RATE, np.int16), noise):
        certain = certainties(mouths, samples, START_NS, weights)[1]
        assert 0 <= certain < 0.8


def test_the_fit_is_highest_where_one_follows_the_other() -> None:
    rng = np.random.default_rng(0)
    sound = np.stack([np.convolve(rng.standard_normal(210), np.hanning(6), "same")[5:-5] for _ in range(3)], axis=1)
    seen = np.ones(200, np.bool_)
    for lag in (-2, 0, 3):
        fit = lagged_fit(np.roll(sound, lag, axis=0), sound, seen)
        assert int(fit.argmax()) - 3 == lag
        assert fit.max() > 0.8


def test_the_weights_that_ship_are_as_pinned_and_state_their_licence() -> None:
    shipped = load_speaker_weights()
    assert shipped.licence == "any (CC BY 4.0, as stated by a derivative)"
    assert shipped.mouth.shape == (speaker.MOUTH_DIM, shipped.sound.shape[1])
    assert shipped.sound.shape[0] == speaker.SOUND_DIM
    assert shipped.gain > 0


def test_a_folder_of_weights_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"speaker\.yaml"):
        load_speaker_weights(tmp_path)
    shutil.copytree(DEFAULT_SPEAKER, tmp_path, dirs_exist_ok=True)
    with (tmp_path / WEIGHTS_FILE).open("ab") as file:
        file.write(b"0")
    with pytest.raises(ModelFolderError, match=r"speaker\.safetensors: found SHA-256"):
        load_speaker_weights(tmp_path)
    (tmp_path / "speaker.yaml").write_text("format: 2\n")
    with pytest.raises(ModelFolderError, match=r"speaker\.yaml"):
        load_speaker_weights(tmp_path)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "speaker.safetensors"
    tensors = {"mouth": np.zeros((126, 2), np.float32), "sound": np.zeros((50, 2), np.float32)}
    save_file(tensors, path)
    with pytest.raises(ModelFolderError, match="tensor certainty"):
        read_speaker_weights(path)
    save_file(tensors | {"certainty": np.ones(2, np.float32), "sound": np.zeros((50, 3), np.float32)}, path)
    with pytest.raises(ModelFolderError, match="tensor sound"):
        read_speaker_weights(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelFolderError, match="expected safetensors"):
        read_speaker_weights(path)
