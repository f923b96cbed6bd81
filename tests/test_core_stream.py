"""`pystreamredis.core.stream`: how far one stream was read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.core.stream import StreamState, count_until
from pystreamredis.protocol.ids import before, id_of


def test_a_stream_that_starts_at_an_id_is_read_after_it() -> None:
    """Contract 2.2."""
    stream = StreamState("s", b"s", b"5-1")
    assert (stream.name, stream.key, stream.start, stream.last_id) == ("s", b"s", b"5-1", b"5-1")
    assert stream.pending == []


def test_now_is_not_known_before_the_server_was_asked() -> None:
    """Contract 2.3."""
    stream = StreamState(b"s", b"s", None)
    assert stream.start is None
    assert stream.last_id == b"0-0"


def test_a_name_stays_the_very_object_that_was_given() -> None:
    """Contract 1.3."""
    name = "".join(["str", "eam"])
    assert StreamState(name, b"stream", None).name is name


def test_nothing_is_known_of_a_new_stream() -> None:
    stream = StreamState("s", b"s", b"5-1")
    assert (stream.caught_up, stream.was_read, stream.session) == (False, False, None)
    assert (stream.last_activity, stream.reported_gap) == (0.0, None)
    assert (stream.slot, stream.place) == (None, 0)


def test_two_streams_do_not_share_pending_messages() -> None:
    one, other = StreamState("a", b"a", None), StreamState("b", b"b", None)
    one.pending.append(("a", b"1-1", {}))
    assert other.pending == []


def test_its_text_has_the_position_and_no_content() -> None:
    stream = StreamState("s", b"s", b"5-1")
    stream.pending = [("s", b"6-0", {b"card": b"number"})]
    assert repr(stream) == "<StreamState 's' at b'5-1', 1 pending>"


def _stream(start: bytes | None, last_id: bytes | None = None) -> StreamState:
    stream = StreamState("s", b"s", start)
    stream.last_id = last_id or stream.last_id
    return stream


@pytest.mark.parametrize(
    ("stream", "is_at_entry"),
    [
        (_stream(None), False),  # "now" is not pinned yet
        (_stream(None, b"5-1"), False),
        (_stream(b"0-0"), False),  # before the first entry
        (_stream(before(1529416095111)), False),  # a point in time is no entry's ID
        (_stream(b"5-1"), True),  # a resume
        (_stream(before(4), b"5-1"), True),
    ],
)
def test_a_lost_entry_is_looked_for_only_where_there_was_one(
    stream: StreamState, is_at_entry: bool
) -> None:
    """Otherwise a stream would be said to have lost an entry that never existed."""
    assert stream.is_at_entry is is_at_entry


@pytest.mark.parametrize(
    ("stream", "is_released"),
    [
        (_stream(None), False),
        (_stream(None, b"5-1"), False),
        (_stream(b"5-1"), False),
        (_stream(b"5-1", b"6-0"), True),
    ],
)
def test_entries_are_released_once_some_came_and_none_is_pending(
    stream: StreamState, is_released: bool
) -> None:
    assert stream.is_released is is_released
    stream.pending.append(("s", b"6-0", {}))
    assert not stream.is_released


def test_a_restart_forgets_what_is_known_after_an_id() -> None:
    stream = _stream(b"5-1", b"9-0")
    stream.caught_up = True
    stream.pending = [("s", b"9-0", {})]
    stream.restart(b"6-0")
    assert (stream.last_id, stream.pending, stream.caught_up) == (b"6-0", [], False)
    assert stream.start == b"5-1"


# IDs of several lengths, most of which share a ms with others.
numbers = st.builds(
    lambda ms, sequence: (ms << 64) + sequence, st.integers(8, 12), st.integers(0, 200)
)


@given(st.sets(numbers), st.one_of(numbers, st.sampled_from([-1, 0, 2**128])), st.booleans())
def test_messages_are_counted_up_to_an_id(ids: set[int], limit: int, is_text: bool) -> None:
    """Contract 3.2: IDs compare as numbers, whatever their texts are like."""
    texts = [id_of(number) for number in sorted(ids)]
    messages: list[Any] = [("s", text.decode() if is_text else text, {}) for text in texts]
    assert count_until(messages, limit) == sum(number <= limit for number in ids)
