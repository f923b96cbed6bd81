"""Contract 5.5, of asyncio: connecting needs no thread of others, and a look-up counts as a part.

The loop's default executor is the caller's: all its threads may be busy, or none may be had.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, TimeoutError
from pystreamredis.asyncio import Redis, Streams
from tests.live import LiveServer
from tests.peer import Conversation, Peer
from tests.resp import Simple
from tests.scripted import at, block_of, read
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

# How long a look-up hangs, in seconds: longer than anything is to wait for it.
HANGS = 4.0


class NoThreads(ThreadPoolExecutor):
    """One that can start no thread."""

    def submit(self, *args: Any, **options: Any) -> Any:
        raise RuntimeError("can't start new thread")


@asynccontextmanager
async def executor(kind: str) -> AsyncIterator[None]:
    """Have the running loop's default executor be busy, or none."""
    loop, over = asyncio.get_running_loop(), threading.Event()
    if kind == "absent":
        loop.set_default_executor(NoThreads(1))
        yield
        return
    pool = ThreadPoolExecutor(1)
    loop.set_default_executor(pool)
    job = loop.run_in_executor(None, over.wait, LONG)
    try:
        yield
    finally:
        over.set()
        await job
        await loop.shutdown_default_executor()


@pytest.mark.parametrize("kind", ["busy", "absent"])
def test_a_callable_that_blocks_stops_neither_the_loop_nor_waits_for_its_threads(
    kind: str,
) -> None:
    """A token that is slow to come is fetched in a thread of its own."""
    is_free, threads = threading.Event(), set[str]()

    def password() -> str:
        threads.add(threading.current_thread().name)
        assert is_free.wait(LONG)
        return "token"

    async def main() -> None:
        async with executor(kind):
            with Peer(logged_in) as peer:
                streams = Streams(**at(peer), s=0, password=password)
                task = asyncio.ensure_future(anext(streams))
                while not threads:
                    await asyncio.sleep(0.001)
                is_free.set()  # by the loop, which goes on
                assert (await task)[1] == b"1-0"
                await streams.aclose()

    run(main())
    assert threads == {"pystreamredis look-up"}


def test_nobody_waits_for_credentials_of_a_connection_that_is_closed() -> None:
    """Neither for an async function, which is cancelled, nor for a thread."""
    ended: list[str] = []
    hangs = threading.Event()

    async def fetch() -> str:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append("cancelled")
        return "token"

    async def main() -> None:
        passwords: list[Any] = [fetch, lambda: hangs.wait(LONG / 8)]
        for password in passwords:
            with Peer(logged_in) as peer:
                streams = Streams(**at(peer), s=0, password=password)
                task = asyncio.ensure_future(anext(streams, None))
                while not peer.connections:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.01)
                await streams.aclose()
                assert await task is None
        assert ended == ["cancelled"]

    run(main())
    hangs.set()


@pytest.mark.parametrize("error", [OSError("away"), asyncio.CancelledError()])
def test_an_async_function_that_fails_is_a_failed_connection(error: BaseException) -> None:
    """Contract 5.1: also one whose own task was cancelled, which is not the caller's."""

    async def fetch() -> str:
        raise error

    async def main() -> None:
        with Peer(logged_in) as peer:
            streams = Streams(**at(peer), s=0, password=fetch)
            with pytest.raises(ConnectionError, match=r"cannot log in to .*: password\(\) raised"):
                await anext(streams)
            await streams.aclose()

    run(main())


def test_reads_wait_for_credentials_that_are_fetched_again() -> None:
    """And nothing else does: other tasks go on meanwhile."""
    fetched: list[int] = []

    async def fetch() -> str:
        fetched.append(len(fetched))
        await asyncio.sleep(0.01)
        return "token"

    async def main() -> None:
        with Peer(logged_in) as peer:
            options: dict[str, Any] = {"password": fetch, "credentials_max_age": 0.02, "block": 5}
            async with Streams(**at(peer), s=0, **options) as streams:
                assert (await anext(streams))[1] == b"1-0"
                while len(fetched) < 4:
                    assert await anext(streams, None) is None
            assert peer.connections == 1
            names = [command[0] for command in peer.commands]
            assert names.count(b"AUTH") >= 3

    run(main())


def logged_in(conversation: Conversation) -> None:
    """Serve one stream to whoever logs in."""
    conversation.expect("AUTH")
    conversation.reply(Simple("OK"))
    while True:
        command = conversation.expect()
        if command[0] == b"AUTH":
            conversation.reply(Simple("OK"))
            continue
        reply = read(command, {"s": ["1-0"]})
        if reply is None:
            conversation.pause(block_of(command) / 1000)
        conversation.reply(reply)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, LONG / 8))


each_executor = pytest.mark.parametrize("kind", ["busy", "absent"])


@each_executor
@pytest.mark.parametrize("options", [{}, {"protocol": 3}, {"password": "p"}], ids=str)
def test_an_address_of_digits_needs_no_thread(kind: str, options: dict[str, Any]) -> None:
    """There is nothing to be looked up."""

    async def main() -> None:
        async with executor(kind), Streams(**at(peer), **options, s=0) as streams:
            assert (await anext(streams))[1] == b"1-0"
            server.cut()
            server.streams["s"].append("2-0")
            with pytest.raises(ConnectionError):
                await anext(streams)
            assert (await anext(streams))[1] == b"2-0"

    server = LiveServer(s=["1-0"])
    with Peer(server) as peer:
        run(main())


@each_executor
def test_an_ipv6_address_of_digits_needs_no_thread(kind: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    async def main() -> None:
        async with executor(kind), Streams("::1", 1, s=0) as streams:
            await anext(streams)

    with pytest.raises(ConnectionError, match=r"\[::1\]:1") as caught:
        run(main())
    assert isinstance(caught.value.__cause__, OSError)


@each_executor
def test_a_unix_socket_needs_no_thread(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with executor(kind), Streams(unix_socket_path=path, s=0) as streams:
            assert (await anext(streams))[1] == b"1-0"

    path = str(tmp_path / "socket")
    with Peer(LiveServer(s=["1-0"]), unix_socket=path):
        run(main())


@each_executor
def test_a_cluster_of_addresses_needs_no_thread(kind: str) -> None:
    """Redirections name addresses of digits, mostly."""

    async def main() -> None:
        async with executor(kind), Streams(**at(peer), a=0, b=0) as streams:
            assert {(await anext(streams))[1] for _ in range(2)} == {b"1-0", b"2-0"}

    one, two = LiveServer(a=["1-0"], b=[]), LiveServer(a=[], b=["2-0"])
    with Peer(one) as peer, Peer(two) as other:
        one.is_cluster = two.is_cluster = True
        one.moved["b"], two.moved["a"] = (other.host, other.port), (peer.host, peer.port)
        run(main())


@each_executor
@pytest.mark.parametrize("raising", [True, False])
def test_a_name_without_a_thread_is_a_connection_error_or_is_read(kind: str, raising: bool) -> None:
    """Contract 5.1, 5.3: a library may have threads of its own; it never hangs nor raises else."""

    async def main() -> None:
        options: dict[str, Any] = {"socket_connect_timeout": 0.5, "block": 10}
        async with executor(kind):
            streams = Streams("localhost", peer.port, s=0, **options)
            if not raising:
                options["raise_connection_exceptions"] = False
                streams = Streams("localhost", peer.port, s=0, **options)
            async with streams:
                for _ in range(2):
                    try:
                        outcomes.append(await anext(streams, None))
                    except ConnectionError as error:
                        assert raising
                        outcomes.append(error)

    outcomes: list[Any] = []
    with Peer(LiveServer(s=["1-0"])) as peer:
        try:
            run(main())
        except ConnectionError as error:
            assert raising
            outcomes.append(error)
    assert outcomes
    kinds = (tuple, ConnectionError, type(None))
    assert all(isinstance(outcome, kinds) for outcome in outcomes)


@pytest.mark.parametrize("option", ["socket_connect_timeout", "socket_timeout"])
def test_a_look_up_counts_within_the_connect_timeout(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.1, 5.5: a name server that does not answer is a timeout like any other."""
    over = threading.Event()
    look_up = socket.getaddrinfo

    def look_up_slowly(host: Any, *args: Any, **more: Any) -> Any:
        if host in ("slow.example", b"slow.example"):
            over.wait(HANGS)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)

    async def main() -> None:
        options: dict[str, Any] = {option: 0.3, "raise_connection_exceptions": False, "block": 10}
        async with Streams("slow.example", 6379, s=0, **options) as streams:
            try:
                for _ in range(2):
                    failure = await anext(streams)
                    assert isinstance(failure, TimeoutError)
                    assert "slow.example:6379" in str(failure)
                    assert "0.3 s" in str(failure)
            finally:
                over.set()

    run(main())


def test_a_look_up_that_hangs_disturbs_no_other_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.1: the others' messages come meanwhile, over the connections they have."""
    over = threading.Event()
    look_up = socket.getaddrinfo

    def look_up_slowly(host: Any, *args: Any, **more: Any) -> Any:
        if host in ("slow.example", b"slow.example"):
            over.wait(HANGS)
        return look_up("127.0.0.1" if over.is_set() else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)

    async def main() -> None:
        slow = Redis("slow.example", 1, socket_connect_timeout=0.3)
        sources = {"a": slow, "b": Redis(**at(peer))}
        options: dict[str, Any] = {"block": 2000, "raise_connection_exceptions": False}
        async with Streams.from_sources(sources, s=0, **options) as streams:
            found: list[bytes] = []
            try:
                for number in range(2, 12):
                    while not isinstance(message := await anext(streams), tuple):
                        assert isinstance(message, ConnectionError)
                    found.append(message[1])
                    server.streams["s"].append(f"{number}-0")
            finally:
                over.set()
            assert found == [b"%d-0" % number for number in range(1, 11)]
        assert peer.connections == 1

    server = LiveServer(s=["1-0"])
    with Peer(server) as peer:
        run(main())


def test_closing_does_not_wait_for_a_look_up_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 4.4: whoever closes goes on."""
    over = threading.Event()
    answered: list[bool] = []

    def never_answer(*_: Any, **__: Any) -> Any:
        over.wait(HANGS)
        answered.append(True)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", never_answer)

    async def main() -> None:
        streams = Streams("slow.example", 6379, s=0, socket_connect_timeout=LONG)
        task = asyncio.ensure_future(anext(streams, None))
        await asyncio.sleep(0.05)
        await streams.aclose()
        assert await task is None
        assert answered == []
        over.set()

    run(main())
