"""Contract 6.6: blocking reads that are answered early, with nothing, are not repeated at once."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import Redis, Streams
from tests.answers import Nodes, Store, collect
from tests.peer import Peer
from tests.scripted import at
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answers import Request
    from tests.peer import Conversation

# The most reads in a second of waiting: some tens, of each connection.
MOST = 60
EMPTY = {
    "nil": b"*-1\r\n",
    "null": b"_\r\n",
    "empty array": b"*0\r\n",
    "empty map": b"%0\r\n",
    "no entries": b"*1\r\n*2\r\n$1\r\ns\r\n*0\r\n",
}
EACH = pytest.mark.parametrize("kind", EMPTY)


class Early(Store):
    """A store that never waits.

    Args:
        kind: What it answers where there is nothing.

    Attributes:
        written_at: The number of reads that had come when something was last written.
    """

    def __init__(self, kind: str, *names: str) -> None:
        super().__init__({name: ["1-0"] for name in names})
        self._nothing = EMPTY[kind]
        self.written_at = 0

    def answer(self, conversation: Conversation, request: Request) -> bytes:
        found = super().answer(conversation, request._replace(block=None))
        return self._nothing if found == EMPTY["nil"] else found


@EACH
@pytest.mark.parametrize("names", ["s", "st"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_few_reads_are_sent_in_a_wait(kind: str, names: str, protocol: Any) -> None:
    """Contract 6.6, 4.1: and the wait is as long as ever."""
    store = Early(kind, *names)
    with (
        Peer(store) as peer,
        Streams(
            **at(peer), streams=dict.fromkeys(names, 0), block=1000, protocol=protocol
        ) as streams,
    ):
        collect(streams, len(names))
        before = len(store.requests)
        assert list(streams) == []
        assert len(store.requests) - before <= MOST


@pytest.mark.parametrize("connections", [2, 4])
def test_few_reads_are_sent_over_several_connections(connections: int) -> None:
    """Contract 6.6: each connection for itself."""
    store = Early("nil", *"abcd")
    with (
        Peer(store) as peer,
        Streams(
            **at(peer), streams=dict.fromkeys("abcd", 0), block=1000, connections=connections
        ) as streams,
    ):
        collect(streams, 4)
        before = len(store.requests)
        assert list(streams) == []
        assert len(store.requests) - before <= MOST * connections


@pytest.mark.parametrize("connections", [1, 8])
def test_few_reads_are_sent_in_a_cluster(connections: int) -> None:
    """Contract 6.6: streams that take turns on a connection, or have one each."""
    home = {"s0": 0, "s1": 0, "s2": 1}

    def send(conversation: Conversation, request: Request, _: Callable[[], bytes]) -> None:
        conversation.send(nodes.store.answer(conversation, request._replace(block=None)))

    with (
        Nodes({name: ["1-0"] for name in home}, home, send) as nodes,
        Streams(
            **nodes.options,
            streams=dict.fromkeys(home, 0),
            block=1000,
            connections=connections,
        ) as streams,
    ):
        collect(streams, 3)
        before = len(nodes.store.requests)
        assert list(streams) == []
        # Who takes turns on a connection asks for each stream without blocking.
        assert len(nodes.store.requests) - before <= MOST * len(home)


def test_few_reads_are_sent_to_several_sources() -> None:
    """Contract 6.6: the one that answers early does not wake the others up, either."""
    early, well = Early("nil", "s"), Store({"s": ["1-0"]})
    with (
        Peer(early) as one,
        Peer(well) as two,
        Streams.from_sources(
            {"one": Redis(**at(one)), "two": Redis(**at(two))}, {"s": 0}, block=1000
        ) as streams,
    ):
        collect(streams, 2)
        before = len(early.requests), len(well.requests)
        assert list(streams) == []
        assert len(early.requests) - before[0] <= MOST
        assert len(well.requests) - before[1] <= MOST


@pytest.mark.parametrize("connections", [1, 2])
def test_few_reads_are_sent_in_a_wait_without_end(connections: int) -> None:
    """Contract 6.6, 4.1, 4.4: `block=0`, which another thread ends."""
    store = Early("nil", *"st")
    with (
        Peer(store) as peer,
        Streams(**at(peer), s=0, t=0, block=0, connections=connections) as streams,
    ):
        collect(streams, 2)
        before = len(store.requests)
        reader = Thread(target=lambda: list(streams))
        reader.start()
        Event().wait(1)
        streams.close()
        reader.join(LONG)
        assert not reader.is_alive()
        # The machine may be slow, and so the second longer.
        assert len(store.requests) - before <= 2 * MOST * connections


@EACH
@pytest.mark.parametrize("block", [0, 60_000])
def test_a_message_that_comes_after_early_answers_is_delivered(kind: str, block: int) -> None:
    """Contract 6.6, 3.3: at one of the next reads."""
    store = Early(kind, "s")
    with Peer(store) as peer, Streams(**at(peer), s=0, block=block) as streams:
        assert next(streams)[1] == b"1-0"
        for n in range(2, 7):
            before = len(store.requests)
            writer = Thread(target=write_after, args=(store, before + 5, f"{n}-0"))
            writer.start()
            assert next(streams)[1] == f"{n}-0".encode()
            writer.join(LONG)
            written, seen = store.written_at, len(store.requests)
            # The one that was on its way when it was written, and the one that finds it.
            assert seen - written <= 2


def write_after(store: Early, reads: int, entry_id: str) -> None:
    """Write after that many reads."""
    wait_until(lambda: len(store.requests) >= reads)
    store.add("s", entry_id)
    store.written_at = len(store.requests)


@pytest.mark.parametrize("connections", [1, 2])
def test_full_speed_comes_back_with_the_first_message(connections: int) -> None:
    """Contract 6.6: early answers in between change nothing about who has much to read."""
    store = Early("nil", "s", "t")
    with (
        Peer(store) as peer,
        Streams(**at(peer), s=0, t=0, block=200, count=2, connections=connections) as streams,
    ):
        collect(streams, 2)
        assert list(streams) == []
        for n in range(2, 42):
            store.add("s", f"{n}-0")
        assert [message[1] for message in streams] == [b"%d-0" % n for n in range(2, 42)]
