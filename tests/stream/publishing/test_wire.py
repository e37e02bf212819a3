from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import PublishingError
from stream.publishing.wire import Message, SessionEvent, pack, unpack

HEADER = b'{"version":1,"publisher_epoch":1,"sequence":1,"global_sequence":1,"published":"now"}'


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"prediction/s", b"session/s", HEADER, HEADER + b"\n{}"]), max_size=4)
)
@settings(deadline=None, max_examples=300)
def test_frames_are_a_message_or_one_error(frames: list[bytes]) -> None:
    try:
        outcome: Message | str = unpack(frames)
    except PublishingError as error:
        outcome = str(error)
    assert isinstance(outcome, Message) or (outcome and "\n" not in outcome)


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20),
    st.integers(1, 2**53),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.none()),
)
@settings(deadline=None, max_examples=50)
def test_what_is_packed_unpacks_to_the_same(session: str, sequence: int, summary: dict[str, int | None]) -> None:
    event = SessionEvent(session=session, event="ended", summary=summary)
    message = unpack(pack(event, publisher_epoch=5, sequence=sequence, global_sequence=sequence))
    assert message.body == event
    assert message.body.session == session
    assert (message.header.publisher_epoch, message.header.sequence) == (5, sequence)
