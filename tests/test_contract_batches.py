"""Contract 2.6: `batches(n)`, lists of what is there now."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis
from pystreamredis import ConnectionError, MessageError, Redis, Streams
from tests.answers import Store, ids, number
from tests.live import LiveServer
from tests.peer import Peer
from tests.pythons import interrupts_between_lines
from tests.scripted import at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from tests.answers import Request
    from tests.peer import Conversation

# Files that deliver messages and make no socket: an interruption there leaves none open.
PLACES = tuple(str(Path(pystreamredis.__file__).parent / name) for name in ("streams.py", "core"))
LENGTH = 60
# Histories of unequal length, with IDs that interleave, and some that are equal.
HISTORIES = {
    "s": ids(LENGTH, 1001),
    "t": ids(LENGTH // 2, 1020),
    "u": [f"{1001 + i // 9}-{i % 9 + 1}" for i in range(LENGTH)],
}
SIZES = pytest.mark.parametrize("n", [1, 2, 7, 10_000])


def ids_of(messages: Iterable[Any]) -> list[str]:
    return [message[1].decode() for message in messages]


def joined(batches: Iterable[list[Any]]) -> list[Any]:
    return [message for batch in batches for message in batch]


@SIZES
@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_batches_hold_what_the_iterator_delivers_in_its_order(n: int, count: int) -> None:
    """Contract 2.6, 3.2: and each has 1 to n messages."""
    with Peer(Store(HISTORIES)) as peer:
        options: dict[str, Any] = {
            **at(peer),
            "count": count,
            "block": None,
            "streams": dict.fromkeys("stu", 0),
        }
        with Streams(**options) as streams:
            expected = list(streams)
        with Streams(**options) as streams:
            found = list(streams.batches(n))
    assert joined(found) == expected
    assert len(expected) == sum(map(len, HISTORIES.values()))
    assert all(1 <= len(batch) <= n for batch in found)


def test_a_batch_has_all_that_is_there_now() -> None:
    with Peer(Store({"s": ids(10)})) as peer, Streams(**at(peer), s=0, block=None) as streams:
        assert [len(batch) for batch in streams.batches(4)] == [4, 4, 2]


@SIZES
def test_positions_are_those_at_the_end_of_a_batch(n: int) -> None:
    """Contract 2.6, 2.4: and another reader goes on exactly there."""
    with Peer(Store(HISTORIES)) as peer:
        options: dict[str, Any] = {**at(peer), "count": 5, "block": None}
        with Streams(**options, streams=dict.fromkeys("stu", 0)) as streams:
            expected = list(streams)
        found: list[Any] = []
        positions: dict[str, Any] = dict.fromkeys("stu", 0)
        while len(found) < len(expected):
            with Streams(**options, streams=positions) as streams:
                batch = next(streams.batches(n))
                ends = {name: entry_id for name, entry_id, _ in batch}
                positions = streams.positions
                assert ends.items() <= positions.items()
            found += batch
    assert found == expected


def test_batches_and_single_messages_share_one_place() -> None:
    with Peer(Store({"s": ids(20)})) as peer, Streams(**at(peer), s=0, block=None) as streams:
        one, other = streams.batches(3), streams.batches(5)
        found = [next(streams), *next(one), next(streams), *next(other), *next(one)]
        found += streams
        assert ids_of(found) == ids(20)
        assert next(one, "end") == "end"


@pytest.mark.parametrize("block", [20, None])
def test_a_timeout_ends_the_iteration_and_a_later_one_goes_on(block: int | None) -> None:
    """Contract 4.2, 4.3: also the same iterator."""
    store = Store({"s": ids(3)})
    with Peer(store) as peer, Streams(**at(peer), s=0, block=block) as streams:
        batches = streams.batches(10)
        assert ids_of(joined(batches)) == ids(3)
        assert list(batches) == []
        store.add("s", "5000-0")
        assert ids_of(joined(batches)) == ["5000-0"]


@pytest.mark.parametrize("response", [None, "nothing", ConnectionError("a response")])
def test_an_empty_list_stands_for_a_timeout_that_goes_on(response: Any) -> None:
    """Contract 2.6."""
    store = Store({"s": ids(3)})
    options: dict[str, Any] = {"block": 20, "stop_on_timeout": True, "timeout_response": response}
    with Peer(store) as peer, Streams(**at(peer), s=0, **options) as streams:
        batches = streams.batches(10)
        assert ids_of(next(batches)) == ids(3)
        assert next(batches) == []
        assert next(streams) is response
        empty: list[Any] = next(batches)
        empty.append("a list of the caller's own")
        assert next(batches) == []
        store.add("s", "5000-0")
        assert ids_of(next(batches)) == ["5000-0"]


def closed_once(stream: str, before: list[str], after: list[str]) -> Store:
    """Make a store that breaks off its second answer, and has more entries from then on."""

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        if request.number != 2:
            conversation.send(answer())
            return
        for entry_id in after:
            store.add(stream, entry_id)
        conversation.close()

    store = Store({stream: before}, send)
    return store


def test_a_failure_is_raised_and_the_same_iterator_goes_on() -> None:
    """Contract 5.2, 5.4: messages that were received come before it."""
    store = closed_once("s", ids(4), ids(8)[4:])
    with Peer(store) as peer, Streams(**at(peer), s=0, block=1000) as streams:
        batches = streams.batches(3)
        assert [len(next(batches)), len(next(batches))] == [3, 1]
        with pytest.raises(ConnectionError):
            next(batches)
        assert ids_of(next(batches)) == ids(8)[4:7]
        assert ids_of(next(batches)) == ids(8)[7:]


def test_a_failure_that_is_returned_comes_instead_of_a_list() -> None:
    """Contract 5.3."""
    store = closed_once("s", ids(4), ids(5)[4:])
    options: dict[str, Any] = {"block": None, "raise_connection_exceptions": False, "s": 0}
    with Peer(store) as peer, Redis(**at(peer)).streams(**options) as streams:
        batches = streams.batches(10)
        assert ids_of(next(batches)) == ids(4)
        assert isinstance(next(batches), ConnectionError)
        assert ids_of(next(batches)) == ids(5)[4:]


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_message_error_comes_after_the_messages_before_it(count: int) -> None:
    """Contract 2.6, 3.5: which are a batch of their own; the iteration goes on after it."""

    def numbers(pairs: Iterable[tuple[bytes, bytes]]) -> list[int]:
        return [int(value) for _, value in pairs]

    values = [b"1", b"2", b"bad", b"4", b"5"]
    history = [(f"{at}-0", [b"n", value]) for at, value in enumerate(values, 1)]
    options: dict[str, Any] = {"block": None, "count": count, "fields": numbers}
    with Peer(Store({"s": history})) as peer, Streams(**at(peer), s=0, **options) as streams:
        batches = streams.batches(10)
        before: list[Any] = []
        while len(before) < 2:
            before += next(batches)
        assert ids_of(before) == ["1-0", "2-0"]
        with pytest.raises(MessageError) as caught:
            next(batches)
        assert caught.value.id == b"3-0"
        assert ids_of(joined(batches)) == ["4-0", "5-0"]


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError), ("1", TypeError)],
)
def test_a_size_that_is_none_is_refused(n: Any, error: type[Exception]) -> None:
    """Contract 7."""
    with (
        Peer(Store({"s": ids(1)})) as peer,
        Streams(**at(peer), s=0, block=None) as streams,
        pytest.raises(error, match=rf"^n is {n!r}, but must be "),
    ):
        streams.batches(n)


def test_a_closed_one_is_at_its_end() -> None:
    """Contract 4.4: at once, though messages were there."""
    with Peer(Store({"s": ids(9)})) as peer:
        streams = Streams(**at(peer), s=0, block=None)
        batches = streams.batches(2)
        assert ids_of(next(batches)) == ids(2)
        streams.close()
        assert list(batches) == []
        assert streams.positions == {"s": ids(2)[-1].encode()}


def test_a_close_ends_a_wait() -> None:
    """Contract 4.4: from another thread."""
    with Peer(LiveServer(s=["1-0"])) as peer:
        streams = Streams(**at(peer), s=0, block=0)
        batches = streams.batches(2)
        assert ids_of(next(batches)) == ["1-0"]
        closer = Thread(target=streams.close)
        closer.start()
        assert list(batches) == []
        closer.join()


def test_dropped_streams_are_in_no_later_batch() -> None:
    """Contract 2.5."""
    options: dict[str, Any] = {"block": None, "streams": dict.fromkeys("stu", 0)}
    with Peer(Store(HISTORIES)) as peer, Streams(**at(peer), **options) as streams:
        batches = streams.batches(10)
        first = next(batches)
        streams.discard("u")
        rest = joined(batches)
    expected = [(number(i), name) for name in "st" for i in HISTORIES[name]]
    found = [(number(m[1].decode()), m[0]) for m in first + rest if m[0] != "u"]
    assert found == sorted(expected)
    assert not [message for message in rest if message[0] == "u"]


class Interrupted(BaseException):
    """Raised by a signal handler."""


@pytest.mark.blocking
@interrupts_between_lines
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
@pytest.mark.parametrize("n", [1, 7, 100])
def test_an_interruption_loses_no_message(n: int) -> None:
    """Contract 2.6, 4.4."""
    assert current_thread() is main_thread()

    def interrupt(_: int, frame: FrameType | None) -> None:
        # Elsewhere it would come between a batch and the test that keeps it.
        if frame is not None and frame.f_code.co_filename.startswith(PLACES):
            raise Interrupted

    history = ids(1000)
    interruptions = 0
    found: list[str] = []
    options: dict[str, Any] = {"block": None, "count": 50}
    with Peer(Store({"s": history})) as peer, Streams(**at(peer), s=0, **options) as streams:
        batches = streams.batches(n)
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
        try:
            while len(found) < len(history):
                # After so many it has to come to an end.
                if interruptions == 200:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                try:
                    batch = next(batches)
                except Interrupted:
                    interruptions += 1
                else:
                    found += ids_of(batch)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert found == history
