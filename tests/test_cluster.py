"""`tests.cluster`: a cluster that comes about, moves its slots, fails over and heals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster import SLOTS, Cluster, Node
from tests.resp import CommandError
from tests.servers import wait_until

if TYPE_CHECKING:
    from tests.conftest import StartCluster


def other_than(cluster: Cluster, node: Node) -> Node:
    return next(master for master in cluster.masters if master is not node)


def test_three_masters_have_all_slots_and_a_replica_each(cluster: Cluster) -> None:
    assert len(cluster.masters) == 3
    assert len(cluster.nodes) == 6
    for master in cluster.masters:
        assert cluster.replica_of(master) not in cluster.masters
    assert {cluster.node_of(slot) for slot in range(0, SLOTS, 97)} == set(cluster.masters)


@pytest.mark.parametrize("slot", [0, 1, 8191, SLOTS - 1])
def test_a_name_is_found_for_a_slot(cluster: Cluster, slot: int) -> None:
    assert cluster.slot_of(cluster.name_in(slot)) == slot


@pytest.mark.parametrize("run", [1, 2])
def test_each_test_finds_the_cluster_empty(cluster: Cluster, run: int) -> None:
    assert cluster.command("s", "EXISTS", "s") == 0
    cluster.add("s")


def test_messages_are_added_wherever_their_stream_lives(cluster: Cluster) -> None:
    for slot in range(100, SLOTS, 4000):
        name = cluster.name_in(slot)
        assert cluster.add(name, "f", "v", entry_id="1-1") == "1-1"
        assert cluster.node_of(slot).command("XLEN", name) == 1
    with pytest.raises(CommandError, match="equal or smaller"):
        cluster.add(name, entry_id="1-1")


def test_a_slot_moves_with_its_keys(cluster: Cluster) -> None:
    slot = 7
    name = cluster.name_in(slot)
    cluster.add(name)
    before = cluster.node_of(slot)
    after = other_than(cluster, before)
    cluster.move(slot, after)
    cluster.wait_until_agreed()
    assert cluster.node_of(slot) is after
    assert after.command("XLEN", name) == 1
    with pytest.raises(CommandError, match=f"MOVED {slot} {after.address}"):
        before.command("XLEN", name)
    cluster.add(name)
    assert after.command("XLEN", name) == 2


def test_while_a_slot_moves_nodes_answer_ask_and_tryagain(cluster: Cluster) -> None:
    slot = 8
    name = cluster.name_in(slot)
    new = f"{{{name}}}new"
    cluster.add(name)
    target = other_than(cluster, cluster.node_of(slot))
    with cluster.moving(slot, target) as source:
        with pytest.raises(CommandError, match=f"ASK {slot} {target.address}"):
            source.command("XREAD", "STREAMS", new, "0")
        with pytest.raises(CommandError, match="TRYAGAIN"):
            source.command("XREAD", "STREAMS", name, new, "0", "0")
        assert source.command("XLEN", name) == 1
        cluster.add(new)
        cluster.move_keys(slot, source, target, limit=1)
        assert cluster.command(name, "XLEN", name) == 1
    assert target.command("XLEN", name) == target.command("XLEN", new) == 1


def test_a_replica_takes_over_from_a_master_that_is_killed(cluster: Cluster) -> None:
    name = cluster.name_in(9)
    cluster.add(name)
    cluster.settle()
    killed = cluster.node_of(9)
    heir = cluster.replica_of(killed)
    assert cluster.fail_over(killed) is heir
    assert not killed.running
    assert len(cluster.masters) == 3
    assert cluster.command(name, "XLEN", name) == 1
    cluster.add(name)


def test_a_cluster_that_was_left_in_pieces_is_whole_for_the_next_test(cluster: Cluster) -> None:
    first, second, third = cluster.masters
    slot = next(slot for slot in range(SLOTS) if cluster.node_of(slot) is first)
    second.command("CLUSTER", "SETSLOT", slot, "IMPORTING", first.id)
    first.command("CLUSTER", "SETSLOT", slot, "MIGRATING", second.id)
    third.suspend()
    first.kill()
    cluster.begin()
    assert cluster.up == cluster.nodes
    assert all(cluster.replica_of(master) for master in cluster.masters)
    wait_until(lambda: not any(b"[" in node.command("CLUSTER", "NODES") for node in cluster.nodes))


def test_a_cluster_may_ask_for_a_password(start_cluster: StartCluster) -> None:
    cluster = start_cluster("--requirepass", "secret")
    assert cluster.options["password"] == "secret"
    cluster.add("s")
    slot = cluster.slot_of("s")
    cluster.move(slot, other_than(cluster, cluster.node_of(slot)))
    assert cluster.command("s", "XLEN", "s") == 1
    assert cluster.replica_of(cluster.node_of(slot))


def test_nothing_is_left_of_a_cluster(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    folders = [node.folder for node in cluster.nodes]
    cluster.close()
    assert not cluster.up
    assert not any(folder.exists() for folder in folders)
