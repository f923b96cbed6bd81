"""`pystreamredis.io.nursery`: the poller for trio."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from pystreamredis.io import nursery
from pystreamredis.io.connection import READ, WRITE
from pystreamredis.io.nursery import Poller
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

    Pairs = list[tuple[socket.socket, socket.socket]]


class Owner:
    """A stand-in for a connection."""

    def __init__(self) -> None:
        self.errors: list[OSError] = []

    def break_off(self, error: OSError) -> None:
        self.errors.append(error)


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


def run(main: Any) -> None:
    async def bounded() -> None:
        with trio.fail_after(LONG):
            await main()

    trio.run(bounded, strict_exception_groups=True)


def test_owners_of_sockets_that_are_ready_are_returned(pairs: Pairs) -> None:
    async def main() -> None:
        owners: list[Any] = [Owner() for _ in pairs]
        with closing(Poller()) as poller:
            assert await poller.wait(0.0) == []
            for (ours, _), owner in zip(pairs, owners, strict=True):
                poller.watch(ours, READ, owner)
                assert await poller.wait(0.0) == []
            pairs[1][1].send(b"x")
            for _ in range(2):  # as long as there is something to read
                assert await poller.wait(None) == [owners[1]]
            pairs[2][1].send(b"x")
            assert set(await poller.wait(0.0)) == set(owners[1:])
            pairs[1][0].recv(1)
            poller.forget(pairs[2][0])
            poller.forget(pairs[2][0])
            assert await poller.wait(0.0) == []
            poller.watch(pairs[0][0], READ | WRITE, owners[0])
            assert await poller.wait(None) == [owners[0]]
            poller.reset()
            assert await poller.wait(0.0) == []

    run(main)


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_wait_that_is_cancelled_loses_nothing(pairs: Pairs, sockets: int) -> None:
    async def main() -> None:
        owner: Any = Owner()
        with closing(Poller()) as poller:
            for ours, _ in pairs[:sockets]:
                poller.watch(ours, READ, owner)
            for _ in range(3):
                with trio.move_on_after(0) as scope:
                    await poller.wait(None)
                assert scope.cancelled_caught
            pairs[0][1].send(b"x")
            assert await poller.wait(None) == [owner]

    run(main)


@pytest.mark.parametrize("how", ["wake", "close", "forget"])
@pytest.mark.parametrize("sockets", [0, 1, 2])
def test_another_task_ends_a_wait(pairs: Pairs, how: str, sockets: int) -> None:
    """A socket that is waited for may be closed after that."""

    async def main() -> None:
        owner: Any = Owner()
        found: list[Any] = []
        poller = Poller()

        async def wait() -> None:
            found.append(await poller.wait(None))

        for ours, _ in pairs[:sockets]:
            poller.watch(ours, READ, owner)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            if how == "forget" and sockets:
                poller.forget(pairs[0][0])
            elif how == "close":
                poller.close()
            else:
                poller.wake()
            for pair in pairs:
                for sock in pair:
                    sock.close()
        assert found == [[]]

    run(main)


def test_a_socket_that_cannot_be_watched_breaks_its_connection_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contract 5.1: too many of them, say."""

    async def fail(_: socket.socket) -> None:
        raise error

    error = OSError("too many sockets")
    monkeypatch.setattr(nursery, "wait_readable", fail)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        owner: Any = Owner()
        with ours, theirs, closing(Poller()) as poller:
            poller.watch(ours, READ, owner)
            assert await poller.wait(None) == [owner]
            assert owner.errors == [error]

    run(main)


async def _work() -> str:
    await trio.sleep(0)
    return "done"


async def _fail() -> None:
    raise LookupError("nobody")


@pytest.mark.parametrize("function", [_work, _fail, lambda: "done"])
def test_a_look_up_ends_a_wait(function: Any) -> None:
    async def main() -> None:
        owner: Any = Owner()
        with closing(Poller()) as poller:
            outcome = poller.look_up(function, owner)
            assert await poller.wait(None) == [owner]
            assert outcome.done()
            if function is _fail:
                with pytest.raises(LookupError):
                    outcome.result()
            else:
                assert outcome.result() == "done"

    run(main)


def test_a_call_that_nobody_needs_is_cancelled() -> None:
    was_cancelled: list[bool] = []

    async def never_end() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            was_cancelled.append(True)
            raise

    async def main() -> None:
        owner: Any = Owner()
        with closing(Poller()) as poller:
            outcome = poller.look_up(never_end, owner)
            await trio.testing.wait_all_tasks_blocked()
            assert not outcome.done()
            outcome.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert was_cancelled == [True]
            # Another is under way as the event loop ends.
            poller.look_up(never_end, owner)
            await trio.testing.wait_all_tasks_blocked()

    run(main)
    assert was_cancelled == [True, True]
