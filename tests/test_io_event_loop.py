"""`pystreamredis.io.event_loop`: the poller for asyncio."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from pystreamredis.io.connection import READ, WRITE
from pystreamredis.io.event_loop import Poller
from pystreamredis.io.thread_poll import ThreadPoll
from tests.servers import LONG, wait_until


class NoReaders(asyncio.SelectorEventLoop):
    """An event loop that cannot watch sockets, as that of Windows."""

    def add_reader(self, *_: object) -> Any:
        raise NotImplementedError

    def add_writer(self, *_: object) -> Any:
        raise NotImplementedError


class Owner:
    """A stand-in for a connection."""

    def __init__(self, *, fetches: bool = False) -> None:
        self.fetches = fetches
        self.errors: list[OSError] = []

    def fetch(self) -> bool:
        return self.fetches

    def break_off(self, error: OSError) -> None:
        self.errors.append(error)


@pytest.fixture(params=[asyncio.SelectorEventLoop, NoReaders])
def run(request: pytest.FixtureRequest) -> Any:
    def run_it(main: Any) -> None:
        loop = request.param()
        try:
            loop.run_until_complete(asyncio.wait_for(main(), LONG))
        finally:
            loop.close()

    return run_it


def threads() -> int:
    return sum(thread.name == "pystreamredis sockets" for thread in threading.enumerate())


def test_owners_of_sockets_that_are_ready_are_returned(run: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        owner: Any = Owner()
        with ours, theirs, closing(Poller()) as poller:
            poller.watch(ours, READ, owner)
            assert await poller.wait(0.01) == []
            theirs.send(b"x")
            for _ in range(2):  # as long as there is something to read
                assert await poller.wait(None) == [owner]
            ours.recv(1)
            assert await poller.wait(0.01) in ([], [owner])
            assert await poller.wait(0.01) == []
            poller.watch(ours, READ | WRITE, owner)
            assert await poller.wait(None) == [owner]
            poller.forget(ours)
            poller.forget(ours)
            assert await poller.wait(0.01) == []

    run(main)
    wait_until(lambda: threads() == 0)


def test_a_wait_that_is_cancelled_loses_nothing(run: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        owner: Any = Owner()
        with ours, theirs, closing(Poller()) as poller:
            poller.watch(ours, READ, owner)
            for _ in range(3):
                task = asyncio.ensure_future(poller.wait(None))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
            theirs.send(b"x")
            assert await poller.wait(None) == [owner]

    run(main)


def test_a_wake_ends_a_wait_of_whatever_length(run: Any) -> None:
    """An alarm of an earlier wait may ring amid a later one."""

    async def main() -> None:
        with closing(Poller()) as poller:
            for timeout in (None, 300, 200, 0.01, 250):
                task = asyncio.ensure_future(poller.wait(timeout))
                await asyncio.sleep(0)
                if timeout != 0.01:
                    poller.wake()
                assert await task == []

    run(main)


@pytest.mark.parametrize("closed", [True, False])
def test_a_descriptor_that_is_used_again_is_another_socket(run: Any, closed: bool) -> None:
    async def main() -> None:
        owners: list[Any] = [Owner(), Owner()]
        with closing(Poller()) as poller:
            for owner in owners:
                ours, theirs = socket.socketpair()
                with ours, theirs:
                    poller.watch(ours, READ, owner)
                    assert await poller.wait(0.01) == []
                    theirs.send(b"x")
                    assert await poller.wait(None) == [owner]
                    poller.forget(ours)

    run(main)


def test_a_socket_that_cannot_be_watched_breaks_its_connection_off(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.1: too many of them, say."""

    def fail(*_: object) -> None:
        raise error

    error = OSError("too many sockets")
    monkeypatch.setattr(ThreadPoll, "watch", fail)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, NoReaders):
            monkeypatch.setattr(loop, "add_reader", fail)
        ours, theirs = socket.socketpair()
        owner: Any = Owner()
        with ours, theirs, closing(Poller()) as poller:
            poller.watch(ours, READ, owner)
            assert await poller.wait(None) == [owner]
            assert owner.errors == [error]

    run(main)


def test_without_a_thread_sockets_cannot_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)

    async def main() -> None:
        with pytest.raises(OSError, match="no thread to watch sockets"):
            ThreadPoll(asyncio.get_running_loop(), lambda _: None)

    asyncio.run(main())
