"""Order while four writers write to ten streams: what ``hold`` prevents, and what it costs.

Run as a program it is a reader, ``order.py reader PORT HOLD MESSAGES``, or a writer,
``order.py writer PORT SEED MESSAGES RATE``.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from itertools import product
from typing import TYPE_CHECKING, Any

from processes import finish
from server import Link, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [f"order:{number}" for number in range(10)]
HOLDS = ("0", "2", "exact")
WRITERS = 4
# Messages a second of all writers; 0 for as many as they can write.
PACED, FLOOD = 2000, 0
MESSAGES = {PACED: 20_000, FLOOD: 1_000_000}
READY_SECONDS = 20
TIMEOUT = 600


def measure_order(link: Link, rounds: int, scale: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each pace, round and value of ``hold``; one round of the flood."""
    for number, hold in product(range(rounds), HOLDS):
        yield _measure(link, PACED, hold, scale) | {"round": number}
    for hold in HOLDS:
        yield _measure(link, FLOOD, hold, scale) | {"round": 0}


def _measure(link: Link, rate: int, hold: str, scale: float) -> dict[str, Any]:
    link.ask(b"FLUSHALL", b"SYNC")
    share = int(MESSAGES[rate] * scale) // WRITERS
    messages = share * WRITERS
    reader = _start("reader", link.port, hold, messages)
    deadline = time.monotonic() + READY_SECONDS
    while not link.total("blocked_clients") and time.monotonic() < deadline:
        time.sleep(0.02)
    reads, begin = _reads(link), time.monotonic()
    writers = [
        _start("writer", link.port, number, share, rate // WRITERS) for number in range(WRITERS)
    ]
    result = finish(reader, timeout=TIMEOUT)
    seconds = time.monotonic() - begin
    for writer in writers:
        writer.wait(TIMEOUT)
    row = {"job": "order", "reader": "ours", "rate": rate, "hold": hold}
    return row | result | {"reads": (_reads(link) - reads) / seconds, "seconds": seconds}


def _start(*arguments: Any) -> subprocess.Popen[str]:
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, **pipes, encoding="utf-8")


def _reads(link: Link) -> int:
    for line in link.ask(b"INFO", b"COMMANDSTATS").decode().splitlines():
        if line.startswith("cmdstat_xread:calls="):
            return int(line.partition("=")[2].partition(",")[0])
    return 0


def read(port: int, hold: str, expected: int) -> dict[str, Any]:
    """Read what the writers write; compare its order with that of the sorted union.

    Raises:
        RuntimeError: A message was lost, came twice or came out of the order of its stream.
    """
    from pystreamredis import Streams

    held = "exact" if hold == "exact" else int(hold)
    last = dict.fromkeys(NAMES, (0, 0))
    newest = (0, 0)
    late, latencies = 0, []
    with Streams("127.0.0.1", port, NAMES, block=READY_SECONDS * 1000, hold=held) as streams:
        cpu = time.process_time()
        for name, index, data in streams:
            latencies.append(time.monotonic_ns() - int(data[b"written"]))
            milliseconds, _, sequence = index.partition(b"-")
            number = int(milliseconds), int(sequence)
            if number <= last[name]:
                raise RuntimeError(f"{name}: {number} came after {last[name]}")
            last[name] = number
            late += number < newest
            newest = max(newest, number)
            if len(latencies) == expected:
                break
        cpu = time.process_time() - cpu
    if len(latencies) != expected:
        raise RuntimeError(f"{len(latencies)} messages, expected {expected}")
    latencies.sort()
    return {
        "messages": expected,
        "late": late,
        "p50_us": latencies[expected // 2] / 1000,
        "p99_us": latencies[expected * 99 // 100] / 1000,
        "cpu_us": cpu * 1e6 / expected,
    }


def write(port: int, seed: int, messages: int, rate: int) -> None:
    """Write messages to random streams, each with the time at which it was written."""
    link = Link(port)
    rng = random.Random(seed)
    names = [name.encode() for name in NAMES]
    begin = time.monotonic()
    for index in range(messages):
        if rate:
            time.sleep(max(0.0, begin + index / rate - time.monotonic()))
        written = b"%d" % time.monotonic_ns()
        link.send([encode([b"XADD", rng.choice(names), b"*", b"written", written])])


if __name__ == "__main__":
    role, *parts = sys.argv[1:]
    if role == "reader":
        print(json.dumps(read(int(parts[0]), parts[1], int(parts[2]))))
    else:
        write(*map(int, parts))
