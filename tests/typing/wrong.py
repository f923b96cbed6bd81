"""Contract 8.1: mistakes that both checkers find.

Each is ignored under the name that a checker has for it. Whoever misses a mistake reports that
there was nothing to ignore.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# pyright: reportUnusedExpression=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable

import pystreamredis.asyncio as aio
from pystreamredis import Hub, Redis, Streams


def mistake_bytes_for_text() -> None:
    """Take bytes for text."""
    for _, entry_id, data in Streams(s=0):
        data["x"]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
        entry_id.encode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        data[b"x"].encode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        entry_id.split("-")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mistake_text_for_bytes() -> None:
    """Take text for bytes, and pairs for a dict."""
    for _, entry_id, data in Redis(decode_responses=True).streams(s=0):
        data[b"x"]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
        entry_id.decode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        data["x"].decode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        entry_id.split(b"-")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for _, _, pairs in Streams(s=0, fields=list):
        pairs["x"]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
        pairs.items()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def overlook_failures_and_timeouts() -> None:
    """Take what is returned instead of a message for one."""
    for failing in Streams(s=0, raise_connection_exceptions=False):
        failing[1]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    for pausing in Redis().streams(s=0, stop_on_timeout=True):
        pausing[2]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]
    for batch in Streams(s=0, raise_connection_exceptions=False).batches(9):
        batch[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    for name, _, _ in Streams(s=0, stop_on_timeout=True):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        name
    next(Streams(s=0, stop_on_timeout=True, timeout_response=5))[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def unpack_wrongly() -> None:
    """Take a message for something else."""
    for name, data in Streams(s=0):  # type: ignore[misc]  # pyright: ignore[reportAssignmentType]
        name, data
    for name, _, _, data in Redis(decode_responses=True).streams(s=0):  # type: ignore[misc]  # pyright: ignore[reportAssignmentType]
        name, data
    next(Streams(s=0))[3]  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    for batch in Streams(s=0, decode_responses=True).batches(9):
        batch[0][2][b"x"]  # type: ignore[index]  # pyright: ignore[reportArgumentType]


def numbers(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Make data of text."""
    return {field: float(value) for field, value in pairs}


def choose_wrongly(streams: Streams, text: str) -> None:
    """Give options that are none."""
    Streams(s=0, on_rewind="begin")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Streams(s=0, protocol=4)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Streams(s=0, count="100")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Streams(s=0, block=0.5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Streams(s=0, stop_on_timeout="no")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    Streams(s=0, fields=numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Streams("localhost", "6379", s=0)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Redis(protocol=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Redis(blok=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    Redis().streams(s=0, on_rewind="keeep")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Streams(s=[1])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Streams(streams=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    streams.batches("9")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    streams.discard(["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Streams(s=0).batches(9)[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    Streams.from_sources({"a": "redis://localhost"}, s=0)  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    Streams.from_url(text, on_rewind="begin", s=0)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def mistake_asyncio(r: aio.Redis[str]) -> None:
    """Make the same mistakes with asyncio."""
    async for _, entry_id, data in r.streams(s=0):
        data[b"x"]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
        entry_id.decode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    async for message in r.streams(s=0, raise_connection_exceptions=False):
        message[1]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    for message in r.streams(s=0):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        message
    async with aio.Streams(s=0, on_rewind="begin"):  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
        pass
    await r.streams(s=0).batches(9)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    async for batch in aio.Streams(s=0).batches(9):
        batch[0][2]["x"]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    await aio.Streams.from_url("redis://localhost", s=0, protocol=4).aclose()  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def mistake_a_hub() -> None:
    """Give a follower what belongs to the hub, and take its bytes for text."""
    Hub(connections="many")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    for _, entry_id, _ in Hub().follow(s=0):
        entry_id.encode()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Hub().follow(s=0, hold="exact")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Hub().streams(s=0)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
