"""Live reading: latency and CPU while messages are written at a steady pace.

The same among ever more streams is what a reader scales by.

Run as a program it is the writer: ``live.py PORT STREAMS MESSAGES RATE``.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from itertools import product
from typing import TYPE_CHECKING, Any

from processes import finish, start
from readers import AT_SCALE, SHARE, Job
from server import Link, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 1000
SCALE = (1, 10, 100, 1000, 10_000)
# The others spend on so many names what redis-py does, or more.
SCALE_READERS = ("ours", "ours, one connection", "redis-py+hiredis")
READY_SECONDS = 20


def read_live(
    link: Link, streams: int, readers: list[str], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers while a writer writes; yield a row for each reader and round."""
    for number in range(rounds):
        for reader in readers:
            if reader == "raw":  # nothing was recorded that it could replay
                continue
            row = {"job": f"live-{streams}", "round": number, "reader": reader}
            yield row | _measure_one(link, streams, reader, messages)


def measure_scale(
    link: Link, readers: list[str], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers among few and among many streams; yield a row for each."""
    wanted = {*readers, *(AT_SCALE if "ours" in readers else ())}
    chosen = [reader for reader in SCALE_READERS if reader in wanted]
    for number, streams, reader in product(range(rounds), SCALE, chosen):
        if reader in AT_SCALE and streams <= SHARE:
            continue
        row = {"job": "scale", "streams": streams, "round": number, "reader": reader}
        yield row | _measure_one(link, streams, reader, messages)


def _measure_one(link: Link, streams: int, reader: str, messages: int) -> dict[str, Any]:
    link.ask(b"FLUSHALL", b"SYNC")
    memory = int(link.info("used_memory"))
    job = Job(link.port, _names(streams), limit=100, block=0)
    process = start(reader, job, messages=messages)
    deadline = time.monotonic() + READY_SECONDS
    connections = -(-streams // SHARE) if reader == "ours" else 1
    while int(link.info("blocked_clients")) < connections:
        if process.poll() is not None:
            return finish(process)
        if time.monotonic() > deadline:
            return finish(process, timeout=0)
        time.sleep(0.05)
    waiting = {
        "connections": int(link.info("blocked_clients")),
        "waiting_kib": (int(link.info("used_memory")) - memory) / 1024,
    }
    arguments = map(str, (link.port, streams, messages, RATE))
    before = _cpu_seconds(link)
    subprocess.run([sys.executable, __file__, *arguments], check=True)
    result = finish(process, timeout=10)
    return result | waiting | {"server_us": (_cpu_seconds(link) - before) * 1e6 / messages}


def _cpu_seconds(link: Link) -> float:
    return float(link.info("used_cpu_user")) + float(link.info("used_cpu_sys"))


def _names(streams: int) -> list[str]:
    return [f"live:{number}" for number in range(streams)]


def write(port: int, streams: int, messages: int, rate: int) -> None:
    """Write messages to random streams, each with the time at which it was written."""
    link = Link(port)
    rng = random.Random("live")
    names = [name.encode() for name in _names(streams)]
    begin = time.monotonic()
    for index in range(messages):
        time.sleep(max(0.0, begin + index / rate - time.monotonic()))
        now = b"%d" % time.monotonic_ns()
        fields = (b"index", b"%d" % index, b"written", now, b"value", b"21.5")
        link.send([encode([b"XADD", rng.choice(names), b"*", *fields])])


if __name__ == "__main__":
    write(*map(int, sys.argv[1:]))
