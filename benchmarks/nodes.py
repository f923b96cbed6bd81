"""Reading a cluster of three nodes beside one server: live, and from the beginning.

The same streams in the same hash slots, and the same messages.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from cluster import MASTERS, embedded_cluster, slot_of
from live import StreamSet, measure_live
from processes import measure
from readers import IN_CLUSTERS, Job
from reading import WARM_UP, check
from recording import Recording
from workloads import WORKLOADS

from pystreamredis.core.topology import connections_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster import ClusterLink
    from server import Link

# The readers of so many nodes. redis-py has another client for a cluster.
READERS = (
    (1, "ours"),
    (1, "redis-py+hiredis"),
    (MASTERS, "ours"),
    (MASTERS, "ours asyncio"),
    (MASTERS, "RedisCluster"),
)
# All have the same names, which share the slots evenly.
LIVE = (StreamSet(100, slots=100), StreamSet(10_000, slots=100))
COUNT = 100


def measure_nodes(
    link: Link, readers: list[str], rounds: int, live_messages: int, scale: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of nodes, reader and round, of each kind of reading."""
    chosen = [pair for pair in READERS if pair[1] in {*readers, *IN_CLUSTERS}]
    with embedded_cluster() as cluster:
        links: dict[int, Link | ClusterLink] = {1: link, MASTERS: cluster}
        for number, streams, (nodes, reader) in product(range(rounds), LIVE, chosen):
            row = {"job": "nodes", "kind": "live", "nodes": nodes, "streams": streams.number}
            expected = _connections(streams, nodes, reader)
            found = measure_live(links[nodes], streams, reader, live_messages, expected)
            yield row | {"reader": reader, "round": number} | found
        yield from _read(links, chosen, rounds, scale)


def _connections(streams: StreamSet, nodes: int, reader: str) -> int:
    """Say over how many connections a reader waits once it is ready."""
    if nodes > 1:
        return len({slot_of(name.encode()) for name in streams.names()})
    return connections_for(streams.number, None) if reader == "ours" else 1


def _read(
    links: dict[int, Link | ClusterLink],
    chosen: list[tuple[int, str]],
    rounds: int,
    scale: float,
) -> Iterator[dict[str, Any]]:
    workload = WORKLOADS["hundred"]
    messages = int(workload.messages * scale)
    recordings = {}
    for nodes, link in links.items():
        link.ask(b"FLUSHALL")
        Recording(link, WARM_UP, WARM_UP.messages)
        recordings[nodes] = Recording(link, workload, messages)
    for number, (nodes, reader) in product(range(rounds), chosen):
        job = Job(links[nodes].port, workload.names(), COUNT)
        result = measure(reader, job, warm_up=WARM_UP.names(), passes=1, is_checked=not number)
        row = {"job": "nodes", "kind": "read", "nodes": nodes, "streams": workload.streams}
        yield row | {"reader": reader, "round": number} | check(reader, result, recordings[nodes])
