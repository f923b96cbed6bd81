"""Contract 5.5: long waits are slices of at most 20 s on the wire, below what proxies cut."""

from __future__ import annotations

from typing import Any

import pytest

from pystreamredis import ConnectionError, Redis, Streams
from tests.live import LiveServer, next_live
from tests.peer import Conversation, Expect, Peer
from tests.scripted import at, block_of, entries, next_item

MOST = 20_000
LONG_BLOCKS = [0, 20_001, 30_000, 600_000, 2**62]


def blocks(peer: Peer) -> list[int]:
    """How long each read may block, in ms."""
    return [block_of(command) for command in peer.commands]


@pytest.mark.parametrize("block", LONG_BLOCKS)
@pytest.mark.parametrize("protocol", [2, 3])
def test_no_read_blocks_for_longer_than_a_slice(block: int, protocol: Any) -> None:
    """Contract 4.1, 5.5: the wait goes on when a slice has found nothing."""

    def quiet_at_first(conversation: Conversation) -> None:
        if protocol == 3:
            conversation.expect("HELLO")
            conversation.reply({"proto": 3})
        for _ in range(3):
            conversation.expect("XREAD")
            conversation.reply(None)
        conversation.expect("XREAD")
        conversation.reply(entries("s", "1-0"))

    with (
        Peer(quiet_at_first) as peer,
        Streams(**at(peer), block=block, protocol=protocol, s=0) as streams,
    ):
        assert next(streams)[1] == b"1-0"
        reads = [command for command in peer.commands if command[0] == b"XREAD"]
        sent = [block_of(command) for command in reads]
        assert len(sent) >= 4
        assert max(sent) <= MOST
        # A slice is no short one: each costs a round trip.
        assert max(sent) >= MOST // 2


@pytest.mark.parametrize("block", [1, 1000, MOST])
def test_a_wait_that_is_no_longer_than_a_slice_is_one(block: int) -> None:
    """Contract 4.1: with time passing it may be a little less."""
    with (
        Peer([Expect("XREAD"), entries("s", "1-0")]) as peer,
        Streams(**at(peer), block=block, s=0) as streams,
    ):
        assert next(streams)[1] == b"1-0"
        assert max(blocks(peer)) <= block


@pytest.mark.parametrize("kind", ["connections", "sources", "cluster"])
def test_all_connections_wait_in_slices(kind: str) -> None:
    """Contract 5.5: whatever a connection is of."""
    one, two = LiveServer(a=["1-0"], b=["2-0"]), LiveServer(a=["1-0"], b=["2-0"])
    with Peer(one) as peer, Peer(two) as other:
        if kind == "cluster":
            one.is_cluster = two.is_cluster = True
            one.moved["b"], two.moved["a"] = (other.host, other.port), (peer.host, peer.port)
        if kind == "sources":
            sources = [Redis(**at(peer)), Redis(**at(other))]
            named = dict(zip("xy", sources, strict=True))
            made = Streams.from_sources(named, {"a": 0}, block=0)
        else:
            more: dict[str, Any] = {"connections": 2} if kind == "connections" else {}
            made = Streams(**at(peer), a=0, b=0, block=0, **more)
        with made as streams:
            assert {next_live(streams)[0][1] for _ in range(2)} <= {b"1-0", b"2-0"}
            (one if kind != "cluster" else two).streams["b" if kind != "sources" else "a"].append(
                "3-0"
            )
            assert next_live(streams)[0][1] == b"3-0"
        sent = blocks(peer) + blocks(other)
        assert max(sent) <= MOST
        assert max(sent) > 0


def test_a_slice_that_is_not_answered_is_a_failure() -> None:
    """Contract 5.5: `socket_timeout` counts from the end of the slice that was asked for."""

    def answer_once(conversation: Conversation) -> None:
        command = conversation.expect("XREAD")
        assert 0 < block_of(command) <= 30
        conversation.stay_silent()

    with (
        Peer(answer_once) as peer,
        Streams(**at(peer), block=30, socket_timeout=0.3, s=0, stop_on_timeout=True) as streams,
    ):
        # The caller's wait is over before that; the next ones find it out.
        outcomes = [next_item(streams) for _ in range(40)]
    assert any(isinstance(item, ConnectionError) for item in outcomes)
