"""Both shells under one name: the contract's tests are written once, and run over each.

For asyncio, `Streams` and `Redis` are facades that look like the blocking ones, over an
event loop in a thread of its own. Whoever is interrupted cancels what it waits for.

PYSTREAMREDIS_TEST_LOOP   "uvloop" runs them on that event loop
"""

from __future__ import annotations

import asyncio
import inspect
import os
from functools import cache
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

import pystreamredis
import pystreamredis.asyncio

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
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
    """What looks like the iterator that `Streams.batches` returns."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        for batch in wait_for(ask_for_batch(self._inner)):
            return batch
        raise StopIteration


class AsyncStreams:
    """What looks like `Streams` and is one for asyncio."""

    _inner: Any = None
    __signature__ = inspect.signature(pystreamredis.asyncio.Streams)

    def __init__(self, /, *args: Any, **options: Any) -> None:
        self._inner = wait_for(pystreamredis.asyncio.Streams.connect(*args, **options))

    @classmethod
    def of(cls, inner: pystreamredis.asyncio.Streams) -> Self:
        """Connect what was made in another way."""
        self = cls.__new__(cls)
        self._inner = wait_for(inner.__aenter__())
        return self

    @classmethod
    def from_url(cls, /, *args: Any, **options: Any) -> Self:
        return cls.of(pystreamredis.asyncio.Streams.from_url(*args, **options))

    @classmethod
    def from_sources(cls, sources: Any, /, *args: Any, **options: Any) -> Self:
        if isinstance(sources, dict):
            sources = {name: getattr(redis, "_inner", redis) for name, redis in sources.items()}
        return cls.of(pystreamredis.asyncio.Streams.from_sources(sources, *args, **options))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for message in wait_for(ask(self._inner)):
            return message
        raise StopIteration

    def batches(self, n: int) -> AsyncBatches:
        return AsyncBatches(self._inner.batches(n))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Perhaps on the loop's own thread, which nothing is to wait on.
        if self._inner is not None:
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
        wait_for(self._inner.add(*args, **options))

    def discard(self, *names: Any) -> None:
        wait_for(_call(self._inner.discard, *names))

    def close(self) -> None:
        if self._inner is not None:
            wait_for(self._inner.aclose())


class AsyncRedis:
    """What looks like `Redis`."""

    __signature__ = inspect.signature(pystreamredis.asyncio.Redis)

    def __init__(self, *args: Any, **options: Any) -> None:
        self._inner = pystreamredis.asyncio.Redis(*args, **options)

    @classmethod
    def from_url(cls, *args: Any, **options: Any) -> Self:
        self = cls.__new__(cls)
        self._inner = pystreamredis.asyncio.Redis.from_url(*args, **options)
        return self

    def __repr__(self) -> str:
        return repr(self._inner)

    def streams(self, /, *args: Any, **options: Any) -> AsyncStreams:
        return AsyncStreams.of(self._inner.streams(*args, **options))

    vars()["streams"].__signature__ = inspect.signature(pystreamredis.asyncio.Redis.streams)


SHELLS: dict[str, dict[str, Any]] = {
    "blocking": {},
    "asyncio": {"Streams": AsyncStreams, "Redis": AsyncRedis, "StrictRedis": AsyncRedis},
}
