"""Contract 8.1: the type of a message follows from the options, for mypy and for pyright."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeAlias, assert_type

import pystreamredis.asyncio as aio
import pystreamredis.trio as tri
from pystreamredis import ConnectionError, Hub, Last, Redis, Streams, StrictRedis

Binary: TypeAlias = tuple[Any, bytes, dict[bytes, bytes]]
Text: TypeAlias = tuple[Any, str, dict[str, str]]
URL = "redis://localhost"


def numbers(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Make data of another type."""
    return {field: float(value) for field, value in pairs}


def follow(*, flag: bool, options: dict[str, Any]) -> None:
    """Make streams in each way."""
    assert_type(Streams("localhost", 6379, s=0), Streams[Binary])
    assert_type(Streams(s=Last(3), password=lambda: ("me", "pw")), Streams[Binary])
    assert_type(next(Streams(s=0)), Binary)
    assert_type(next(Streams(s=0, decode_responses=False)), Binary)
    assert_type(next(Streams(s=0, decode_responses=True)), Text)
    assert_type(next(Streams(s=0, fields=list)), tuple[Any, bytes, list[tuple[bytes, bytes]]])
    assert_type(next(Streams(s=0, fields=dict)), Binary)
    assert_type(
        next(Streams(s=0, fields=list, decode_responses=True)),
        tuple[Any, str, list[tuple[str, str]]],
    )
    assert_type(
        next(Streams(s=0, fields=numbers, decode_responses=True)),
        tuple[Any, str, dict[str, float]],
    )
    assert_type(next(Streams(s=0, fields=lambda pairs: len(list(pairs)))), tuple[Any, bytes, int])
    assert_type(next(Streams(s=0, stop_on_timeout=True)), Binary | None)
    assert_type(next(Streams(s=0, stop_on_timeout=flag)), Binary | None)
    assert_type(next(Streams(s=0, stop_on_timeout=True, timeout_response=0)), Binary | int)
    assert_type(next(Streams(s=0, timeout_response="never returned")), Binary)
    assert_type(next(Streams(s=0, raise_connection_exceptions=False)), Binary | ConnectionError)
    assert_type(next(Streams(s=0, raise_connection_exceptions=flag)), Binary | ConnectionError)
    assert_type(next(Streams(s=0, raise_connection_exceptions=True)), Binary)
    assert_type(
        next(
            Streams(
                s=0, stop_on_timeout=True, raise_connection_exceptions=False, decode_responses=True
            )
        ),
        Text | ConnectionError | None,
    )
    # Nobody knows these before the program runs.
    assert_type(Streams(s=0, decode_responses=flag), Streams[Any])
    with Streams(streams=["s", b"t"], **options) as streams:
        for message in streams:
            print(message)


def follow_otherwise(*, flag: bool) -> None:
    """Make streams in all other ways."""
    assert_type(Streams.from_url(URL, s=0), Streams[Binary])
    assert_type(
        Streams.from_url(URL, {"s": "1-0"}, decode_responses=True, stop_on_timeout=True),
        Streams[Text | None],
    )
    assert_type(Redis(), Redis[bytes])
    assert_type(Redis.from_url(URL, decode_responses=True), Redis[str])
    r = StrictRedis("localhost", 6379, decode_responses=True)
    assert_type(r, Redis[str])
    assert_type(r.streams(s=0, t="$", u=None, v=datetime.now().astimezone()), Streams[Text])
    assert_type(
        Redis().streams(["s"], fields=list), Streams[tuple[Any, bytes, list[tuple[bytes, bytes]]]]
    )
    assert_type(r.streams(s=0, fields=numbers), Streams[tuple[Any, str, dict[str, float]]])
    assert_type(
        r.streams(s=0, stop_on_timeout=True, raise_connection_exceptions=False),
        Streams[Text | ConnectionError | None],
    )
    assert_type(Redis(decode_responses=flag), Redis[Any])
    sources = {"fra": r, "lon": r}
    assert_type(Streams.from_sources(sources, s=0), Streams[Text])
    assert_type(
        Streams.from_sources(sources, {"fra": {"s": 0}}, raise_connection_exceptions=False),
        Streams[Text | ConnectionError],
    )


def in_batches(*, streams: Streams[Text]) -> None:
    """Take lists."""
    assert_type(streams.batches(9), Iterator[list[Text]])
    assert_type(Redis().streams(s=0).batches(9), Iterator[list[Binary]])
    assert_type(Streams(s=0, stop_on_timeout=True).batches(9), Iterator[list[Binary]])
    assert_type(
        Streams(s=0, raise_connection_exceptions=False).batches(9),
        Iterator[list[Binary] | ConnectionError],
    )
    for messages in Streams(
        s=0, stop_on_timeout=True, raise_connection_exceptions=False, decode_responses=True
    ).batches(9):
        assert_type(messages, list[Text] | ConnectionError)
    for name, entry_id, data in next(streams.batches(9)):
        print(name, entry_id.upper(), data["x"].upper())


class Counting(Streams[Text]):
    """A subclass that counts."""

    count = 0

    def __next__(self) -> Text:
        self.count += 1
        return super().__next__()


def pass_on(streams: Streams, exact: Streams[Text | None], r: Redis) -> None:
    """Take what any options make, or narrower."""
    for _, entry_id, _ in streams:
        print(entry_id)
    for message in exact:
        if message is not None:
            print(message[1].upper(), message[2]["x"])
    with Counting(s=0, decode_responses=True) as counting:
        assert_type(counting, Counting)
        assert_type(next(counting), Text)
        pass_on(counting, counting, r)
    # A handle of any kind makes messages of any kind.
    assert_type(next(r.streams(s=0)), tuple[Any, Any, dict[Any, Any]])
    pass_on(Streams(s=0), Streams(s=0, decode_responses=True, stop_on_timeout=True), Redis())
    # Positions are what streams= takes.
    Streams(streams=streams.positions)
    streams.add(t=0)
    streams.add({b"u": "1-0"})
    streams.discard("t", b"u", ("fra", "s"))


async def follow_by_asyncio(*, flag: bool) -> None:
    """Make streams for asyncio."""
    assert_type(aio.Streams(s=0), aio.Streams[Binary])
    assert_type(await aio.Streams.connect("localhost", 6379, s=0), aio.Streams[Binary])
    assert_type(
        await aio.Streams.connect(s=0, decode_responses=True, raise_connection_exceptions=flag),
        aio.Streams[Text | ConnectionError],
    )
    assert_type(
        aio.Streams.from_url(URL, s=0, fields=list, decode_responses=True),
        aio.Streams[tuple[Any, str, list[tuple[str, str]]]],
    )
    r = aio.Redis(decode_responses=True)
    assert_type(r, aio.Redis[str])
    assert_type(aio.StrictRedis.from_url(URL), aio.Redis[bytes])
    assert_type(aio.Streams.from_sources({"a": r}, s=0), aio.Streams[Text])
    async with r.streams(s=0, stop_on_timeout=True) as streams:
        assert_type(streams, aio.Streams[Text | None])
        async for message in streams:
            assert_type(message, Text | None)
        assert_type(await anext(streams), Text | None)
        assert_type(streams.batches(5), AsyncIterator[list[Text]])
        await streams.add(t=None)
        streams.discard("t")
    failing = aio.Streams(s=0, raise_connection_exceptions=False).batches(3)
    async for messages in failing:
        assert_type(messages, list[Binary] | ConnectionError)


async def follow_by_trio() -> None:
    """Make streams for trio."""
    assert_type(await tri.Streams.connect("localhost", 6379, s=0), tri.Streams[Binary])
    r = tri.Redis(decode_responses=True)
    async with r.streams(s=0, stop_on_timeout=True) as streams:
        async for message in streams:
            assert_type(message, Text | None)
        assert_type(streams.batches(5), AsyncIterator[list[Text]])
        await streams.add(t=None)


async def follow_by_hubs() -> None:
    """Make followers of hubs."""
    assert_type(Hub(), Hub[bytes])
    assert_type(Hub.from_url(URL, decode_responses=True, connections=2), Hub[str])
    assert_type(Hub.from_sources({"a": Redis(decode_responses=True)}), Hub[str])
    with Hub(connections=5) as hub, hub.follow(s=0, raise_connection_exceptions=False) as messages:
        assert_type(messages, Streams[Binary | ConnectionError])
    async with aio.Hub(decode_responses=True) as text:
        assert_type(text, aio.Hub[str])
        async for message in text.follow({"s": "1-0"}, stop_on_timeout=True):
            assert_type(message, Text | None)
        assert_type(
            text.follow(s=0, fields=numbers), aio.Streams[tuple[Any, str, dict[str, float]]]
        )
