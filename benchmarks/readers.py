"""The readers: one function each, all with the same job.

A reader connects, calls the consumer as it begins, and delivers every message
of the streams, one at a time and in ID order, as ``(name, id, dict)``. It returns what
parses its replies, so that nobody mistakes one parser for another. Libraries are
imported by the function that needs them: each reader runs in a process of its own.
"""

from __future__ import annotations

import socket
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from merge import Merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator

    from merge import Block, Message

RECEIVE = 1 << 18


class Job(NamedTuple):
    """The task of a reader.

    `limit` is XREAD's COUNT; `block` is 0 when waiting for new messages, else None.
    """

    port: int
    names: list[str]
    limit: int
    block: int | None = None
    decode: bool = False
    replay: str | None = None


class Consumer(Protocol):
    """The caller, to whom messages are delivered."""

    def begin(self) -> None:
        """Take note that the first request is about to be sent."""

    def take(self, messages: Iterable[Message]) -> bool:
        """Take messages one at a time; return whether no more are wanted."""

    async def take_async(self, messages: AsyncIterable[Message]) -> bool:
        """Take them from what is for ``async for``."""


def ours(job: Job, consumer: Consumer) -> str:
    from pystreamredis import Streams

    consumer.begin()
    start = 0 if job.block is None else None
    streams = Streams(
        "127.0.0.1",
        job.port,
        streams=dict.fromkeys(job.names, start),
        count=job.limit,
        block=job.block,
        decode_responses=job.decode,
    )
    with streams:
        consumer.take(streams)
    return "pystreamredis.protocol"


def ours_over_one_connection(job: Job, consumer: Consumer) -> str:
    """Read as `ours`, but without spreading the streams."""
    from pystreamredis import Streams

    consumer.begin()
    names = dict.fromkeys(job.names, None)
    options: dict[str, Any] = {"count": job.limit, "block": job.block, "connections": 1}
    consumer.take(Streams("127.0.0.1", job.port, names, **options))
    return "pystreamredis.protocol"


def ours_asyncio(job: Job, consumer: Consumer) -> str:
    import asyncio

    return asyncio.run(_ours_asyncio(job, consumer))


async def _ours_asyncio(job: Job, consumer: Consumer) -> str:
    from pystreamredis.asyncio import Streams

    consumer.begin()
    start = 0 if job.block is None else None
    streams = Streams(
        "127.0.0.1",
        job.port,
        streams=dict.fromkeys(job.names, start),
        count=job.limit,
        block=job.block,
        decode_responses=job.decode,
    )
    async with streams:
        await consumer.take_async(streams)
    return "pystreamredis.protocol"


def redis_py_hiredis(job: Job, consumer: Consumer) -> str:
    from redis._parsers import _HiredisParser

    return _redis_py(job, consumer, _HiredisParser)


def redis_py_plain(job: Job, consumer: Consumer) -> str:
    """Read with the least that delivers messages: in the order of replies, not merged."""
    from redis._parsers import _HiredisParser

    return _redis_py(job, consumer, _HiredisParser, _read_plainly)


def redis_py_pure(job: Job, consumer: Consumer) -> str:
    # For RESP3, which redis-py speaks unless told otherwise.
    from redis._parsers import _RESP3Parser

    return _redis_py(job, consumer, _RESP3Parser)


def _redis_py(
    job: Job,
    consumer: Consumer,
    parser: type,
    read: Callable[[Callable[..., Any], Job, Consumer], None] | None = None,
) -> str:
    import redis

    pool = redis.ConnectionPool(
        host="127.0.0.1", port=job.port, decode_responses=job.decode, parser_class=parser
    )
    client = redis.Redis(connection_pool=pool)
    client.ping()
    connection = pool.get_connection()
    pool.release(connection)
    used = connection._parser
    if type(used) is not parser:
        raise RuntimeError(f"replies are parsed by {used!r}, expected {parser.__name__}")
    (read or _read_with_xread)(client.xread, job, consumer)
    return type(used).__name__


def redis_asyncio_hiredis(job: Job, consumer: Consumer) -> str:
    import asyncio

    return asyncio.run(_redis_asyncio(job, consumer))


async def _redis_asyncio(job: Job, consumer: Consumer) -> str:
    import redis.asyncio
    from redis._parsers import _AsyncHiredisParser

    pool = redis.asyncio.ConnectionPool(
        host="127.0.0.1",
        port=job.port,
        decode_responses=job.decode,
        parser_class=_AsyncHiredisParser,
    )
    client = redis.asyncio.Redis(connection_pool=pool)
    await client.ping()
    connection = await pool.get_connection()
    await pool.release(connection)
    used = connection._parser
    if type(used) is not _AsyncHiredisParser:
        raise RuntimeError(f"replies are parsed by {used!r}, expected _AsyncHiredisParser")
    name_of = _names(job)

    def messages(name: str, entries: Any) -> list[Message]:
        return [(name, entry_id, data) for entry_id, data in entries]

    merge = Merge(job.names, job.limit)
    consumer.begin()
    is_enough = False
    while not (merge.is_drained or is_enough):
        asked = merge.asked()
        reply = await client.xread(asked, count=job.limit, block=job.block)
        # Without a step of asyncio for each message, which is the best that it can do.
        is_enough = consumer.take(merge.put(asked, _blocks(dict(reply).items(), name_of, messages)))
    await pool.disconnect()
    return type(used).__name__


def redis_cluster(job: Job, consumer: Consumer) -> str:
    """Read the slots of a cluster one after the other; while waiting, each with a thread.

    One XREAD can name the streams of one slot only, and a wait for one is none for others.
    What the threads bring is not merged: that takes knowing of all when each was read.
    """
    from redis.cluster import RedisCluster

    client = RedisCluster("127.0.0.1", job.port)
    slots: dict[int, list[str]] = {}
    for name in job.names:
        slots.setdefault(client.keyslot(name), []).append(name)
    pool = client.get_redis_connection(client.get_default_node()).connection_pool
    connection = pool.get_connection()
    pool.release(connection)
    parser = type(connection._parser).__name__
    if job.block is not None:
        _read_with_threads(client.xread, list(slots.values()), job, consumer)
        return parser

    def xread(asked: dict[str, Any], count: int, block: int | None) -> dict[Any, Any]:
        reply: dict[Any, Any] = {}
        for names in slots.values():
            if of_slot := {name: asked[name] for name in names if name in asked}:
                reply.update(client.xread(of_slot, count=count, block=block))
        return reply

    _read_with_xread(xread, job, consumer)
    return parser


def _read_with_threads(
    xread: Callable[..., Any], groups: list[list[str]], job: Job, consumer: Consumer
) -> None:
    from queue import SimpleQueue
    from threading import Thread

    found: SimpleQueue[Message] = SimpleQueue()
    name_of = _names(job)

    def follow(names: list[str]) -> None:
        positions: dict[str, Any] = dict.fromkeys(names, "0")
        while True:
            for key, entries in dict(xread(positions, count=job.limit, block=job.block)).items():
                name = name_of[key]
                positions[name] = entries[-1][0]
                for entry_id, data in entries:
                    found.put((name, entry_id, data))

    consumer.begin()
    for names in groups:
        # They wait for ever, and end with the process.
        Thread(target=follow, args=(names,), daemon=True).start()
    consumer.take(iter(found.get, None))


def valkey_py(job: Job, consumer: Consumer) -> str:
    import valkey

    client = valkey.Valkey("127.0.0.1", job.port, decode_responses=job.decode)
    client.ping()
    _read_with_xread(client.xread, job, consumer)
    connection = client.connection_pool.get_connection("PING")
    return type(connection._parser).__name__


def _read_with_xread(xread: Callable[..., Any], job: Job, consumer: Consumer) -> None:
    """Read with the ``xread`` that redis-py and valkey-py have in common."""
    name_of = _names(job)

    def messages(name: str, entries: Any) -> list[Message]:
        return [(name, entry_id, data) for entry_id, data in entries]

    def batches() -> Iterator[list[Message]]:
        merge = Merge(job.names, job.limit)
        while not merge.is_drained:
            asked = merge.asked()
            reply = xread(asked, count=job.limit, block=job.block)
            yield merge.put(asked, _blocks(dict(reply).items(), name_of, messages))

    consumer.begin()
    consumer.take(chain.from_iterable(batches()))


def _read_plainly(xread: Callable[..., Any], job: Job, consumer: Consumer) -> None:
    name_of = _names(job)

    def messages() -> Iterator[Message]:
        positions: dict[Any, Any] = dict.fromkeys(job.names, "0-0")
        while reply := xread(positions, count=job.limit, block=job.block):
            for key, entries in dict(reply).items():
                name = name_of[key]
                for entry_id, data in entries:
                    yield name, entry_id, data
                positions[name] = entries[-1][0]

    consumer.begin()
    consumer.take(messages())


def coredis(job: Job, consumer: Consumer) -> str:
    import asyncio

    return asyncio.run(_coredis(job, consumer))


async def _coredis(job: Job, consumer: Consumer) -> str:
    from coredis import Redis, parser

    def messages(name: str, entries: Any) -> list[Message]:
        return [(name, entry[0], entry[1]) for entry in entries]

    name_of = _names(job)
    client = Redis(host="127.0.0.1", port=job.port, decode_responses=job.decode)
    async with client:
        await client.ping()
        merge = Merge(job.names, job.limit)
        consumer.begin()
        is_enough = False
        while not (merge.is_drained or is_enough):
            asked = merge.asked()
            reply = await client.xread(asked, count=job.limit, block=job.block)
            batch = merge.put(asked, _blocks((reply or {}).items(), name_of, messages))
            is_enough = consumer.take(batch)
    return parser.__name__ + (" (compiled)" if parser.__file__.endswith(".so") else "")


def glide(job: Job, consumer: Consumer) -> str:
    from glide_shared.commands.stream import StreamReadOptions
    from glide_sync import GlideClient, GlideClientConfiguration, NodeAddress

    # The default of 250 ms is too short for replies of tens of megabytes.
    configuration = GlideClientConfiguration(
        [NodeAddress("127.0.0.1", job.port)], request_timeout=60_000
    )
    client: Any = GlideClient.create(configuration)
    client.ping()
    name_of = _names(job)
    options = StreamReadOptions(block_ms=job.block, count=job.limit)

    def messages(name: str, entries: Any) -> list[Message]:
        return [(name, entry_id, dict(pairs)) for entry_id, pairs in entries.items()]

    def batches() -> Iterator[list[Message]]:
        merge = Merge(job.names, job.limit)
        while not merge.is_drained:
            asked = merge.asked()
            reply = client.xread(asked, options) or {}
            yield merge.put(asked, _blocks(reply.items(), name_of, messages))

    consumer.begin()
    consumer.take(chain.from_iterable(batches()))
    client.close()
    return "glide (Rust)"


def hiredis_loop(job: Job, consumer: Consumer) -> str:
    """Read with the strongest C client that can be written in a few lines of Python.

    The next request is on its way as soon as a reply is parsed, before messages are
    made of it, merged and delivered.
    """
    import hiredis

    connection = _connected(job)
    reader = hiredis.Reader(encoding="utf-8") if job.decode else hiredis.Reader()
    name_of = _names(job)

    def messages(name: str, entries: Any) -> list[Message]:
        # Measured: dict(zip(i, i)) takes 0.33 µs for 3 fields, {f[k]: f[k + 1] ...} 0.40.
        return [
            (name, entry_id, dict(zip(items, items, strict=False)))
            for entry_id, fields in entries
            for items in (iter(fields),)
        ]

    def receive() -> Any:
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(RECEIVE))
        if isinstance(reply, Exception):
            raise reply
        return reply or ()

    def batches() -> Iterator[list[Message]]:
        merge = Merge(job.names, job.limit)
        asked = merge.asked()
        connection.sendall(_request(asked, job))
        while not merge.is_drained:
            reply = receive()
            for key, entries in reply:
                merge.positions[name_of[key]] = entries[-1][0]
            following = merge.asked()
            is_sent = bool(reply and following)
            if is_sent:
                connection.sendall(_request(following, job))
            batch = merge.put(asked, _blocks(reply, name_of, messages))
            if not (is_sent or merge.is_drained):
                following = merge.asked()
                connection.sendall(_request(following, job))
            asked = following
            yield batch

    with connection:
        consumer.begin()
        consumer.take(chain.from_iterable(batches()))
    return "hiredis.Reader"


def raw(job: Job, consumer: Consumer) -> str:
    """Replay recorded requests and discard the replies: the limit of one connection."""
    import pickle

    if job.replay is None:
        raise RuntimeError("no requests were recorded for this")
    with open(job.replay, "rb") as file:
        requests = pickle.load(file)
    buffer = bytearray(1 << 20)
    with _connected(job) as connection:
        consumer.begin()
        for request, size in requests:
            connection.sendall(request)
            missing = size
            while missing > 0:
                received = connection.recv_into(buffer)
                if not received:
                    raise ConnectionError("the server closed the connection")
                missing -= received
            if missing:
                raise RuntimeError(f"reply of {size - missing} bytes, expected {size}")
        consumer.take(())
    return "none"


def _connected(job: Job) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", job.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _request(asked: dict[str, Any], job: Job) -> bytes:
    block = "" if job.block is None else f"BLOCK {job.block} "
    words = f"XREAD {block}COUNT {job.limit} STREAMS".split()
    ids = [at if isinstance(at, str) else at.decode() for at in asked.values()]
    arguments = [*words, *asked, *ids]
    parts = [f"${len(argument)}\r\n{argument}\r\n" for argument in arguments]
    return f"*{len(parts)}\r\n{''.join(parts)}".encode()


def _blocks(
    streams: Iterable[tuple[Any, Any]],
    name_of: dict[str | bytes, str],
    messages: Callable[[str, Any], list[Message]],
) -> Iterator[Block]:
    """Give the streams of a reply the caller's names, and their entries the wanted form."""
    for key, entries in streams:
        name = name_of[key]
        yield name, messages(name, entries)


def _names(job: Job) -> dict[str | bytes, str]:
    """Map what a reply calls a stream to the caller's own name."""
    return {name.encode(): name for name in job.names} | {name: name for name in job.names}


READERS: dict[str, Callable[[Job, Consumer], str]] = {
    "ours": ours,
    "ours asyncio": ours_asyncio,
    "redis-py+hiredis": redis_py_hiredis,
    "redis.asyncio+hiredis": redis_asyncio_hiredis,
    "redis-py pure": redis_py_pure,
    "valkey-py": valkey_py,
    "coredis": coredis,
    "glide": glide,
    "hiredis loop": hiredis_loop,
    "raw": raw,
}
# One more reader of real data: without a merge, which one stream does not need.
PLAIN = {"redis-py+hiredis, plain": redis_py_plain}
# A reader of many live streams only.
AT_SCALE = {"ours, one connection": ours_over_one_connection}
# A reader of clusters only.
IN_CLUSTERS = {"RedisCluster": redis_cluster}
