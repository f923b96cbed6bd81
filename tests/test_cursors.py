"""`pystreamredis.cursors`: where one stream stands."""

from __future__ import annotations

import pytest

from pystreamredis.cursors import Cursor
from pystreamredis.ids import before


def test_a_stream_that_starts_at_an_id_has_fetched_up_to_it() -> None:
    """Contract 2.2: reading goes on after that ID."""
    cursor = Cursor("s", b"s", b"5-1")
    assert (cursor.name, cursor.key, cursor.start, cursor.fetched) == ("s", b"s", b"5-1", b"5-1")
    assert cursor.waiting == []


def test_a_stream_that_starts_now_does_not_know_yet_where_that_is() -> None:
    """Contract 2.3: until the server was asked."""
    cursor = Cursor(b"s", b"s", None)
    assert cursor.start is None
    assert cursor.fetched == b"0-0"


def test_a_name_stays_the_very_object_that_was_given() -> None:
    """Contract 1.3."""
    name = "".join(["str", "eam"])
    assert Cursor(name, b"stream", None).name is name


def test_two_streams_do_not_share_what_waits() -> None:
    one, other = Cursor("a", b"a", None), Cursor("b", b"b", None)
    one.waiting.append(("a", b"1-1", {}))
    assert other.waiting == []


def test_it_tells_where_it_is_and_not_what_it_holds() -> None:
    cursor = Cursor("s", b"s", b"5-1")
    cursor.waiting = [("s", b"6-0", {b"card": b"number"})]
    assert repr(cursor) == "<Cursor 's' at b'5-1', 1 waiting>"


def _cursor(start: bytes | None, fetched: bytes | None = None) -> Cursor:
    cursor = Cursor("s", b"s", start)
    cursor.fetched = fetched or cursor.fetched
    return cursor


@pytest.mark.parametrize(
    ("cursor", "is_at_entry"),
    [
        (_cursor(None), False),  # it is not known where that is
        (_cursor(None, b"5-1"), False),
        (_cursor(b"0-0"), False),  # before the first
        (_cursor(before(1529416095111)), False),  # a point in time is no entry's
        (_cursor(b"5-1"), True),  # a resume
        (_cursor(before(4), b"5-1"), True),
    ],
)
def test_an_entry_is_looked_for_where_one_has_been(cursor: Cursor, is_at_entry: bool) -> None:
    """Otherwise a stream would be said to have lost one that never was."""
    assert cursor.is_at_entry is is_at_entry


@pytest.mark.parametrize(
    ("cursor", "has_read"),
    [
        (_cursor(None), False),
        (_cursor(None, b"5-1"), False),
        (_cursor(b"5-1"), False),
        (_cursor(b"5-1", b"6-0"), True),
    ],
)
def test_a_stream_has_been_read_once_entries_have_come_and_gone(
    cursor: Cursor, has_read: bool
) -> None:
    assert cursor.has_read is has_read
    cursor.waiting.append(("s", b"6-0", {}))
    assert not cursor.has_read


def test_a_restart_is_from_the_beginning_of_which_nothing_is_known() -> None:
    cursor = _cursor(b"5-1", b"6-0")
    cursor.complete = True
    cursor.restart()
    assert (cursor.start, cursor.fetched, cursor.complete) == (b"0-0", b"0-0", False)


def test_what_was_never_heard_of_has_been_silent_since_the_beginning_of_time() -> None:
    assert (Cursor("s", b"s", None).heard, Cursor("s", b"s", None).told) == (0.0, None)
