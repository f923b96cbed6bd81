"""Contract 8.2, 2.4: subclasses that override next(), and threads beside the one that iterates."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import islice
from threading import Barrier, Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis.asyncio
from pystreamredis import Streams
from tests.answers import Store, ids, number
from tests.peer import Peer
from tests.scripted import at
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Endpoint

LENGTH = 500


class Counting(Streams):
    """Counts the messages that are asked for, and marks them."""

    calls = 0

    def __next__(self) -> Any:
        self.calls += 1
        return ("marked", *super().__next__())


class CountingToo(Counting):
    """Overrides it once more."""

    def __next__(self) -> Any:
        return ("twice", *super().__next__())


# A subclass that overrides __next__ or __anext__.


@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.parametrize("by", ["for", "list", "next", "iter", "islice", "yield from", "unpacking"])
def test_every_message_goes_through_an_overridden_next(by: str, count: int) -> None:
    """Contract 8.2: whoever iterates in whichever way; at the end, once more for the end."""
    with (
        Peer(Store({"s": ids(LENGTH)})) as peer,
        Counting(**at(peer), s=0, block=20, count=count) as streams,
    ):
        found = collect_by(by, streams)
        assert {message[0] for message in found} == {"marked"}
        assert [message[2].decode() for message in found] == ids(LENGTH)
        assert streams.calls == LENGTH + 1


def collect_by(by: str, streams: Any) -> list[Any]:
    """Take all, in one of many ways."""
    if by == "for":
        found = []
        for message in streams:
            found.append(message)  # noqa: PERF402  # a loop is what this is about
        return found
    if by == "next":
        return list(iter(lambda: next(streams, None), None))
    ways = {
        "list": lambda: list(streams),
        "iter": lambda: list(iter(iter(streams))),
        "islice": lambda: list(islice(streams, LENGTH + 1)),
        "yield from": lambda: list(yield_from(streams)),
        "unpacking": lambda: [*streams],
    }
    return ways[by]()


def yield_from(streams: Any) -> Iterator[Any]:
    """Delegate."""
    yield from streams


def test_subclasses_of_subclasses_are_honoured() -> None:
    """Contract 8.2: by super()."""
    with Peer(Store({"s": ids(50)})) as peer, CountingToo(**at(peer), s=0, block=20) as streams:
        found = list(streams)
        assert {message[:2] for message in found} == {("twice", "marked")}
        assert len(found) == 50


def test_an_iterator_is_the_object_itself() -> None:
    """Contract 8.2: of a subclass as well."""
    with Peer(Store({"s": ids(50)})) as peer:
        for kind in (Streams, Counting):
            with kind(**at(peer), s=0, block=20) as streams:
                assert iter(streams) is streams
                assert next(iter(streams)) is not None
                first = [message for message, _ in zip(streams, range(5), strict=False)]
                assert len(first) == 5
                # zip() has taken one more.
                assert len(list(streams)) == 50 - 1 - 5 - 1


def test_a_loop_that_is_left_goes_on_in_the_next_one() -> None:
    """Contract 8.2, 4.3: with nothing lost in between."""
    with Peer(Store({"s": ids(50)})) as peer, Counting(**at(peer), s=0, block=20) as streams:
        found = []
        for _ in range(5):
            for message in streams:
                found.append(message)
                if len(found) % 7 == 0:
                    break
        found += streams
        assert {message[0] for message in found} == {"marked"}
        assert [message[2].decode() for message in found] == ids(50)


def test_every_message_goes_through_an_overridden_anext() -> None:
    """Contract 8.2: over asyncio."""

    class CountingAsync(pystreamredis.asyncio.Streams):
        calls = 0

        async def __anext__(self) -> Any:
            self.calls += 1
            return ("marked", *await super().__anext__())

    async def read(peer: Peer) -> None:
        async with CountingAsync(**at(peer), s=0, block=20) as streams:
            assert aiter(streams) is streams
            found = [message async for message in streams]
            assert {message[0] for message in found} == {"marked"}
            assert [message[2].decode() for message in found] == ids(LENGTH)
            assert streams.calls == LENGTH + 1
        async with pystreamredis.asyncio.Streams(**at(peer), s=0, block=20) as streams:
            assert aiter(streams) is streams

    with Peer(Store({"s": ids(LENGTH)})) as peer:
        asyncio.run(read(peer))


# Other threads.


@pytest.fixture
def switching() -> Iterator[None]:
    """Have threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("by", ["for", "next"])
@pytest.mark.parametrize("count", [7, 100])
def test_positions_read_by_another_thread_never_go_back(
    one_server: Endpoint, by: str, count: int
) -> None:
    """Contract 2.4: nor are those at the end behind the last message."""
    names = [f"s{n}" for n in range(20)]
    one_server.pipeline(
        ("XADD", names[n % 20], f"{1000 + n}-0", "n", str(n)) for n in range(20 * 100)
    )
    last = {name: f"{2980 + n}-0".encode() for n, name in enumerate(names)}
    wrong: list[Any] = []
    for _ in range(25):
        ended = Event()
        with Streams(
            **one_server.options, streams=dict.fromkeys(names, 0), block=None, count=count
        ) as streams:
            watchers = [Thread(target=watch, args=(streams, ended, wrong)) for _ in range(2)]
            for watcher in watchers:
                watcher.start()
            try:
                found = collect_by(by, streams)
            finally:
                ended.set()
                for watcher in watchers:
                    watcher.join(LONG)
            assert len(found) == 2000
            assert streams.positions == last
    assert wrong == []


def watch(streams: Any, ended: Event, wrong: list[Any]) -> None:
    """Note each position that is smaller than it was."""
    seen: dict[str, int] = {}
    while not ended.is_set():
        try:
            positions = streams.positions
        except Exception as error:  # noqa: BLE001  # none is right
            wrong.append(repr(error))
            return
        for name, position in positions.items():
            if number(position.decode()) < seen.get(name, 0):
                wrong.append((name, position, seen[name]))
            seen[name] = number(position.decode())


@pytest.mark.usefixtures("switching")
def test_positions_are_never_ahead_of_what_was_delivered() -> None:
    """Contract 2.4: read by the thread that iterates, while others read them too."""
    held = {"a": ids(300), "b": ids(300, 1100)}
    wrong: list[Any] = []
    ended = Event()
    with Peer(Store(held)) as peer, Streams(**at(peer), a=0, b=0, block=None, count=9) as streams:
        watcher = Thread(target=watch, args=(streams, ended, wrong))
        watcher.start()
        try:
            expected = {"a": b"0-0", "b": b"0-0"}
            for name, entry_id, _ in streams:
                expected[name] = entry_id
                assert streams.positions == expected
        finally:
            ended.set()
            watcher.join(LONG)
    assert wrong == []


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("by", ["for", "next"])
def test_several_threads_get_each_message_once_or_a_runtime_error(by: str, threads: int) -> None:
    """Threads on one next(): each message comes once, or it is refused clearly."""
    length = 1000
    found: list[list[bytes]] = [[] for _ in range(threads)]
    errors: list[BaseException] = []
    with (
        Peer(Store({"s": ids(length)})) as peer,
        Streams(**at(peer), s=0, block=None, count=50) as streams,
    ):
        started = Barrier(threads)

        def read(own: list[bytes]) -> None:
            started.wait(LONG)
            # Enough tries for one thread alone.
            for _ in range(length + 1):
                try:
                    if by == "next":
                        own.append(next(streams)[1])
                    else:
                        own.extend(message[1] for message in streams)
                except StopIteration:
                    return
                except RuntimeError:
                    continue
                except BaseException as error:  # noqa: BLE001  # it is looked at below
                    errors.append(error)
                    return

        readers = [Thread(target=read, args=(own,)) for own in found]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(LONG)
        # What is left where all of them were refused.
        rest = [message[1] for message in streams]
    assert errors == []
    came = Counter([*rest, *(entry_id for own in found for entry_id in own)])
    # Each thread gets its own in order.
    assert [own for own in found if own != sorted(own)] == []
    assert [entry_id for entry_id, times in came.items() if times > 1] == []
    missing = set(ids(length)) - {entry_id.decode() for entry_id in came}
    # A generator of a thread that was refused takes nothing with it.
    assert missing == set()
