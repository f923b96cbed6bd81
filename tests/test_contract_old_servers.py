"""Contract 2.2, 2.3: starts on servers that reckon "after <ms>-18446744073709551615" wrongly.

Redis before 5.0.8 adds one to the sequence alone, so that it wraps around: "from <ms>-0 on".
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import Redis, Streams
from tests.answers import Nodes, Store, collect, positions_of
from tests.peer import Peer
from tests.scripted import at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answers import Request
    from tests.peer import Conversation

MS = 1530403200000
STARTS: list[Any] = [
    MS,
    str(MS),
    b"1530403200000",
    datetime.fromisoformat("2018-07-01T00:00:00+00:00"),
]
TOP = "-18446744073709551615"
FAST: dict[str, Any] = {
    "block": 20,
    "stop_on_timeout": True,
    "raise_connection_exceptions": False,
}
BEFORE = [f"{MS - 2}-0", f"{MS - 1}-0", f"{MS - 1}-1", f"{MS - 1}-7"]
AFTER = [f"{MS}-0", f"{MS}-1", f"{MS + 5}-0", f"{MS + 5}-1", f"{MS + 6}-0"]


class Old(Store):
    """A store that does so.

    Attributes:
        wrapped: How often it has done so.
    """

    wrapped = 0

    def answer(self, conversation: Conversation, request: Request) -> bytes:
        after = [self._wrap(entry_id) for entry_id in request.after]
        return super().answer(conversation, request._replace(after=after))

    def _wrap(self, entry_id: str) -> str:
        if not entry_id.endswith(TOP):
            return entry_id
        self.wrapped += 1
        # "From 5-0 on" is after the last ID that there can be before it.
        return f"{int(entry_id.removesuffix(TOP)) - 1}{TOP}"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("start", STARTS, ids=lambda start: type(start).__name__)
def test_entries_before_the_start_are_passed_over(start: Any, count: int) -> None:
    """Contract 2.2: also where they fill the first replies; without a failure."""
    store = Old({"s": BEFORE + AFTER, "t": [BEFORE[2], AFTER[1]], "u": BEFORE, "v": AFTER})
    with (
        Peer(store) as peer,
        Streams(**at(peer), streams=dict.fromkeys("stuv", start), **FAST, count=count) as streams,
    ):
        found = collect(streams, 11)
        assert found.failures == []
        assert found.ids == {"s": AFTER, "t": AFTER[1:2], "v": AFTER}
        assert collect(streams).messages == []
        assert peer.connections == 1
        store.add("u", AFTER[3])
        assert collect(streams, 1).ids == {"u": AFTER[3:4]}


@pytest.mark.parametrize("after_some", [0, 1, 3])
def test_entries_before_the_start_are_passed_over_on_later_connections(
    after_some: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 2.2, 5.2: a stream of which nothing has come yet is asked for as at first."""

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        conversation.send(answer())
        if conversation.number == 0 and request.number > after_some:
            conversation.close()

    store = Old({"s": BEFORE + AFTER, "t": BEFORE}, send)
    with Peer(store) as peer, Streams(**at(peer), s=MS, t=MS, **FAST, count=2) as streams:
        assert collect(streams, 5).ids == {"s": AFTER}
        store.add("t", AFTER[0])
        assert collect(streams, 1).ids == {"t": AFTER[:1]}
        assert collect(streams).messages == []
    # What a look back finds there says nothing about entries that were trimmed.
    texts = [record.getMessage() for record in caplog.records]
    assert [text for text in texts if text.startswith("stream ")] == []


@pytest.mark.parametrize("connections", [1, 2])
def test_entries_before_the_start_are_passed_over_by_each_connection(connections: int) -> None:
    """Contract 2.2: several connections, and a stream that is added."""
    store = Old({"s": BEFORE + AFTER, "t": BEFORE + AFTER, "u": BEFORE + AFTER})
    with (
        Peer(store) as peer,
        Streams(**at(peer), s=MS, t=MS, **FAST, connections=connections) as streams,
    ):
        found = collect(streams, 10)
        streams.add(u=MS)
        more = collect(streams, 5)
        assert collect(streams).messages == []
    assert found.ids == {"s": AFTER, "t": AFTER}
    assert more.ids == {"u": AFTER}
    assert found.failures == more.failures == []


def test_entries_before_the_start_are_passed_over_by_each_source_and_node() -> None:
    """Contract 2.2: several sources, and a cluster."""
    one, two = Old({"s": BEFORE + AFTER}), Store({"s": BEFORE + AFTER})
    with (
        Peer(one) as first,
        Peer(two) as second,
        Streams.from_sources(
            {"one": Redis(**at(first)), "two": Redis(**at(second))}, {"s": MS}, **FAST
        ) as streams,
    ):
        found = collect(streams, 10)
        assert found.ids == {("one", "s"): AFTER, ("two", "s"): AFTER}
        assert found.failures == []


@pytest.mark.parametrize("connections", [1, 8])
def test_entries_before_the_start_are_passed_over_by_the_nodes_of_a_cluster(
    connections: int,
) -> None:
    """Contract 2.2: also where streams take turns on a connection."""
    held = dict.fromkeys(("s0", "s1", "s2"), BEFORE + AFTER)

    def send(conversation: Conversation, request: Request, _: Callable[[], bytes]) -> None:
        conversation.send(old.answer(conversation, request))

    old = Old(held)
    with (
        Nodes(held, {"s0": 0, "s1": 0, "s2": 1}, send) as nodes,
        Streams(
            **nodes.options, streams=dict.fromkeys(held, MS), **FAST, connections=connections
        ) as streams,
    ):
        found = collect(streams, 15)
        assert collect(streams).messages == []
    assert found.ids == dict.fromkeys(held, AFTER)
    assert found.failures == []


# Now.


HISTORIES = [
    [],
    ["1-0"],
    [f"{MS}-0"],
    [f"{MS}-{sequence}" for sequence in range(5)],
    BEFORE + AFTER,
    [f"{ms}-{ms % 3}" for ms in range(1, 200, 7)],
    [f"{MS}{TOP}"],
    ["1-0", f"{MS - 1}{TOP}", f"{MS}-0"],
]


@pytest.mark.parametrize("knows_plus", [True, False])
@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: f"{len(history)} entries")
def test_now_is_found_by_bisecting(history: list[str], knows_plus: bool) -> None:
    """Contract 2.3: after the last entry that is there, wherever the probes wrap around."""
    store = Old({"s": history, "t": BEFORE}, knows_plus=knows_plus)
    with Peer(store) as peer, Streams(**at(peer), s=None, t="$", **FAST) as streams:
        expected = {"s": history[-1] if history else "0-0", "t": BEFORE[-1]}
        assert positions_of(streams) == expected
        assert collect(streams).messages == []
        store.add("s", f"{MS + 100}-0")
        store.add("t", f"{MS + 100}-1")
        assert collect(streams, 2).ids == {"s": [f"{MS + 100}-0"], "t": [f"{MS + 100}-1"]}
        assert collect(streams).failures == []


def test_reading_on_from_positions_asks_for_what_was_left() -> None:
    """Contract 2.4: those of a stream of which nothing has come, those of its last message."""
    store = Old({"s": BEFORE + AFTER, "t": BEFORE, "u": [f"{MS - 1}{TOP}", *AFTER]})
    with Peer(store) as peer:
        with Streams(**at(peer), s=MS, t=MS, u=MS, **FAST) as streams:
            first = collect(streams, 4)
            positions = streams.positions
        store.add("t", AFTER[2])
        with Streams(**at(peer), streams=positions, **FAST) as streams:
            second = collect(streams, 7)
            assert collect(streams).messages == []
    assert first.failures == second.failures == []
    merged = {name: first.ids.get(name, []) + second.ids.get(name, []) for name in ("s", "t", "u")}
    assert merged == {"s": AFTER, "t": AFTER[2:3], "u": AFTER}


@pytest.mark.parametrize("sequence", [TOP, "-18446744073709551614"])
def test_reading_on_after_the_last_id_of_a_millisecond(sequence: str) -> None:
    """Contract 2.2: it is an ID as any other, given by the caller or come by a message."""
    last = f"{MS - 1}{sequence}"
    store = Old({"s": [*BEFORE, last, *AFTER]})
    with Peer(store) as peer:
        with Streams(**at(peer), s=last, **FAST) as streams:
            assert collect(streams, 5).ids == {"s": AFTER}
            assert collect(streams).messages == []
        with Streams(**at(peer), s=0, **FAST, count=5) as streams:
            found = collect(streams, 10)
            assert found.ids == {"s": [*BEFORE, last, *AFTER]}
            assert found.failures == []
