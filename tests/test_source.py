"""One of several servers: what it has in common with the others, and what it keeps to itself."""

from __future__ import annotations

from typing import Any

import pytest

from pystreamredis.exceptions import ConnectionError
from pystreamredis.options import ConnectionOptions
from pystreamredis.source import Source
from tests.simulation import reading
from tests.test_parts import Shell, ids, server_with


def test_a_source_that_is_away_keeps_its_own_order_and_holds_up_no_other() -> None:
    """What one connection of a server has not read may be older than the others' messages."""
    servers: Any = {
        "here": server_with({b"a": [1, 3, 5], b"b": [2, 4, 6]}),
        "there": server_with({b"a": [1, 3, 5], b"b": [2, 4, 6]}),
    }
    options: dict[str, Any] = {"block": 10, "count": 1, "raise_connection_exceptions": False}
    shell = Shell(servers, {b"a": 0, b"b": 0}, 2, **options)
    found: list[Any] = [shell.next(), shell.next()]
    assert [message[0] for message in found] == [("here", b"a"), ("there", b"a")]
    shell.break_off(2)
    failures = 0
    while len(found) < 12 and failures < 20:
        if failures == 6:
            assert [m[0][0] for m in found].count("here") == 6
            shell.down = set()
        item = shell.next()
        if isinstance(item, tuple):
            found.append(item)
        else:
            assert isinstance(item, ConnectionError)
            failures += 1
    assert failures == 6
    for source in servers:
        assert ids(m for m in found if m[0][0] == source) == [1, 2, 3, 4, 5, 6]


def test_equal_ids_come_in_the_order_of_sources_and_then_of_streams() -> None:
    servers: Any = {name: server_with({b"a": [1, 2], b"b": [1, 2]}) for name in ("z", "y")}
    shell = Shell(servers, {b"b": 0, b"a": 0}, 1, block=10)
    names = [message[0] for message in shell.rest()]
    assert names == [("z", b"b"), ("z", b"a"), ("y", b"b"), ("y", b"a")] * 2


def make(name: str | None) -> Source:
    return Source(name, ConnectionOptions(), reading(connections=2))


def test_names_are_full_where_there_are_several() -> None:
    for name, expected in ((None, ["a", b"b"]), ("s", [("s", "a"), ("s", b"b")])):
        source = make(name)
        cursors = source.new_cursors([("a", 0), (b"b", 0)], ())
        assert [cursor.name for cursor in cursors] == expected
        assert [cursor.key for cursor in cursors] == [b"a", b"b"]


def test_what_is_discarded_may_have_its_own_name_or_its_full_one() -> None:
    source = make("s")
    source.add(source.new_cursors([(name, 0) for name in "abcd"], ()))
    assert [len(part.conversation.cursors) for part in source.parts] == [2, 2]
    assert source.discard(["a", ("s", b"b"), ("other", "c"), "never followed"]) == {
        ("s", "a"),
        ("s", "b"),
    }
    assert list(source.positions({})) == ["c", "d"]
    assert [part.conversation.cursors[0].name for part in source.parts] == [("s", "c"), ("s", "d")]
    source.discard(["c", "d"])
    assert [part.has_streams for part in source.parts] == [False]


def test_positions_are_what_was_handed_over_or_the_start() -> None:
    source = make("s")
    source.add(source.new_cursors([("a", 5), ("b", None)], ()))
    assert source.positions({("other", "a"): b"7-0"}) == {"a": b"4-18446744073709551615", "b": None}
    assert source.positions({("s", "b"): b"7-0"})["b"] == b"7-0"


def test_after_a_discard_a_cluster_waits_where_one_slot_is_left() -> None:
    """It takes turns, and so polls, only where several slots share a connection."""
    source = Source(None, ConnectionOptions(), reading(connections=1))
    source.add(source.new_cursors([(name, 0) for name in ("{a}1", "{a}2", "{b}1")], ()))
    source.is_cluster = True
    source.arrange()
    (part,) = source.parts
    part.conversation.opened(0.0)
    part.conversation.ask(0.0, 1000)
    assert b"BLOCK" not in part.conversation.take_outgoing()
    part.conversation.received(b"*-1\r\n*-1\r\n", 0.0)
    part.conversation.process()
    source.discard(["{b}1"])
    assert source.parts == [part]
    part.conversation.ask(1.0, 1000)
    assert b"BLOCK" in part.conversation.take_outgoing()


def test_a_stream_that_is_followed_already_is_refused() -> None:
    source = make(None)
    source.add(source.new_cursors([("a", 0)], ()))
    with pytest.raises(ValueError, match="stream b'a' is given twice, first as 'a'"):
        source.new_cursors([(b"a", 0)], ())
