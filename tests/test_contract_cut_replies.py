"""Contract 5.4, 3.4: replies that break off each time, and the memory that replies take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Streams, TimeoutError
from tests.answers import Nodes, Store, collect, ids, number, positions_of
from tests.peer import Peer
from tests.pythons import tracemalloc
from tests.scripted import at, next_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answers import Collected, Entry, Request
    from tests.peer import Conversation

COUNT = 100
FAST: dict[str, Any] = {
    "count": COUNT,
    "block": 10,
    "stop_on_timeout": True,
    "raise_connection_exceptions": False,
}
MIB = 2**20


def sized(length: int, size: int, first: int = 1001) -> list[Entry]:
    """Return entries of about that many bytes on the wire."""
    return [(entry_id, [b"f", b"v" * (size - 40)]) for entry_id in ids(length, first)]


class Cut:
    """Cuts each reply that is longer, and the connection with it.

    Args:
        size: How many bytes pass.
        how: "closed", "reset", or "silent": nothing more comes.

    Attributes:
        requests: What was cut.
        size: None while nothing is cut.
    """

    def __init__(self, size: int, how: str = "closed") -> None:
        self.size: int | None = size
        self.requests: list[Request] = []
        self._how = how

    def __call__(
        self, conversation: Conversation, request: Request, answer: Callable[[], bytes]
    ) -> None:
        data = answer()
        if self.size is None or len(data) <= self.size:
            conversation.send(data)
            return
        self.requests.append(request)
        conversation.send(data[: self.size])
        if self._how == "closed":
            conversation.close()
        elif self._how == "reset":
            # Only after all of it was read: a reset throws away what is on its way.
            conversation.wait_for_bytes(0.05)
            conversation.reset()
        else:
            conversation.stay_silent()


def look_at(found: Collected, held: dict[str, list[Entry]]) -> None:
    """Look that all came, sorted and once, and made some way between failures."""
    expected = sorted(
        ((number(entry_id), name) for name, entries in held.items() for entry_id, _ in entries),
        key=lambda pair: pair[0],
    )
    assert [(number(index.decode()), name) for name, index, _ in found.messages] == expected
    assert len(found.failures) <= len(found.messages)


# Which part of a reply passes.


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("passing", [300, 1100, 2500, 5000, 19_000])
def test_replies_that_are_cut_each_time_come_in_the_end(passing: int, how: str) -> None:
    """Contract 5.4: for so long as one entry passes; what is whole is delivered at once."""
    held = {"s": sized(200, 250)}
    send = Cut(passing, how)
    with Peer(Store(held, send)) as peer, Streams(**at(peer), s=0, **FAST) as streams:
        found = collect(streams, 200)
        assert positions_of(streams) == {"s": "1200-0"}
    look_at(found, held)
    assert send.requests
    assert found.failures


@pytest.mark.parametrize("passing", [1100, 2500, 5000])
@pytest.mark.parametrize("connections", [1, 2])
def test_cut_replies_of_several_streams_come_in_the_end(passing: int, connections: int) -> None:
    """Contract 5.4, 3.2: sorted, as far as the merge allows."""
    held = {"a": sized(60, 250), "b": sized(35, 300, 1020), "c": sized(10, 200, 1055)}
    send = Cut(passing)
    with (
        Peer(Store(held, send)) as peer,
        Streams(
            **at(peer), streams=dict.fromkeys(held, 0), **FAST, connections=connections
        ) as streams,
    ):
        found = collect(streams, 105)
    look_at(found, held)
    assert found.failures


@pytest.mark.parametrize("connections", [1, 8])
def test_cut_replies_of_a_cluster_come_in_the_end(connections: int) -> None:
    """Contract 5.4: of each node."""
    held = {"s0": sized(50, 250), "s1": sized(50, 250, 1030), "s2": sized(50, 250, 1010)}
    with (
        Nodes(held, {"s0": 0, "s1": 0, "s2": 1}, Cut(2500)) as nodes,
        Streams(
            **nodes.options, streams=dict.fromkeys(held, 0), **FAST, connections=connections
        ) as streams,
    ):
        found = collect(streams, 150)
    assert found.ids == {name: [entry[0] for entry in entries] for name, entries in held.items()}
    assert found.failures


def test_a_cut_reply_is_not_asked_for_as_it_was() -> None:
    """Contract 5.4: each time after another message, or fewer of them."""
    send = Cut(2500)
    held = {"s": sized(200, 250), "t": sized(200, 250)}
    with Peer(Store(held, send)) as peer, Streams(**at(peer), s=0, t=0, **FAST) as streams:
        collect(streams, 400)
    asked = [(*request.keys, *request.after, request.limit) for request in send.requests]
    assert len(asked) == len(set(asked))


def test_fewer_are_asked_for_after_a_cut_reply_and_then_slowly_more() -> None:
    """Contract 5.4, 3.4: COUNT, as the server sees it."""
    send = Cut(2500)
    store = Store({"s": sized(1500, 250)}, send)
    with Peer(store) as peer, Streams(**at(peer), s=0, **FAST) as streams:
        collect(streams, 300)
        asked = limits_of(store.requests)
        assert asked[0] == COUNT
        assert min(asked) <= 10
        # Once what passes is known, failures are rare.
        assert len(send.requests) < 60
        send.size = None
        before = len(store.requests)
        collect(streams, 1200)
    later = limits_of(store.requests[before:])
    assert max(later) > min(asked)
    assert max(later) <= COUNT


def limits_of(requests: list[Request]) -> list[int]:
    """Return what COUNT says, but for those that look back at what came before."""
    return [request.limit or 0 for request in requests if "0-0" not in request.after[:-1]]


def test_count_stays_as_it_is_without_a_cut_reply() -> None:
    """Contract 3.4: failures between replies do not lower it."""

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        conversation.send(answer())
        if request.number in (2, 4):
            conversation.close()

    store = Store({"s": sized(500, 250)}, send)
    with Peer(store) as peer, Streams(**at(peer), s=0, **FAST | {"count": 50}) as streams:
        assert len(collect(streams, 500).messages) == 500
    reads = [request.limit for request in store.requests if len(request.keys) == 1]
    assert set(reads) <= {50, 1}


@pytest.mark.parametrize("raising", [True, False])
def test_an_entry_that_never_passes_is_not_asked_for_without_pause(raising: bool) -> None:
    """Contract 5.4, 5.2, 5.3: what is before it comes, then failures, one for each attempt."""
    held = {"s": [*sized(5, 250), *sized(1, 20_000, 1006), *sized(5, 250, 1007)]}
    store = Store(held, Cut(5000))
    options = FAST | {"raise_connection_exceptions": raising}
    with Peer(store) as peer, Streams(**at(peer), s=0, **options) as streams:
        assert collect(streams, 5).ids == {"s": ids(5)}
        # Some for fewer and fewer.
        for _ in range(10):
            assert isinstance(next_item(streams), ConnectionError)
        before, connections = len(store.requests), peer.connections
        for _ in range(10):
            assert isinstance(next_item(streams), ConnectionError)
        assert peer.connections - connections <= 10
        assert len(store.requests) - before <= 40
        assert store.requests[-1].limit == 1
        assert positions_of(streams) == {"s": "1005-0"}


def test_the_whole_messages_of_a_reply_come_before_the_failure() -> None:
    """Contract 5.4: those of the very reply that broke off."""
    send = Cut(2600)
    store = Store({"s": sized(50, 250)}, send)
    options = FAST | {"raise_connection_exceptions": True}
    with Peer(store) as peer, Streams(**at(peer), s=0, **options) as streams:
        assert [next(streams)[1].decode() for _ in range(9)] == ids(9)
        found = [next_item(streams) for _ in range(3)]
        assert any(isinstance(item, ConnectionError) for item in found)


@pytest.mark.parametrize("names", ["s", "st"])
def test_whole_messages_come_where_the_rest_of_a_reply_does_not(names: str) -> None:
    """Contract 5.4, 5.5: a peer that falls silent amid its reply, each time."""
    held = {name: sized(40, 250) for name in names}
    send = Cut(2600, "silent")
    with (
        Peer(Store(held, send)) as peer,
        Streams(**at(peer), streams=dict.fromkeys(names, 0), **FAST, socket_timeout=0.2) as streams,
    ):
        found = collect(streams, 40 * len(names))
    look_at(found, held)
    assert any(isinstance(failure, TimeoutError) for failure in found.failures)


# Memory.


class Large:
    """A server of large entries, which takes no memory for its replies.

    Args:
        length: How many entries each stream has.
        size: How many bytes each of them has.
    """

    def __init__(self, length: int, size: int) -> None:
        self.limits: list[int] = []
        self._ids = ids(length)
        self._value = b"v" * size

    def __call__(self, conversation: Conversation) -> None:
        store = Store({})
        while True:
            request = store.receive(conversation)
            if request is None:
                continue
            assert request.limit is not None
            self.limits.append(request.limit)
            found = []
            for key, after in zip(request.keys, request.after, strict=True):
                later = [i for i in self._ids if number(i) > number(after)][: request.limit]
                if later:
                    found.append((key, later))
            if not found:
                conversation.pause((request.block or 0) / 1000)
                conversation.send(b"*-1\r\n")
                continue
            conversation.send(b"*%d\r\n" % len(found))
            for key, later in found:
                self._send(conversation, key.encode(), later)

    def _send(self, conversation: Conversation, key: bytes, later: list[str]) -> None:
        conversation.send(b"*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(key), key, len(later)))
        for entry_id in later:
            head = (
                f"*2\r\n${len(entry_id)}\r\n{entry_id}\r\n*2\r\n$1\r\nf\r\n${len(self._value)}\r\n"
            )
            conversation.send(head.encode())
            conversation.send(self._value)
            conversation.send(b"\r\n")


def peak_of(server: Large, names: str, length: int, **options: Any) -> int:
    """Read all, forgetting each message, and return the most that was in memory meanwhile."""
    with (
        Peer(server) as peer,
        Streams(
            **at(peer),
            streams=dict.fromkeys(names, 0),
            block=100,
            raise_connection_exceptions=False,
            **options,
        ) as streams,
    ):
        came: dict[str, list[str]] = {name: [] for name in names}
        others = 0
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            while sum(map(len, came.values())) < length * len(names):
                message = next(streams)
                if isinstance(message, tuple):
                    came[message[0]].append(message[1].decode())
                else:
                    others += 1
                    assert others < 50, message
                del message
            peak: int = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert came == {name: ids(length) for name in names}
    return int(peak - before)


def test_about_64_mib_of_messages_are_held_by_default() -> None:
    """Contract 3.4: two streams of entries of 1 MiB."""
    assert peak_of(Large(100, MIB), "st", 100) < 160 * MIB


@pytest.mark.parametrize("names", ["s", "st", "stuvw"])
def test_max_bytes_bounds_what_is_held(names: str) -> None:
    """Contract 3.4: and COUNT is lowered for it, though never below 1."""
    server = Large(400 // len(names), MIB // 16)
    assert peak_of(server, names, 400 // len(names), max_bytes=MIB) < 6 * MIB
    assert min(server.limits) < 20


def test_max_bytes_below_the_size_of_an_entry_lets_it_pass() -> None:
    """Contract 3.4: one at a time."""
    server = Large(20, MIB)
    assert peak_of(server, "s", 20, max_bytes=MIB // 4) < 8 * MIB


def test_max_bytes_changes_nothing_for_small_entries() -> None:
    """Contract 3.4: COUNT stays what it was."""
    server = Large(1000, 50)
    peak_of(server, "st", 1000, max_bytes=MIB)
    assert set(server.limits) == {100}
