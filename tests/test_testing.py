"""`pystreamredis.testing`: a stand-in that waits, fails and resumes as `Streams` does.

The contract's tests of waiting that need no server run over it, by `for` and by `async for`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis
from pystreamredis import AuthenticationError, ConnectionError, Last
from pystreamredis.testing import TIMEOUT, Recorded
from tests import test_contract_waiting as contract
from tests.shells import AsyncStreams, wait_for
from tests.test_contract_waiting import (  # noqa: F401  # run over the stand-in
    test_a_for_that_closes_ends_after_that_message,
    test_a_for_that_was_left_can_be_entered_again,
    test_a_message_ends_the_wait,
    test_a_timeout_ends_the_iteration_unless_told_otherwise,
    test_a_timeout_is_handed_over_if_it_is_to_stop_nothing,
    test_a_timeout_response_may_be_any_object,
    test_after_a_timeout_next_and_for_go_on_where_it_stopped,
    test_after_close_iteration_stops_at_once_with_messages_in_hand,
    test_after_close_there_is_no_timeout_response,
    test_an_iterator_that_has_ended_is_replaced_by_a_new_one,
    test_block_0_waits_for_ever,
    test_block_counts_from_the_last_message,
    test_block_counts_from_when_the_caller_began_to_wait,
    test_close_at_any_moment_of_a_busy_iteration_ends_it,
    test_close_from_another_thread_ends_a_wait,
    test_two_iterators_of_one_object_share_its_messages,
    test_without_block_what_is_there_at_the_call_is_found,
)

if TYPE_CHECKING:
    from collections.abc import Callable

A1 = ("a", b"1-0", {b"n": b"1"})
B1 = ("b", b"1-1", {b"n": b"2"})
A2 = ("a", b"2-0", {b"n": b"3"})
FAILURE = ConnectionError("the server went down")


class Server:
    """Records what is added to it with all that follow."""

    host, port = "localhost", 6379

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.followers: list[Recorded] = []

    def command(self, name: str, stream: str, entry_id: str, *fields: str) -> None:
        assert name == "XADD"
        self.messages.append((stream, entry_id.encode(), {b"f": b"v"}))
        for follower in self.followers:
            follower.record(self.messages[-1])


class AsyncRecorded(AsyncStreams):
    """Looks like `Recorded` and awaits one, on the event loop of the tests."""

    def __init__(self, inner: Recorded) -> None:
        self._inner = inner

    def add(self, /, *args: Any, **options: Any) -> None:
        async def add() -> None:
            await self._inner.add(*args, **options)

        wait_for(add())


@pytest.fixture
def recorder() -> Server:
    return Server()


@pytest.fixture
def embedded(recorder: Server) -> Server:
    return recorder


@pytest.fixture(params=["for", "async for"], autouse=True)
def take(
    request: pytest.FixtureRequest, recorder: Server, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Recorded], Any]:
    """Return the function that makes of a stand-in an iterator of its messages."""

    def make(recorded: Recorded) -> Any:
        return recorded if request.param == "for" else AsyncRecorded(recorded)

    def follow(host: str, port: int, *args: Any, count: int = 100, **options: Any) -> Any:
        recorded = Recorded(recorder.messages, *args, **options)
        recorder.followers.append(recorded)
        return make(recorded)

    monkeypatch.setattr(contract, "Streams", follow)
    return make


def test_messages_come_as_they_were_recorded(take: Callable[[Recorded], Any]) -> None:
    streams = Recorded([A1, B1, A2])
    assert streams.positions == {"a": b"0-0", "b": b"0-0"}
    assert not streams.caught_up
    taken = take(streams)
    assert next(taken) is A1
    assert streams.positions == {"a": b"1-0", "b": b"0-0"}
    assert list(taken) == [B1, A2]
    assert streams.caught_up
    assert streams.positions == {"a": b"2-0", "b": b"1-1"}


def test_timeouts_come_where_they_were_recorded(take: Callable[[Recorded], Any]) -> None:
    taken = take(Recorded([A1, TIMEOUT, A2]))
    assert [list(taken), list(taken)] == [[A1], [A2]]
    taken = take(Recorded([A1, TIMEOUT, A2], stop_on_timeout=True, timeout_response="quiet"))
    assert [next(taken) for _ in range(4)] == [A1, "quiet", A2, "quiet"]


def test_failures_are_raised_once(take: Callable[[Recorded], Any]) -> None:
    """Contract 5.2."""
    taken = take(Recorded([A1, FAILURE, A2]))
    assert next(taken) is A1
    with pytest.raises(ConnectionError, match="went down"):
        next(taken)
    assert list(taken) == [A2]


def test_failures_are_returned_where_they_are_wanted(take: Callable[[Recorded], Any]) -> None:
    """Contract 5.3, 5.6: but no refusal."""
    refusal = AuthenticationError("WRONGPASS")
    taken = take(Recorded([FAILURE, A1, refusal, A2], raise_connection_exceptions=False))
    assert [next(taken), next(taken)] == [FAILURE, A1]
    with pytest.raises(AuthenticationError):
        next(taken)
    assert next(taken) is A2


def test_a_program_resumes_from_positions(take: Callable[[Recorded], Any]) -> None:
    """Contract 2.4."""
    items = [A1, FAILURE, B1, A2]
    streams = Recorded(items)
    assert next(take(streams)) is A1
    taken = take(Recorded(items, streams.positions, raise_connection_exceptions=False))
    assert list(taken) == [FAILURE, B1, A2]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, [A1, A2]),
        (2, [A2]),
        ("1-0", [A2]),
        (b"1", [A1, A2]),
        (datetime(1970, 1, 1, 0, 0, 0, 2000, UTC), [A2]),
        (None, []),
        ("$", []),
        ("+", [A2]),
        (Last(1), [A2]),
        (Last(2), [A1, A2]),
        (Last(9), [A1, A2]),
    ],
)
def test_streams_start_where_they_are_told_to(
    take: Callable[[Recorded], Any], start: Any, expected: list[Any]
) -> None:
    """Contract 2.2; what is recorded later comes in any case."""
    streams = Recorded([A1, B1, A2], a=start)
    later: Any = ("a", b"5-0", {})
    streams.record(("c", b"5-0", {}), later)
    assert list(take(streams)) == [*expected, later]


def test_positions_are_text_where_ids_are(take: Callable[[Recorded], Any]) -> None:
    streams = Recorded([("a", "1-0", {})], {"a": 0, "b": b"5-0"})
    assert streams.positions == {"a": "0-0", "b": "5-0"}
    assert list(take(streams)) == [("a", "1-0", {})]
    assert streams.positions == {"a": "1-0", "b": "5-0"}


def test_streams_are_added_and_dropped(take: Callable[[Recorded], Any]) -> None:
    """Contract 2.5."""
    streams = Recorded([A1, B1, A2], a=0)
    taken = take(streams)
    assert next(taken) is A1
    taken.add(b=0)
    assert list(taken) == [B1, A2]
    taken.discard("a")
    streams.record(("a", b"3-0", {}))
    assert list(taken) == []
    assert streams.positions == {"b": b"1-1"}
    with pytest.raises(ValueError, match="'b' is given twice, or followed already"):
        taken.add(b=0)


def test_a_stream_that_is_added_after_close_is_not_read(take: Callable[[Recorded], Any]) -> None:
    taken = take(Recorded([A1]))
    taken.close()
    taken.add(b=0)
    assert list(taken) == []


def test_a_dropped_stream_stays_dropped_where_all_are_followed(
    take: Callable[[Recorded], Any],
) -> None:
    streams = Recorded([A1, B1])
    streams.discard("a")
    streams.record(A2)
    assert list(take(streams)) == [B1]


def test_the_figures_are_those_of_the_real_one(take: Callable[[Recorded], Any]) -> None:
    """Contract 2.7: the same keys, as far as there is something to tell."""
    streams = Recorded([A1, FAILURE, B1, A2], raise_connection_exceptions=False)
    taken = take(streams)
    assert [next(taken), next(taken)] == [A1, FAILURE]
    figures = streams.stats()
    assert figures["streams"] == {
        "a": {"position": b"1-0", "last": b"2-0", "lag_ms": 1},
        "b": {"position": b"0-0", "last": b"1-1", "lag_ms": 1},
    }
    assert (figures["connected"], figures["outages"], figures["delivered"]) == (True, 1, 1)
    streams.close()
    assert not streams.stats()["connected"]
    with pystreamredis.Streams(port=1, x=0, block=None, raise_connection_exceptions=False) as real:
        assert figures.keys() == real.stats().keys()
        assert figures["streams"]["a"].keys() == real.stats()["streams"]["x"].keys()


def test_batches_are_what_is_there() -> None:
    """Contract 2.6."""
    streams = Recorded([A1, B1, A2, TIMEOUT, FAILURE])
    assert list(streams.batches(2)) == [[A1, B1], [A2]]
    with pytest.raises(ConnectionError):
        next(streams.batches(2))
    streams = Recorded([TIMEOUT, A1, FAILURE], stop_on_timeout=True)
    batches = iter(streams.batches(9))
    assert [next(batches), next(batches)] == [[], [A1]]
    assert streams.positions == {"a": b"1-0"}
    with pytest.raises(ValueError, match="n is 0, but must be at least 1"):
        streams.batches(0)


def test_batches_for_asyncio() -> None:
    async def take_all() -> list[Any]:
        async with Recorded([A1, B1, A2]) as streams:
            return [batch async for batch in streams.batches(2)]

    assert asyncio.run(take_all()) == [[A1, B1], [A2]]


def test_a_cancelled_task_loses_nothing() -> None:
    async def cancel_and_go_on() -> Any:
        streams = Recorded(block=0)
        waiting = asyncio.ensure_future(streams.__anext__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        streams.record(A1)
        return await streams.__anext__()

    assert asyncio.run(cancel_and_go_on()) is A1


@pytest.mark.parametrize(
    ("items", "error", "text"),
    [
        (["a"], TypeError, "'a' is neither a message .* nor an exception nor TIMEOUT"),
        ([("a", b"1-0")], TypeError, "is neither a message"),
        ([A2, A1], ValueError, "stream 'a': b'1-0' comes after b'2-0', but IDs of a stream grow"),
        ([A1, A1], ValueError, "IDs of a stream grow"),
    ],
)
@pytest.mark.parametrize("streams", [None, {"a": 0}])
def test_what_no_server_delivers_is_refused(
    items: list[Any], error: type[Exception], text: str, streams: Any
) -> None:
    with pytest.raises(error, match=text):
        Recorded(items, streams)
    with pytest.raises(error, match=text):
        Recorded((), streams).record(*items)
