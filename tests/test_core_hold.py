"""`pystreamredis.core.hold`: keeping messages back for long enough (contract 3.3)."""

from __future__ import annotations

from pystreamredis.core.hold import Hold
from pystreamredis.core.stream import StreamState
from pystreamredis.protocol.ids import number_of


def _pending(*ids: bytes) -> list[StreamState]:
    """Make streams, each with one pending message."""
    states = []
    for at, entry_id in enumerate(ids):
        state = StreamState(f"s{at}", b"s%d" % at, b"0-0")
        state.last_id = entry_id
        state.pending = [(state.name, entry_id, {})]
        states.append(state)
    return states


def test_without_hold_nothing_is_kept_back() -> None:
    hold = Hold(0)
    hold.arrived(_pending(b"5-0"), 10.0)
    assert hold.due_at is None
    assert hold.limit(10.0) is None


def test_nothing_may_be_delivered_before_a_message_was_kept_back() -> None:
    hold = Hold(500)
    assert hold.due_at is None
    limit = hold.limit(10.0)
    assert limit is not None
    assert limit < number_of(b"0-1")


def test_a_message_is_kept_for_that_long_and_no_longer() -> None:
    hold = Hold(500)
    hold.arrived(_pending(b"5-0"), 10.0)
    assert hold.due_at == 10.5
    limit = hold.limit(10.499)
    assert limit is not None
    assert limit < number_of(b"5-0")
    assert hold.limit(10.5) == number_of(b"5-0")
    assert hold.due_at is None
    assert hold.limit(99.0) == number_of(b"5-0")


def test_the_largest_id_of_all_streams_counts() -> None:
    """As a number: 10-0 is after 9-0."""
    hold = Hold(500)
    hold.arrived(_pending(b"9-0", b"10-0", b"2-0"), 10.0)
    assert hold.limit(10.5) == number_of(b"10-0")


def test_a_stream_without_pending_messages_does_not_count() -> None:
    hold = Hold(500)
    states = _pending(b"9-0", b"10-0")
    states[1].pending = []
    hold.arrived(states, 10.0)
    assert hold.limit(10.5) == number_of(b"9-0")
    states[0].pending = []
    hold.arrived(states, 11.0)
    assert hold.due_at is None


def test_each_message_is_kept_from_the_time_of_its_arrival() -> None:
    hold = Hold(500)
    hold.arrived(_pending(b"5-0"), 10.0)
    hold.arrived(_pending(b"7-0"), 10.2)
    assert hold.limit(10.5) == number_of(b"5-0")
    assert hold.due_at == 10.7
    assert hold.limit(10.7) == number_of(b"7-0")


def test_a_pending_message_is_not_kept_a_second_time() -> None:
    hold = Hold(500)
    hold.arrived(_pending(b"5-0"), 10.0)
    hold.arrived(_pending(b"5-0"), 10.2)
    assert hold.limit(10.5) == number_of(b"5-0")
    assert hold.due_at is None


def test_a_late_message_is_released_with_the_earlier_ones() -> None:
    """They were kept back so that it can be sorted in."""
    hold = Hold(500)
    hold.arrived(_pending(b"5-0"), 10.0)
    hold.arrived(_pending(b"4-0"), 10.2)
    assert hold.due_at == 10.5
    assert hold.limit(10.5) == number_of(b"5-0")


def test_the_limit_never_falls() -> None:
    """A stream that restarts brings smaller IDs, which are late, and not kept for ever."""
    hold = Hold(500)
    hold.arrived(_pending(b"5-0"), 10.0)
    assert hold.limit(11.0) == number_of(b"5-0")
    hold.arrived(_pending(b"1-0"), 12.0)
    assert hold.due_at == 12.5
    assert hold.limit(12.5) == number_of(b"5-0")


def test_one_call_releases_all_that_were_kept_for_long_enough() -> None:
    hold = Hold(500)
    for at in range(1, 4):
        hold.arrived(_pending(b"%d-0" % at), 10.0 + at / 10)
    assert hold.limit(20.0) == number_of(b"3-0")
    assert hold.due_at is None
