"""All shells under one name: the contract's tests are written once, and run over each.

For asyncio and trio, `Streams` and `Redis` are facades that look like the blocking ones, over an
event loop in a thread of its own. Whoever is interrupted cancels what it waits for.

PYSTREAMREDIS_TEST_LOOP   "uvloop" runs them on that event loop
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import trio

import pystreamredis
import pystreamredis.asyncio
import pystreamredis.trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Self


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make one of the kind that is asked for."""
    if os.environ.get("PYSTREAMREDIS_TEST_LOOP") != "uvloop":
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
    return loop


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()
    return loop


def wait_for(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it on the loop, and wait for it here."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


@cache
def _nursery() -> tuple[trio.Nursery, trio.lowlevel.TrioToken]:
    opened: SimpleQueue[tuple[trio.Nursery, trio.lowlevel.TrioToken]] = SimpleQueue()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            opened.put((nursery, trio.lowlevel.current_trio_token()))
            await trio.sleep_forever()

    Thread(target=trio.run, args=(main,), daemon=True).start()
    return opened.get()


def wait_for_trio(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it as a task of trio, and wait for it here."""
    nursery, token = _nursery()
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    scope, is_over = trio.CancelScope(), Event()

    async def run() -> None:
        with scope:
            try:
                future.set_result(await work)
            except Exception as error:  # noqa: BLE001 - raised again by the caller
                future.set_exception(error)
        is_over.set()

    token.run_sync_soon(nursery.start_soon, run)
    try:
        return future.result()
    except BaseException:
        token.run_sync_soon(scope.cancel)
        # Tasks of trio go on in any order.
        is_over.wait(120)
        raise


async def _call(function: Any, *args: Any) -> Any:
    """Call what is not to be awaited, on the loop."""
    return function(*args)


async def ask(streams: pystreamredis.asyncio.Streams) -> tuple[Any, ...]:
    """Ask for a message: it alone, or nothing at the end of the iteration."""
    # No coroutine can return by a StopIteration, nor a future hold one.
    try:
        return (await streams.__anext__(),)
    except StopAsyncIteration:
        return ()


async def ask_for_batch(batches: Any) -> tuple[Any, ...]:
    """Ask for a batch likewise."""
    try:
        return (await batches.__anext__(),)
    except StopAsyncIteration:
        return ()


class AsyncBatches:
    """An iterator like the one that `Streams.batches` returns."""

    def __init__(self, inner: Any, wait_for: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._inner = inner
        self._wait_for = wait_for

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        for batch in self._wait_for(ask_for_batch(self._inner)):
            return batch
        raise StopIteration


class AsyncStreams:
    """A stand-in for `Streams` over the one for asyncio."""

    _inner: Any = None
    _kind: Any = pystreamredis.asyncio.Streams
    _wait_for = staticmethod(wait_for)
    __signature__ = inspect.signature(pystreamredis.asyncio.Streams)

    def __init__(self, /, *args: Any, **options: Any) -> None:
        self._inner = self._wait_for(self._kind.connect(*args, **options))

    @classmethod
    def of(cls, inner: Any) -> Self:
        """Connect what was made in another way."""
        self = cls.__new__(cls)
        self._inner = cls._wait_for(inner.__aenter__())
        return self

    @classmethod
    def from_url(cls, /, *args: Any, **options: Any) -> Self:
        return cls.of(cls._kind.from_url(*args, **options))

    @classmethod
    def from_sources(cls, sources: Any, /, *args: Any, **options: Any) -> Self:
        if isinstance(sources, dict):
            sources = {name: getattr(redis, "_inner", redis) for name, redis in sources.items()}
        return cls.of(cls._kind.from_sources(sources, *args, **options))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for message in self._wait_for(ask(self._inner)):
            return message
        raise StopIteration

    @property
    def caught_up(self) -> bool:
        return bool(self._inner.caught_up)

    def stats(self) -> Any:
        return self._inner.stats()

    def batches(self, n: int) -> AsyncBatches:
        return AsyncBatches(self._inner.batches(n), self._wait_for)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Perhaps on the loop's own thread, which nothing is to wait on.
        if self._inner is not None:
            self._close_soon()

    def _close_soon(self) -> None:
        asyncio.run_coroutine_threadsafe(self._inner.aclose(), _loop())

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def _reader(self) -> Any:
        return self._inner._reader

    @property
    def complete_until(self) -> Any:
        return self._inner.complete_until

    @property
    def positions(self) -> Any:
        return self._inner.positions

    def add(self, /, *args: Any, **options: Any) -> None:
        self._wait_for(self._inner.add(*args, **options))

    def discard(self, *names: Any) -> None:
        self._wait_for(_call(self._inner.discard, *names))

    def close(self) -> None:
        if self._inner is not None:
            self._wait_for(self._inner.aclose())


class AsyncRedis:
    """A stand-in for `Redis`."""

    _kind: Any = pystreamredis.asyncio.Redis
    _streams = AsyncStreams
    __signature__ = inspect.signature(pystreamredis.asyncio.Redis)

    def __init__(self, *args: Any, **options: Any) -> None:
        self._inner = self._kind(*args, **options)

    @classmethod
    def from_url(cls, *args: Any, **options: Any) -> Self:
        self = cls.__new__(cls)
        self._inner = cls._kind.from_url(*args, **options)
        return self

    def __repr__(self) -> str:
        return repr(self._inner)

    def streams(self, /, *args: Any, **options: Any) -> AsyncStreams:
        return self._streams.of(self._inner.streams(*args, **options))

    vars()["streams"].__signature__ = inspect.signature(pystreamredis.asyncio.Redis.streams)


class TrioStreams(AsyncStreams):
    """A stand-in for `Streams` over the one for trio."""

    _kind = pystreamredis.trio.Streams
    _wait_for = staticmethod(wait_for_trio)

    def _close_soon(self) -> None:
        nursery, token = _nursery()
        token.run_sync_soon(nursery.start_soon, self._inner.aclose)


class TrioRedis(AsyncRedis):
    """A stand-in for `Redis`."""

    _kind = pystreamredis.trio.Redis
    _streams = TrioStreams


# It is no package: copied, where it is used.
sys.path.append(str(Path(__file__).parent.parent / "micro"))
micro: Any = import_module("pystreamredis_micro")
# It has classes of its own, which the contract's tests do not know.
for _error in ("RedisError", "ConnectionError", "ProtocolError", "ResponseError"):
    setattr(micro, _error, getattr(pystreamredis, _error))
micro.AuthenticationError = pystreamredis.AuthenticationError

SHELLS: dict[str, dict[str, Any]] = {
    "blocking": {},
    "asyncio": {"Streams": AsyncStreams, "Redis": AsyncRedis, "StrictRedis": AsyncRedis},
}
# The shell that shares all but its poller with that for asyncio takes a part of their tests.
TRIO: dict[str, Any] = {"Streams": TrioStreams, "Redis": TrioRedis, "StrictRedis": TrioRedis}

# The tests that `micro/pystreamredis_micro.py` takes, too: one more shell, without the rest.
MICRO: dict[str, Any] = {"Streams": micro.Streams}
OF_MICRO = {
    # Waiting.
    "test_block_counts_from_when_the_caller_began_to_wait",
    "test_block_counts_from_the_last_message",
    "test_a_message_ends_the_wait",
    "test_without_block_no_read_blocks",
    "test_without_block_what_is_there_at_the_call_is_found",
    "test_a_timeout_ends_the_iteration_unless_told_otherwise",
    "test_a_timeout_is_handed_over_if_it_is_to_stop_nothing",
    "test_a_timeout_response_may_be_any_object",
    "test_after_a_timeout_next_and_for_go_on_where_it_stopped",
    "test_a_for_that_was_left_can_be_entered_again",
    "test_after_close_iteration_stops_at_once_with_messages_in_hand",
    # Order.
    "test_the_output_is_the_sorted_union_for_every_count",
    "test_what_one_writer_writes_in_order_comes_in_order",
    "test_each_stream_stays_in_order_while_several_write",
    "test_a_message_is_handed_over_as_soon_as_it_arrives",
    "test_one_that_is_created_late_with_a_smaller_id_comes_when_it_comes",
    # Failures.
    "test_a_raised_failure_is_raised_once_and_the_next_call_goes_on",
    "test_a_returned_failure_is_returned_once_and_the_next_call_goes_on",
    "test_a_for_loop_can_be_taken_up_again_after_a_raised_failure",
    "test_there_is_one_failure_for_each_attempt",
    "test_a_returned_failure_is_followed_by_a_wait_before_the_next_attempt",
    "test_the_constructors_failure_is_returned_at_once_and_followed_by_a_wait",
    "test_without_block_the_next_attempt_is_made_at_once",
    "test_a_raised_failure_is_followed_by_an_attempt_at_once",
    "test_a_server_that_is_killed_and_comes_back_loses_and_repeats_nothing",
    "test_an_outage_before_the_first_message_loses_none_of_a_stream_that_starts_now",
    "test_now_is_the_first_connection_where_the_server_was_down_at_first",
    "test_messages_that_came_are_handed_over_before_the_failure",
    "test_a_blocking_read_may_last_longer_than_socket_timeout",
    "test_a_large_reply_that_comes_slowly_is_no_silence",
    "test_after_a_refusal_the_object_stays_good",
}
