"""An abandoned slot migration is told ten seconds after it is met, in simulated time."""

from __future__ import annotations

import pytest

from pystreamredis import ConnectionError
from pystreamredis.slots import slot_of
from tests.simulation import Read
from tests.test_placement import PORTS, Cluster, Shell, ids

TOLD_AFTER = 10.0
SLICE = 20.0  # contract 5.5: how long a read blocks at most


def abandon_migration(shell: Shell, cluster: Cluster) -> list[float]:
    """Have the slot of "a" be on the move for ever; return when reads are refused for it."""
    met: list[float] = []
    node = cluster.nodes[PORTS[0]]
    refuse, received = node.refusal, [len(node.reads)]

    def refusal(read: Read) -> str | None:
        refused = refuse(read)
        # A read that blocks already is looked at again and again, and not refused.
        if refused is not None and len(node.reads) > received[-1]:
            met.append(shell.now)
        received.append(len(node.reads))
        return refused

    vars(node)["refusal"] = refusal
    cluster.moving[slot_of(b"a")] = PORTS[1]
    cluster.gone.add(b"a")
    return met


@pytest.mark.parametrize("block", [0, 5_000, 60_000])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside another slot"])
def test_an_abandoned_migration_is_told_after_ten_seconds(block: int, others: int) -> None:
    """Ten seconds after the first refusal, and a slice later where a read was waiting."""
    cluster = Cluster()
    names = [b"a", b"b"][: 1 + others]
    options = {"block": block, "stop_on_timeout": True, "raise_connection_exceptions": False}
    shell = Shell(cluster, dict.fromkeys(names, 0), **options).establish()
    expected = [cluster.add(name) for name in names]
    assert sorted(ids(shell.next() for _ in expected)) == expected
    met = abandon_migration(shell, cluster)
    begun, failure = shell.now, None
    while not isinstance(failure, ConnectionError) and shell.now < begun + 200:
        failure = shell.next()
    assert isinstance(failure, ConnectionError)
    assert "ASK" in str(failure)
    assert shell.now - met[0] <= TOLD_AFTER + 1
    # It may have begun while a read was waiting, which the server does not end.
    assert shell.now - begun <= SLICE + TOLD_AFTER + 1
