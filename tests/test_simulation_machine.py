"""Any sequence of what a caller, a server and a network may do, against the promises.

Each message of each followed stream is delivered exactly once and in order, and positions say
what was delivered. The steps run over simulated connections and time (`tests.simulation`).
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pystreamredis.core.exchanges import SILENCE
from pystreamredis.exceptions import ConnectionError, ResponseError
from tests.simulation import Server, Simulation, encode, number, written

NAMES = ["a", "b", "c"]
# Items that a drain takes at most: more than all messages and failures of a run.
PATIENCE = 2000
FIELD = b"f"
# It looks like an entry after all others, or like one before them, so that predictions fail.
LATER = b"\r\n" + encode([b"9000-0", [FIELD, b"v"]], 2)[:-2]
EARLIER = b"\r\n" + encode([b"1000-1", [FIELD, b"v"]], 2)[:-2]

names = st.sampled_from(NAMES)
steps = st.sampled_from([1, 1, 2**64, 90 * 2**64])
values = st.sampled_from([b"v", b"v", b"x" * 40, LATER, EARLIER])
entries = st.lists(st.tuples(names, steps, values), min_size=1, max_size=15)


class Followed:
    """What the promises say of one stream.

    Attributes:
        start: The ID that it starts after; None while "now" is not pinned.
        tail: The last ID that was there when it was asked for "now".
        delivered: The IDs of the messages that were delivered.
    """

    def __init__(self, start: bytes | None, tail: int) -> None:
        self.start = start
        self.tail = tail
        self.delivered: list[int] = []

    @property
    def position(self) -> bytes | None:
        return written(self.delivered[-1]) if self.delivered else self.start


class Reading(RuleBasedStateMachine):
    """A caller, a server and a network."""

    @initialize(
        count=st.integers(1, 4),
        connections=st.sampled_from([None, 2]),
        hold=st.sampled_from([0, 0, 30, "exact"]),
        block=st.sampled_from([None, 50, 50]),
        protocol=st.sampled_from([2, 3]),
        chunks=st.sampled_from([(), (1,), (7, 90), (300, 40, 1000)]),
        first=entries,
    )
    def begin(
        self,
        *,
        chunks: tuple[int, ...],
        protocol: int,
        first: list[tuple[str, int, bytes]],
        **read: Any,
    ) -> None:
        self.server = Server()
        self.count: int = read["count"]
        self.options: dict[str, Any] = {
            "chunks": chunks,
            "connection": {"protocol": protocol, "socket_timeout": 5},
            "raise_connection_exceptions": False,
            **read,
        }
        self.last = number(b"1000-0")
        # The streams that were dropped, and the ID of the last message that was delivered.
        self.left: dict[str, bytes] = {}
        self.write(first)
        self.streams = {name: Followed(b"0-0", 0) for name in NAMES[:2]}
        self.open(dict.fromkeys(self.streams, 0))

    def open(self, starts: dict[str, Any]) -> None:
        self.begin_again()
        self.simulation = Simulation(self.server, starts, **self.options).establish()

    def begin_again(self) -> None:
        """Take note that all streams are read from their positions: their merge is sorted."""
        self.is_sorted = True
        self.latest = 0
        self.misled: list[Any] = []

    # The server and the network.

    @rule(added=entries)
    def write(self, added: list[tuple[str, int, bytes]]) -> None:
        """Add entries, with IDs after all others."""
        for name, step, value in added:
            self.last += step
            self.server.add(name.encode(), self.last, FIELD, value)
        if self.options["connections"]:
            # Each connection is answered by itself (contract 3.3).
            self.is_sorted = False

    @rule(after=st.integers(0, 400))
    def cut(self, after: int) -> None:
        """Have all connections break after some more bytes."""
        for link in self.simulation.links:
            link.left = after

    @rule(error=st.sampled_from([None, OSError(111, "refused")]))
    def fail_to_connect(self, error: OSError | None) -> None:
        """Have an attempt to connect fail."""
        self.simulation.failures.append(error)

    @rule(text=st.sampled_from(["-LOADING wait", "-BUSY script"]))
    def refuse(self, text: str) -> None:
        """Have a read refused for now."""
        self.server.refusals.append(text)

    @rule(surplus=st.sampled_from([b"*-1\r\n", b"*0\r\n", b"+OK\r\n", b"-ERR no\r\n", None]))
    def reply_once_more(self, surplus: bytes | None) -> None:
        """Send a reply that nobody asked for, or the last ones again."""
        for link in self.simulation.links:
            if link.peer is not None:
                link.peer.sent += link.peer.sent if surplus is None else surplus
                # From now on replies may be taken for those to other reads, where nothing more
                # is to be found: other streams go on without these messages.
                self.misled.append(link)
                self.is_sorted = False

    @rule()
    def unblock(self) -> None:
        """End blocking reads early."""
        for link in self.simulation.links:
            if link.peer is not None and link.peer.deadline is not None:
                link.peer.unblock()

    @rule(seconds=st.sampled_from([0.01, 0.5, 4.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        """Let the caller work on something else."""
        self.simulation.sleep(seconds)
        if seconds > SILENCE and self.options["connections"]:
            # A connection looks for lost entries before it reads, while others read: these
            # deliver what is written then without what it has not read yet (contract 3.3).
            self.is_sorted = False

    # The caller.

    @rule(how_many=st.integers(1, 12))
    def read(self, how_many: int) -> None:
        """Ask for messages, up to the end of the iteration."""
        for _ in range(how_many):
            if self.take() is None:
                return

    @rule()
    def read_one(self) -> None:
        """Ask for one message, so that others of the same reply are left."""
        self.take()

    @rule(name=names, start=st.sampled_from(["history", "resume", "now"]))
    def add(self, name: str, start: str) -> None:
        """Follow one more stream."""
        if name in self.streams:
            return
        self.is_sorted = False
        if start == "now":
            self.streams[name] = Followed(None, self.tail(name))
            self.simulation.add({name: None})
            return
        after = self.left.get(name, b"0-0") if start == "resume" else b"0-0"
        self.streams[name] = Followed(after, 0)
        self.simulation.add({name: after.decode()})

    @precondition(lambda self: len(self.streams) > 1)
    @rule(at=st.integers(0, 2))
    def discard(self, at: int) -> None:
        """Drop a stream."""
        name = sorted(self.streams)[at % len(self.streams)]
        position = self.streams.pop(name).position
        if position is not None:
            self.left[name] = position
        self.simulation.discard(name)

    @rule()
    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.begin_again()
        self.simulation.interrupt()

    @rule()
    def close_and_resume(self) -> None:
        """Close, and go on from the positions in another object."""
        positions = self.simulation.reader.positions
        self.simulation.engine.disconnect()
        assert self.simulation.links == []
        self.streams = {name: Followed(positions[name], self.tail(name)) for name in self.streams}
        self.open(positions)

    @rule()
    def drain(self) -> None:
        """Read until nothing is left, and check that nothing is missing."""
        self.server.refusals.clear()
        self.simulation.failures.clear()
        for _ in range(PATIENCE):
            if self.take() is None and self.is_complete():
                break
        assert self.is_complete(), "messages are missing"
        self.is_sorted = not self.misled

    @invariant()
    def positions_say_what_was_delivered(self) -> None:
        positions = self.simulation.reader.positions
        assert positions.keys() == self.streams.keys()
        for name, stream in self.streams.items():
            if stream.start is None and positions[name] is not None:
                stream.start = positions[name]
                assert stream.tail <= number(stream.start) <= max(self.tail(name), stream.tail)
            assert positions[name] == stream.position
            assert stream.delivered == self.expected(name)[: len(stream.delivered)]

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.simulation.most_held <= 2 * self.count

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.drain()
            self.positions_say_what_was_delivered()

    # What is expected.

    def take(self) -> Any:
        """Take an item; None at the end of the iteration."""
        try:
            item = self.simulation.next()
        except StopIteration:
            return None
        except ResponseError:
            assert self.misled, "refused for no reason"
            return "refused"
        self.misled = [link for link in self.misled if link in self.simulation.links]
        if isinstance(item, ConnectionError):
            return item
        name, entry_id, pairs = item
        stream, entry = self.streams[name], number(entry_id)
        if stream.start is None:
            stream.start = self.pinned(name, entry)
        stream.delivered.append(entry)
        assert stream.delivered == self.expected(name)[: len(stream.delivered)], "not in order"
        assert tuple(self.server.streams[name.encode()][entry]) == (FIELD, pairs[FIELD])
        if self.is_sorted:
            assert entry > self.latest, "streams are not merged in order"
        self.latest = entry
        return item

    def pinned(self, name: str, first: int) -> bytes:
        """Return where "now" must have been, since this message is the first."""
        earlier = [entry for entry in self.server.streams[name.encode()] if entry < first]
        assert first > self.streams[name].tail, "a message from before now"
        return written(max(earlier, default=0))

    def tail(self, name: str) -> int:
        return max(self.server.streams.get(name.encode(), ()), default=0)

    def expected(self, name: str) -> list[int]:
        """List the messages that are to be delivered, those from "now" on."""
        start = self.streams[name].start
        if start is None:
            return []
        return [e for e in self.server.streams.get(name.encode(), ()) if e > number(start)]

    def is_complete(self) -> bool:
        """Return True if each stream's start is known, and all of it was delivered."""
        self.positions_say_what_was_delivered()
        return all(
            stream.start is not None and stream.delivered == self.expected(name)
            for name, stream in self.streams.items()
        )


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=200, stateful_step_count=40)
