from __future__ import annotations

from stream.sources.media_clock import MediaClock, Verdict
from stream.sources.settings import MediaSettings
from stream.timeline.time import NS_PER_SECOND as S

SETTINGS = MediaSettings(max_backward_ns=1 * S, max_leap_ns=2 * S, max_forward_ns=30 * S, max_jump_ns=599 * S)


def clock(*, resets: bool = False, zero_ns: int = 0, declared_ns: int | None = None) -> MediaClock:
    return MediaClock(zero_ns, resets=resets, settings=SETTINGS, declared_ns=declared_ns)


def test_session_time_counts_from_zero() -> None:
    one = clock(zero_ns=5 * S)
    track = one.track()
    assert one.read(track, 5 * S, 0) is Verdict.FITS
    assert track.newest_ns is not None
    assert track.newest_ns + one.shift_ns == 0


def test_pauses_and_disorder_within_the_limits_fit() -> None:
    one = clock()
    track = one.track()
    assert [one.read(track, at * S, at * S) for at in (0, 29, 28, 58)] == [Verdict.FITS] * 4


def test_a_track_may_lie_any_span_behind_the_others() -> None:
    one = clock()
    video, audio = one.track(), one.track()
    for at in range(0, 100, 10):
        assert one.read(video, at * S, at * S) is Verdict.FITS
    assert one.read(audio, 0, 90 * S) is Verdict.FITS
    assert one.read(audio, 60 * S, 90 * S) is Verdict.FITS


def test_back_goes_on_where_the_session_is() -> None:
    one = clock()
    track = one.track()
    one.read(track, 100 * S, 100 * S)
    assert one.read(track, 7 * S, 100 * S) is Verdict.JUMPS
    assert one.jump(track, 7 * S, 100 * S) == 100 * S
    assert 8 * S + one.shift_ns == 101 * S
    assert one.read(track, 8 * S, 100 * S) is Verdict.FITS


def test_forward_keeps_its_length_unless_the_formats_clock_resets() -> None:
    for resets, at_ns in ((False, 50 * S), (True, 2 * S)):
        one = clock(resets=resets)
        track = one.track()
        one.read(track, 1 * S, 2 * S)
        assert one.read(track, 50 * S, 2 * S) is Verdict.JUMPS
        assert one.jump(track, 50 * S, 2 * S) == at_ns


def test_other_tracks_are_stale_until_they_follow_a_jump() -> None:
    one = clock(resets=True)
    video, audio, unseen = one.track(), one.track(), one.track()
    one.read(video, 100 * S, 100 * S)
    one.read(audio, 99 * S, 100 * S)
    assert one.read(video, 0, 100 * S) is Verdict.JUMPS
    one.jump(video, 0, 100 * S)
    assert one.read(audio, 99 * S + S // 2, 100 * S) is Verdict.STALE
    assert one.read(audio, S // 10, 100 * S) is Verdict.FITS
    assert one.read(audio, S // 5, 100 * S) is Verdict.FITS
    assert one.read(unseen, S // 5, 100 * S) is Verdict.FITS


def test_a_track_that_follows_no_jump_stays_stale() -> None:
    one = clock(declared_ns=2000 * S)
    video, audio = one.track(), one.track()
    one.read(video, 0, 0)
    one.read(audio, 0, 0)
    assert one.read(video, 1000 * S, 0) is Verdict.JUMPS
    one.jump(video, 1000 * S, 0)
    assert {one.read(audio, at * S, 0) for at in range(1, 20)} == {Verdict.STALE}


def test_a_leap_ahead_fits_once_it_is_confirmed() -> None:
    one = clock()
    track = one.track()
    one.read(track, 0, 0)
    assert one.read(track, 20 * S, 0) is Verdict.LEAPS
    assert one.confirms(track, 20 * S, 21 * S)
    assert not one.confirms(track, 20 * S, 1 * S)
    assert one.read(track, 20 * S, 0, confirmed=True) is Verdict.FITS


def test_beyond_the_declared_length_a_leap_is_a_jump_that_stretches_nothing() -> None:
    one = clock(declared_ns=10 * S)
    track = one.track()
    one.read(track, 5 * S, 5 * S)
    assert one.read(track, 9 * S, 5 * S) is Verdict.LEAPS
    assert one.read(track, 20 * S, 5 * S) is Verdict.JUMPS
    assert one.jump(track, 20 * S, 5 * S) == 5 * S


def test_a_jump_beyond_the_longest_stretches_nothing() -> None:
    for to_ns, at_ns in ((600 * S, 600 * S), (601 * S, 1 * S)):
        one = clock()
        track = one.track()
        one.read(track, 0, 0)
        assert one.read(track, to_ns, 1 * S) is Verdict.JUMPS
        assert one.jump(track, to_ns, 1 * S) == at_ns


def test_where_nothing_follows_what_the_header_declares_is_believed() -> None:
    declared, undeclared = clock(declared_ns=60 * S), clock()
    for one, latest_ns in ((declared, 60 * S), (undeclared, 35 * S)):
        track = one.track()
        one.read(track, 5 * S, 5 * S)
        believed = [one.confirms(track, at_ns, None) for at_ns in (4 * S, 20 * S, latest_ns, latest_ns + 1)]
        assert believed == [False, True, True, False]


def test_a_jump_that_is_taken_back_leaves_the_other_tracks_where_they_are() -> None:
    one = clock()
    video, audio = one.track(), one.track()
    one.read(video, 1 * S, 0)
    one.read(audio, 1 * S, 0)
    for to_ns in (100 * S, 1 * S + S // 10):
        assert one.read(video, to_ns, 1 * S) is Verdict.JUMPS
        one.jump(video, to_ns, 1 * S)
    assert one.read(audio, 1 * S + S // 10, 1 * S) is Verdict.FITS


def test_a_stale_track_that_jumps_by_itself_may_be_followed() -> None:
    one = clock()
    video, audio = one.track(), one.track()
    one.read(video, 0, 0)
    one.read(audio, 0, 0)
    assert one.read(audio, 100 * S, 0) is Verdict.JUMPS
    one.jump(audio, 100 * S, 0)
    assert one.read(video, 900 * S, 0) is Verdict.STALE
    assert one.read(audio, 900 * S, 0) is Verdict.JUMPS
    one.jump(audio, 900 * S, 0)
    assert one.read(video, 900 * S + S // 10, 0) is Verdict.FITS
