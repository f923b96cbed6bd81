"""Tests of `core.topology`: several connections and servers, one merge, failures of their own."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.core.stream import StreamState
from pystreamredis.core.topology import Upstream, connections_for, spread
from pystreamredis.exceptions import ConnectionError
from pystreamredis.options import ConnectionOptions
from tests.simulation import Server, Simulation, numbers_of, reading, server_with, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

A, B = b"a", b"b"
RETURNED: dict[str, Any] = {"raise_connection_exceptions": False}


def follow(server: Server, names: Iterable[bytes], connections: int, **options: Any) -> Simulation:
    """Follow streams from their beginning over so many connections."""
    return Simulation(server, dict.fromkeys(names, 0), connections=connections, **options)


def put_apart(simulation: Simulation) -> None:
    """Have each connection lead to another server: a callable host may do that."""
    for at, assignment in enumerate(simulation.reader.assignments):
        assignment.options = assignment.options.at("host", 7000 + at)


def follow_sources(servers: Mapping[str, Server], streams: Any, **options: Any) -> Simulation:
    """Follow streams of several servers, which have ports from 7000 on."""
    ports = {name: 7000 + at for at, name in enumerate(servers)}
    return Simulation(
        Server(),
        streams,
        sources={name: {"port": port} for name, port in ports.items()},
        servers={f"localhost:{port}": servers[name] for name, port in ports.items()},
        **options,
    )


def take_failures_and(simulation: Simulation, how_many: int) -> tuple[list[Any], int]:
    """Take messages, and count the failures that come between them."""
    messages: list[Any] = []
    failures = 0
    while len(messages) < how_many:
        item = simulation.next()
        if isinstance(item, ConnectionError):
            failures += 1
            assert failures < 100
        else:
            messages.append(item)
    return messages, failures


def sizes(simulation: Simulation) -> list[int]:
    return [len(assignment.streams) for assignment in simulation.reader.assignments]


# Several connections to one server.


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
        st.sets(st.integers(1, 60), max_size=25),
        min_size=1,
    ),
    st.integers(1, 4),
    st.sampled_from([1, 2, 3, 100]),
    st.sampled_from([(), (1,), (7, 200), (60,)]),
)
def test_the_output_is_the_sorted_union(
    entries: dict[bytes, set[int]], connections: int, count: int, chunks: tuple[int, ...]
) -> None:
    """Contract 3.2, for every number of connections and every count."""
    server = server_with({name: sorted(ids) for name, ids in entries.items()})
    options: dict[str, Any] = {"count": count, "block": 10, "chunks": chunks}
    messages = follow(server, entries, connections, **options).rest()
    union = sorted((entry, name) for name, ids in entries.items() for entry in ids)
    assert numbers_of(messages) == [entry for entry, _ in union]
    for name, ids in entries.items():
        assert numbers_of(messages, name) == sorted(ids)


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([b"a", b"b", b"c", b"d"]),
        st.sets(st.integers(1, 60), min_size=1, max_size=25),
        min_size=2,
    ),
    st.integers(2, 4),
    st.sampled_from([1, 2, 100]),
    st.lists(st.integers(1, 400), max_size=6),
    st.sampled_from([(), (1,), (7, 200), (60,)]),
)
def test_broken_connections_lose_and_repeat_nothing(
    entries: dict[bytes, set[int]],
    connections: int,
    count: int,
    cuts: list[int],
    chunks: tuple[int, ...],
) -> None:
    """Contract 3.1 and 5.3."""
    server = server_with({name: sorted(ids) for name, ids in entries.items()})
    options: dict[str, Any] = {"count": count, "block": 10, "cuts": cuts, "chunks": chunks}
    items = follow(server, entries, connections, **options, **RETURNED).rest()
    for name, ids in entries.items():
        assert numbers_of(items, name) == sorted(ids)


def test_connections_to_one_server_keep_the_order_of_a_single_one() -> None:
    """Contract 3.2: one that is down holds the others back until it is read again."""
    server = server_with({A: [1, 3, 5], B: [2, 4, 6]})
    simulation = follow(server, (A, B), 2, block=10, **RETURNED)
    simulation.unreachable = {A}
    assert all(isinstance(item, ConnectionError) for item in simulation.take(3))
    simulation.unreachable = set()
    assert numbers_of(simulation.rest()) == [1, 2, 3, 4, 5, 6]


def test_received_messages_come_before_the_failure() -> None:
    """Contract 5.4."""
    server = server_with({A: [1], B: [2]})
    simulation = follow(server, (A, B), 2, block=1000, **RETURNED)
    assert numbers_of(simulation.take(2)) == [1, 2]
    server.add(B, written(4))
    assert numbers_of(simulation.take(1)) == [4]
    simulation.unreachable = {A}
    simulation.cut(A)
    server.add(B, written(5))
    items = simulation.take(3)
    assert sum(isinstance(item, ConnectionError) for item in items) == 2
    assert numbers_of(items) == [5]


def test_nothing_is_over_before_all_have_looked() -> None:
    """Contract 4.2."""
    server = server_with({A: [1], B: [2]})
    simulation = follow(server, (A, B), 2, block=1000)
    assert numbers_of(simulation.rest()) == [1, 2]
    before = simulation.now
    assert simulation.rest() == []
    assert simulation.now == pytest.approx(before + 1, abs=0.01)


@pytest.mark.parametrize("block", [0, 30_000])
def test_a_stream_never_read_holds_others_back_for_one_reply(block: int) -> None:
    """Contract 3.3: its first read does not block for as long as nothing is written to it."""
    server = server_with({A: [1, 3], B: []})
    simulation = follow(server, (A, B), 2, block=block)
    before = simulation.now
    assert numbers_of(simulation.take(2)) == [1, 3]
    assert simulation.now == before
    server.add(A, written(5))
    assert numbers_of(simulation.take(1)) == [5]


@pytest.mark.parametrize("block", [0, 30_000])
def test_messages_of_a_stream_that_was_left_out_wait_for_no_read(block: int) -> None:
    """Contract 3.3: nothing more was known of it, and the read of its neighbour blocked."""
    server = server_with({A: [], b"c": [], B: []})
    simulation = follow(server, (A, B, b"c"), 2, block=block, count=2)
    simulation.silent = {B}
    for ms in (0.1, 0.2, 0.4):
        simulation.at(ms, partial(server.add, A, written(int(10 * ms))))
    simulation.at(0.3, lambda: server.add(B, written(3)))
    simulation.at(0.3, simulation.silent.clear)
    assert numbers_of(simulation.take(4)) == [1, 2, 3, 4]
    assert simulation.now <= 1000.5


def test_reads_that_leave_streams_out_block_shortly() -> None:
    """A stream is not asked for while so much of it waits for what another one is to bring."""
    server = server_with({A: range(10, 30), b"c": [], B: [1]})
    # Two streams share a connection: one is full, and the other has nothing.
    simulation = follow(server, (A, B, b"c"), 2, block=30_000, count=2, **RETURNED)
    simulation.unreachable = {B}
    began = simulation.now
    assert all(isinstance(item, ConnectionError) for item in simulation.take(2))
    left_out = [read for read in server.reads if read.keys == [b"c"]]
    assert left_out
    assert all(read.block is not None and read.block <= 20 for read in left_out)
    assert len(server.reads) <= 6 + 60 * (simulation.now - began)
    simulation.unreachable = set()
    began = simulation.now
    messages, _ = take_failures_and(simulation, 21)
    assert numbers_of(messages) == [1, *range(10, 30)]
    assert simulation.now <= began + 46


def test_a_message_takes_no_more_work_among_many_connections() -> None:
    """Connections that only wait are not looked at. Lines of the library are counted."""
    few, many = lines_for_a_message(2), lines_for_a_message(50)
    assert few > 50
    assert many < few + 20


def lines_for_a_message(connections: int) -> int:
    names = [b"%d" % n for n in range(connections)]
    server = server_with({name: [1] for name in names})
    simulation = follow(server, names, connections, block=0)
    assert len(simulation.take(connections)) == connections
    lines = 0
    # Each connection was asked before the last of these messages comes.
    for entry in (2, 3, 4):
        simulation.at(0.5, lambda: server.add(names[-1], written(entry)))  # noqa: B023
        lines = count_lines(lambda: simulation.run(simulation.engine.next_batch()))
        assert numbers_of(simulation.take(1)) == [entry]
    return lines


def count_lines(work: Callable[[], object]) -> int:
    """Count the lines of the library that are run."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if f"{os.sep}pystreamredis{os.sep}" not in frame.f_code.co_filename:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("names", [(A, B), (A, B, b"c")])
def test_silence_is_noticed_in_time_while_others_are_busy(names: tuple[bytes, ...]) -> None:
    """Contract 5.5: also of a parked connection, which is not looked at."""
    server = server_with({name: [1] for name in names})
    simulation = follow(server, names, len(names), block=0, **RETURNED)
    assert numbers_of(simulation.take(len(names))) == [1] * len(names)
    # Every connection waits for its reply from here on.
    simulation.at(0.5, lambda: server.add(A, written(2)))
    assert numbers_of(simulation.take(1)) == [2]
    began, entry = simulation.now, 2
    simulation.silent = {B}
    while True:
        entry += 1
        simulation.at(0.7, lambda: server.add(A, written(entry)))  # noqa: B023
        item = simulation.next()
        if isinstance(item, ConnectionError):
            break
        assert numbers_of([item]) == [entry]
        assert simulation.now < began + 60
    # A read blocks for 20 s, and socket_timeout is 5 s.
    assert 24 < simulation.now - began <= 25


def test_streams_are_spread_and_dropped() -> None:
    """Connections that keep streams go on; the others end."""
    server = server_with({b"%d" % n: [n + 1] for n in range(6)})
    simulation = follow(server, [b"%d" % n for n in range(6)], 3, block=10)
    assert sizes(simulation) == [2, 2, 2]
    assert simulation.next()[1] == b"0-1"
    before = simulation.reader.assignments
    simulation.discard(b"0", b"3")
    assert numbers_of(simulation.rest()) == [2, 3, 5, 6]
    assert simulation.reader.assignments == before[1:]
    assert sizes(simulation) == [2, 2]
    assert len(simulation.links) == 2
    simulation.add({b"7": 0, b"8": 0, b"9": 0})
    assert simulation.reader.assignments[:2] == before[1:]
    assert sizes(simulation) == [3, 2, 2]
    assert simulation.rest() == []
    simulation.discard(b"7", b"8", b"9")
    assert set(simulation.reader.positions) == {b"1", b"2", b"4", b"5"}
    assert simulation.rest() == []
    assert len(simulation.links) == 2


def test_dropped_streams_are_asked_for_no_more() -> None:
    """Contract 2.5: nor is a speculative read sent for nothing."""
    server = server_with({A: range(1, 99), B: range(1, 99)})
    simulation = follow(server, (A, B), 2, block=10, count=10)
    assert len(simulation.take(20)) == 20
    simulation.discard(A)
    before = len(server.reads)
    assert numbers_of(simulation.rest()) == list(range(11, 99))
    assert {key for read in server.reads[before:] for key in read.keys} == {B}


def test_a_caller_that_never_waits_polls_each_connection_once() -> None:
    """Contract 4.2: with `block=None` each is asked once per call."""
    server = server_with({A: [1], B: [2]})
    simulation = follow(server, (A, B), 2, block=None)
    assert numbers_of(simulation.rest()) == [1, 2]
    before = len(server.reads)
    assert simulation.rest() == []
    assert len(server.reads) - before <= 4


def test_a_read_sent_before_the_caller_asks_does_not_count() -> None:
    """Contract 4.2: a late reply may be to a read sent before there was a message."""
    server = server_with({A: [1], B: [2]})
    simulation = follow(server, (A, B), 2, block=None)
    assert numbers_of(simulation.rest()) == [1, 2]
    simulation.silent = {B}
    server.add(A, written(3))
    assert numbers_of(simulation.take(1)) == [3]
    simulation.silent = set()
    server.add(B, written(4))
    assert numbers_of(simulation.take(1)) == [4]


@pytest.mark.parametrize("block", [None, 1000])
def test_while_one_is_silent_the_others_are_not_asked_without_pause(block: int | None) -> None:
    server = server_with({})
    simulation = follow(server, (A, B), 2, block=block, **RETURNED)
    simulation.silent = {B}
    before = simulation.now
    assert isinstance(simulation.next(), ConnectionError)
    assert simulation.now >= before + 5
    assert len(server.reads) < 12


def test_nothing_is_established_where_no_stream_is_left() -> None:
    """Otherwise a connect of asyncio would wait for ever."""
    simulation = follow(server_with({}), (A,), 1)
    assert simulation.reader.is_establishing(simulation.now)
    simulation.discard(A)
    assert not simulation.reader.is_establishing(simulation.now)
    assert simulation.establish().attempts == []


@pytest.mark.parametrize("size", [1, 150, 250, 350, 2000])
def test_an_answer_at_hand_is_not_taken_for_silence(size: int) -> None:
    """Replies to a read and to the speculative one behind it come in the same piece."""
    server = server_with({A: range(1, 99), B: range(1, 99)})
    simulation = follow(server, (A, B), 2, count=10, chunks=(size, 2**20), **RETURNED)
    put_apart(simulation)
    assert len(simulation.take(20)) == 20
    simulation.silent = {B}
    failure, *rest = take_until_failure(simulation)[::-1]
    assert "host:7001" in str(failure)
    simulation.silent = set()
    messages, failures = take_failures_and(simulation, 2 * 98 - 20 - len(rest))
    assert failures == 0
    for name in (A, B):
        assert numbers_of([*rest[::-1], *messages], name) == list(range(11, 99))


def take_until_failure(simulation: Simulation) -> list[Any]:
    items: list[Any] = []
    while not (items and isinstance(items[-1], ConnectionError)):
        items.append(simulation.next())
        assert len(items) < 1000
    return items


# Several servers.


def test_a_server_that_is_down_holds_back_no_other() -> None:
    server = server_with({A: [1, 3, 5], B: [2, 4, 6]})
    simulation = follow(server, (A, B), 2, block=10, **RETURNED)
    put_apart(simulation)
    simulation.unreachable = {A}
    first, *rest = simulation.take(5)
    # Nothing is known of A until its failure is reported; then B goes on alone.
    assert isinstance(first, ConnectionError)
    assert "host:7000" in str(first)
    assert numbers_of(rest[:3]) == [2, 4, 6]
    assert isinstance(rest[3], ConnectionError)
    simulation.unreachable = set()
    assert numbers_of(simulation.rest()) == [1, 3, 5]


def test_a_server_that_answers_again_holds_others_back_again() -> None:
    """Contract 3.2: what comes after that is in order."""
    server = server_with({A: [1], B: [2]})
    simulation = follow(server, (A, B), 2, count=1, **RETURNED)
    put_apart(simulation)
    simulation.unreachable = {A}
    assert isinstance(simulation.next(), ConnectionError)
    assert numbers_of(simulation.take(1)) == [2]
    simulation.unreachable = set()
    assert numbers_of(simulation.take(1)) == [1]
    simulation.rest()
    for entry in (11, 12):
        server.add(A, written(entry))
    assert numbers_of(simulation.take(1)) == [11]
    # There may be more of A, which has to come before what there is of B.
    simulation.silent = {A}
    server.add(B, written(15))
    assert isinstance(simulation.next(), ConnectionError)
    simulation.silent = set()
    assert numbers_of(simulation.rest()) == [15, 12]  # now that it is down again


def test_failures_that_are_raised_do_not_starve_the_others() -> None:
    """Contract 5.2: a caller that goes on at once sees messages, too."""
    server = server_with({A: [1], B: [2, 3]})
    simulation = follow(server, (A, B), 2, block=1000)
    put_apart(simulation)
    simulation.unreachable = {A}
    with pytest.raises(ConnectionError):
        simulation.next()
    assert numbers_of(simulation.take(2)) == [2, 3]
    before = simulation.now
    with pytest.raises(ConnectionError):
        simulation.next()
    assert simulation.now >= before + 1


def test_messages_go_on_as_soon_as_the_failure_was_reported() -> None:
    """Not only when the others are answered again, which can take long."""
    server = server_with({A: [1, 3], B: [2]})
    simulation = follow(server, (A, B), 2, block=30_000, **RETURNED)
    put_apart(simulation)
    simulation.silent = {B}
    assert isinstance(simulation.next(), ConnectionError)
    before = simulation.now
    assert numbers_of(simulation.take(2)) == [1, 3]
    assert simulation.now == before


def test_a_caller_that_never_waits_does_not_wait_for_one_that_is_down() -> None:
    """Contract 4.2, 5.3."""
    simulation = follow(server_with({}), (A, B), 2, block=None, **RETURNED)
    put_apart(simulation)
    simulation.silent = {B}
    assert isinstance(simulation.next(), ConnectionError)
    before = simulation.now
    with pytest.raises(StopIteration):
        simulation.next()
    assert simulation.now == before


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("block", [200, 1000, 0])
def test_a_source_that_is_down_is_tried_with_a_pause_while_others_go_on(
    block: int, raises: bool
) -> None:
    """Contract 5.3: the pause is `block` ms, however busy the others are."""
    servers = {"up": server_with({A: [1]}), "down": server_with({A: [1]})}
    options: dict[str, Any] = {"block": block, "raise_connection_exceptions": raises}
    simulation = follow_sources(servers, {A: 0}, **options)
    simulation.unreachable = {"localhost:7001"}
    failures, entries, began = 0, 1, simulation.now
    assert take_or_catch(simulation, 1)
    while simulation.now < began + 6:
        entry = entries + 1
        # Every third one is there already when the caller asks.
        simulation.at(0.02 * (entry % 3), lambda: servers["up"].add(A, written(entry)))  # noqa: B023
        failures += take_or_catch(simulation, entry)
        entries += 1
    tries = simulation.addresses.count("localhost:7001")
    assert tries - 2 <= failures <= tries
    pause = (block or 1000) / 1000
    assert 3 / pause <= tries <= 6 / pause + 2


def take_or_catch(simulation: Simulation, entry: int) -> int:
    """Take a message, and count the failures before it, returned or raised."""
    for failures in range(10):
        try:
            item = simulation.next()
        except ConnectionError as error:
            item = error
        if not isinstance(item, ConnectionError):
            assert numbers_of([item]) == [entry]
            return failures
    raise AssertionError("failures without end")


def test_a_source_that_is_down_keeps_its_own_order() -> None:
    """What one connection of a server has not read may be older than the others' messages."""
    servers = {
        "here": server_with({A: [1, 3, 5], B: [2, 4, 6]}),
        "there": server_with({A: [1, 3, 5], B: [2, 4, 6]}),
    }
    options: dict[str, Any] = {"block": 10, "count": 1, "connections": 2, **RETURNED}
    simulation = follow_sources(servers, {A: 0, B: 0}, **options)
    found = simulation.take(2)
    assert [message[0] for message in found] == [("here", A), ("there", A)]
    simulation.unreachable = {("there", A)}
    simulation.cut(("there", A))
    failures = 0
    while len(found) < 12 and failures < 20:
        if failures == 6:
            assert [m[0][0] for m in found].count("here") == 6
            simulation.unreachable = set()
        item = simulation.next()
        if isinstance(item, tuple):
            found.append(item)
        else:
            assert isinstance(item, ConnectionError)
            failures += 1
    assert failures == 6
    for source in servers:
        assert numbers_of(m for m in found if m[0][0] == source) == [1, 2, 3, 4, 5, 6]


def test_equal_ids_come_in_the_order_of_sources_and_then_of_streams() -> None:
    servers = {name: server_with({A: [1, 2], B: [1, 2]}) for name in ("z", "y")}
    simulation = follow_sources(servers, {B: 0, A: 0}, block=10)
    names = [message[0] for message in simulation.rest()]
    assert names == [("z", B), ("z", A), ("y", B), ("y", A)] * 2


# An upstream by itself.


def make(name: str | None, connections: int = 2) -> Upstream:
    return Upstream(name, ConnectionOptions(), reading(connections=connections))


def test_names_are_full_where_there_are_several_sources() -> None:
    for name, expected in ((None, ["a", b"b"]), ("s", [("s", "a"), ("s", b"b")])):
        upstream = make(name)
        streams = upstream.make_streams([("a", 0), (b"b", 0)])
        assert [stream.name for stream in streams] == expected
        assert [stream.key for stream in streams] == [b"a", b"b"]
        assert upstream.streams == []


def test_streams_are_discarded_by_their_own_or_their_full_name() -> None:
    upstream = make("s")
    upstream.add(upstream.make_streams([(name, 0) for name in "abcd"]))
    assert [len(each.streams) for each in upstream.topology.assignments] == [2, 2]
    assert upstream.discard(["a", ("s", b"b"), ("other", "c"), "never followed"]) == {
        ("s", "a"),
        ("s", "b"),
    }
    assert list(upstream.positions({}, {})) == ["c", "d"]
    names = [[s.name for s in each.streams] for each in upstream.topology.assignments]
    assert names == [[("s", "c")], [("s", "d")]]
    upstream.discard(["c", "d"])
    assert [each.streams for each in upstream.topology.assignments] == [[]]


def test_discarding_unknown_streams_changes_nothing() -> None:
    upstream = make(None)
    upstream.add(upstream.make_streams([("a", 0)]))
    before = upstream.topology.assignments
    assert upstream.discard(["b", ("s", "a")]) == set()
    assert upstream.topology.assignments is before


def test_positions_are_what_was_delivered_or_the_start() -> None:
    upstream = make("s")
    upstream.add(upstream.make_streams([("a", 5), ("b", None)]))
    start = b"4-18446744073709551615"
    assert upstream.positions({("other", "a"): b"7-0"}, {}) == {"a": start, "b": None}
    assert upstream.positions({("s", "b"): b"7-0"}, {})["b"] == b"7-0"
    assert upstream.positions({("s", "b"): b"7-0"}, {("s", "b"): b"8-0"})["b"] == b"8-0"


def test_positions_are_text_where_messages_are() -> None:
    options = ConnectionOptions(decode_responses=True)
    upstream = Upstream(None, options, reading())
    upstream.add(upstream.make_streams([("a", "5-1"), ("b", "5-2")]))
    assert upstream.positions({"b": "6-0"}, {}) == {"a": "5-1", "b": "6-0"}


def test_a_rewind_goes_back_to_what_was_delivered() -> None:
    upstream = make(None)
    streams = upstream.make_streams([("a", 0), ("b", "5-1"), ("c", None)])
    upstream.add(streams)
    for stream in streams:
        stream.last_id, stream.caught_up = b"9-9", True
        stream.pending = [(stream.name, b"9-9", {})]
    upstream.rewind({"a": "7-0"})
    # Of a stream whose "now" is not known yet, nothing was read.
    assert [stream.last_id for stream in streams] == [b"7-0", b"5-1", b"9-9"]
    assert not any(stream.pending or stream.caught_up for stream in streams)


def test_a_stream_that_is_followed_already_is_refused() -> None:
    upstream = make(None)
    upstream.add(upstream.make_streams([("a", 0)]))
    with pytest.raises(ValueError, match="stream b'a' is given twice, first as 'a'"):
        upstream.make_streams([(b"a", 0)])
    with pytest.raises(ValueError, match="stream b'b' is given twice, first as 'b'"):
        upstream.make_streams([("b", 0), (b"b", 0)])


def test_lists_of_streams_are_never_changed_in_place() -> None:
    """Requests that are on their way refer to them."""
    upstream = make(None)
    upstream.add(upstream.make_streams([(name, 0) for name in "abc"]))
    lists = [upstream.streams, *(each.streams for each in upstream.topology.assignments)]
    before = [list(streams) for streams in lists]
    upstream.add(upstream.make_streams([(name, 0) for name in "defg"]))
    upstream.discard(["a", "d"])
    assert lists == before


# The number of connections.


@pytest.mark.parametrize(
    ("streams", "connections"),
    [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10), (9_901, 100), (10_000, 100), (10**6, 100)],
)
def test_each_hundred_streams_get_a_connection_up_to_a_hundred(
    streams: int, connections: int
) -> None:
    assert connections_for(streams, None) == connections


@pytest.mark.parametrize(
    ("streams", "wanted", "connections"), [(5, 1, 1), (5, 3, 3), (5, 10, 5), (10_000, 1, 1)]
)
def test_the_caller_may_say_how_many_but_none_goes_without_a_stream(
    streams: int, wanted: int, connections: int
) -> None:
    assert connections_for(streams, wanted) == connections


@given(
    begun=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    more=st.integers(0, 40),
)
def test_streams_go_where_the_fewest_are(begun: list[int], more: int) -> None:
    shares = [[StreamState(b"", b"", b"0-0") for _ in range(size)] for size in begun]
    before = [list(share) for share in shares]
    fresh = [StreamState(b"", b"", b"0-0") for _ in range(more)]
    spread(fresh, shares)
    added: list[StreamState] = []
    for share, old in zip(shares, before, strict=True):
        assert share[: len(old)] == old
        added += share[len(old) :]
    assert sorted(added, key=id) == sorted(fresh, key=id)
    grown = [len(share) for share, old in zip(shares, before, strict=True) if len(share) > len(old)]
    assert max(grown, default=0) <= min(map(len, shares)) + 1


# The log.


def levels_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Take out the levels of what was logged, but for debugging."""
    levels = [record.levelname for record in caplog.records if record.levelno > 10]
    caplog.clear()
    return levels


def test_thousands_of_streams_are_few_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One at the start, and two for an outage, over however many connections."""
    caplog.set_level("DEBUG", "pystreamredis")
    names = [b"s%d" % at for at in range(3000)]
    server = server_with({name: [1] for name in names[::100]})
    simulation = Simulation(server, names, block=100, **RETURNED).establish()
    assert len(simulation.links) == 30
    assert simulation.rest() == []
    assert levels_of(caplog) == ["INFO"]
    simulation.unreachable = {"localhost:6379"}
    simulation.cut()
    assert all(isinstance(simulation.next(), ConnectionError) for _ in range(70))
    assert levels_of(caplog) == ["WARNING"]
    simulation.unreachable = set()
    server.add(names[7], written(2))
    assert any(isinstance(simulation.next(), tuple) for _ in range(100))
    simulation.rest()
    assert levels_of(caplog) == ["INFO"]
    assert simulation.reader.stats(simulation.now)["outages"] == 1
