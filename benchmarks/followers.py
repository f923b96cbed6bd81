"""Ten thousand followers of one hub, beside one reader of the same streams.

Run as a program it is the reader: ``followers.py PORT STREAMS FOLLOWERS DELIVERIES TRACE``; no
followers are one `Streams` over all streams, and TRACE is 1 to count Python's own memory.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import live
from live import StreamSet
from processes import finish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server import Link

FOLLOWERS = 10_000
# Number of streams, and messages a second to all of them. With ten streams each message goes to
# a thousand followers: so there are as many deliveries a second as one process can make.
CASES = ((10_000, 1000), (10, 10))
SECONDS = 5
READY_SECONDS = 100


def measure_followers(link: Link, rounds: int, scale: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each case, round and reader, and one for the memory of each case."""
    followers = int(FOLLOWERS * scale)
    for streams, rate in ((min(number, followers), rate) for number, rate in CASES):
        for number in range(rounds):
            for count in (0, followers):
                yield _measure(link, streams, count, rate) | {"round": number}
        row = _measure(link, streams, followers, 0)
        yield {**row, "reader": "hub, traced", "round": 0}


def _measure(link: Link, streams: int, followers: int, rate: int) -> dict[str, Any]:
    link.ask(b"FLUSHALL", b"SYNC")
    messages = rate * SECONDS
    deliveries = messages * max(1, followers // streams)
    numbers = (link.port, streams, followers, deliveries, int(not rate))
    command = [sys.executable, __file__, *map(str, numbers)]
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    reader = subprocess.Popen(command, **pipes, encoding="utf-8")
    assert reader.stdout is not None
    row = {"job": "hub", "streams": streams, "followers": followers, "rate": rate}
    row |= {"reader": "hub" if followers else "ours asyncio"}
    if reader.stdout.readline() != "ready\n":
        return row | finish(reader)
    # This one is not the reader's.
    connections = link.ask(b"CLIENT", b"LIST").count(b"cmd=") - 1
    if rate:
        arguments = [link.port, streams, 0, messages, rate]
        writer = [sys.executable, live.__file__, *map(str, arguments)]
        subprocess.run(writer, check=True)
    return row | finish(reader) | {"connections": connections}


async def read(port: int, streams: int, followers: int, deliveries: int) -> dict[str, Any]:
    """Read what the writer writes, until so many messages were delivered.

    Raises:
        TimeoutError: They were not.
    """
    from pystreamredis.asyncio import Hub, Streams

    names, latencies = StreamSet(streams).names(), []
    is_done, ready = asyncio.Event(), 0
    hub = Hub("127.0.0.1", port)

    async def consume(messages: Any) -> None:
        nonlocal ready
        async with messages:
            ready += 1
            async for _, _, data in messages:
                latencies.append(time.monotonic_ns() - int(data[b"written"]))
                if len(latencies) == deliveries:
                    is_done.set()

    begin, rss = time.monotonic(), _rss()
    is_traced = tracemalloc.is_tracing()
    traced = tracemalloc.get_traced_memory()[0] if is_traced else 0
    if followers:
        readers = [hub.follow([names[n % streams]], block=0) for n in range(followers)]
    else:
        readers = [Streams("127.0.0.1", port, names, block=0)]
    tasks = [asyncio.ensure_future(consume(reader)) for reader in readers]
    while ready < len(tasks):
        await asyncio.sleep(0.05)
    joined = time.monotonic() - begin
    await asyncio.sleep(1)  # the last ones have just begun to wait
    each = len(tasks)
    result: dict[str, Any] = {"joined": joined, "rss_kib": (_rss() - rss) / each / 1024}
    if is_traced:
        result["traced_kib"] = (tracemalloc.get_traced_memory()[0] - traced) / each / 1024
    print("ready", flush=True)
    if not deliveries:
        return result
    cpu = time.process_time()
    await asyncio.wait_for(is_done.wait(), READY_SECONDS)
    result["cpu_us"] = (time.process_time() - cpu) * 1e6 / deliveries
    latencies.sort()
    result |= {"p50_us": latencies[deliveries // 2] / 1000}
    return result | {"p99_us": latencies[deliveries * 99 // 100] / 1000}


def _rss() -> int:
    """Return the memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * 4096


if __name__ == "__main__":
    place, number, many, total, traces = map(int, sys.argv[1:])
    if traces:
        tracemalloc.start()
    print(json.dumps(asyncio.run(read(place, number, many, total))))
