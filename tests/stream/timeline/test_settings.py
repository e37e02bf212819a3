from __future__ import annotations

import pytest

from stream.errors import SettingsError
from stream.timeline.settings import LineSettings, TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.time import NS_PER_SECOND, Span


@pytest.mark.parametrize("name", ["cadence_ns", "text_lateness_ns", "amend_ns", "max_gap_ns", "lookback_ns"])
def test_a_length_of_time_is_positive(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"setting {name}: found 0, expected a positive number"):
        TimelineSettings(**{name: 0})


def test_speech_is_not_over_before_its_pad_is() -> None:
    with pytest.raises(SettingsError, match=r"setting hang_over_ns: found 1, expected at least pad_ns, 2"):
        UtteranceSettings(hang_over_ns=1, pad_ns=2)


def test_a_cut_for_length_leaves_something_of_the_utterance() -> None:
    with pytest.raises(SettingsError, match=r"setting longest_ns: found 3, expected more than pad \+ cut_search, 3"):
        UtteranceSettings(longest_ns=3, pad_ns=1, cut_search_ns=2, hang_over_ns=1)


@pytest.mark.parametrize(
    ("policy", "longest_ns"),
    [
        (UtteranceSettings(), 15 * NS_PER_SECOND),
        (WindowSettings(length_ns=3 * NS_PER_SECOND), 3 * NS_PER_SECOND),
        (LineSettings(lines=(Span(0, 7 * NS_PER_SECOND),)), 7 * NS_PER_SECOND),
        (LineSettings(lines=()), 2 * NS_PER_SECOND),
    ],
)
def test_the_longest_segment_is_that_of_the_policy_and_retention_follows(policy: object, longest_ns: int) -> None:
    settings = TimelineSettings(segmentation=policy)  # type: ignore[arg-type]
    assert settings.longest_segment_ns == longest_ns
    assert settings.retention_ns > 2 * longest_ns
