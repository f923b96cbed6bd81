"""Does cost grow with the work only? Measured at sizes from small to large.

Four times the same question, what a unit of work costs as there is more of it: a
message as there are more of them, a message as `count` grows, a byte as values grow,
and a byte of one reply that arrives in pieces, as the reply grows. Beside this project
stands the hand-written loop: what rises there as well is memory's and the server's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from processes import measure
from readers import Job
from reading import WARM_UP, check
from recording import Recording
from server import encode
from workloads import WORKLOADS, sized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from server import Link

READERS = ("ours", "hiredis loop")
MESSAGES = (10_000, 30_000, 100_000, 300_000)
COUNTS = (100, 300, 1000, 3000, 10_000)
COUNT_MESSAGES = 120_000
VALUES = (1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16)
VALUE_BYTES = 24 << 20
CHUNKS = (1 << 4, 1 << 9, 1 << 14, 1 << 20)
REPLIES = (1 << 18, 1 << 19, 1 << 20)
# Fewer messages than this take too short a time to be told from noise: they are read repeatedly.
LEAST_MESSAGES = 100_000
LEAST_SECONDS = 0.1


@dataclass(frozen=True)
class _Point:
    """A size on an axis: what to read there, and how many units of work that is."""

    size: int
    recording: Recording
    count: int
    units: int
    passes: int


def measure_growth(link: Link, rounds: int, scale: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each axis, size and round; `scale` makes all smaller, for a trial."""
    link.ask(b"FLUSHALL")
    yield from _rows(link, "ns per message, messages", rounds, _by_messages(link, scale))
    link.ask(b"FLUSHALL")
    yield from _rows(link, "ns per message, count", rounds, _by_count(link, scale))
    link.ask(b"FLUSHALL")
    yield from _rows(link, "ns per byte, bytes of a value", rounds, _by_value(link, scale))
    yield from _by_chunk(rounds, scale)


def _by_messages(link: Link, scale: float) -> Iterator[_Point]:
    for size in MESSAGES:
        messages = int(size * scale)
        workload = replace(WORKLOADS["small"], name=f"messages{size}")
        recording = Recording(link, workload, messages)
        yield _Point(size, recording, 100, messages, max(2, LEAST_MESSAGES // messages))


def _by_count(link: Link, scale: float) -> Iterator[_Point]:
    messages = int(COUNT_MESSAGES * scale)
    recording = Recording(link, WORKLOADS["small"], messages)
    for count in COUNTS:
        yield _Point(count, recording, count, messages, 2)


def _by_value(link: Link, scale: float) -> Iterator[_Point]:
    for size in VALUES:
        messages = int(min(VALUE_BYTES // size, LEAST_MESSAGES) * scale)
        recording = Recording(link, sized(size, messages), messages)
        yield _Point(size, recording, 100, messages * size, 2)


def _rows(link: Link, axis: str, rounds: int, points: Iterable[_Point]) -> Iterator[dict[str, Any]]:
    points = list(points)
    Recording(link, WARM_UP, WARM_UP.messages)
    for number, point, reader in product(range(rounds), points, READERS):
        job = Job(link.port, point.recording.names, point.count)
        result = measure(
            reader, job, warm_up=WARM_UP.names(), passes=point.passes, is_checked=not number
        )
        result = check(reader, result, point.recording)
        row = {"job": "growth", "axis": axis, "reader": reader, "size": point.size}
        if "seconds" in result:
            result = {
                "cost": result["seconds"] * 1e9 / point.units,
                "cpu_cost": result["cpu_seconds"] * 1e9 / point.units,
            }
        yield row | {"round": number} | result


def _by_chunk(rounds: int, scale: float) -> Iterator[dict[str, Any]]:
    kinds = {"many entries": _reply_of_entries, "one huge value": _reply_of_one_value}
    for number, kind, chunk, size in product(range(rounds), kinds, CHUNKS, REPLIES):
        axis = f"ns per byte, bytes of a reply with {kind} in chunks of {chunk} B"
        row = {"job": "growth", "axis": axis, "reader": "ours", "size": size, "round": number}
        yield row | _parse(kinds[kind](int(size * scale)), chunk)


def _reply_of_entries(size: int) -> bytes:
    entries: list[bytes] = []
    missing = size
    while missing > 0:
        index = len(entries)
        entry_id = b"%d-0" % (1_700_000_000_000 + index)
        fields = encode([b"index", b"%d" % index, b"sensor", b"room-7", b"value", b"21.50"])
        entries.append(b"*2\r\n$%d\r\n%b\r\n%b" % (len(entry_id), entry_id, fields))
        missing -= len(entries[-1])
    return b"*1\r\n*2\r\n$1\r\ns\r\n*%d\r\n%b" % (len(entries), b"".join(entries))


def _reply_of_one_value(size: int) -> bytes:
    fields = encode([b"value", b"x" * size])
    return b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$15\r\n1700000000000-0\r\n%b" % fields


def _parse(reply: bytes, chunk: int) -> dict[str, Any]:
    """Measure the CPU time that a reply in chunks takes the parser; the best of some passes."""
    pieces = [reply[at : at + chunk] for at in range(0, len(reply), chunk)]
    best = float("inf")
    deadline = time.monotonic() + LEAST_SECONDS
    while best == float("inf") or time.monotonic() < deadline:
        start = time.process_time()
        try:
            is_whole = feed_to_parser(pieces)
        except ImportError as error:
            return {"void": f"{type(error).__name__}: {error}"}
        best = min(best, time.process_time() - start)
        if not is_whole:
            return {"void": "the parser did not take the reply for whole after its last byte"}
    cost = best * 1e9 / len(reply)
    return {"cost": cost, "cpu_cost": cost}


def feed_to_parser(pieces: list[bytes]) -> bool:
    """Feed a reply to the library's parser, which is asked after each piece.

    This is the one place that knows the parser's API.

    Returns:
        Whether the reply came out with the last piece, and not before.
    """
    from pystreamredis.protocol import NEED_DATA, XreadParser

    parser = XreadParser({b"s": "s"})
    for piece in pieces[:-1]:
        parser.feed(piece)
        if parser.next_reply() is not NEED_DATA:
            return False
    parser.feed(pieces[-1])
    return parser.next_reply() is not NEED_DATA
