"""One server's streams, spread over several connections: what holds over one holds over all."""

from __future__ import annotations

import os
from itertools import pairwise
from random import Random
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Streams
from tests.scripted import next_item
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from tests.servers import Endpoint, Server, StartServer

NAME = "under-test"
STREAMS = [f"s{n}" for n in range(12)]


def follow(server: Endpoint, streams: Any, **options: Any) -> Streams:
    options = {"block": None, "client_name": NAME} | options
    return Streams(streams=streams, **(server.options | options))


def connected(server: Endpoint) -> list[str]:
    """The connections of that name, at the server."""
    lines = server.command("CLIENT", "LIST").decode().splitlines()
    clients = [dict(item.split("=", 1) for item in line.split()) for line in lines]
    return [each["id"] for each in clients if each["name"] == NAME]


def write(server: Endpoint, *numbers: int) -> None:
    """Add entries, to one of the streams each."""
    server.pipeline([("XADD", STREAMS[n * 7 % 12], f"{n}-0", "n", n) for n in numbers])


def numbers(messages: Any) -> list[int]:
    return [int(message[2][b"n"]) for message in messages]


@pytest.mark.parametrize("connections", [1, 2, 5, 12, 100])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_the_output_is_the_sorted_union(one_server: Endpoint, connections: int, count: int) -> None:
    """Contract 3.2: for every number of connections, and every `count`."""
    random = Random(connections)
    pairs = [
        (name, (1000 + random.randrange(40), random.randrange(12)))
        for name in STREAMS
        for _ in range(30)
    ]
    written = sorted(set(pairs), key=lambda pair: (pair[1], STREAMS.index(pair[0])))
    one_server.pipeline([("XADD", name, f"{ms}-{seq}", "f", "v") for name, (ms, seq) in written])
    options: dict[str, Any] = {"connections": connections, "count": count}
    with follow(one_server, dict.fromkeys(STREAMS, 0), **options) as streams:
        found = [(name, entry_id) for name, entry_id, _ in streams]
        assert len(connected(one_server)) == min(connections, 12)
    assert found == [(name, b"%d-%d" % pair) for name, pair in written]


@pytest.mark.parametrize(
    ("streams", "connections", "expected"), [(100, None, 1), (250, None, 3), (250, 2, 2)]
)
def test_there_are_as_many_connections_as_is_documented(
    one_server: Endpoint, streams: int, connections: int | None, expected: int
) -> None:
    names = [f"many{n}" for n in range(streams)]
    one_server.command("XADD", names[-1], "5-0", "n", 5)
    with follow(one_server, dict.fromkeys(names, 0), connections=connections) as following:
        assert numbers(following) == [5]
        assert len(connected(one_server)) == expected
        following.discard(*names[1:])
        assert list(following) == []
        wait_until(lambda: len(connected(one_server)) == 1)


def test_streams_come_and_go_while_others_are_read(one_server: Endpoint) -> None:
    """Contract 2.4, 2.5."""
    write(one_server, *range(1, 31))
    with follow(one_server, dict.fromkeys(STREAMS[:6], 0), connections=4) as streams:
        first = [next(streams) for _ in range(5)]
        streams.discard(STREAMS[0])
        streams.add(dict.fromkeys(STREAMS[6:], 0))
        rest = list(streams)
        added = [n for n in numbers(rest) if n * 7 % 12 >= 6]
        kept = [n for n in numbers([*first, *rest]) if 1 <= n * 7 % 12 < 6]
        assert added == [n for n in range(1, 31) if n * 7 % 12 >= 6]
        assert kept == [n for n in range(1, 31) if 1 <= n * 7 % 12 < 6]
        positions = streams.positions
    assert set(positions) == set(STREAMS[1:])
    write(one_server, *range(31, 50))
    with follow(one_server, positions, connections=3) as streams:
        assert numbers(streams) == [n for n in range(31, 50) if n * 7 % 12]


def test_now_is_fixed_for_all_of_them(one_server: Endpoint) -> None:
    """Contract 2.3: what is added after the object was made comes, and nothing before."""
    write(one_server, *range(1, 20))
    with follow(one_server, STREAMS, connections=5) as streams:
        write(one_server, *range(20, 40))
        assert sorted(numbers(streams)) == list(range(20, 40))


@pytest.mark.parametrize("raising", [True, False])
def test_one_that_breaks_holds_up_no_other_and_loses_nothing(
    one_server: Endpoint, raising: bool
) -> None:
    """Contract 5.2, 5.3: its failure is told once, and names the address."""
    options: dict[str, Any] = {"block": 100, "raise_connection_exceptions": raising}
    found: list[Any] = []
    failures: list[Any] = []
    with follow(one_server, STREAMS, connections=3, **options) as streams:
        assert len(connected(one_server)) == 3
        write(one_server, *range(1, 13))
        found += [next(streams) for _ in range(6)]
        one_server.command("CLIENT", "KILL", "ID", connected(one_server)[1])
        write(one_server, *range(13, 25))
        deadline = monotonic() + LONG
        while len(found) < 24 and monotonic() < deadline:
            try:
                item = next_item(streams)
            except StopIteration:
                continue
            (found if isinstance(item, tuple) else failures).append(item)
        assert sorted(numbers(found)) == list(range(1, 25))
        assert len(failures) == 1
        assert isinstance(failures[0], ConnectionError)
        assert f"{one_server.host}:{one_server.port} closed the connection" in str(failures[0])
    for name in STREAMS:
        of_it = numbers(message for message in found if message[0] == name)
        assert all(before < after for before, after in pairwise(of_it))


@pytest.mark.parametrize("raising", [True, False])
def test_a_server_that_is_killed_is_followed_on_all_of_them(
    start_server: StartServer, raising: bool
) -> None:
    """Contract 5.2, 5.3: once for each, and then all goes on."""
    server: Server = start_server("--appendonly", "yes", "--appendfsync", "always")
    options: dict[str, Any] = {"block": 50, "raise_connection_exceptions": raising}
    found: list[Any] = []
    with follow(server, dict.fromkeys(STREAMS, 0), connections=4, **options) as streams:
        write(server, *range(1, 25))
        found += [next(streams) for _ in range(10)]
        server.kill()
        server.start()
        write(server, *range(25, 49))
        deadline = monotonic() + LONG
        while len(found) < 48 and monotonic() < deadline:
            try:
                item = next_item(streams)
            except StopIteration:
                continue
            if isinstance(item, tuple):
                found.append(item)
            else:
                assert isinstance(item, ConnectionError)
        assert sorted(numbers(found)) == list(range(1, 49))
        assert len(connected(server)) == 4


def test_close_ends_a_wait_over_all_of_them_and_frees_them(one_server: Endpoint) -> None:
    """Contract 4.4."""
    # What one needs that stays, such as an event loop, is there after the first.
    follow(one_server, STREAMS).close()
    wait_until(lambda: connected(one_server) == [])
    before = len(os.listdir("/dev/fd"))
    streams = follow(one_server, STREAMS, connections=6, block=0)
    timer = Timer(0.2, streams.close)
    timer.start()
    assert list(streams) == []
    timer.join()
    wait_until(lambda: connected(one_server) == [])
    wait_until(lambda: len(os.listdir("/dev/fd")) <= before)


def test_a_wait_is_over_when_none_has_found_anything(one_server: Endpoint) -> None:
    """Contract 4.1, 4.2: it lasts as long as over one connection."""
    with follow(one_server, STREAMS, connections=4, block=200) as streams:
        began = monotonic()
        assert list(streams) == []
        assert 0.15 <= monotonic() - began < LONG
        write(one_server, 1)
        assert numbers(streams) == [1]
