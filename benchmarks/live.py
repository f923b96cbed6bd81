"""Live reading: latency and CPU while messages are written at a steady pace.

The same among ever more streams is what a reader scales by, and so is the same in a cluster.

Run as a program it is the writer: ``live.py PORTS STREAMS SLOTS MESSAGES RATE``.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from cluster import ClusterLink
from processes import finish, start
from readers import AT_SCALE, Job
from server import Link, encode

from pystreamredis.core.topology import connections_for

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 1000
SCALE = (10, 100, 1000, 10_000)
# The others spend on so many names what redis-py does, or more.
SCALE_READERS = ("ours", "ours, one connection", "ours asyncio", "redis-py+hiredis")
READY_SECONDS = 20


@dataclass(frozen=True)
class StreamSet:
    """So many streams, in so many hash slots; 0 slots for as many as there happen to be."""

    number: int
    slots: int = 0

    def names(self) -> list[str]:
        """Name them."""
        if not self.slots:
            return [f"live:{number}" for number in range(self.number)]
        return [f"live:{{{number % self.slots}}}:{number}" for number in range(self.number)]


def read_live(
    link: Link, streams: int, readers: list[str], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers while a writer writes; yield a row for each reader and round."""
    for number in range(rounds):
        for reader in readers:
            if reader == "raw":  # nothing was recorded that it could replay
                continue
            row = {"job": f"live-{streams}", "round": number, "reader": reader}
            yield row | measure_live(link, StreamSet(streams), reader, messages)


def measure_scale(
    link: Link, readers: list[str], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers among few and among many streams; yield a row for each."""
    wanted = {*readers, *(AT_SCALE if "ours" in readers else ())}
    chosen = [reader for reader in SCALE_READERS if reader in wanted]
    for number, streams, reader in product(range(rounds), SCALE, chosen):
        if reader in AT_SCALE and connections_for(streams, None) == 1:
            continue
        row = {"job": "scale", "streams": streams, "round": number, "reader": reader}
        expected = connections_for(streams, None) if reader.startswith("ours") else 1
        expected = 1 if reader in AT_SCALE else expected
        yield row | measure_live(link, StreamSet(streams), reader, messages, expected)


def measure_live(
    link: Link | ClusterLink, streams: StreamSet, reader: str, messages: int, connections: int = 1
) -> dict[str, Any]:
    """Measure one reader, which waits over so many connections once it is ready."""
    link.ask(b"FLUSHALL", b"SYNC")
    memory = link.total("used_memory")
    job = Job(link.port, streams.names(), limit=100, block=0)
    process = start(reader, job, messages=messages)
    deadline = time.monotonic() + READY_SECONDS
    while link.total("blocked_clients") < connections:
        if process.poll() is not None:
            return finish(process)
        if time.monotonic() > deadline:
            return finish(process, timeout=0)
        time.sleep(0.05)
    waiting = {
        "connections": int(link.total("blocked_clients")),
        "waiting_kib": (link.total("used_memory") - memory) / 1024,
    }
    ports = ",".join(map(str, link.ports))
    arguments = [ports, *map(str, (streams.number, streams.slots, messages, RATE))]
    before = _cpu_seconds(link)
    subprocess.run([sys.executable, __file__, *arguments], check=True)
    result = finish(process, timeout=10)
    return result | waiting | {"server_us": (_cpu_seconds(link) - before) * 1e6 / messages}


def _cpu_seconds(link: Link | ClusterLink) -> float:
    return link.total("used_cpu_user") + link.total("used_cpu_sys")


def write(ports: list[int], streams: StreamSet, messages: int, rate: int) -> None:
    """Write messages to random streams, each with the time at which it was written."""
    link = Link(ports[0]) if len(ports) == 1 else ClusterLink(ports)
    rng = random.Random("live")
    names = [name.encode() for name in streams.names()]
    begin = time.monotonic()
    for index in range(messages):
        time.sleep(max(0.0, begin + index / rate - time.monotonic()))
        now = b"%d" % time.monotonic_ns()
        fields = (b"index", b"%d" % index, b"written", now, b"value", b"21.5")
        link.send([encode([b"XADD", rng.choice(names), b"*", *fields])])


if __name__ == "__main__":
    listed, *numbers = sys.argv[1:]
    number, slots, total, pace = map(int, numbers)
    write([int(port) for port in listed.split(",")], StreamSet(number, slots), total, pace)
