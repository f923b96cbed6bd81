"""Contract 2: which streams are followed, and from where."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis import ConnectionError, Last, Redis, ResponseError, Streams
from tests.peer import Conversation, Peer
from tests.scripted import entries, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Endpoint

MAX = 2**64 - 1
JULY = 1530403200000  # the seed's 1st of July 2018
on_a_server = settings(max_examples=80)


def write(embedded: Endpoint, stream: str | bytes, *ids: str) -> None:
    """Add an entry with each ID."""
    for entry_id in ids:
        embedded.command("XADD", stream, entry_id, "f", "v")


def follow(embedded: Endpoint, *args: Any, **options: Any) -> Streams:
    """Follow streams on that server, without waiting unless asked to."""
    return Streams(embedded.host, embedded.port, *args, **{"block": None} | options)


def ids_of(messages: Any) -> list[str]:
    """The IDs alone, as text."""
    return [index if isinstance(index, str) else index.decode() for _, index, _ in messages]


def all_of(messages: Any) -> list[tuple[Any, str]]:
    """Names and IDs."""
    return [(name, index.decode()) for name, index, _ in messages]


class Door:
    """A way to a server that can be shut: a unix socket that may not be there."""

    def __init__(self, embedded: Endpoint, path: Path) -> None:
        self._server = embedded
        self._path = path

    def follow(self, *args: Any, **options: Any) -> Streams:
        """Follow streams through this door."""
        r = Redis(unix_socket_path=str(self._path))
        return r.streams(*args, **{"block": 20} | options)

    def open(self) -> None:
        """Let connections in."""
        self._path.symlink_to(self._server.unix_socket)

    def shut(self) -> None:
        """Let none in, and break those that are."""
        self._path.unlink()
        self.shake()

    def shake(self) -> None:
        """Break the connections that are."""
        self._server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.fixture
def door(embedded: Endpoint, tmp_path: Path) -> Door:
    """A door that is shut yet."""
    return Door(embedded, tmp_path / "door")


def collect(streams: Streams, number: int) -> tuple[list[Any], int]:
    """That many messages, and how many connection failures came on the way to them."""
    messages: list[Any] = []
    failures = 0
    deadline = monotonic() + 30
    while len(messages) < number:
        assert monotonic() < deadline, messages
        try:
            item = next(streams, None)
        except ConnectionError:
            failures += 1
            continue
        if isinstance(item, ConnectionError):
            failures += 1
        elif item is not None:
            messages.append(item)
    return messages, failures


# 2.1


@pytest.mark.parametrize(
    ("streams", "named"),
    [
        (None, {"a": None, "b": None}),
        ({"a": None, "b": None}, {}),
        ({"a": None}, {"b": None}),
        (["a", "b"], {}),
        (("a", "b"), {}),
        ({"a", "b"}, {}),
        (frozenset({"a", "b"}), {}),
        (["a"], {"b": None}),
        ("a", {"b": None}),
        ([b"a", "b"], {}),
        (b"a", {"b": "$"}),
    ],
    ids=lambda value: type(value).__name__,  # repr of a set differs from run to run
)
def test_streams_are_given_in_many_ways_and_start_now(
    embedded: Endpoint, streams: Any, named: dict[str, Any]
) -> None:
    """Contract 2.1: keywords, a dict, a list, a tuple, a set, a single name, or both."""
    write(embedded, "a", "1-0")
    with follow(embedded, streams, **named) as following:
        write(embedded, "b", "2-0")
        write(embedded, "a", "2-1")
        names = [name if isinstance(name, str) else name.decode() for name, _, _ in following]
    assert names == ["b", "a"]


@pytest.mark.parametrize("name", ["self", "cls", "url", "args", "named_streams", "messages"])
def test_a_keyword_that_is_no_option_is_a_stream(embedded: Endpoint, name: str) -> None:
    """Contract 2.1: `self` included, wherever keywords name streams."""
    write(embedded, name, "1-0")
    named: dict[str, Any] = {name: 0}
    r = Redis(embedded.host, embedded.port)
    for streams in (follow(embedded, **named), r.streams(block=None, **named)):
        with streams:
            assert [name for name, _, _ in streams] == [name]
    with follow(embedded, ["other"]) as streams:
        streams.add(**named)
        assert [name for name, _, _ in streams] == [name]


def test_streams_that_are_called_like_options_are_given_in_a_dict(embedded: Endpoint) -> None:
    """Contract 2.1: as the seed says, names may be any of the keywords."""
    names = ["block", "count", "host", "password", "streams"]
    for i, name in enumerate(names):
        write(embedded, name, f"1-{i + 1}")
    with follow(embedded, dict.fromkeys(names, 0), count=1) as streams:
        assert [name for name, _, _ in streams] == names


# 2.2


HISTORY = ["0-1", f"{JULY - 1}-{MAX}", f"{JULY}-0", f"{JULY}-4", f"{JULY + 1}-0", f"{MAX}-{MAX}"]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (None, 6),
        ("$", 6),
        (b"$", 6),
        (0, 0),
        (1, 1),
        (JULY - 1, 1),
        (JULY, 2),
        (JULY + 1, 4),
        (JULY + 2, 5),
        (MAX, 5),
        ("0", 0),
        (str(JULY), 2),
        (str(JULY).encode(), 2),
        (f"000{JULY}", 2),
        (datetime(2018, 7, 1, tzinfo=UTC), 2),
        (datetime(2018, 7, 1, 0, 0, 0, 999, tzinfo=UTC), 2),
        (datetime(2018, 7, 1, 0, 0, 0, 1000, tzinfo=UTC), 4),
        (datetime(2018, 7, 1, 3, tzinfo=timezone(timedelta(hours=3))), 2),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        ("0-0", 0),
        ("0-1", 1),
        (f"{JULY - 1}-{MAX}", 2),
        (f"{JULY}-0", 3),
        (f"{JULY}-0".encode(), 3),
        (f"{JULY}-3", 3),
        (f"{JULY}-4", 4),
        (f"{MAX}-{MAX - 1}", 5),
        (f"{MAX}-{MAX}", 6),
        ("+", 5),
        (b"+", 5),
        (Last(1), 5),
        (Last(2), 4),
        (Last(5), 1),
        (Last(6), 0),
        (Last(7), 0),
        (Last(1000), 0),
    ],
    ids=repr,
)
def test_a_start_value_says_with_which_message_to_begin(
    embedded: Endpoint, start: Any, first: int
) -> None:
    """Contract 2.2: the table of start values."""
    write(embedded, "s", *HISTORY)
    with follow(embedded, s=start) as streams:
        assert ids_of(streams) == HISTORY[first:]


parts = st.integers(0, 3) | st.integers(MAX - 2, MAX) | st.integers(0, MAX)
numbers = st.tuples(parts, parts).filter(lambda number: number != (0, 0))
histories = st.sets(numbers, max_size=12).map(sorted)


@given(history=histories, start=numbers | parts, form=st.sampled_from([str, bytes]))
@on_a_server
def test_any_start_in_any_history_splits_it_in_two(
    embedded: Endpoint, history: list[tuple[int, int]], start: Any, form: type
) -> None:
    """Contract 2.2: an epoch time takes its very ms in, an ID does not take itself in."""
    embedded.command("DEL", "s")
    write(embedded, "s", *(f"{ms}-{sequence}" for ms, sequence in history))
    if isinstance(start, int):
        expected = [number for number in history if number[0] >= start]
        starts: list[Any] = [start, str(start)]
    else:
        expected = [number for number in history if number > start]
        starts = [f"{start[0]}-{start[1]}"]
    for value in starts:
        text = value.encode() if form is bytes and isinstance(value, str) else value
        with follow(embedded, s=text) as streams:
            assert ids_of(streams) == [f"{ms}-{sequence}" for ms, sequence in expected]


@given(history=histories, new=histories, n=st.integers(1, 14))
@on_a_server
def test_the_last_messages_are_found_in_any_history(
    embedded: Endpoint, history: list[tuple[int, int]], new: list[tuple[int, int]], n: int
) -> None:
    """Contract 2.2, 2.3: it is fixed when the object is made, in each stream by itself."""
    embedded.command("DEL", "s", "t", "empty")
    write(embedded, "s", *(f"{ms}-{sequence}" for ms, sequence in history))
    write(embedded, "t", "1-1", "1-2", "1-3")
    later = [number for number in new if number > max(history, default=(0, 0))]
    with follow(embedded, s=Last(n), empty=Last(n), t="+", s2="$") as streams:
        write(embedded, "s", *(f"{ms}-{sequence}" for ms, sequence in later))
        messages = all_of(streams)
    expected = [f"{ms}-{sequence}" for ms, sequence in history[-n:] + later]
    assert [index for name, index in messages if name == "s"] == expected
    assert [index for name, index in messages if name != "s"] == ["1-3"]


@pytest.mark.parametrize("deleted", [["4-0"], ["4-0", "2-0"], ["1-0", "2-0", "3-0", "4-0"]])
def test_deleted_messages_are_none_of_the_last_ones(embedded: Endpoint, deleted: list[str]) -> None:
    """Contract 2.2: the end of a stream is neither its last generated ID, nor its length."""
    ids = ["1-0", "2-0", "3-0", "4-0"]
    write(embedded, "s", *ids)
    embedded.command("XDEL", "s", *deleted)
    left = [index for index in ids if index not in deleted]
    for start, n in (("+", 1), (Last(2), 2), (Last(9), 9)):
        with follow(embedded, s=start) as streams:
            assert ids_of(streams) == left[-n:]


@pytest.mark.parametrize("kind", ["at a rate", "in one ms", "in bursts"])
def test_the_last_of_many_messages_are_found_on_every_server(embedded: Endpoint, kind: str) -> None:
    """Contract 2.2: servers before Redis 7.4 do not know "+"."""
    made = {
        "at a rate": [f"{JULY + 100 * at}-0" for at in range(500)],
        "in one ms": [f"{JULY}-{at}" for at in range(500)],
        "in bursts": [f"{JULY + 3_600_000 * (at // 50)}-{at % 50}" for at in range(500)],
    }[kind]
    embedded.pipeline(("XADD", "s", index, "f", "v") for index in made)
    for n in (1, 2, 49, 50, 51, 499, 500, 501, 1000):
        before = made[-n - 1] if n < len(made) else "0-0"
        with follow(embedded, s=Last(n), count=1000) as streams:
            assert streams.positions == {"s": before.encode()}
            assert ids_of(streams) == made[-n:]
            made.append(f"{2 * JULY + n}-0")
            write(embedded, "s", made[-1])
            assert ids_of(streams) == made[-1:]


# 2.3


def test_the_last_messages_are_those_before_the_object_was_made(
    embedded: Endpoint, door: Door
) -> None:
    """Contract 2.3: fixed once, over a reconnect before the first message too."""
    write(embedded, "s", "1-0", "2-0", "3-0")
    door.open()
    with door.follow(s=Last(2), t="+", raise_connection_exceptions=False) as streams:
        assert streams.positions == {"s": b"1-0", "t": b"0-0"}
        write(embedded, "s", "4-0", "5-0")
        door.shake()
        messages, failures = collect(streams, 4)
    assert ids_of(messages) == ["2-0", "3-0", "4-0", "5-0"]
    assert failures


@pytest.mark.parametrize("old", [[], ["1-0"], ["5-5", "7-3", f"{JULY}-{MAX}"]], ids=repr)
def test_now_is_the_moment_when_the_object_was_made(embedded: Endpoint, old: list[str]) -> None:
    """Contract 2.3: what was added between then and the first `next()` comes."""
    write(embedded, "s", *old)
    with follow(embedded, "s") as streams:
        write(embedded, "s", f"{JULY + 1}-0", f"{JULY + 1}-1")
        assert ids_of(streams) == [f"{JULY + 1}-0", f"{JULY + 1}-1"]


@pytest.mark.parametrize("old", [[], ["1-0"], ["5-5", "7-3", f"{JULY}-{MAX}"]], ids=repr)
def test_now_is_a_concrete_id_at_once(embedded: Endpoint, old: list[str]) -> None:
    """Contract 2.3, 2.4: the position before the first message is where "now" was."""
    write(embedded, "s", *old)
    with follow(embedded, "s") as streams:
        assert streams.positions == {"s": (old or ["0-0"])[-1].encode()}


@given(history=histories, new=histories)
@on_a_server
def test_now_is_found_in_any_history(
    embedded: Endpoint, history: list[tuple[int, int]], new: list[tuple[int, int]]
) -> None:
    """Contract 2.3: also where IDs lie anywhere in 128 bits, and for several streams at once."""
    embedded.command("DEL", "s", "t", "empty")
    write(embedded, "s", *(f"{ms}-{sequence}" for ms, sequence in history))
    write(embedded, "t", "1-1")
    later = [number for number in new if number > max(history, default=(0, 0))]
    with follow(embedded, ["s", "empty", "t"], s2="$") as streams:
        write(embedded, "s", *(f"{ms}-{sequence}" for ms, sequence in later))
        assert ids_of(streams) == [f"{ms}-{sequence}" for ms, sequence in later]


@pytest.mark.parametrize("deleted", [["3-0"], ["3-0", "2-0"], ["1-0", "2-0", "3-0"]], ids=repr)
def test_now_is_right_after_the_last_entries_were_deleted(
    embedded: Endpoint, deleted: list[str]
) -> None:
    """Contract 2.3: the end of a stream is not its last generated ID, nor its length."""
    write(embedded, "s", "1-0", "2-0", "3-0")
    embedded.command("XDEL", "s", *deleted)
    with follow(embedded, "s") as streams:
        assert list(streams) == []
        write(embedded, "s", "3-1", "4-0")
        assert ids_of(streams) == ["3-1", "4-0"]


@pytest.mark.parametrize("block", [None, 1, 20])
def test_nothing_is_missed_between_two_timeouts(embedded: Endpoint, block: int | None) -> None:
    """Contract 2.3: redis-py's readers lose messages here (redis-py#1429)."""
    with follow(embedded, "s", block=block) as streams:
        for i in range(1, 9):
            assert list(streams) == []
            write(embedded, "s", f"{i}-0")
            assert ids_of(streams) == [f"{i}-0"]


def test_nothing_is_missed_while_timeouts_and_messages_race(embedded: Endpoint) -> None:
    """Contract 2.3: a reader that times out all the time misses none of many messages."""
    with follow(embedded, "s", block=1, stop_on_timeout=True) as streams:
        writer = Thread(target=write, args=(embedded, "s", *(f"{i}-0" for i in range(1, 1001))))
        writer.start()
        messages, failures = collect(streams, 1000)
        writer.join()
    assert ids_of(messages) == [f"{i}-0" for i in range(1, 1001)]
    assert failures == 0


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("old", [[], ["1-0"]], ids=repr)
def test_nothing_is_missed_over_a_reconnect_even_before_the_first_message(
    embedded: Endpoint, door: Door, raised: bool, old: list[str]
) -> None:
    """Contract 2.3: "now" stays what it was, and does not move to the new connection."""
    write(embedded, "s", *old)
    door.open()
    with door.follow("s", raise_connection_exceptions=raised) as streams:
        assert list(streams) == []
        door.shut()
        write(embedded, "s", "2-0")
        door.open()
        write(embedded, "s", "2-1")
        messages, failures = collect(streams, 2)
        assert ids_of(messages) == ["2-0", "2-1"]
        assert failures >= 1
        door.shake()
        write(embedded, "s", "3-0")
        assert ids_of(collect(streams, 1)[0]) == ["3-0"]


def test_now_is_the_first_connection_where_there_was_none_before(
    embedded: Endpoint, door: Door
) -> None:
    """Contract 2.3: if the server cannot be reached, and failures are returned."""
    write(embedded, "s", "1-0")
    with door.follow("s", t=0, raise_connection_exceptions=False) as streams:
        assert isinstance(next(streams), ConnectionError)
        assert streams.positions == {"s": None, "t": b"0-0"}
        write(embedded, "s", "2-0")
        door.open()
        assert list(streams) == []
        assert streams.positions == {"s": b"2-0", "t": b"0-0"}
        door.shut()
        write(embedded, "s", "3-0")
        door.open()
        assert ids_of(collect(streams, 1)[0]) == ["3-0"]


def test_a_dollar_is_never_sent_again(embedded: Endpoint, door: Door) -> None:
    """Contract 2.3: not after a timeout, not after a reconnect; every XREAD names IDs."""
    door.open()
    with socket.create_connection((embedded.host, embedded.port)) as monitor:
        monitor.settimeout(20)
        lines = monitor.makefile("rb")
        monitor.sendall(b"MONITOR\r\n")
        assert lines.readline() == b"+OK\r\n"
        with door.follow("s", t="$", u=b"$") as streams:
            assert list(streams) == []
            streams.add("v", w="$")
            write(embedded, "s", "1-0")
            assert ids_of(streams) == ["1-0"]
            write(embedded, "t", "1-1")
            list(streams)
        embedded.command("ECHO", "that was all")
        seen = []
        while b"that was all" not in (line := lines.readline()):
            assert line
            seen.append(line)
    reads = [line for line in seen if b'"XREAD"' in line]
    assert len(reads) >= 5
    assert not [line for line in seen if b'"$"' in line]


# 2.4


@pytest.fixture
def three(embedded: Endpoint) -> list[tuple[str, str]]:
    """Three streams with a history, and that history, sorted."""
    wanted = [("abc"[i * i % 7 % 3], f"{JULY + i // 5}-{i}") for i in range(1, 41)]
    for stream, entry_id in wanted:
        write(embedded, stream, entry_id)
    return wanted


@pytest.mark.parametrize("by", ["next", "for"])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_positions_resume_exactly_after_every_single_message(
    embedded: Endpoint, three: list[tuple[str, str]], count: int, by: str
) -> None:
    """Contract 2.4: nothing twice, nothing missing, through JSON as well."""
    r = Redis(embedded.host, embedded.port, decode_responses=True)
    with r.streams(a=0, b=0, c=0, count=count, block=None) as streams:
        taken = iter(streams) if by == "for" else streams
        for handed in range(len(three) + 1):
            positions = json.loads(json.dumps(streams.positions))
            with r.streams(positions, count=count, block=None) as resumed:
                assert [(name, index) for name, index, _ in resumed] == three[handed:]
                assert handed == len(three) or resumed.positions != positions
            if handed < len(three):
                assert next(taken)[:2] == three[handed]
        assert list(taken) == []


def test_positions_tell_what_was_handed_over_and_not_what_was_read(
    embedded: Endpoint, three: list[tuple[str, str]]
) -> None:
    """Contract 2.4: the ID of the last message handed over, for each stream."""
    expected = dict.fromkeys("abc", b"0-0")
    with follow(embedded, a=0, b=0, c=0) as streams:
        assert streams.positions == expected
        for name, index, _ in streams:
            expected[name] = index
            assert streams.positions == expected
        assert streams.positions == expected
        assert list(streams) == []
        assert streams.positions == expected
    assert streams.positions == expected
    assert type(streams.positions) is dict
    streams.positions.clear()
    assert streams.positions == expected


@pytest.mark.parametrize(
    ("start", "position"),
    [
        (0, "0-0"),
        ("0", "0-0"),
        (JULY, f"{JULY - 1}-{MAX}"),
        (datetime(2018, 7, 1, tzinfo=UTC), f"{JULY - 1}-{MAX}"),
        (f"{JULY}-4", f"{JULY}-4"),
        (b"5-5", "5-5"),
        (None, f"{JULY}-7"),
    ],
)
@pytest.mark.parametrize("decode_responses", [False, True])
def test_before_the_first_message_a_position_is_the_id_that_is_started_after(
    embedded: Endpoint, start: Any, position: str, decode_responses: bool
) -> None:
    """Contract 2.4: `bytes`, or text with `decode_responses=True`."""
    write(embedded, "s", f"{JULY}-7")
    with follow(embedded, s=start, decode_responses=decode_responses) as streams:
        assert streams.positions == {"s": position if decode_responses else position.encode()}


def test_positions_are_good_after_a_reconnect_in_the_middle(embedded: Endpoint, door: Door) -> None:
    """Contract 2.4: what comes after a failure is counted like what came before."""
    write(embedded, "s", *(f"{i}-0" for i in range(1, 11)))
    door.open()
    with door.follow(s=0, count=2, raise_connection_exceptions=False) as streams:
        found = []
        for _ in range(10):
            messages, _ = collect(streams, 1)
            found += ids_of(messages)
            assert streams.positions == {"s": found[-1].encode()}
            door.shake()
    assert found == [f"{i}-0" for i in range(1, 11)]


def test_a_timeout_response_and_a_failure_move_no_position(embedded: Endpoint, door: Door) -> None:
    """Contract 2.4: only messages do."""
    write(embedded, "s", "1-0")
    door.open()
    following = door.follow(
        s=0,
        stop_on_timeout=True,
        timeout_response=("s", b"9-9", {}),
        raise_connection_exceptions=False,
    )
    with following as streams:
        assert next(streams)[1] == b"1-0"
        assert next(streams) == ("s", b"9-9", {})
        door.shut()
        assert isinstance(next(streams), ConnectionError)
        assert streams.positions == {"s": b"1-0"}


# 2.5


@pytest.mark.parametrize(
    ("streams", "named", "expected"),
    [
        (None, {"b": 0}, ["b 1-0", "b 3-0", "a 4-0", "b 5-0"]),
        ({"b": "1-0"}, {}, ["b 3-0", "a 4-0", "b 5-0"]),
        ({"b": 2}, {}, ["b 3-0", "a 4-0", "b 5-0"]),
        (["b"], {}, ["a 4-0", "b 5-0"]),
        ("b", {}, ["a 4-0", "b 5-0"]),
        (None, {"b": "$"}, ["a 4-0", "b 5-0"]),
        ({"c": 0}, {"b": None}, ["c 1-1", "a 4-0", "b 5-0"]),
        ({"c": "+"}, {"b": Last(2)}, ["b 1-0", "c 1-1", "b 3-0", "a 4-0", "b 5-0"]),
    ],
    ids=repr,
)
def test_more_streams_can_be_followed(
    embedded: Endpoint, streams: Any, named: dict[str, Any], expected: list[str]
) -> None:
    """Contract 2.5: start values as in 2.2, "now" is the moment of the call."""
    write(embedded, "a", "2-0")
    write(embedded, "b", "1-0", "3-0")
    write(embedded, "c", "1-1")
    with follow(embedded, a=0) as following:
        assert all_of(following) == [("a", "2-0")]
        following.add(streams, **named)
        write(embedded, "a", "4-0")
        write(embedded, "b", "5-0")
        assert [f"{name} {index}" for name, index in all_of(following)] == expected


def test_adding_takes_nothing_away_from_what_is_in_hand(embedded: Endpoint) -> None:
    """Contract 2.5: in the middle of a batch, with the next read on its way."""
    write(embedded, "a", *(f"{i}-0" for i in range(1, 21)))
    write(embedded, "b", *(f"{i}-1" for i in range(1, 21)))
    with follow(embedded, a=0, count=5) as streams:
        found = [next(streams) for _ in range(3)]
        streams.add(b=0)
        assert streams.positions == {"a": b"3-0", "b": b"0-0"}
        found += streams
    for stream, sequence in (("a", 0), ("b", 1)):
        own = [index for name, index in all_of(found) if name == stream]
        assert own == [f"{i}-{sequence}" for i in range(1, 21)]


def test_add_waits_for_no_read_that_is_under_way() -> None:
    """Contract 2.5: "now" is the moment of the call, also where the server has nothing to say."""

    def say_no_more(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply(entries("s", "1-0"))
        conversation.stay_silent()

    with (
        Peer(say_no_more, lambda it: serve(it, {"s": ["1-0"], "t": ["5-0"]})) as peer,
        # The reply is full, so the next read is on its way.
        Streams(peer.host, peer.port, block=0, count=1, s=0) as streams,
    ):
        assert next(streams)[1] == b"1-0"
        streams.add("t")
        assert streams.positions == {"s": b"1-0", "t": b"5-0"}


def test_streams_can_be_added_and_dropped_inside_of_a_for(embedded: Endpoint) -> None:
    """Contract 2.5: "while iterating"."""
    write(embedded, "a", "1-0", "2-0", "3-0")
    write(embedded, "b", "1-1", "2-1", "4-0")
    found = []
    with follow(embedded, a=0) as streams:
        for name, index, _ in streams:
            found.append((name, index.decode()))
            if index == b"2-0":
                streams.discard("a")
                streams.add(b=2)
    assert found == [("a", "1-0"), ("a", "2-0"), ("b", "2-1"), ("b", "4-0")]


def test_a_dropped_streams_messages_are_dropped_with_it(embedded: Endpoint) -> None:
    """Contract 2.5: also those in hand, those that wait, and those on their way."""
    for stream in ("a", "b", "c"):
        write(embedded, stream, *(f"{i}-0" for i in range(1, 21)))
    with follow(embedded, a=0, b=0, c=0, count=3) as streams:
        assert all_of(next(streams) for _ in range(4)) == [
            ("a", "1-0"),
            ("b", "1-0"),
            ("c", "1-0"),
            ("a", "2-0"),
        ]
        streams.discard("a", "c", "never followed")
        assert streams.positions == {"b": b"1-0"}
        assert all_of(streams) == [("b", f"{i}-0") for i in range(2, 21)]


def test_a_dropped_stream_can_be_followed_again(embedded: Endpoint) -> None:
    """Contract 2.5: from wherever the caller says, with nothing left over."""
    write(embedded, "a", *(f"{i}-0" for i in range(1, 11)))
    write(embedded, "b", "1-0")
    with follow(embedded, a=0, b=0, count=4) as streams:
        next(streams)
        position = streams.positions["a"]
        streams.discard("a")
        streams.add(a=position)
        found = all_of(streams)
        assert found.count(("b", "1-0")) == 1
        assert [index for name, index in found if name == "a"] == [f"{i}-0" for i in range(2, 11)]


@pytest.mark.parametrize(
    "more", [{"a": 0}, [b"a"], {"b": 0, "a": 0}, {"b": "x"}, ["b", "b"], {"b": True}], ids=repr
)
def test_what_cannot_be_added_changes_nothing(embedded: Endpoint, more: Any) -> None:
    """Contract 2.5, 7: all of the call's streams are added, or none."""
    write(embedded, "a", "1-0", "2-0")
    write(embedded, "b", "1-1")
    with follow(embedded, a=0) as streams:
        first = next(streams)
        with pytest.raises((ValueError, TypeError)):
            streams.add(more)
        assert list(streams.positions) == ["a"]
        assert all_of([first, *streams]) == [("a", "1-0"), ("a", "2-0")]


def test_a_stream_that_the_server_refuses_is_not_added(embedded: Endpoint) -> None:
    """Contract 2.5: the others go on as before."""
    write(embedded, "a", "1-0", "2-0")
    embedded.command("SET", "string", "1")
    with follow(embedded, a=0) as streams:
        first = next(streams)
        with pytest.raises(ResponseError, match="string") as caught:
            streams.add("string", b=0)
        assert caught.value.code == "WRONGTYPE"
        assert list(streams.positions) == ["a"]
        assert all_of([first, *streams]) == [("a", "1-0"), ("a", "2-0")]


changes = st.lists(
    st.tuples(st.sampled_from(["write", "add", "discard", "take"]), st.sampled_from("abc")),
    max_size=30,
)


@given(changes=changes, count=st.integers(1, 4))
@on_a_server
def test_streams_that_come_and_go_lose_and_repeat_nothing(
    embedded: Endpoint, changes: list[tuple[str, str]], count: int
) -> None:
    """Contract 2.5, 3.1: whatever is written, added, dropped and taken in whatever order."""
    embedded.command("DEL", "a", "b", "c", "always")
    written: dict[str, list[str]] = {"a": [], "b": [], "c": [], "always": []}
    due: dict[str, Iterator[str]] = {"always": iter(written["always"])}
    with follow(embedded, always=0, count=count) as streams:
        for number, (change, stream) in enumerate(changes, 1):
            if change == "write":
                for name in (stream, "always"):
                    write(embedded, name, f"{number}-0")
                    written[name].append(f"{number}-0")
            elif change == "add" and stream not in due:
                streams.add({stream: 0})
                due[stream] = iter(written[stream])
            elif change == "discard":
                streams.discard(stream)
                due.pop(stream, None)
            elif change == "take" and (message := next(streams, None)):
                assert message[1].decode() == next(due[message[0]])
            assert set(streams.positions) == set(due)
        for name, index, _ in streams:
            assert index.decode() == next(due[name])
        assert [list(rest) for rest in due.values()] == [[]] * len(due)
