"""`pystreamredis.core.reader`: what `next()` does, with simulated servers and time."""

from __future__ import annotations

import builtins
import json
from gc import collect
from itertools import chain, pairwise
from random import Random
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis.core import merge
from pystreamredis.exceptions import (
    AuthenticationError,
    ConnectionError,
    MessageError,
    ProtocolError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from tests.simulation import (
    MAX_ID,
    Bulk,
    Raw,
    Read,
    Server,
    Simulation,
    encode,
    is_id,
    number,
    server_with,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "open sesame"
COUNTS = st.sampled_from([1, 2, 3, 7, 100])
NAMES = ["a", b"b", "c"]


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pauses as long as they are without their random part."""
    monkeypatch.setattr("random.random", lambda: 0.0)


class Name(str):
    """A name that can be watched."""

    __slots__ = ("__weakref__",)


@pytest.fixture(autouse=True, scope="module")
def _small_batches() -> Iterator[None]:
    """Deliver a few messages at a time, so that most tests have several batches."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(merge, "BATCH_SIZE", 2)
        monkeypatch.setattr(merge, "LEAST_SHARE", 1)
        yield


# Entries cluster, in time as on a clock, in the sequence, at either end of 128 bits.
ids = st.one_of(
    st.integers(1, 60).map(lambda ms: ms << 64),
    st.tuples(st.integers(8, 11), st.integers(8, 11)).map(lambda pair: (pair[0] << 64) + pair[1]),
    st.integers(1, MAX_ID),
    st.integers(MAX_ID - 9, MAX_ID),
    st.integers(1, 12),
)
# Among them what looks like parts of a reply.
values = st.sampled_from(
    [
        b"",
        b"1",
        b"\r\n",
        b"*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\nn\r\n$1\r\n0\r\n",
        b"\r\n*2\r\n$4\r\n99-0\r\n*2\r\n$1\r\nn\r\n$1\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n",
        b"-ERR no\r\n",
        b"\xff\xfe" * 20,
    ]
)
pairs = st.tuples(st.sampled_from([b"f", b"g"]), values)
fields = st.lists(pairs, min_size=1, max_size=3).map(lambda pairs: tuple(chain(*pairs)))
stream = st.dictionaries(ids, fields, max_size=20)
contents = st.fixed_dictionaries(dict.fromkeys(NAMES, stream))
chunks = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 400)), max_size=6)
cuts = st.lists(st.one_of(st.none(), st.integers(0, 60), st.integers(0, 4000)), max_size=8)

Content = dict[Any, dict[int, tuple[bytes, ...]]]


# A value that looks like an entry, so that the next read is sent after an ID that never comes.
MISLEADING: Content = {
    b"b": {
        **dict.fromkeys((1, 3, 1 << 64, 8 << 64, 14 << 64), (b"f", b"")),
        5: (b"f", b"*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\nn\r\n$1\r\n0\r\n"),
    },
    "c": {},
    "a": {
        7: (b"f", b""),
        10: (b"f", b"*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\nn\r\n$1\r\n0\r\n", b"f", b"\xff\xfe" * 20),
        1 << 64: (b"f", b"", b"f", b""),
    },
}

# Two replies that come at once, of which the first has nothing of a stream with as much pending
# as is allowed.
TWO_REPLIES_AT_ONCE: Content = {
    "a": {ms << 64: (b"n", b"1") for ms in (5, 6, 7)},
    "b": {ms << 64: (b"n", b"1") for ms in (4, 6)},
}


def key_of(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def serving(content: Content) -> Server:
    server = Server()
    for name, entries in content.items():
        for entry in sorted(entries):
            server.add(key_of(name), entry, *entries[entry])
    return server


def pairs_of(items: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    return list(zip(items[::2], items[1::2], strict=True))


def union(content: Content) -> list[Any]:
    """Sort all messages naively; equal IDs in the order of the streams."""
    messages = [
        (entry, name, pairs_of(items))
        for name, entries in content.items()
        for entry, items in entries.items()
    ]
    messages.sort(key=lambda message: message[0])
    return [(name, written(entry), data) for entry, name, data in messages]


def drain(
    simulation: Simulation, how_many: int | None = None
) -> tuple[list[Any], list[ConnectionError]]:
    """Take messages to the end of the iteration, and failures whichever way they come."""
    messages: list[Any] = []
    failures: list[ConnectionError] = []
    while how_many is None or len(messages) < how_many:
        try:
            message = simulation.next()
        except StopIteration:
            break
        except ConnectionError as error:
            failures.append(error)
            continue
        (failures if isinstance(message, ConnectionError) else messages).append(message)
    return messages, failures


def establish(simulation: Simulation) -> Simulation:
    """Make the object, as often as it takes."""
    for _ in range(100):
        try:
            return simulation.establish()
        except ConnectionError:
            continue
    raise AssertionError("it cannot be made")


def beginning(content: Content) -> dict[Any, int]:
    return dict.fromkeys(content, 0)


class TestStillStreams:
    """Streams that nobody writes to: their sorted union, whatever happens on the way."""

    @settings(deadline=None, max_examples=150)
    @given(contents, COUNTS, chunks, st.sampled_from([2, 3]), st.booleans())
    @example({"a": {1 << 64: (b"f", b""), 10 << 64: (b"f", b"")}}, 1, [7], 3, False)
    @example({"a": {1 << 64: (b"f", b""), 2 << 64: (b"f", b"")}}, 1, [11], 2, False)
    def test_messages_are_the_sorted_union(
        self, content: Content, count: int, chunks: list[int], protocol: int, noisy: bool
    ) -> None:
        """Contract 3.1, 3.2, 3.4, 6.3: for every `count`, each exactly once."""
        simulation = Simulation(
            serving(content),
            beginning(content),
            chunks=chunks,
            connection={"protocol": protocol},
            count=count,
            fields=list,
        )
        if noisy:
            simulation.noise = b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n|1\r\n+ttl\r\n:5\r\n"
        messages, failures = drain(simulation.establish())
        assert messages == union(content)
        assert failures == []
        assert simulation.most_held <= 2 * count

    @settings(deadline=None, max_examples=200)
    @given(contents, COUNTS, chunks, cuts, st.sampled_from([2, 3]), st.booleans())
    @example(MISLEADING, 1, [7, 5, 191, 391, 8], [], 2, False)
    @example(TWO_REPLIES_AT_ONCE, 1, [90], [60], 2, False)
    def test_connections_that_break_after_any_byte_change_nothing(
        self,
        content: Content,
        count: int,
        chunks: list[int],
        cuts: list[int | None],
        protocol: int,
        raises: bool,
    ) -> None:
        """Contract 5.2, 5.3, 3.1: it goes on after the last message delivered."""
        simulation = Simulation(
            serving(content),
            beginning(content),
            chunks=chunks,
            cuts=cuts,
            connection={"protocol": protocol},
            count=count,
            block=None,
            fields=list,
            raise_connection_exceptions=raises,
        )
        messages, failures = drain(establish(simulation))
        assert messages == union(content)
        assert len(failures) <= len(cuts)
        assert simulation.most_held <= 2 * count

    @settings(deadline=None, max_examples=150)
    @given(contents, COUNTS, COUNTS, chunks, st.integers(0, 60), st.booleans())
    def test_positions_go_on_exactly_where_it_stopped(
        self,
        content: Content,
        count: int,
        other: int,
        chunks: list[int],
        stop: int,
        text: bool,
    ) -> None:
        """Contract 2.4: `Streams(streams=positions)`: nothing twice, nothing missing."""
        server, kind = serving(content), {"decode_responses": text}
        simulation = Simulation(
            server, beginning(content), chunks=chunks, connection=kind, count=count, fields=list
        )
        first, _ = drain(simulation.establish(), stop)
        positions = simulation.reader.positions
        if text and all(isinstance(name, str) for name in content):
            positions = json.loads(json.dumps(positions))
        again = Simulation(server, positions, connection=kind, count=other, fields=list).establish()
        assert again.reader.positions == positions
        second, _ = drain(again)
        whole = [(name, key_of(entry_id)) for name, entry_id, _ in first + second]
        assert whole == [(name, entry_id) for name, entry_id, _ in union(content)]

    @settings(deadline=None, max_examples=100)
    @given(contents, COUNTS, chunks, st.lists(st.integers(0, 15), max_size=4))
    def test_an_interruption_at_any_point_changes_nothing(
        self, content: Content, count: int, chunks: list[int], steps: list[int]
    ) -> None:
        """Contract 4.4: Ctrl-C at any time, after which the iteration can go on."""
        simulation = Simulation(
            serving(content), beginning(content), chunks=chunks, count=count, fields=list
        ).establish()
        messages: list[Any] = []
        for step in steps:
            messages += drain(simulation, step)[0]
            simulation.interrupt()
        assert messages + drain(simulation)[0] == union(content)

    @settings(deadline=None, max_examples=60)
    @given(contents, COUNTS, chunks, cuts)
    def test_positions_are_those_of_the_last_message_at_every_step(
        self, content: Content, count: int, chunks: list[int], cuts: list[int | None]
    ) -> None:
        """Contract 2.4: *delivered to the caller*, not what was received."""
        simulation = Simulation(
            serving(content),
            beginning(content),
            chunks=chunks,
            cuts=cuts,
            count=count,
            block=None,
            raise_connection_exceptions=False,
        ).establish()
        expected: dict[Any, Any] = dict.fromkeys(content, b"0-0")
        assert simulation.reader.positions == expected
        while True:
            try:
                message = simulation.next()
            except StopIteration:
                break
            if not isinstance(message, ConnectionError):
                expected[message[0]] = message[1]
            assert simulation.reader.positions == expected


steps = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.integers(1, 5)),
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.integers(1, 5)),
    st.tuples(st.just("later"), st.sampled_from(NAMES), st.integers(1, 40)),
    st.tuples(st.just("take"), st.integers(1, 4), st.none()),
    st.tuples(st.just("sleep"), st.integers(1, 50), st.none()),
    st.tuples(st.just("interrupt"), st.none(), st.none()),
    st.tuples(st.just("breaks"), st.none(), st.none()),
    st.tuples(st.just("resume"), COUNTS, st.none()),
)


class Story:
    """Streams that start now, among them one with older entries, and their readers."""

    def __init__(self, server: Server, chunks: list[int], block: int | None, count: int) -> None:
        self.server = server
        self.expected: dict[Any, list[bytes]] = {name: [] for name in NAMES}
        self.delivered: dict[Any, list[bytes]] = {name: [] for name in NAMES}
        self._sizes: dict[Any, int] = dict.fromkeys(NAMES, 0)
        self._chunks = chunks
        self._block = block
        self._write("a")
        self.expected["a"].clear()
        self.most_held = 0
        self._simulation = self._make(NAMES, count)

    def add(self, name: Any, how_many: int) -> None:
        for _ in range(how_many):
            self._write(name)
        if self._simulation.peer is not None:
            self._simulation.peer.work(self._simulation.now)

    def later(self, name: Any, ms: int) -> None:
        self._simulation.at(ms / 1000, lambda: self._write(name))

    def take(self, how_many: int, _: Any = None) -> None:
        for _ in range(how_many):
            # With `block=0` it would wait for ever for what does not come.
            if self._block == 0 and self.delivered == self.expected:
                return
            for name, entry_id, _ in drain(self._simulation, 1)[0]:
                self.delivered[name].append(entry_id)
        self.most_held = max(self.most_held, self._simulation.most_held)

    def sleep(self, ms: int, _: Any = None) -> None:
        self._simulation.sleep(ms / 1000)

    def interrupt(self, *_: Any) -> None:
        self._simulation.interrupt()

    def breaks(self, *_: Any) -> None:
        if self._simulation.peer is not None:
            self._simulation.peer.closes = True

    def resume(self, count: int, _: Any) -> None:
        self._simulation.sleep(0.05)  # until what comes later has come
        self._simulation = self._make(self._simulation.reader.positions, count)

    def _make(self, streams: Any, count: int) -> Simulation:
        simulation = Simulation(
            self.server, streams, chunks=self._chunks, count=count, block=self._block
        )
        return simulation.establish()

    def _write(self, name: Any) -> None:
        self._sizes[name] += 1
        size = self._sizes[name]
        self.expected[name].append(written(self.server.add(key_of(name), (size // 3 << 64) + size)))


class TestStreamsThatAreWritten:
    """Streams that grow: every message of each, in order and exactly once."""

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(steps, max_size=40),
        COUNTS,
        chunks,
        st.sampled_from([None, 0, 3, 20]),
        st.booleans(),
        st.sampled_from([{}, {"takes_plus": False}, {"loses_tail": True}]),
    )
    def test_no_message_is_lost_or_comes_twice(
        self,
        plan: list[tuple[str, Any, Any]],
        count: int,
        chunks: list[int],
        block: int | None,
        one_key: bool,
        kind: dict[str, bool],
    ) -> None:
        """Contract 2.3, 2.4, 3.1: also for streams that start now, over breaks and resumes."""
        story = Story(Server(**kind), chunks, block, count)
        story.server.wakes_with_one_key = one_key
        for step, what, more in plan:
            getattr(story, step)(what, more)
        story.sleep(1000)
        for _ in range(3):  # a break may end one of them
            story.take(500)
        assert story.delivered == story.expected
        assert story.most_held <= 2 * 100

    def test_a_message_is_delivered_as_soon_as_it_arrives(self) -> None:
        """Contract 3.3: no message waits for one that may never come."""
        server = Server()
        simulation = Simulation(server, {"a": 0, "b": 0, "c": 0}).establish()
        simulation.at(0.25, lambda: server.add(b"b", "5-0"))
        assert simulation.next()[:2] == ("b", b"5-0")
        assert simulation.now == pytest.approx(1000.25)

    def test_a_late_message_with_a_smaller_id_is_delivered_on_arrival(self) -> None:
        """Contract 3.3: same millisecond, clock step, explicit ID."""
        server = Server()
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        simulation.at(0.1, lambda: server.add(b"a", "5-0"))
        simulation.at(0.2, lambda: server.add(b"b", "4-0"))
        assert [message[:2] for message in simulation.take(2)] == [("a", b"5-0"), ("b", b"4-0")]

    def test_the_next_read_is_on_its_way_while_the_caller_works(self) -> None:
        """Contract 6.4."""
        server = Server()
        for ms in range(1, 8):
            server.add(b"a", f"{ms}-0")
        simulation = Simulation(server, {"a": 0}, count=3).establish()
        simulation.next()
        assert [read.ids for read in server.reads] == [[b"0-0"], [b"3-0"]]


class TestHold:
    """`hold`: messages are kept back, so that late ones with smaller IDs are sorted in."""

    def test_a_late_message_is_sorted_in(self) -> None:
        """Contract 3.3: `hold=<ms>` keeps each message back for that long."""
        server = Server()
        simulation = Simulation(server, {"a": 0, "b": 0}, hold=300).establish()
        simulation.at(0.1, lambda: server.add(b"a", "5-0"))
        simulation.at(0.3, lambda: server.add(b"b", "4-0"))
        assert [message[:2] for message in simulation.take(2)] == [("b", b"4-0"), ("a", b"5-0")]
        assert simulation.now == pytest.approx(1000.4)

    def test_a_message_later_than_hold_is_delivered_on_arrival(self) -> None:
        """Contract 3.3: for that long, and no longer."""
        server = Server()
        simulation = Simulation(server, {"a": 0, "b": 0}, hold=300).establish()
        simulation.at(0.1, lambda: server.add(b"a", "5-0"))
        simulation.at(0.5, lambda: server.add(b"b", "4-0"))
        assert simulation.next()[:2] == ("a", b"5-0")
        assert simulation.now == pytest.approx(1000.4)
        assert simulation.next()[:2] == ("b", b"4-0")

    def test_the_server_is_not_asked_without_a_pause_while_a_message_is_held(self) -> None:
        """Contract 3.3: with `block=None`, too, waiting for late messages is no hot loop."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, hold=2000, block=None).establish()
        assert simulation.next()[1] == b"1-0"
        assert len(server.reads) < 50

    @settings(deadline=None, max_examples=60)
    @given(contents, COUNTS, st.sampled_from([1, 30, 3000]), st.sampled_from([200, 1000]))
    def test_hold_changes_nothing_for_streams_that_nobody_writes_to(
        self, content: Content, count: int, hold: int, block: int
    ) -> None:
        """Contract 3.2, 3.4: the sorted union, and no more in memory."""
        simulation = Simulation(
            serving(content), beginning(content), count=count, hold=hold, block=block, fields=list
        ).establish()
        assert simulation.rest() == union(content)
        assert simulation.most_held <= 2 * count

    @pytest.mark.parametrize("block", [0, 30_000])
    def test_a_message_waits_for_no_read_that_leaves_streams_out(self, block: int) -> None:
        """Contract 3.3: a stream with COUNT messages held is left out until they are released."""
        server = Server()
        simulation = Simulation(server, {"a": 0, "b": 0, "c": 0}, hold=300, count=1, block=block)
        simulation.establish()
        simulation.at(0.1, lambda: server.add(b"a", "5-0"))
        simulation.at(0.2, lambda: server.add(b"b", "6-0"))
        assert [message[:2] for message in simulation.take(2)] == [("a", b"5-0"), ("b", b"6-0")]
        assert simulation.now <= 1000.55

    def test_held_messages_come_before_a_failure(self) -> None:
        """Contract 5.4: messages already received are delivered before the failure is."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, hold=500).establish()
        simulation.at(0.1, lambda: _break(simulation))
        assert simulation.next()[1] == b"1-0"
        with pytest.raises(ConnectionError):
            simulation.next()

    def test_held_messages_of_a_dropped_stream_are_dropped(self) -> None:
        """Contract 2.5."""
        server = Server()
        server.add(b"a", "1-0")
        server.add(b"b", "2-0")
        simulation = Simulation(server, {"a": 0, "b": 0}, hold=500, block=1).establish()
        simulation.at(0.1, lambda: simulation.discard("a"))
        assert [message[:2] for message in simulation.rest()] == [("b", b"2-0")]


class TestNow:
    """Streams that start now."""

    @pytest.mark.parametrize("kind", [{}, {"takes_plus": False}, {"loses_tail": True}])
    def test_now_is_pinned_when_the_object_is_made(self, kind: dict[str, bool]) -> None:
        """Contract 2.3: not before, and no message added later is missed."""
        server = Server(**kind)
        server.add(b"a", "5-0")
        gone = server.add(b"a", "6-0")
        server.delete(b"a", gone)
        simulation = Simulation(server, ["a", "b"]).establish()
        assert simulation.reader.positions == {"a": b"5-0", "b": b"0-0"} or (
            simulation.reader.positions == {"a": b"6-0", "b": b"0-0"}
        )
        server.add(b"a", "7-0")
        server.add(b"b", "1-0")
        assert [message[:2] for message in simulation.take(2)] == [("b", b"1-0"), ("a", b"7-0")]

    def test_a_dollar_is_never_sent(self) -> None:
        """Contract 2.3: not between two timeouts, not over a reconnect."""
        server = Server()
        server.add(b"a", "5-0")
        simulation = Simulation(server, {"a": "$"}, raise_connection_exceptions=False).establish()
        assert simulation.rest() == []
        assert simulation.peer is not None
        simulation.peer.closes = True
        server.add(b"a", "6-0")
        assert drain(simulation, 1)[0][0][:2] == ("a", b"6-0")
        assert not any(b"$" in command for command in server.log)
        assert [b"+" in read.ids for read in server.reads].count(True) == 1

    @pytest.mark.parametrize("kind", [{}, {"takes_plus": False}, {"loses_tail": True}])
    def test_now_is_asked_for_with_ids_that_servers_understand(self, kind: dict[str, bool]) -> None:
        """Contract 2.3, 6.1: and nothing else is asked, of streams that nothing was read of."""
        server = Server(**kind)
        simulation = Simulation(server, ["a", "b"]).establish()
        for _ in range(2):
            simulation.rest()
            simulation.interrupt()
        ids = [entry_id for read in server.reads for entry_id in read.ids]
        assert [entry_id for entry_id in ids if not is_id(entry_id)] == [b"+", b"+"]
        # A nil is asked for twice if "+" is refused.
        assert len(server.reads) == 4 + ("takes_plus" in kind)

    @pytest.mark.parametrize("count", [1, 2, 5, 20])
    @pytest.mark.parametrize("connections", [1, 2, 3])
    def test_no_more_than_twice_count_is_held(self, count: int, connections: int) -> None:
        """Contract 3.4: whatever connections hold back, and while streams are added."""
        server = Server()
        names = ["a", "b", "c", "d", "e"]
        random = Random(count)
        for ms in range(1, 40 * count):
            server.add(random.choice("aaabbcde").encode(), f"{ms}-0")
        read: dict[str, Any] = {"count": count, "block": None, "connections": connections}
        simulation = Simulation(server, dict.fromkeys(names, 0), **read).establish()
        for taken in range(1, 40 * count):
            simulation.next()
            # Over several connections, reads that are on their way come to what is delivered.
            if taken % (4 * count) == 0 and connections == 1:
                simulation.add({f"x{taken}": 0})
            for name, figures in simulation.reader.stats(simulation.now)["streams"].items():
                ids = server.streams.get(name.encode(), ())
                held = [
                    i for i in ids if number(figures["position"]) < i <= number(figures["last"])
                ]
                assert len(held) <= 2 * count

    def test_nothing_is_missed_over_a_break_before_the_first_message(self) -> None:
        """Contract 2.3: even when none had been seen before the connection broke."""
        server = Server()
        server.add(b"a", "5-0")
        simulation = Simulation(server, ["a"], raise_connection_exceptions=False).establish()
        simulation.interrupt()
        server.add(b"a", "6-0")
        assert simulation.next()[:2] == ("a", b"6-0")

    def test_now_is_the_first_connection_if_there_was_none(self) -> None:
        """Contract 2.3: where the server cannot be reached, and failures are returned."""
        server = Server()
        simulation = Simulation(server, ["a"], raise_connection_exceptions=False)
        simulation.failures.append(ConnectionRefusedError(111, "refused"))
        simulation.establish()
        assert simulation.reader.positions == {"a": None}
        server.add(b"a", "5-0")
        assert isinstance(simulation.next(), ConnectionError)
        simulation.at(1.5, lambda: server.add(b"a", "6-0"))
        assert simulation.next()[:2] == ("a", b"6-0")
        assert simulation.reader.positions == {"a": b"6-0"}

    def test_a_failure_while_it_is_fixed_leaves_it_to_the_next_connection(self) -> None:
        """Contract 2.3."""
        server = Server()
        server.add(b"a", "5-0")
        simulation = Simulation(
            server, ["a"], cuts=[7], raise_connection_exceptions=False
        ).establish()
        assert isinstance(simulation.next(), ConnectionError)
        assert simulation.rest() == []
        assert simulation.reader.positions == {"a": b"5-0"}

    def test_an_interruption_before_it_is_fixed_leaves_it_open(self) -> None:
        """Contract 2.3, 4.4."""
        simulation = Simulation(Server(), ["a"])
        simulation.interrupt()
        assert simulation.reader.positions == {"a": None}
        assert simulation.establish().reader.positions == {"a": b"0-0"}


def waited(simulation: Simulation) -> float:
    """Wait for the end of the iteration; return how long that took, in ms."""
    began = simulation.now
    with pytest.raises(StopIteration):
        simulation.next()
    return (simulation.now - began) * 1000


class TestWaiting:
    """`block`, and what comes after it."""

    @settings(deadline=None, max_examples=100)
    @given(
        st.one_of(st.integers(1, 3000), st.integers(1, 200_000)),
        st.lists(st.one_of(st.just(0.0), st.floats(0, 300)), min_size=1, max_size=4),
    )
    def test_block_counts_from_when_the_caller_began_to_wait(
        self, block: int, thinking: list[float]
    ) -> None:
        """Contract 4.1, 4.3: however long ago the last read was sent; and again each time."""
        simulation = Simulation(Server(), {"a": 0}, block=block).establish()
        for seconds in thinking:
            simulation.sleep(seconds)
            assert block - 0.001 <= waited(simulation) <= block + 1.001

    @settings(deadline=None, max_examples=50)
    @given(st.integers(1, 3000), st.floats(0, 5), st.floats(0, 5))
    def test_a_message_in_between_begins_another_wait(
        self, block: int, arrives: float, thinks: float
    ) -> None:
        """Contract 4.1: after `block` ms *without a message*."""
        server = Server()
        simulation = Simulation(server, {"a": 0}, block=block).establish()
        server.add(b"a", "1-0")
        assert simulation.next()[1] == b"1-0"
        simulation.at(arrives, lambda: server.add(b"a", "2-0"))
        simulation.sleep(thinks)
        began = simulation.now
        messages = simulation.rest()
        arrived = max(1000.0 + arrives, began)
        if messages:
            assert (simulation.now - arrived) * 1000 == pytest.approx(block, abs=1.01)
        else:
            assert (simulation.now - began) * 1000 == pytest.approx(block, abs=1.01)

    def test_a_read_sent_ahead_uses_up_some_of_the_time(self) -> None:
        """Contract 4.1: reads block for what is left of the caller's wait."""
        server = Server()
        for ms in (1, 2):
            server.add(b"a", f"{ms}-0")
        simulation = Simulation(server, {"a": 0}, block=1000, count=2, hold=1).establish()
        simulation.take(2)
        simulation.sleep(0.5)
        assert waited(simulation) == pytest.approx(1000)
        assert [read.block for read in server.reads][-2:] == [1000, 500]

    def test_a_read_after_a_reply_that_was_not_full_is_sent_when_the_caller_asks(self) -> None:
        """Contract 6.4: the messages are delivered first, so the read may block for all of it."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, block=1000).establish()
        simulation.next()
        assert [read.ids for read in server.reads] == [[b"0-0"]]
        simulation.sleep(0.5)
        assert waited(simulation) == pytest.approx(1000)
        assert [read.block for read in server.reads] == [1000, 1000]

    def test_an_old_empty_answer_is_no_timeout(self) -> None:
        """Contract 4.1: a nil that came while the caller worked is no timeout."""
        server = Server()
        server.add(b"a", "0-1")
        simulation = Simulation(server, {"a": 0}, block=1000).establish()
        simulation.next()
        simulation.sleep(60)
        simulation.at(0.9, lambda: server.add(b"a", "1-0"))
        assert simulation.next()[1] == b"1-0"

    def test_none_never_waits(self) -> None:
        """Contract 4.1, 4.2: as soon as a read sent after the caller asked finds none."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, block=None).establish()
        simulation.next()
        for reads in (2, 3, 4):
            simulation.sleep(1)
            assert waited(simulation) == 0
            assert [read.block for read in server.reads] == [None] * reads

    def test_none_asks_once_more_where_the_last_answer_is_from_before(self) -> None:
        """Contract 4.2: a message added since the read ahead is found."""
        server = Server()
        simulation = Simulation(server, {"a": 0}, block=None).establish()
        simulation.sleep(10)
        server.add(b"a", "1-0")
        assert simulation.next()[1] == b"1-0"
        simulation.sleep(10)
        server.add(b"a", "2-0")
        assert simulation.next()[1] == b"2-0"
        simulation.sleep(1)
        assert waited(simulation) == 0

    def test_none_asks_once_more_on_a_clock_that_stands_still(self) -> None:
        """Contract 4.2: some clocks tick every 16 ms, which is time for many messages."""
        server = Server()
        simulation = Simulation(server, {"a": 0}, block=None).establish()
        server.add(b"a", "1-0")
        assert [message[1] for message in simulation.rest()] == [b"1-0"]
        server.add(b"a", "2-0")
        assert [message[1] for message in simulation.rest()] == [b"2-0"]

    def test_zero_waits_for_ever_in_slices(self) -> None:
        """Contract 4.1: as in raw XREAD; 5.5: in bounded slices on the wire."""
        server = Server()
        simulation = Simulation(server, {"a": 0}, block=0).establish()
        simulation.at(36_000, lambda: server.add(b"a", "1-0"))
        assert simulation.next()[1] == b"1-0"
        assert simulation.now == pytest.approx(37_000)
        assert {read.block for read in server.reads} == {20_000}

    def test_a_long_wait_is_cut_in_slices_that_add_up(self) -> None:
        """Contract 5.5: a dead server is noticed within 25 s."""
        server = Server()
        simulation = Simulation(server, {"a": 0}, block=100_000).establish()
        assert waited(simulation) == pytest.approx(100_000)
        assert [read.block for read in server.reads] == [20_000] * 5

    @pytest.mark.parametrize("reply", [None, Bulk([[b"a", []]])])
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_an_answer_before_its_time_is_no_timeout(self, reply: Any, protocol: int) -> None:
        """Contract 4.1: CLIENT UNBLOCK, and streams that come back with no entries at all."""
        server = Server()
        kind = {"protocol": protocol}
        simulation = Simulation(server, {"a": 0}, connection=kind, block=1000).establish()
        for ms in (200, 300, 900):
            simulation.at(ms / 1000, lambda: _unblock(simulation, reply))
        assert waited(simulation) == pytest.approx(1000, abs=1.01)
        blocks = [read.block for read in server.reads]
        # Contract 6.6: each early answer is followed by a pause of 50 ms.
        assert blocks == pytest.approx([1000, 750, 650, 50], abs=1)
        assert {tuple(read.ids) for read in server.reads} == {(b"0-0",)}

    def test_a_stream_with_no_entries_beside_one_that_has_some_moves_nothing(self) -> None:
        """The field notes' `[[s, []]]`: it does not advance, and holds nothing back."""
        server = Server()
        server.refusals.append([[b"a", []], [b"b", [[b"5-0", [b"f", b"v"]]]]])
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        assert simulation.next() == ("b", b"5-0", {b"f": b"v"})
        assert simulation.reader.positions == {"a": b"0-0", "b": b"5-0"}

    def test_the_end_of_the_iteration_is_not_the_end_of_the_object(self) -> None:
        """Contract 4.3: it goes on where it stopped."""
        server = Server()
        simulation = Simulation(server, {"a": 0}).establish()
        for ms in range(1, 4):
            assert waited(simulation) == pytest.approx(1000)
            server.add(b"a", f"{ms}-0")
            assert simulation.next()[1] == b"%d-0" % ms
        assert len(simulation.attempts) == 1

    @pytest.mark.parametrize("block", [None, 1, 1000])
    def test_a_timeout_response_may_be_returned_instead_of_the_end(self, block: int | None) -> None:
        """Contract 4.2: `stop_on_timeout=True` returns `timeout_response` and goes on."""
        server, sign = Server(), object()
        simulation = Simulation(
            server, {"a": 0}, block=block, stop_on_timeout=True, timeout_response=sign
        ).establish()
        for ms in range(1, 4):
            simulation.sleep(0.5)
            began = simulation.now
            assert simulation.next() is sign
            assert (simulation.now - began) * 1000 == pytest.approx(block or 0)
            assert simulation.reader.positions == {"a": b"%d-0" % (ms - 1)}
            simulation.sleep(0.5)
            server.add(b"a", f"{ms}-0")
            assert simulation.next()[1] == b"%d-0" % ms

    def test_the_timeout_response_is_none_unless_it_is_given(self) -> None:
        """Contract 1.2, 4.2."""
        simulation = Simulation(Server(), {"a": 0}, stop_on_timeout=True).establish()
        assert simulation.take(3) == [None, None, None]
        assert simulation.now == pytest.approx(1003)


REFUSED = ConnectionRefusedError(111, "connection refused")


class TestRaisedFailures:
    """`raise_connection_exceptions=True`, the default."""

    def test_a_failure_is_raised_once_and_the_next_call_goes_on(self) -> None:
        """Contract 5.2: after the last message delivered, at once."""
        server = Server()
        for ms in range(1, 6):
            server.add(b"a", f"{ms}-0")
        simulation = Simulation(server, {"a": 0}, count=2).establish()
        assert [message[1] for message in simulation.take(2)] == [b"1-0", b"2-0"]
        assert simulation.peer is not None
        simulation.peer.sent, simulation.peer.closes = b"", True
        with pytest.raises(ConnectionError, match=r"^localhost:6379 closed the connection$"):
            simulation.next()
        began = simulation.now
        assert [message[1] for message in simulation.take(3)] == [b"3-0", b"4-0", b"5-0"]
        assert simulation.now == began
        assert len(simulation.attempts) == 2

    def test_a_constructor_raises_as_well(self) -> None:
        """Contract 5.2: from the constructor too."""
        simulation = Simulation(Server(), {"a": 0})
        simulation.failures.append(REFUSED)
        with pytest.raises(ConnectionError, match=r"^cannot connect to localhost:6379: ") as caught:
            simulation.establish()
        assert isinstance(caught.value, builtins.ConnectionError)
        assert caught.value.__cause__ is REFUSED

    def test_each_failed_attempt_is_a_failure_of_its_own(self) -> None:
        """Contract 5.2: once per failure."""
        simulation = Simulation(Server(), {"a": 0}).establish()
        simulation.interrupt()
        simulation.failures.extend([REFUSED, REFUSED, REFUSED])
        for _ in range(3):
            with pytest.raises(ConnectionError, match="refused"):
                simulation.next()
        assert waited(simulation) == pytest.approx(1000)
        assert len(simulation.attempts) == 5

    @pytest.mark.parametrize("raises", [True, False])
    def test_received_messages_come_before_the_failure(self, raises: bool) -> None:
        """Contract 5.4: messages already received are delivered before the failure is."""
        server = Server()
        for ms in range(1, 4):
            server.add(b"a", f"{ms}-0")
        reply = server.entries(Read([b"XREAD", b"STREAMS", b"a", b"0-0"]))
        simulation = Simulation(
            server, {"a": 0}, cuts=[len(encode(reply, 2))], raise_connection_exceptions=raises
        ).establish()
        assert [message[1] for message in simulation.take(3)] == [b"1-0", b"2-0", b"3-0"]
        if raises:
            with pytest.raises(ConnectionError):
                simulation.next()
        else:
            assert isinstance(simulation.next(), ConnectionError)


class TestReturnedFailures:
    """`raise_connection_exceptions=False`."""

    @pytest.mark.parametrize(("block", "pause"), [(None, 0), (0, 1), (1, 0.001), (2500, 2.5)])
    def test_the_next_try_comes_block_ms_after_the_next_call(
        self, block: int | None, pause: float
    ) -> None:
        """Contract 5.3: 1000 where `block` is 0, not at all where it is `None`."""
        simulation = Simulation(Server(), {"a": 0}, block=block, raise_connection_exceptions=False)
        simulation.failures.extend([REFUSED] * 4)
        simulation.establish()
        for attempt in range(1, 5):
            simulation.sleep(0.7)
            failure = simulation.next()
            assert isinstance(failure, ConnectionError)
            assert "connection refused" in str(failure)
            assert len(simulation.attempts) == attempt
        gaps = [b - a for a, b in zip(simulation.attempts, simulation.attempts[1:], strict=False)]
        assert gaps == pytest.approx([0.7 + 0.7 + pause, 0.7 + pause, 0.7 + pause])

    def test_each_outage_begins_with_the_first_of_the_callers_pauses(self) -> None:
        """Contract 5.3: `retry_delay=` gives another wait, the last one over and over."""
        simulation = Simulation(
            server_with({b"a": [1, 2]}),
            {b"a": 0},
            count=1,
            raise_connection_exceptions=False,
            retry_delay=lambda: iter([100, 400]),
        )
        for entry in (1, 2):
            simulation.failures.extend([REFUSED] * 4)
            simulation.cut()
            items = [simulation.next()]
            while not isinstance(items[-1], tuple):
                items.append(simulation.next())
            assert number(items[-1][1]) == entry
        gaps = [b - a for a, b in zip(simulation.attempts, simulation.attempts[1:], strict=False)]
        assert gaps[:4] == pytest.approx([0.1, 0.4, 0.4, 0.4])
        # Between the outages there was a connection, which broke, and a pause of 100 ms.
        assert gaps[4:] == pytest.approx([0.1, 0.4, 0.4, 0.4, 0.4])

    def test_what_the_callers_pauses_raise_is_raised_and_asked_for_again(self) -> None:
        pauses: list[Any] = [["soon"], [7]]
        simulation = Simulation(
            server_with({b"a": [1]}),
            {b"a": 0},
            raise_connection_exceptions=False,
            retry_delay=lambda: pauses.pop(0),
        )
        simulation.failures.append(REFUSED)
        assert isinstance(simulation.next(), ConnectionError)
        with pytest.raises(TypeError, match=r"^retry_delay\(\) gave 'soon'"):
            simulation.next()
        simulation.interrupt()
        assert simulation.next()[0] == b"a"
        assert simulation.attempts[1] - simulation.attempts[0] == pytest.approx(0.007)

    def test_fifty_readers_of_a_server_that_was_killed_come_back_spread_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Contract 5.3: the times of their tries, after an outage that all see at one moment."""
        monkeypatch.setattr("random.random", Random(5).random)
        server = server_with({b"a": [1]})
        simulations = [
            Simulation(server, {b"a": 0}, block=1000, raise_connection_exceptions=False)
            for _ in range(50)
        ]
        for simulation in simulations:
            assert simulation.next()[0] == b"a"
            simulation.failures.extend([REFUSED] * 3)
            simulation.cut()
            for _ in range(4):
                assert isinstance(simulation.next(), ConnectionError)
        for attempt in range(2, 4):
            times = sorted(simulation.attempts[attempt] for simulation in simulations)
            steps = [b - a for a, b in pairwise(times)]
            # Within half a second, or a second, of each other, and no two at the same moment.
            assert min(steps) > 0
            assert max(steps) < 0.1 * attempt
            assert 0.4 * (attempt - 1) < times[-1] - times[0] < 0.5 * attempt

    def test_the_next_connection_goes_on_after_the_last_message(self) -> None:
        """Contract 5.3: tries again, and goes on."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, raise_connection_exceptions=False).establish()
        assert simulation.next()[1] == b"1-0"
        assert simulation.peer is not None
        simulation.peer.closes = True
        assert isinstance(simulation.next(), ConnectionError)
        server.add(b"a", "2-0")
        began = simulation.now
        assert simulation.next()[1] == b"2-0"
        assert simulation.now - began == pytest.approx(1)

    def test_a_wait_begins_again_with_the_new_connection(self) -> None:
        """Contract 4.2: the time of the pause is not taken off the wait."""
        simulation = Simulation(Server(), {"a": 0}, raise_connection_exceptions=False)
        simulation.failures.append(REFUSED)
        simulation.establish()
        assert isinstance(simulation.next(), ConnectionError)
        assert waited(simulation) == pytest.approx(2000)

    def test_only_the_failure_that_was_returned_delays_the_next_try(self) -> None:
        """Contract 5.3: a later call without a failure before it does not wait."""
        simulation = Simulation(Server(), {"a": 0}, raise_connection_exceptions=False)
        simulation.failures.append(REFUSED)
        simulation.establish()
        simulation.next()
        simulation.rest()
        simulation.interrupt()
        assert waited(simulation) == pytest.approx(1000)


TEMPORARY = ["LOADING wait", "MASTERDOWN no", "CLUSTERDOWN no", "TRYAGAIN no", "BUSY script"]
TEMPORARY += ["UNBLOCKED by CLIENT UNBLOCK", "ERR max number of clients reached"]


class TestKindsOfFailures:
    """Failures of the connection, and their texts."""

    @pytest.mark.parametrize("text", TEMPORARY)
    @pytest.mark.parametrize("start", [0, None])
    def test_a_temporary_refusal_is_a_connection_error(self, text: str, start: int | None) -> None:
        """Contract 5.1: the server's temporary refusals; a retry goes on."""
        server = Server()
        server.refusals.append(f"-{text}")
        simulation = Simulation(server, {"a": start}, raise_connection_exceptions=False).establish()
        failure = simulation.next()
        assert type(failure) is ConnectionError
        assert str(failure) == f"localhost:6379 refused XREAD: {text}"
        simulation.at(1.5, lambda: server.add(b"a", "1-0"))
        assert simulation.next()[1] == b"1-0"
        assert len(simulation.attempts) == 2

    @pytest.mark.parametrize("start", [0, None])
    @pytest.mark.parametrize(
        "raw", [b"hello\r\n", b"*1\r\n*1\r\n:1\r\n", b"$5\r\nabcdefg", b":5\r\n", b"*1\r\n:1\r\n"]
    )
    def test_a_reply_that_is_not_resp_is_a_protocol_error(
        self, raw: bytes, start: int | None
    ) -> None:
        """Contract 5.1, 7: a reply that is not RESP ends in a `ProtocolError`."""
        server = Server()
        server.refusals.append(Raw(raw))
        simulation = Simulation(server, {"a": start}, raise_connection_exceptions=False).establish()
        failure = simulation.next()
        assert type(failure) is ProtocolError
        assert str(failure).startswith("localhost:6379 sent ")
        assert isinstance(failure.__cause__, ValueError)
        server.add(b"a", "1-0")
        assert simulation.rest()[:1] == ([("a", b"1-0", {b"n": b"0"})] if start == 0 else [])

    @pytest.mark.parametrize(
        "entries",
        [
            [[b"1-0", [b"f", b"v"]], [b"0-5", [b"f", b"v"]]],
            [[b"0-0", [b"f", b"v"]]],
        ],
    )
    def test_entries_that_were_not_asked_for_are_a_protocol_error(self, entries: Any) -> None:
        """Contract 3.1: each exactly once and in order, or not at all."""
        server = Server()
        server.refusals.append([[b"a", entries]])
        simulation = Simulation(server, {"a": 0}).establish()
        with pytest.raises(ProtocolError, match=r"expected (one after b'0-0'|the larger ID later)"):
            simulation.next()
        assert simulation.rest() == []

    @pytest.mark.parametrize(("block", "seconds"), [(None, 5), (1000, 6), (0, 25), (60_000, 25)])
    def test_a_peer_that_is_silent_is_found_out(self, block: int | None, seconds: float) -> None:
        """Contract 5.5: `socket_timeout` after a reply was due; with `block=0` within 25 s."""
        simulation = Simulation(Server(), {"a": 0}, block=block).establish()
        simulation.is_deaf = True
        with pytest.raises(TimeoutError, match=r"^no reply from localhost:6379 for ") as caught:
            simulation.next()
        assert isinstance(caught.value, builtins.TimeoutError)
        assert isinstance(caught.value, builtins.ConnectionError)
        assert simulation.now == pytest.approx(1000 + seconds)

    def test_a_peer_that_is_silent_is_found_out_in_the_constructor(self) -> None:
        """Contract 5.5: as well where "now" is asked for."""
        simulation = Simulation(Server(), ["a"], connection={"socket_timeout": 2.0})
        simulation.is_deaf = True
        with pytest.raises(TimeoutError, match=r"for 2\.0 s, expected one within 2 s"):
            simulation.establish()

    def test_time_in_which_the_caller_works_is_no_silence(self) -> None:
        """Contract 5.5: the reply is there, only not read yet."""
        server = Server()
        simulation = Simulation(server, {"a": 0}).establish()
        simulation.sleep(3600)
        assert waited(simulation) == pytest.approx(1000)

    @pytest.mark.parametrize("timeout", [0.05, None])
    def test_a_blocking_read_is_never_cut_short(self, timeout: float | None) -> None:
        """Contract 5.5: `socket_timeout` counts from when the reply is due."""
        simulation = Simulation(
            Server(), {"a": 0}, connection={"socket_timeout": timeout}
        ).establish()
        assert waited(simulation) == pytest.approx(1000)
        assert len(simulation.attempts) == 1

    def test_no_answer_to_a_connect_is_a_timeout(self) -> None:
        """Contract 5.1: no reply in time."""
        simulation = Simulation(Server(), {"a": 0})
        simulation.failures.append(builtins.TimeoutError("no answer within 5 s"))
        with pytest.raises(TimeoutError, match="cannot connect to localhost:6379: no answer"):
            simulation.establish()

    def test_the_cause_of_a_failure_is_chained(self) -> None:
        """Contract 5.1: its text names the address and the cause; the cause is chained."""
        simulation = Simulation(Server(), {"a": 0}, cuts=[0]).establish()
        with pytest.raises(ConnectionError, match="lost the connection to localhost:6379") as e:
            simulation.next()
        assert e.value.__cause__ is simulation.ends
        assert "connection reset by peer" in str(e.value)

    def test_a_failure_within_a_reply_says_so(self) -> None:
        """Its text has what was seen, and what was expected."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, cuts=[20]).establish()
        simulation.ends = None
        with pytest.raises(ConnectionError, match=r"closed the connection after .*expected "):
            simulation.next()
        assert simulation.next()[1] == b"1-0"


def _refuse_bad(pairs: Any) -> Any:
    found = dict(pairs)
    if b"bad" in found:
        raise KeyError("bad")
    return found


class TestEntriesWithoutMessage:
    """Entries that cannot be made into messages."""

    @pytest.mark.parametrize("bad", [{1}, {2}, {3}, {1, 2}, {2, 3}, {1, 3}, {1, 2, 3}])
    @pytest.mark.parametrize("count", [1, 2, 100])
    def test_each_is_raised_in_its_place_and_the_others_are_delivered(
        self, bad: set[int], count: int
    ) -> None:
        """Contract 3.5: for any `count`; and positions follow."""
        server = Server()
        for ms in (1, 2, 3):
            server.add(b"a", f"{ms}-0", b"bad" if ms in bad else b"good", b"v")
        simulation = Simulation(server, {"a": 0}, count=count, fields=_refuse_bad).establish()
        for ms in (1, 2, 3):
            if ms in bad:
                with pytest.raises(MessageError, match=rf"entry {ms}-0 of stream 'a'") as caught:
                    simulation.next()
                assert caught.value.pairs == [(b"bad", b"v")]
                assert isinstance(caught.value.__cause__, KeyError)
            else:
                assert simulation.next() == ("a", b"%d-0" % ms, {b"good": b"v"})
            assert simulation.reader.positions == {"a": b"%d-0" % ms}
        assert simulation.rest() == []

    def test_messages_after_one_wait_for_no_reply(self) -> None:
        """Contract 3.5: they were received already."""
        server = Server()
        server.add(b"a", "1-0", b"bad", b"v")
        server.add(b"a", "2-0", b"good", b"v")
        simulation = Simulation(server, {"a": 0}, fields=_refuse_bad).establish()
        with pytest.raises(MessageError):
            simulation.next()
        simulation.is_deaf = True
        began = simulation.now
        assert simulation.next()[1] == b"2-0"
        assert simulation.now == began

    def test_messages_after_one_are_dropped_with_their_stream(self) -> None:
        """Contract 2.5, 3.5."""
        server = Server()
        server.add(b"a", "1-0", b"bad", b"v")
        server.add(b"b", "2-0", b"good", b"v")
        server.add(b"c", "3-0", b"good", b"v")
        simulation = Simulation(server, {"a": 0, "b": 0, "c": 0}, fields=_refuse_bad).establish()
        with pytest.raises(MessageError):
            simulation.next()
        simulation.discard("b")
        assert [message[:2] for message in simulation.rest()] == [("c", b"3-0")]

    def test_an_interruption_after_one_does_not_repeat_it(self) -> None:
        """Contract 3.5, 4.4: the position is past it."""
        server = Server()
        server.add(b"a", "1-0", b"bad", b"v")
        server.add(b"a", "2-0", b"good", b"v")
        simulation = Simulation(server, {"a": 0}, fields=_refuse_bad).establish()
        with pytest.raises(MessageError):
            simulation.next()
        simulation.interrupt()
        assert [message[1] for message in simulation.rest()] == [b"2-0"]


class TestRefusals:
    """Refusals that a retry cannot repair."""

    @pytest.mark.parametrize("start", [0, None])
    @pytest.mark.parametrize("code", ["WRONGTYPE", "NOPERM"])
    def test_a_refusal_is_raised_and_names_the_stream_at_fault(
        self, code: str, start: int | None
    ) -> None:
        """Contract 5.6: never returned; with `.code`, and the stream's name."""
        server = Server()
        server.at_fault[b"b"] = f"-{code} no"
        simulation = Simulation(
            server, {"a": start, b"b": start}, raise_connection_exceptions=False
        )
        with pytest.raises(ResponseError, match=rf"of stream b'b': {code} no$") as caught:
            simulation.establish().next()
        assert (caught.value.code, caught.value.stream) == (code, b"b")

    def test_the_connection_stays_and_the_rest_can_be_followed(self) -> None:
        """Contract 5.6, 2.5: the stream at fault can be dropped."""
        server = Server()
        server.add(b"a", "1-0")
        server.at_fault[b"b"] = "-WRONGTYPE no"
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        for _ in range(2):
            with pytest.raises(ResponseError) as caught:
                simulation.next()
        assert caught.value.stream == "b"
        simulation.discard("b")
        assert simulation.next()[:2] == ("a", b"1-0")
        assert len(simulation.attempts) == 1

    @pytest.mark.parametrize("protocol", [2, 3])
    @pytest.mark.parametrize("password", [None, SECRET])
    def test_wrong_credentials_are_raised(self, password: str | None, protocol: int) -> None:
        """Contract 5.6: `AuthenticationError`, also where failures are returned."""
        server = Server()
        server.password = b"another"
        kind = {"password": password, "protocol": protocol}
        simulation = Simulation(
            server, {"a": 0}, connection=kind, raise_connection_exceptions=False
        )
        with pytest.raises(AuthenticationError):
            simulation.establish().next()
        server.password = None
        assert simulation.establish().rest() == []

    def test_credentials_that_are_wanted_later_are_raised(self) -> None:
        """Contract 5.6: NOAUTH in reply to an XREAD."""
        server = Server()
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        server.refusals.append("-NOAUTH Authentication required.")
        simulation.sleep(5)
        with pytest.raises(AuthenticationError) as caught:
            simulation.next()
        assert caught.value.stream is None

    @pytest.mark.parametrize(
        "text",
        [
            "ERR unknown command 'XREAD', with args beginning with: 'COUNT' '100'",
            "NOPERM User reader has no permissions to run the 'xread' command",
        ],
    )
    @pytest.mark.parametrize("start", [0, "5-0"])
    def test_a_refusal_of_the_command_itself_is_the_fault_of_none(
        self, text: str, start: Any
    ) -> None:
        """Contract 5.6: the stream's name where *one* stream is at fault."""
        server = Server()
        server.at_fault = dict.fromkeys([b"a", b"b"], f"-{text}")
        simulation = Simulation(server, {"a": start, "b": start}, raise_connection_exceptions=False)
        with pytest.raises(ResponseError) as caught:
            simulation.establish().next()
        assert str(caught.value) == f"localhost:6379 refused XREAD: {text}"
        assert caught.value.stream is None

    def test_an_error_that_no_stream_has_by_itself_is_raised_without_one(self) -> None:
        """Contract 5.6: where one stream is at fault, which is none here."""
        server = Server()
        server.refusals.append("-WRONGTYPE Operation against a key holding the wrong kind of value")
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        with pytest.raises(ResponseError, match="refused XREAD: WRONGTYPE") as caught:
            simulation.next()
        assert (caught.value.code, caught.value.stream) == ("WRONGTYPE", None)
        assert simulation.rest() == []


class TestHello:
    """`protocol=3` on whatever server there is."""

    def test_a_connection_that_is_closed_over_hello_is_made_again_without(self) -> None:
        """Contract 6.2: an error, or a closed connection."""
        server = Server()
        server.password = SECRET.encode()
        server.add(b"a", "1-0")
        kind = {"protocol": 3, "password": SECRET}
        simulation = Simulation(server, {"a": 0}, connection=kind)
        simulation.closes_on = b"HELLO"
        assert simulation.establish().next()[1] == b"1-0"
        assert [command[0] for command in server.log[:2]] == [b"AUTH", b"XREAD"]
        assert len(simulation.attempts) == 2

    def test_hello_is_tried_again_with_the_next_connection(self) -> None:
        """Contract 6.2: the server may have been another one, or about to restart."""
        simulation = Simulation(Server(), {"a": 0}, connection={"protocol": 3})
        simulation.closes_on = b"HELLO"
        simulation.establish()
        simulation.closes_on = None
        simulation.interrupt()
        simulation.rest()
        assert simulation.peer is not None
        assert simulation.peer.resp == 3

    def test_a_server_that_does_not_know_it_is_read_all_the_same(self) -> None:
        """Contract 6.2: falls back to RESP2."""
        server = Server()
        server.unknown.add(b"HELLO")
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, connection={"protocol": 3}).establish()
        assert simulation.next()[1] == b"1-0"
        assert len(simulation.attempts) == 1

    def test_a_server_that_only_closes_is_a_failure_in_the_end(self) -> None:
        """Contract 5.1: closed by the peer."""
        simulation = Simulation(Server(), {"a": None}, cuts=[0, 0], connection={"protocol": 3})
        with pytest.raises(ConnectionError, match="lost the connection"):
            simulation.establish()
        assert len(simulation.attempts) == 2


class TestWhichStreams:
    """`add` and `discard` while iterating."""

    def test_more_streams_are_followed_from_the_moment_of_the_call(self) -> None:
        """Contract 2.5: "now" is the moment of the call."""
        server = Server()
        server.add(b"a", "1-0")
        server.add(b"b", "2-0")
        simulation = Simulation(server, {"a": 0}).establish()
        assert simulation.next()[1] == b"1-0"
        simulation.add(b=None)
        server.add(b"b", "3-0")
        simulation.add(c=0)
        server.add(b"c", "4-0")
        assert [message[:2] for message in simulation.rest()] == [("b", b"3-0"), ("c", b"4-0")]
        assert simulation.reader.positions == {"a": b"1-0", "b": b"3-0", "c": b"4-0"}

    @pytest.mark.parametrize("name", ["a", b"a", "b", b"b"])
    def test_a_stream_is_followed_once(self, name: Any) -> None:
        """Contract 7: a stream given twice, also as `str` and `bytes`; then none is added."""
        simulation = Simulation(Server(), {"a": 0, b"b": 0}).establish()
        with pytest.raises(ValueError, match=rf"^stream {name!r} is given twice, first as "):
            simulation.reader.add({"new": 0, name: 0}, {})
        assert [*simulation.reader.positions] == ["a", b"b"]

    @pytest.mark.parametrize("start", ["abc", 1.5])
    def test_a_start_that_cannot_be_adds_none(self, start: Any) -> None:
        """Contract 7: raised before anything is sent, naming the option that was meant."""
        simulation = Simulation(Server())
        with pytest.raises((ValueError, TypeError), match="was the option 'count' meant"):
            simulation.reader.add(["a"], {"cuont": start})
        assert simulation.reader.positions == {}

    def test_a_discarded_stream_is_dropped_with_its_messages(self) -> None:
        """Contract 2.5: those that were not delivered yet are dropped with them."""
        server = Server()
        for ms in range(1, 5):
            server.add(b"a", f"{ms}-0")
            server.add(b"b", f"{ms}-1")
        simulation = Simulation(server, {"a": 0, b"b": 0}, count=3).establish()
        assert [message[1] for message in simulation.take(3)] == [b"1-0", b"1-1", b"2-0"]
        simulation.discard(b"a", "no such stream")
        assert [message[:2] for message in simulation.rest()] == [
            (b"b", b"2-1"),
            (b"b", b"3-1"),
            (b"b", b"4-1"),
        ]
        assert simulation.reader.positions == {b"b": b"4-1"}

    def test_a_reply_that_is_under_way_does_not_bring_a_stream_back(self) -> None:
        """Contract 2.5: the read was sent before."""
        server = Server()
        server.add(b"a", "1-0")
        server.add(b"b", "2-0")
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        simulation.discard("a")
        assert [message[:2] for message in simulation.rest()] == [("b", b"2-0")]

    def test_a_stream_that_is_added_again_starts_at_its_new_start(self) -> None:
        """Contract 2.5, 2.4: what was delivered of it before is forgotten."""
        server = Server()
        for ms in range(1, 4):
            server.add(b"a", f"{ms}-0")
        simulation = Simulation(server, {"a": 0, "b": 0}).establish()
        simulation.take(2)
        simulation.discard("a")
        simulation.add(a="1-0")
        assert simulation.reader.positions == {"b": b"0-0", "a": b"1-0"}
        assert [message[1] for message in simulation.rest()] == [b"2-0", b"3-0"]

    @settings(deadline=None, max_examples=100)
    @given(contents, COUNTS, st.integers(0, 30), st.permutations(NAMES), st.booleans())
    def test_discarding_at_any_point_leaves_the_others_whole(
        self, content: Content, count: int, stop: int, order: list[Any], breaks: bool
    ) -> None:
        """Contract 2.5, 3.1: also where the connection broke just before."""
        simulation = Simulation(
            serving(content), beginning(content), count=count, fields=list
        ).establish()
        messages, _ = drain(simulation, stop)
        left = list(NAMES)
        for name in order[:2]:
            if breaks and simulation.peer is not None:
                simulation.interrupt() if len(left) == 2 else _break(simulation)
            simulation.discard(name)
            left.remove(name)
            messages += drain(simulation, 2)[0]
        messages += drain(simulation)[0]
        (kept,) = left
        assert [m for m in messages if m[0] == kept] == union({kept: content[kept]})

    def test_the_others_go_on_where_the_one_that_held_them_back_is_discarded(self) -> None:
        """Contract 2.5, 5.2: every stream left has as many messages waiting as may be."""
        simulation = _held_back()
        _break(simulation)
        with pytest.raises(ConnectionError):
            simulation.next()
        simulation.discard("a")
        assert [message[:2] for message in simulation.rest()] == [("b", b"9-0")]

    def test_a_stream_that_was_dropped_and_added_starts_there_after_an_interruption(self) -> None:
        """Contract 2.5, 4.4: no position of before is left."""
        server = Server()
        for ms in (1, 2, 3):
            server.add(b"a", f"{ms}-0")
        simulation = Simulation(server, {"a": 0, "b": 0}, count=1).establish()
        simulation.take(2)
        simulation.discard("a")
        simulation.interrupt()
        simulation.add(a=0)
        simulation.interrupt()
        assert [message[1] for message in simulation.rest()] == [b"1-0", b"2-0", b"3-0"]

    def test_nothing_is_kept_of_streams_that_were_dropped(self) -> None:
        """Contract 2.5: streams may come and go for as long as the connection lasts."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, block=20).establish()
        names: WeakSet[Name] = WeakSet()
        for each in "vwxyz":
            name = Name(each)
            names.add(name)
            simulation.add({name: 0})
            simulation.rest()
            simulation.discard(name)
            del name
        simulation.add(b=0)
        simulation.rest()
        collect()
        assert not names

    def test_without_any_stream_there_is_nothing_to_wait_for(self) -> None:
        """Contract 7: no streams."""
        simulation = Simulation(Server(), {"a": 0}).establish()
        simulation.discard("a")
        with pytest.raises(ValueError, match=r"^no streams left to follow"):
            simulation.next()
        simulation.add(b=0)
        assert simulation.rest() == []

    def test_no_stream_is_an_error_while_a_read_is_on_its_way(self) -> None:
        """Contract 7: its reply may come long after."""
        server = Server()
        server.add(b"a", "1-0")
        simulation = Simulation(server, {"a": 0}, block=0, count=1).establish()
        simulation.next()
        simulation.discard("a")
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^no streams left to follow"):
                simulation.next()

    def test_messages_released_by_a_discard_wait_for_no_reply(self) -> None:
        """Contract 3.3: a message is delivered as soon as it may be."""
        simulation = _held_back()
        simulation.is_deaf = True
        simulation.discard("a")
        began = simulation.now
        assert simulation.next()[:2] == ("b", b"9-0")
        assert simulation.now == began

    def test_the_repr_has_the_streams_and_the_address(self) -> None:
        simulation = Simulation(Server(), ["a", "b"], connection={"password": SECRET})
        assert repr(simulation.reader) == "of 'a', 'b' at localhost:6379"


def _held_back() -> Simulation:
    """Make a reader with a message that another stream holds back."""
    server = Server()
    for ms in (1, 2, 3):
        server.add(b"a", f"{ms}-0")
    server.add(b"b", "9-0")
    simulation = Simulation(server, {"a": 0, "b": 0}, count=1).establish()
    assert simulation.next()[:2] == ("a", b"1-0")
    return simulation


def _unblock(simulation: Simulation, reply: Any) -> None:
    assert simulation.peer is not None
    simulation.peer.unblock(reply)


def _break(simulation: Simulation) -> None:
    """Let the connection be lost with everything on its way."""
    assert simulation.peer is not None
    simulation.peer.sent, simulation.peer.closes = b"", True


def _wrong_password(simulation: Simulation) -> None:
    simulation.server.password = b"another"


def _unknown_auth(simulation: Simulation) -> None:
    simulation.server.unknown |= {b"AUTH", b"HELLO"}


def _unknown_select(simulation: Simulation) -> None:
    simulation.server.unknown |= {b"SELECT"}


def _refused(simulation: Simulation) -> None:
    simulation.failures.append(REFUSED)


def _deaf(simulation: Simulation) -> None:
    simulation.is_deaf = True


def _not_resp(simulation: Simulation) -> None:
    simulation.server.refusals.append(Raw(b"!!\r\n"))


def _wrong_type(simulation: Simulation) -> None:
    simulation.server.at_fault[b"a"] = "-WRONGTYPE no"


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("start", [0, None])
@pytest.mark.parametrize(
    "fault",
    [
        _wrong_password,
        _unknown_auth,
        _unknown_select,
        _refused,
        _deaf,
        _not_resp,
        _wrong_type,
    ],
)
def test_no_failure_betrays_the_password(
    fault: Callable[[Simulation], None], start: int | None, protocol: int
) -> None:
    """Contract 7: passwords are in no `repr`, log line or error text."""
    kind = {"username": "me", "password": SECRET, "protocol": protocol, "db": 1}
    simulation = Simulation(Server(), {"a": start}, connection=kind)
    fault(simulation)
    with pytest.raises(RedisError) as caught:
        simulation.establish().next()
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    (assignment,) = simulation.reader.assignments
    for thing in (simulation.reader, assignment.options, assignment.session, *assignment.streams):
        assert SECRET not in f"{thing} {thing!r}"


def test_ids_are_compared_as_numbers_wherever_positions_are() -> None:
    """Contract 3.2: `1-10` after `1-9`, also between two reads."""
    server = Server()
    for sequence in range(1, 13):
        server.add(b"a", f"1-{sequence}")
    simulation = Simulation(server, {"a": 0}, count=1).establish()
    assert [number(message[1]) - (1 << 64) for message in simulation.rest()] == [*range(1, 13)]
