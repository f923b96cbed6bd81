"""A cluster in trouble: slots move and a master is killed under one reader of 100 streams.

Each message comes exactly once, in the order of its stream (contract 3.1), over both shells.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Streams
from tests.cluster import SLOTS
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster import Cluster

STREAMS = 100
MOVES = 12
WITHIN = 240.0  # seconds, for all of it


class Writer:
    """Adds to random streams, one message after the other, except while it is to rest."""

    def __init__(self, cluster: Cluster, names: list[str]) -> None:
        self._cluster = cluster
        self._names = names
        self._random = random.Random("writer")
        self._over, self._may_write, self._rests = Event(), Event(), Event()
        self._may_write.set()

    def run(self) -> None:
        while not self._over.wait(0.001):
            if not self._may_write.is_set():
                self._rests.set()
                self._may_write.wait()
            self._cluster.add(self._random.choice(self._names))

    def rest(self) -> None:
        self._rests.clear()
        self._may_write.clear()
        assert self._rests.wait(LONG)

    def go_on(self) -> None:
        self._may_write.set()

    def end(self) -> None:
        self._over.set()
        self._may_write.set()


class Reader:
    """Follows all streams with one `Streams`, and keeps what it was given."""

    def __init__(self, options: dict[str, Any], names: list[str]) -> None:
        self.read: dict[str, list[bytes]] = {name: [] for name in names}
        self.failures: list[ConnectionError] = []
        self._options = options

    @property
    def total(self) -> int:
        return sum(map(len, self.read.values()))

    def run(self, is_enough: Callable[[], bool]) -> None:
        """Read until a look at what was read says that it is enough, when nothing comes."""
        deadline = monotonic() + WITHIN
        with Streams(
            **self._options,
            streams=dict.fromkeys(self.read, 0),
            block=100,
            stop_on_timeout=True,
            raise_connection_exceptions=False,
        ) as streams:
            for message in streams:
                assert monotonic() < deadline, f"{self.total} read, {self.failures[-3:]}"
                if isinstance(message, tuple):
                    self.read[message[0]].append(message[1])
                    continue
                if message is not None:
                    self.failures.append(message)
                if is_enough():
                    return


def names_over_all_slots(cluster: Cluster) -> list[str]:
    return [cluster.name_in(slot) for slot in range(0, SLOTS, SLOTS // STREAMS)][:STREAMS]


def held(cluster: Cluster, name: str) -> list[bytes]:
    return [entry_id for entry_id, _ in cluster.command(name, "XRANGE", name, "-", "+")]


def move_some(cluster: Cluster, names: list[str]) -> None:
    """Move slots to other masters, some of them with the half of their keys on the way."""
    chosen = random.Random("moves").sample(names, MOVES)
    for name in chosen:
        slot = cluster.slot_of(name)
        target = next(node for node in cluster.masters if node is not cluster.node_of(slot))
        with cluster.moving(slot, target):
            cluster.add(name)
            # A key that is not there is asked for at the target.
            cluster.add(f"{{{name}}}other")


@pytest.mark.parametrize(
    ("trouble", "own_connections"),
    [("slots move", 128), ("slots move", 10), ("a master is killed", 128), ("both", 10)],
)
def test_each_message_comes_once_and_in_order(
    cluster: Cluster, trouble: str, own_connections: int
) -> None:
    """Also where most slots are read in turns."""
    names = names_over_all_slots(cluster)
    writer = Writer(cluster, names)
    reader = Reader(cluster.options | {"connections": own_connections}, names)
    over = Event()

    def make_trouble() -> None:
        try:
            wait_for(lambda: reader.total > 200)
            if trouble != "a master is killed":
                move_some(cluster, names)
            if trouble != "slots move":
                writer.rest()
                # What it has acknowledged alone could be lost with it: no fault of a reader.
                cluster.settle()
                cluster.fail_over(cluster.masters[0])
                writer.go_on()
            before = reader.total
            wait_for(lambda: reader.total > before + 200)
        finally:
            writer.end()
            over.set()

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(writer.run), pool.submit(make_trouble)]

        def is_enough() -> bool:
            if not (over.is_set() and tasks[0].done()):
                return False
            tasks[1].result()
            return reader.total >= sum(len(held(cluster, name)) for name in names)

        try:
            reader.run(is_enough)
        finally:
            writer.end()
        for task in tasks:
            task.result()
    for name in names:
        assert reader.read[name] == held(cluster, name)
    if trouble == "slots move":
        assert reader.failures == []  # that is no failure: each slot is somewhere at any time


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + WITHIN / 2
    while not condition():
        assert monotonic() < deadline, "the reader does not go on"
        Event().wait(0.01)
