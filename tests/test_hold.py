"""`pystreamredis.hold`: which messages have been kept back for long enough (contract 3.3)."""

from __future__ import annotations

from pystreamredis.cursors import Cursor
from pystreamredis.hold import Hold
from pystreamredis.ids import number_of


def _waiting(*ids: bytes) -> list[Cursor]:
    """Streams, each with one message that waits."""
    cursors = []
    for at, entry_id in enumerate(ids):
        cursor = Cursor(f"s{at}", b"s%d" % at, b"0-0")
        cursor.fetched = entry_id
        cursor.waiting = [(cursor.name, entry_id, {})]
        cursors.append(cursor)
    return cursors


def test_without_hold_nothing_is_kept() -> None:
    hold = Hold(0)
    hold.arrived(_waiting(b"5-0"), 10.0)
    assert hold.due_at is None
    assert hold.limit(10.0) is None


def test_nothing_may_be_handed_over_before_anything_has_been_kept() -> None:
    hold = Hold(500)
    assert hold.due_at is None
    limit = hold.limit(10.0)
    assert limit is not None
    assert limit < number_of(b"0-1")


def test_a_message_is_kept_for_that_long_and_no_longer() -> None:
    hold = Hold(500)
    hold.arrived(_waiting(b"5-0"), 10.0)
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
    hold.arrived(_waiting(b"9-0", b"10-0", b"2-0"), 10.0)
    assert hold.limit(10.5) == number_of(b"10-0")


def test_a_stream_of_which_nothing_waits_does_not_count() -> None:
    hold = Hold(500)
    cursors = _waiting(b"9-0", b"10-0")
    cursors[1].waiting = []
    hold.arrived(cursors, 10.0)
    assert hold.limit(10.5) == number_of(b"9-0")
    cursors[0].waiting = []
    hold.arrived(cursors, 11.0)
    assert hold.due_at is None


def test_each_message_is_kept_from_when_it_came() -> None:
    hold = Hold(500)
    hold.arrived(_waiting(b"5-0"), 10.0)
    hold.arrived(_waiting(b"7-0"), 10.2)
    assert hold.limit(10.5) == number_of(b"5-0")
    assert hold.due_at == 10.7
    assert hold.limit(10.7) == number_of(b"7-0")


def test_what_waited_already_is_not_kept_anew() -> None:
    hold = Hold(500)
    hold.arrived(_waiting(b"5-0"), 10.0)
    hold.arrived(_waiting(b"5-0"), 10.2)
    assert hold.limit(10.5) == number_of(b"5-0")
    assert hold.due_at is None


def test_a_late_message_with_a_smaller_id_goes_with_those_that_came_before() -> None:
    """That it can be sorted in is what they were kept for."""
    hold = Hold(500)
    hold.arrived(_waiting(b"5-0"), 10.0)
    hold.arrived(_waiting(b"4-0"), 10.2)
    assert hold.due_at == 10.5
    assert hold.limit(10.5) == number_of(b"5-0")


def test_what_was_released_stays_released() -> None:
    """A stream that restarts brings smaller IDs, which are late, and not kept for ever."""
    hold = Hold(500)
    hold.arrived(_waiting(b"5-0"), 10.0)
    assert hold.limit(11.0) == number_of(b"5-0")
    hold.arrived(_waiting(b"1-0"), 12.0)
    assert hold.due_at == 12.5
    assert hold.limit(12.5) == number_of(b"5-0")


def test_several_are_released_at_once_when_nobody_asked_meanwhile() -> None:
    hold = Hold(500)
    for at in range(1, 4):
        hold.arrived(_waiting(b"%d-0" % at), 10.0 + at / 10)
    assert hold.limit(20.0) == number_of(b"3-0")
    assert hold.due_at is None
