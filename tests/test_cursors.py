"""`pystreamredis.cursors`: where one stream stands."""

from __future__ import annotations

from pystreamredis.cursors import Cursor
from pystreamredis.ids import number_of


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


def test_nothing_is_known_beyond_the_last_entry_that_has_come() -> None:
    """Contract 3.2: until a read has found the end, there may be smaller IDs than elsewhere."""
    cursor = Cursor("s", b"s", b"5-1")
    assert cursor.known_up_to() == number_of(b"5-1")
    cursor.fetched = b"10-0"
    assert cursor.known_up_to() == number_of(b"10-0")


def test_a_stream_that_was_read_to_its_end_holds_no_other_back() -> None:
    """Contract 3.2."""
    cursor = Cursor("s", b"s", b"5-1")
    cursor.complete = True
    assert cursor.known_up_to() is None


def test_two_streams_do_not_share_what_waits() -> None:
    one, other = Cursor("a", b"a", None), Cursor("b", b"b", None)
    one.waiting.append(("a", b"1-1", {}))
    assert other.waiting == []


def test_it_tells_where_it_is_and_not_what_it_holds() -> None:
    cursor = Cursor("s", b"s", b"5-1")
    cursor.waiting = [("s", b"6-0", {b"card": b"number"})]
    assert repr(cursor) == "<Cursor 's' at b'5-1', 1 waiting>"
