"""Reading from a real cluster with nothing configured: every contract rule holds there, too."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import (
    AuthenticationError,
    ConnectionError,
    Redis,
    ResponseError,
    Streams,
)
from tests.certificates import Authority
from tests.peer import Conversation, Peer
from tests.proxy import Proxy
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster import Cluster, Node
    from tests.conftest import StartCluster

# At three nodes, two of them in one slot.
SLOTS = (9, 6000, 12000, 15000)


def names_of(cluster: Cluster) -> list[str]:
    names = [cluster.name_in(slot) for slot in SLOTS]
    return [*names, f"{{{names[0]}}}too"]


def other_than(cluster: Cluster, node: Node) -> Node:
    return next(master for master in cluster.masters if master is not node)


def test_the_history_of_all_slots_is_merged(cluster: Cluster) -> None:
    """Contract 3.2: the sorted union of all."""
    names = names_of(cluster)
    expected = []
    for number in range(60):
        name = names[number * 7 % len(names)]
        expected.append((name, cluster.add(name, entry_id=f"{number // 9 + 1}-{number}").encode()))
    for count in (1, 7, 100):
        with Streams(
            **cluster.options, streams=dict.fromkeys(names, 0), count=count, block=100
        ) as streams:
            assert [message[:2] for message in streams] == expected


@pytest.mark.parametrize("seed", ["master", "other master", "replica"])
def test_any_node_will_do_to_begin_with(cluster: Cluster, seed: str) -> None:
    name = cluster.name_in(9)
    home = cluster.node_of(9)
    node = {
        "master": home,
        "other master": other_than(cluster, home),
        "replica": cluster.replica_of(home),
    }[seed]
    cluster.add(name, entry_id="1-1")
    with Streams(**node.options, streams={name: 0}, block=100) as streams:
        assert [message[1] for message in streams] == [b"1-1"]
        cluster.add(name, entry_id="1-2")
        assert [message[1] for message in streams] == [b"1-2"]


def test_a_callable_host_is_asked_for_the_node_to_begin_with(cluster: Cluster) -> None:
    names = names_of(cluster)
    for name in names:
        cluster.add(name)
    asked: list[int] = []

    def host() -> tuple[str, int]:
        asked.append(1)
        return cluster.nodes[0].host, cluster.nodes[0].port

    with Streams(host, streams=dict.fromkeys(names, 0), block=100) as streams:
        assert len(list(streams)) == len(names)
    assert len(asked) == 1


def test_now_is_when_it_was_made_at_each_node(cluster: Cluster) -> None:
    """Contract 2.3."""
    names = names_of(cluster)
    for name in names[:3]:
        cluster.add(name)
    with Streams(**cluster.options, streams=names, block=100) as streams:
        expected = [cluster.add(name).encode() for name in names]
        assert sorted(message[1] for message in streams) == sorted(expected)


def test_what_was_handed_over_is_where_another_goes_on(cluster: Cluster) -> None:
    """Contract 2.4."""
    names = names_of(cluster)
    for number in range(20):
        cluster.add(names[number % len(names)], entry_id=f"{number + 1}-0")
    with Streams(
        **cluster.options, streams=dict.fromkeys(names, 0), block=100, decode_responses=True
    ) as streams:
        first = [next(streams)[1] for _ in range(11)]
        positions = streams.positions
    redis = Redis(**cluster.options, decode_responses=True)
    with redis.streams(streams=positions, block=100) as streams:
        rest = [message[1] for message in streams]
    assert first + rest == [f"{number + 1}-0" for number in range(20)]


def test_streams_are_added_and_dropped_at_any_node(cluster: Cluster) -> None:
    """Contract 2.5."""
    names = names_of(cluster)
    for name in names:
        cluster.add(name)
    with Streams(**cluster.options, streams=names[:2], block=100) as streams:
        assert list(streams) == []
        streams.add(dict.fromkeys(names[2:4], 0))
        assert {message[0] for message in streams} == set(names[2:4])
        streams.add(names[4])
        streams.discard(names[0], names[2])
        for name in names:
            cluster.add(name)
        assert {message[0] for message in streams} == {names[1], names[3], names[4]}
        assert set(streams.positions) == {names[1], names[3], names[4]}


@pytest.mark.parametrize("options", [{"block": None}, {"block": 50, "hold": 1000}, {"protocol": 3}])
def test_what_says_how_to_wait_holds_there_too(cluster: Cluster, options: dict[str, Any]) -> None:
    """Contract 3.3, 4.1, 6.3."""
    names = names_of(cluster)
    with Streams(
        **cluster.options, streams=dict.fromkeys(names, 0), **({"block": 100} | options)
    ) as streams:
        for _ in range(3):
            expected = sorted(cluster.add(name).encode() for name in names)
            found = [message[1] for message in streams]
            assert sorted(found) == expected
            assert "hold" not in options or found == expected


def test_a_slot_is_followed_without_a_word(cluster: Cluster) -> None:
    names = names_of(cluster)
    home = cluster.node_of(9)
    with Streams(**cluster.options, streams=dict.fromkeys(names, 0), block=300) as streams:
        assert list(streams) == []
        for node in (other_than(cluster, home), home):
            before = cluster.add(names[0])
            with cluster.moving(9, node):
                during = cluster.add(names[1])
            after = cluster.add(names[4])
            assert sorted(message[1] for message in streams) == [
                entry_id.encode() for entry_id in (before, during, after)
            ]


def hosts_in(node: Node) -> set[bytes]:
    """The hosts that a node names."""
    return {each[0] for _, _, *nodes in node.command("CLUSTER", "SLOTS") for each in nodes}


def test_nodes_that_announce_what_cannot_be_reached_are_reached_all_the_same(
    cluster: Cluster,
) -> None:
    """Contract 1.2: `address_remap`, through resharding and a failover."""
    names, home = names_of(cluster), cluster.node_of(9)
    asked: set[str] = set()

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        asked.add(address[0])
        return "127.0.0.1", address[1]

    with ExitStack() as stack:
        for node in cluster.nodes:
            for name, value, old in (
                ("cluster-announce-hostname", "inside.invalid", ""),
                ("cluster-preferred-endpoint-type", "hostname", "ip"),
            ):
                node.command("CONFIG", "SET", name, value)
                stack.callback(node.command, "CONFIG", "SET", name, old)
        for node in cluster.nodes:
            wait_until(lambda: hosts_in(node) == {b"inside.invalid"})  # noqa: B023
        streams = stack.enter_context(
            Streams(
                **cluster.options, address_remap=remap, streams=dict.fromkeys(names, 0), block=300
            )
        )
        assert list(streams) == []
        for node in (other_than(cluster, home), home):
            cluster.move(9, node)
            added = [cluster.add(name).encode() for name in names]
            assert sorted(message[1] for message in streams) == sorted(added)
        replica = cluster.replica_of(home)
        replica.command("CLUSTER", "FAILOVER")
        wait_until(lambda: cluster.node_of(9) is replica)
        added = [cluster.add(name).encode() for name in names]
        found: list[bytes] = []
        deadline = monotonic() + LONG
        while len(found) < len(added) and monotonic() < deadline:
            with suppress(ConnectionError):
                found += [message[1] for message in streams]
        assert sorted(found) == sorted(added)
    assert asked == {"inside.invalid"}


def test_a_stream_at_fault_is_named(cluster: Cluster) -> None:
    """Contract 5.6."""
    names = names_of(cluster)
    cluster.command(names[2], "SET", names[2], "v")
    with Streams(**cluster.options, streams=dict.fromkeys(names, 0), block=100) as streams:
        with pytest.raises(ResponseError, match="WRONGTYPE") as caught:
            next(streams)
        assert caught.value.stream == names[2]
        streams.discard(names[2])
        cluster.add(names[0])
        assert [message[0] for message in streams] == [names[0]]


def test_every_node_is_logged_in_to(start_cluster: StartCluster) -> None:
    """Contract 1.2, 6.1: with a password that is asked for, and no more than the right to XREAD."""
    cluster = start_cluster("--requirepass", "secret")
    names = names_of(cluster)
    rights = ("on", ">more secret", "allkeys", "+xread")
    for node in cluster.nodes:
        node.command("ACL", "SETUSER", "reader", *rights)
    expected = sorted(cluster.add(name).encode() for name in names)
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        return "more secret"

    login: dict[str, Any] = {"username": "reader", "password": password}
    options = cluster.options | login
    with Streams(**options, streams=dict.fromkeys(names, 0), block=100) as streams:
        assert [message[1] for message in streams] == expected
    assert len(asked) > len(SLOTS)
    with pytest.raises(AuthenticationError, match="WRONGPASS"):
        Streams(**options | {"password": "wrong"}, streams=names)


def test_a_cluster_that_is_down_is_a_failure_that_passes(cluster: Cluster) -> None:
    """Contract 5.1, 5.2."""
    name = cluster.name_in(9)
    home = cluster.node_of(9)
    cluster.add(name, entry_id="1-1")
    with Streams(**cluster.options, streams={name: 0}, block=100) as streams:
        assert next(streams)[1] == b"1-1"
        home.command("CLUSTER", "DELSLOTS", 9)
        for node in cluster.nodes:
            if node is not home:
                node.command("CLUSTER", "DELSLOTS", 9)
        with pytest.raises(ConnectionError, match=rf"{home.host}:\d+ refused XREAD: CLUSTERDOWN"):
            list(streams)
        home.command("CLUSTER", "ADDSLOTS", 9)
        cluster.wait_until_agreed()
        cluster.add(name, entry_id="1-2")
        found: list[bytes] = []
        while not found:
            try:
                found += [message[1] for message in streams]
            except ConnectionError:
                pass
        assert found == [b"1-2"]


def test_descriptors_are_those_of_the_slots_and_no_more(cluster: Cluster) -> None:
    names = names_of(cluster)
    with Streams(**cluster.options, streams=dict.fromkeys(names, 0), block=100) as streams:
        assert list(streams) == []
        before = len(os.listdir("/dev/fd"))
        for slot in SLOTS[:2] * 3:
            cluster.move(slot, other_than(cluster, cluster.node_of(slot)))
            assert list(streams) == []
        # The end of a connection may take another turn of the event loop.
        wait_until(lambda: len(os.listdir("/dev/fd")) <= before)


def test_tls_and_the_login_go_along_to_where_a_slot_lives(tmp_path: Path) -> None:
    """The servers at hand know no TLS, so these nodes are played, each behind a proxy."""
    authority = Authority(tmp_path)
    context = authority.sign("localhost", "DNS:localhost").server_context()

    def log_in(conversation: Conversation) -> None:
        conversation.expect("AUTH", "secret")
        conversation.reply("OK")
        conversation.expect("XREAD")

    def home(conversation: Conversation) -> None:
        log_in(conversation)
        conversation.reply([[b"s", [[b"1-1", [b"f", b"v"]]]]])
        conversation.stay_silent()

    def elsewhere(conversation: Conversation) -> None:
        log_in(conversation)
        # Without a host: it is the same as this node's.
        conversation.send(f"-MOVED 1 :{second.port}\r\n".encode())
        conversation.stay_silent()

    options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": authority.certfile}
    with (
        Peer(home) as home_peer,
        Peer(elsewhere) as other_peer,
        Proxy(home_peer.host, home_peer.port, ssl_context=context) as second,
        Proxy(other_peer.host, other_peer.port, ssl_context=context) as first,
        Streams("localhost", first.port, **options, password="secret", s=0) as streams,
    ):
        assert next(streams)[1] == b"1-1"
