"""Contract 2.5: streams are added and discarded in every phase of their connections."""

from __future__ import annotations

import sys
from random import Random
from threading import Event, Thread, Timer
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis import Redis, Streams
from tests.answers import (
    Nodes,
    Store,
    collect,
    has_more_within_moments,
    ids,
    number,
    send_plainly,
    slot_of,
)
from tests.peer import Peer, deaf_port
from tests.scripted import at
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answers import Request, Send
    from tests.peer import Conversation

COUNT = 10
FAST: dict[str, Any] = {"count": COUNT, "block": 20, "stop_on_timeout": True}
HELD = {"a": ids(45), "b": ids(33, 1005), "c": ids(12, 1020), "x": ids(3, 1030)}
OVER = pytest.mark.parametrize("connections", [1, 2, 4])


def look_that_each_read_has_streams(store: Store) -> None:
    """Every XREAD names streams, with an ID each."""
    for request in store.requests:
        assert request.keys, request
        assert len(request.keys) == len(request.after), request


class Expected:
    """The messages that must come, of the streams that are followed at the time."""

    def __init__(self, store: Store, *names: str) -> None:
        self._store = store
        self._after = dict.fromkeys(names, 0)

    @property
    def followed(self) -> list[str]:
        return list(self._after)

    def add(self, name: str, after: str) -> None:
        self._after[name] = number(after)

    def discard(self, *names: str) -> None:
        for name in names:
            self._after.pop(name, None)

    def next_of(self, name: str) -> str | None:
        """Return the ID of the next message of a stream."""
        later = (i for i in self._store.ids_of(name) if number(i) > self._after[name])
        return next(later, None)

    def take(self, message: Any) -> None:
        """Look that this is the next message of a stream that is followed."""
        name, entry_id, _ = message
        assert name in self._after, f"{message} is of a stream that was discarded"
        assert entry_id.decode() == self.next_of(name)
        self._after[name] = number(entry_id.decode())

    def look_that_all_came(self, streams: Any) -> None:
        """Read the rest, and look that it is all there is."""
        for message in collect(streams, quiet=3).messages:
            self.take(message)
        assert {name: self.next_of(name) for name in self._after} == dict.fromkeys(self._after)
        assert set(streams.positions) == set(self._after)


# At each message, while reads and speculative reads are on their way.


@OVER
@pytest.mark.parametrize("names", ["a", "b", "x", "ab", "abc", "bx"])
@pytest.mark.parametrize("count", [2, 10])
def test_no_message_of_a_dropped_stream_comes(names: str, count: int, connections: int) -> None:
    """Contract 2.5: at whichever message it is dropped; all the others come."""
    for place in range(0, 60, 7):
        store = Store(HELD)
        options = FAST | {"connections": connections, "count": count}
        with (
            Peer(store) as peer,
            Streams(**at(peer), streams=dict.fromkeys(HELD, 0), **options) as streams,
        ):
            expected = Expected(store, *HELD)
            for message in collect(streams, place).messages:
                expected.take(message)
            streams.discard(*names)
            expected.discard(*names)
            expected.look_that_all_came(streams)
        look_that_each_read_has_streams(store)


@OVER
@pytest.mark.parametrize("start", ["0-0", "1008-0", "1040-0"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_stream_that_is_followed_again_comes_from_its_new_start(
    name: str, start: str, connections: int
) -> None:
    """Contract 2.5: replies to what was asked of it before are not taken for the new ones."""
    for place in range(0, 60, 5):
        store = Store(HELD)
        with (
            Peer(store) as peer,
            Streams(
                **at(peer), streams=dict.fromkeys(HELD, 0), **FAST, connections=connections
            ) as streams,
        ):
            expected = Expected(store, *HELD)
            for message in collect(streams, place).messages:
                expected.take(message)
            streams.discard(name)
            streams.add({name: start})
            expected.add(name, start)
            expected.look_that_all_came(streams)
        look_that_each_read_has_streams(store)


@OVER
def test_all_streams_are_dropped_and_others_are_added(connections: int) -> None:
    """Contract 2.5: without any, there is nothing to wait for; then it goes on."""
    for place in range(0, 60, 5):
        store = Store(HELD)
        with (
            Peer(store) as peer,
            Streams(**at(peer), a=0, b=0, c=0, **FAST, connections=connections) as streams,
        ):
            expected = Expected(store, "a", "b", "c")
            for message in collect(streams, place).messages:
                expected.take(message)
            streams.discard("a", "b", "c")
            expected.discard("a", "b", "c")
            assert streams.positions == {}
            with pytest.raises(ValueError, match="add"):
                next(streams)
            streams.add(x=0, b="1010-0")
            expected.add("x", "0-0")
            expected.add("b", "1010-0")
            expected.look_that_all_came(streams)
        look_that_each_read_has_streams(store)


# While a reply is on its way.


class Held:
    """Holds one answer back until it is let go.

    Args:
        name: The stream whose read, the `at`-th one, is held.
        sends_a_part: Whether most of it is sent before.
    """

    def __init__(self, name: str, at: int, *, sends_a_part: bool = False) -> None:
        self.reached = Event()
        self.go_on = Event()
        self._name = name
        self._left = at
        self._sends_a_part = sends_a_part

    def __call__(
        self, conversation: Conversation, request: Request, answer: Callable[[], bytes]
    ) -> None:
        self._left -= self._name in request.keys
        if self._left or self.reached.is_set():
            conversation.send(answer())
            return
        data = answer()
        head = data[:-3] if self._sends_a_part else b""
        conversation.send(head)
        if self._sends_a_part:
            has_more_within_moments(conversation)
        self.reached.set()
        assert self.go_on.wait(LONG)
        conversation.send(data[len(head) :])


@OVER
@pytest.mark.parametrize("sends_a_part", [True, False])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("names", ["a", "bc", "abcx"])
@pytest.mark.parametrize("adds_again", [True, False])
def test_a_stream_is_dropped_while_a_read_of_it_is_on_its_way(
    names: str, nth: int, sends_a_part: bool, connections: int, adds_again: bool
) -> None:
    """Contract 2.5: by another thread, while one waits for its answer."""
    send = Held("a", nth, sends_a_part=sends_a_part)
    store = Store(HELD, send)
    options = FAST | {"connections": connections, "block": 50, "stop_on_timeout": False}
    with (
        Peer(store) as peer,
        Streams(
            **at(peer),
            streams=dict.fromkeys(HELD, 0),
            raise_connection_exceptions=False,
            **options,
        ) as streams,
    ):
        found: list[Any] = []
        changed = Event()
        reader = Thread(target=read_until, args=(streams, found, changed))
        reader.start()
        try:
            assert send.reached.wait(LONG)
            streams.discard(*names)
            before = len(found)
            if adds_again:
                streams.add(dict.fromkeys(names, AGAIN))
        finally:
            changed.set()
            send.go_on.set()
            reader.join(LONG)
        expected = Expected(store, *HELD)
        for message in found[:before]:
            expected.take(message)
        rest = found[before:]
        # One message may have been on its way to the caller.
        if rest and rest[0][0] in names and rest[0][1].decode() == expected.next_of(rest[0][0]):
            expected.take(rest.pop(0))
        expected.discard(*names)
        for name in names if adds_again else "":
            expected.add(name, AGAIN)
        for message in rest:
            expected.take(message)
        if expected.followed:
            expected.look_that_all_came(streams)
    look_that_each_read_has_streams(store)


# The start of what is followed again: beyond all that can have come by the third read.
AGAIN = "1031-0"


def read_until(streams: Any, found: list[Any], changed: Event) -> None:
    """Collect messages until one comes after the change, or no stream is left."""
    try:
        while not changed.is_set():
            for message in streams:
                found.append(message)
                if changed.is_set():
                    return
    except ValueError:
        return


@OVER
def test_a_late_message_of_a_dropped_stream_is_not_delivered(connections: int) -> None:
    """Contract 2.5: by a blocking read that was on its way when it was dropped."""
    store = Store({})
    options = FAST | {"connections": connections, "block": 100}
    with Peer(store) as peer, Streams(**at(peer), streams=list("abcd"), **options) as streams:
        assert collect(streams, quiet=2).messages == []
        for name, left in (("a", "bcd"), ("b", "cd"), ("d", "c")):
            streams.discard(name)
            store.add(name, "9999999999999-0")
            assert collect(streams, quiet=2).messages == []
            assert "".join(streams.positions) == left
        store.add("c", "9999999999999-0")
        assert collect(streams, 1).ids == {"c": ["9999999999999-0"]}
    look_that_each_read_has_streams(store)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_the_last_stream_of_a_source_is_dropped_with_what_is_on_its_way(
    names: tuple[str, ...],
) -> None:
    """Contract 2.5: the other source goes on, and the first one may get a stream again."""
    one, two = Store({}), Store({})
    with (
        Peer(one) as first,
        Peer(two) as second,
        Streams.from_sources(
            {"one": Redis(**at(first)), "two": Redis(**at(second))},
            list(names),
            block=100,
            stop_on_timeout=True,
        ) as streams,
    ):
        assert collect(streams, quiet=2).messages == []
        streams.discard(*(("one", name) for name in names))
        for name in names:
            one.add(name, "9999999999999-0")
        assert collect(streams, quiet=2).messages == []
        two.add("a", "9999999999999-1")
        assert [m[:2] for m in collect(streams, 1).messages] == [(("two", "a"), b"9999999999999-1")]
        streams.discard("a", "b")
        with pytest.raises(ValueError, match="add"):
            next(streams)
        streams.add(c=0)
        one.add("c", "5-0")
        two.add("c", "6-0")
        found = collect(streams, 2).messages
        assert sorted(m[:2] for m in found) == [(("one", "c"), b"5-0"), (("two", "c"), b"6-0")]
    look_that_each_read_has_streams(one)
    look_that_each_read_has_streams(two)


@pytest.mark.parametrize("is_open", [True, False])
def test_how_the_connection_of_a_dropped_source_ends_is_not_reported(is_open: bool) -> None:
    """Contract 5: nobody waits for anything of it."""
    stores = Store({"a": ["1-0"]}), Store({"b": ["2-0"]})
    with Peer(stores[0]) as here, Peer(stores[1]) as there, deaf_port(full=True) as deaf:
        port = there.port if is_open else deaf
        sources = {"here": Redis(**at(here)), "there": Redis(port=port, socket_timeout=0.3)}
        given: dict[str, Any] = {"here": {"a": 0}, "there": {"b": 0}}
        options = FAST | {"raise_connection_exceptions": False}
        with Streams.from_sources(sources, given, **options) as streams:
            assert len(collect(streams, 1 + is_open).messages) == 1 + is_open
            # By then another attempt is under way where it cannot be opened.
            Timer(0.1, stores[0].add, ("a", "3-0")).start()
            assert collect(streams, 1).failures == []
            streams.discard(("there", "b"))
            there.close()
            assert [next(streams) for _ in range(25)] == [None] * 25


def test_discard_asks_for_nothing_over_several_connections() -> None:
    """Contract 2.5, 5.6: a stream is dropped while one connection lags and holds the others up."""
    discarded = Event()
    held = {
        "a": [f"{ms}-0" for ms in range(1, 9)],
        "b": ["1-1", "100-0", "101-0", "102-0", "103-0"],
        "x": ["1-2", "50-0", "104-0"],
    }

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        data = answer()
        if request.keys == ["x"] and request.after == ["50-0"]:
            # Its reply is late, and holds the messages of the others back.
            discarded.wait(1)
            conversation.pause(0.2)
        if request.keys == ["a"] and store.requests[0] is not request:
            discarded.wait(1)
        conversation.send(data)

    store = Store(held, send)
    with (
        Peer(store) as peer,
        Streams(
            **at(peer), streams=dict.fromkeys(held, 0), count=2, block=300, connections=2
        ) as streams,
    ):
        expected = Expected(store, *held)
        for message in streams:
            expected.take(message)
            if message[:2] == ("a", b"3-0"):
                streams.discard("a")
                expected.discard("a")
                discarded.set()
        expected.look_that_all_came(streams)
    look_that_each_read_has_streams(store)


# While a connection is down, or in a cluster.


@OVER
def test_streams_are_dropped_and_added_while_the_server_is_down(connections: int) -> None:
    """Contract 2.5, 5.3: the next connections read what is followed then."""
    gone = Event()

    def send(conversation: Conversation, _: Request, answer: Callable[[], bytes]) -> None:
        if gone.is_set():
            conversation.reset()
        else:
            conversation.send(answer())

    for place in (0, 5, 21, 40):
        store = Store(HELD, send)
        options = FAST | {"connections": connections, "raise_connection_exceptions": False}
        with (
            Peer(store) as peer,
            Streams(**at(peer), a=0, b=0, c=0, **options) as streams,
        ):
            expected = Expected(store, "a", "b", "c")
            for message in collect(streams, place).messages:
                expected.take(message)
            gone.set()
            while isinstance(item := next(streams), tuple):
                expected.take(item)
            streams.discard("a", "c")
            expected.discard("a", "c")
            if isinstance(item := next(streams), tuple):
                expected.take(item)
            gone.clear()
            streams.add(a="1020-0", x=0)
            expected.add("a", "1020-0")
            expected.add("x", "0-0")
            expected.look_that_all_came(streams)
        look_that_each_read_has_streams(store)


@pytest.mark.parametrize("connections", [1, 2, 8])
@pytest.mark.parametrize("names", [["s0"], ["s0", "s1"], ["s2", "s3"], ["s1", "s2"]])
def test_streams_of_a_cluster_are_dropped_and_added(names: list[str], connections: int) -> None:
    """Contract 2.5: the last ones of a node, of a connection, and those that take turns."""
    home = {"s0": 0, "s1": 0, "s2": 1, "s3": 1}
    assert len({slot_of(name) for name in home}) == len(home)
    held = {name: ids(30 - 5 * n, 1000 + n) for n, name in enumerate(home)}
    for place in range(0, 80, 9):
        with (
            Nodes(held, home, send_plainly) as nodes,
            Streams(
                **nodes.options, streams=dict.fromkeys(home, 0), **FAST, connections=connections
            ) as streams,
        ):
            expected = Expected(nodes.store, *home)
            for message in collect(streams, place).messages:
                expected.take(message)
            streams.discard(*names)
            expected.discard(*names)
            for _ in range(5):
                if isinstance(item := next(streams), tuple):
                    expected.take(item)
            streams.add({names[0]: "1015-0"})
            expected.add(names[0], "1015-0")
            expected.look_that_all_came(streams)
        look_that_each_read_has_streams(nodes.store)


# Any order.

STEPS = st.one_of(
    st.tuples(st.just("next"), st.integers(1, 15)),
    st.tuples(st.just("discard"), st.sets(st.sampled_from("abcx"), min_size=1)),
    st.tuples(st.just("add"), st.tuples(st.sampled_from("abcx"), st.sampled_from([0, 7, 25, 60]))),
    st.tuples(st.just("write"), st.sampled_from("abcx")),
)


def delay_some(seed: int) -> Send:
    """Send answers in two parts now and then, so that the reader may send more meanwhile."""
    random = Random(seed)

    def send(conversation: Conversation, _: Request, answer: Callable[[], bytes]) -> None:
        data = answer()
        if random.random() < 0.3:
            at = random.randrange(len(data))
            conversation.send(data[:at])
            conversation.wait_for_bytes(0.01)
            data = data[at:]
        conversation.send(data)

    return send


@given(
    steps=st.lists(STEPS, min_size=3, max_size=15),
    connections=st.sampled_from([1, 2, 4]),
    count=st.sampled_from([1, 3, 10]),
    seed=st.integers(0, 9),
)
@settings(max_examples=40)
def test_any_order_of_adding_discarding_and_reading(
    steps: list[tuple[str, Any]], connections: int, count: int, seed: int
) -> None:
    """Contract 2.5, 3.1: each stream comes from its start, once, for as long as it is followed."""
    store = Store(HELD, delay_some(seed))
    options = FAST | {"connections": connections, "count": count, "block": 10}
    with (
        Peer(store) as peer,
        Streams(**at(peer), a=0, b=0, raise_connection_exceptions=False, **options) as streams,
    ):
        expected = Expected(store, "a", "b")
        written = 2000
        for step, value in steps:
            if step == "next" and expected.followed:
                for _ in range(value):
                    if isinstance(message := next(streams), tuple):
                        expected.take(message)
            elif step == "discard":
                streams.discard(*value)
                expected.discard(*value)
            elif step == "add" and value[0] not in expected.followed:
                name, after = value[0], f"{1000 + value[1]}-0"
                streams.add({name: after})
                expected.add(name, after)
            elif step == "write":
                written += 1
                store.add(value, f"{written}-0")
        if expected.followed:
            expected.look_that_all_came(streams)
    look_that_each_read_has_streams(store)


@pytest.mark.parametrize("seed", range(4))
@OVER
def test_another_thread_adds_and_discards_while_one_reads(seed: int, connections: int) -> None:
    """Contract 2.5: the streams that it leaves alone come whole and in order."""
    random = Random(seed)
    store = Store({"a": ids(200), "b": ids(200), **{f"t{n}": ids(50) for n in range(4)}})
    options: dict[str, Any] = {"count": 10, "block": 0, "connections": connections}
    found: list[Any] = []
    with Peer(store) as peer, Streams(**at(peer), a=0, b=0, **options) as streams:

        def read() -> None:
            last = {("a", b"9998-0"), ("b", b"9999-0")}
            for message in streams:
                found.append(message)
                last.discard(message[:2])
                if not last:
                    return

        reader = Thread(target=read)
        reader.start()
        followed: set[str] = set()
        for _ in range(30):
            name = f"t{random.randrange(4)}"
            if name in followed:
                streams.discard(name)
            else:
                streams.add({name: random.choice([0, "1020-0", "$"])})
            followed ^= {name}
        store.add("a", "9998-0")
        store.add("b", "9999-0")
        reader.join(LONG)
        assert not reader.is_alive()
    for name, last in (("a", "9998-0"), ("b", "9999-0")):
        assert [i.decode() for own, i, _ in found if own == name] == [*ids(200), last]
    look_that_each_read_has_streams(store)


# By another thread, at whatever moment of the iterating one.


@pytest.mark.blocking
def test_what_another_thread_leaves_of_a_batch_is_delivered() -> None:
    """Contract 2.5, 3.1: streams are dropped amid a batch, by another thread."""
    dropped = [f"x{n}" for n in range(40)]
    store = Store({"s": ids(10_000), **{name: ids(1) for name in dropped}})

    def drop(streams: Streams[Any]) -> None:
        for name in dropped:
            sleep(0.0001)
            streams.discard(name)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(6):
            with (
                Peer(store) as peer,
                Streams(
                    **at(peer), streams=dict.fromkeys(["s", *dropped], 0), block=200, count=10_000
                ) as streams,
            ):
                next(streams)
                thread = Thread(target=drop, args=(streams,))
                thread.start()
                found = [index.decode() for name, index, _ in streams if name == "s"]
                thread.join(LONG)
            assert found == ids(10_000)[len(ids(10_000)) - len(found) :]
            assert len(found) >= len(ids(10_000)) - 1
    finally:
        sys.setswitchinterval(interval)


# While another thread waits, however long a change takes.


@pytest.mark.blocking
@pytest.mark.parametrize("connections", [None, 4])
def test_others_go_on_while_a_stream_is_added(connections: int | None) -> None:
    """Contract 2.5, 4.1: "now" of the new stream takes its time."""
    may_answer = Event()

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        if "new" in request.keys and not may_answer.is_set():
            may_answer.wait(LONG)
        conversation.send(answer())

    store = Store({"s": []}, send)
    with (
        Peer(store) as peer,
        Streams(**at(peer), s=0, block=0, connections=connections) as streams,
    ):
        found: list[Any] = []
        reading = Thread(target=lambda: found.append(next(streams)))
        reading.start()
        wait_until(lambda: any(request.block for request in store.requests))
        adding = Thread(target=streams.add, args=("new",))
        adding.start()
        wait_until(lambda: any("new" in request.keys for request in store.requests))
        store.add("s", "1-0")
        reading.join(LONG)
        assert [message[:2] for message in found] == [("s", b"1-0")]
        assert adding.is_alive()
        may_answer.set()
        adding.join(LONG)
        store.add("new", "2-0")
        assert next(streams)[:2] == ("new", b"2-0")
