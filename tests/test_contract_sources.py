"""Several servers, one merge: messages say which source they come from."""

from __future__ import annotations

import json
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Redis, ResponseError, Streams
from tests.scripted import next_item
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.cluster import Cluster
    from tests.servers import Endpoint, Server, StartServer


def at(server: Endpoint, **options: Any) -> Redis:
    return Redis(**(server.options | options))


def two_of(server: Endpoint, **options: Any) -> dict[str, Redis]:
    """Two databases do for two servers where none of them fails."""
    return {"fra": at(server, **options), "lon": at(server, db=1, **options)}


def write(server: Endpoint, db: int, name: str, *numbers: int) -> None:
    commands = [("XADD", name, f"{n}-0", "n", n) for n in numbers]
    server.pipeline([("SELECT", db), *commands, ("SELECT", 0)])


def numbers(messages: Iterable[Any]) -> list[int]:
    return [int(message[2][b"n"]) for message in messages]


@pytest.mark.parametrize("count", [1, 3, 100])
@pytest.mark.parametrize("connections", [None, 2])
def test_the_output_is_the_sorted_union(
    one_server: Endpoint, count: int, connections: int | None
) -> None:
    """Contract 3.2: equal IDs come in the order of the sources, and of their streams."""
    random = Random(count)
    written = []
    for db, source in enumerate(["fra", "lon"]):
        for name in "ab":
            ids = sorted(random.sample(range(1, 90), 40))
            write(one_server, db, name, *ids)
            written += [(n, source, name) for n in ids]
    written.sort()
    options: dict[str, Any] = {"count": count, "connections": connections, "block": None}
    with Streams.from_sources(two_of(one_server), {"a": 0, "b": 0}, **options) as streams:
        found = list(streams)
    assert found == [
        ((source, name), b"%d-0" % n, {b"n": b"%d" % n}) for n, source, name in written
    ]


def test_a_reader_goes_on_from_positions(one_server: Endpoint) -> None:
    """Contract 2.4: they are one dict for each source, and JSON-safe where text is read."""
    for db in (0, 1):
        write(one_server, db, "a", *range(1 + db, 20, 2))
    sources = two_of(one_server, decode_responses=True)
    found: list[Any] = []
    positions: Any = {"a": 0}
    for _ in range(5):
        with Streams.from_sources(sources, positions, block=None, count=2) as streams:
            found += [next(streams) for _ in range(3)]
            positions = json.loads(json.dumps(streams.positions))
    assert [message[1] for message in found] == [f"{n}-0" for n in range(1, 16)]
    assert positions == {"fra": {"a": "15-0"}, "lon": {"a": "14-0"}}


def test_a_stream_may_be_of_one_source_alone(one_server: Endpoint) -> None:
    for db in (0, 1):
        for name in "abc":
            write(one_server, db, name, 1, 2)
    given: Any = {"fra": {"a": 0, "b": "1-0"}, "c": "1-0"}
    with Streams.from_sources(two_of(one_server), given, block=None, lon={b"b": 0}) as streams:
        found = [(message[0], *numbers([message])) for message in streams]
        assert streams.positions == {
            "fra": {"a": b"2-0", "b": b"2-0", "c": b"2-0"},
            "lon": {"c": b"2-0", b"b": b"2-0"},
        }
    assert found == [
        (("fra", "a"), 1),
        (("lon", b"b"), 1),
        (("fra", "a"), 2),
        (("fra", "b"), 2),
        (("fra", "c"), 2),
        (("lon", "c"), 2),
        (("lon", b"b"), 2),
    ]


def test_streams_come_and_go(one_server: Endpoint) -> None:
    """Contract 2.5: a name is one of every source, a tuple names one."""
    for db in (0, 1):
        for name in "abc":
            write(one_server, db, name, *range(1, 6))
    with Streams.from_sources(two_of(one_server), {"a": 0, "b": 0}, block=None) as streams:
        assert [next(streams)[0] for _ in range(4)] == [
            (s, n) for s in ("fra", "lon") for n in "ab"
        ]
        streams.discard("b", ("lon", "a"), ("nowhere", "a"), "never followed")
        streams.add({"lon": {"c": 4}})
        rest = list(streams)
        assert numbers(m for m in rest if m[0] == ("fra", "a")) == [2, 3, 4, 5]
        assert numbers(m for m in rest if m[0] == ("lon", "c")) == [4, 5]
        assert len(rest) == 6
        with pytest.raises(ValueError, match=r"stream \('lon', b'c'\) is given twice, first as "):
            streams.add(b"c")
        assert streams.positions == {"fra": {"a": b"5-0"}, "lon": {"c": b"5-0"}}


def test_now_is_fixed_at_all_of_them(one_server: Endpoint) -> None:
    """Contract 2.3."""
    for db in (0, 1):
        write(one_server, db, "a", 1, 2)
    with Streams.from_sources(two_of(one_server), "a", block=None) as streams:
        for db in (0, 1):
            write(one_server, db, "a", 3 + db)
        assert numbers(streams) == [3, 4]


def test_a_stream_at_fault_is_named_with_its_source(one_server: Endpoint) -> None:
    """Contract 5.6: what the error names can be discarded."""
    one_server.pipeline([("SELECT", 1), ("SET", "b", "no stream"), ("SELECT", 0)])
    write(one_server, 0, "b", 1)
    with Streams.from_sources(two_of(one_server), {"a": 0, "b": 0}, block=None) as streams:
        with pytest.raises(ResponseError) as raised:
            numbers(streams)
        assert raised.value.code == "WRONGTYPE"
        assert raised.value.stream == ("lon", "b")
        streams.discard(raised.value.stream)
        write(one_server, 0, "b", 2)
        assert numbers(streams) == [1, 2]


@pytest.mark.parametrize("raising", [True, False])
def test_one_that_is_away_holds_up_no_other_and_loses_nothing(
    start_server: StartServer, one_server: Endpoint, raising: bool
) -> None:
    """Contract 5: its failure names its address; messages of each stream stay in order."""
    server: Server = start_server("--appendonly", "yes", "--appendfsync", "always")
    sources = {"here": at(one_server), "there": at(server)}
    found: list[Any] = []
    failures: list[Any] = []

    def take(size: int) -> None:
        deadline = monotonic() + LONG
        while len(found) < size and monotonic() < deadline:
            try:
                item = next_item(streams)
            except StopIteration:
                continue
            (found if isinstance(item, tuple) else failures).append(item)
        assert len(found) == size

    options: dict[str, Any] = {"block": 50, "raise_connection_exceptions": raising}
    with Streams.from_sources(sources, {"a": 0}, **options) as streams:
        for each in (server, one_server):
            write(each, 0, "a", *range(1, 6))
        take(10)
        server.kill()
        write(one_server, 0, "a", *range(6, 11))
        take(15)
        assert {message[0] for message in found[10:]} == {("here", "a")}
        server.start()
        write(server, 0, "a", *range(6, 11))
        take(20)
    assert failures
    for failure in failures:
        assert isinstance(failure, ConnectionError)
        assert f"{server.host}:{server.port}" in str(failure)
    for source in sources:
        of_it = [message for message in found if message[0] == (source, "a")]
        assert numbers(of_it) == list(range(1, 11))


def test_one_of_them_may_be_a_cluster(one_server: Endpoint, cluster: Cluster) -> None:
    names = [f"s{n}" for n in range(8)]
    for at_ms, name in enumerate(names):
        cluster.add(name, "n", 10 + at_ms, entry_id=f"{10 + at_ms}-0")
        write(one_server, 0, name, 10 + at_ms)
    sources = {"one": at(one_server), "many": Redis(**cluster.options)}
    with Streams.from_sources(sources, dict.fromkeys(names, 0), block=200) as streams:
        found = list(streams)
    assert [message[0] for message in found] == [(s, n) for n in names for s in ("one", "many")]


@pytest.mark.parametrize(
    ("sources", "error", "text"),
    [
        ({}, ValueError, "no sources are given; give at least one"),
        (
            [Redis()],
            TypeError,
            r"sources is of type list, but must be a dict of names to Redis\(\)",
        ),
        ({1: Redis()}, TypeError, "source 1 is of type int, but a name must be a str"),
        (
            {"a": "redis://:secret@a"},
            TypeError,
            r"source 'a' is of type str, but must be a Redis\(\)",
        ),
        (
            {"a": Redis(), "b": Redis(decode_responses=True)},
            ValueError,
            "all sources must use the same decode_responses",
        ),
    ],
)
def test_sources_that_cannot_be(sources: Any, error: type[Exception], text: str) -> None:
    """Contract 7."""
    with pytest.raises(error, match=f"^{text}"):
        Streams.from_sources(sources, "s")


@pytest.mark.parametrize(
    ("streams", "error", "text"),
    [
        (None, ValueError, "no streams are given"),
        ({"a": {}}, ValueError, "no streams are given"),
        (
            {"b": {"s": 0}},
            ValueError,
            r"streams are given for 'b', which is not a source; these are \['a'\]",
        ),
        ({"a": {"s": -1}}, ValueError, "stream 's': start -1"),
        ({"a": {"s": {}}}, TypeError, "stream 's': start {}: it is of type dict"),
        ({"a": ["s"], "s": 0}, ValueError, r"stream \('a', 's'\) is given twice"),
        ({"a": [1]}, TypeError, "stream name 1 is of type int, but must be a str or bytes"),
    ],
)
def test_streams_that_cannot_be(streams: Any, error: type[Exception], text: str) -> None:
    """Contract 7."""
    with pytest.raises(error, match=f"^{text}"):
        Streams.from_sources({"a": Redis("127.0.0.1", 1)}, streams)


def test_an_option_of_connecting_is_not_a_stream(one_server: Endpoint) -> None:
    """Contract 2.1, as with `Redis.streams`: sources say how to connect."""
    write(one_server, 0, "host", 1)
    with pytest.raises(TypeError, match="'host', which is an option of the connection"):
        Streams.from_sources({"a": at(one_server)}, block=None, host=0)
    with Streams.from_sources({"a": at(one_server)}, {"host": 0}, block=None) as streams:
        assert [message[0] for message in streams] == [("a", "host")]
        assert repr(streams).endswith(f"at {one_server.host}:{one_server.port}>")
