"""An embedded cluster of masters, and what is needed to fill it."""

from __future__ import annotations

import socket
import time
from binascii import crc_hqx
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from server import START_SECONDS, Link, embedded_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLOTS = 16384
MASTERS = 3


class ClusterLink:
    """Does what `Link` does, at all the masters of a cluster."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.port = ports[0]
        self._links = [Link(port) for port in ports]

    def send(self, commands: Iterable[bytes]) -> None:
        """Send encoded commands to where their first key lives; wait until all are done."""
        waiting: dict[Link, list[bytes]] = {link: [] for link in self._links}
        for command in commands:
            waiting[self._links[owner(slot_of(command.split(b"\r\n", 5)[4]))]].append(command)
        for link, of_it in waiting.items():
            if of_it:
                link.send(of_it)

    def ask(self, *arguments: bytes) -> bytes:
        """Send one command to each; return the bytes of the first one's reply."""
        first, *_ = [link.ask(*arguments) for link in self._links]
        return first

    def total(self, field: str) -> float:
        """Add up one field of INFO."""
        return sum(link.total(field) for link in self._links)


def slot_of(key: bytes) -> int:
    """Return the hash slot of a key."""
    tag = key.partition(b"{")[2].partition(b"}")[0]
    return crc_hqx(tag or key, 0) % SLOTS


def owner(slot: int) -> int:
    """Say which of the masters has a slot."""
    return slot * MASTERS // SLOTS


@contextmanager
def embedded_cluster() -> Iterator[ClusterLink]:
    """Run three masters without replicas for as long as the block runs."""
    with ExitStack() as stack:
        links, buses = [], []
        for number in range(MASTERS):
            buses.append(_free_port())
            options = ["--cluster-enabled", "yes", "--cluster-port", str(buses[-1])]
            links.append(stack.enter_context(embedded_server(*options)))
            slots = [b"%d" % slot for slot in range(SLOTS) if owner(slot) == number]
            links[-1].ask(b"CLUSTER", b"ADDSLOTS", *slots)
            links[-1].ask(b"CLUSTER", b"SET-CONFIG-EPOCH", b"%d" % (number + 1))
        for link, bus in zip(links[1:], buses[1:], strict=True):
            links[0].ask(b"CLUSTER", b"MEET", b"127.0.0.1", b"%d" % link.port, b"%d" % bus)
        deadline = time.monotonic() + START_SECONDS
        while not all(_is_whole(link) for link in links):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster was not whole within {START_SECONDS} s")
            time.sleep(0.05)
        yield ClusterLink([link.port for link in links])


def _is_whole(link: Link) -> bool:
    state = link.ask(b"CLUSTER", b"INFO")
    return b"cluster_state:ok" in state and b"cluster_known_nodes:%d" % MASTERS in state


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
