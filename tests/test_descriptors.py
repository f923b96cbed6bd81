"""Contract 5.1: where no descriptor is left a connection fails, and nothing is left behind.

Each test is a process of its own, which has few descriptors and takes all that are free.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live import LiveServer
from tests.peer import CLOSE, Expect, Peer
from tests.scripted import entries
from tests.servers import LONG

PROGRAM = """
import asyncio, os, resource, sys
from pystreamredis import ConnectionError, Streams
import pystreamredis.asyncio

SHELL, PORT, RAISING = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "raised"
OPTIONS = dict(block=20, raise_connection_exceptions=RAISING)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import encodings.idna, ssl, selectors, socket, traceback  # which need descriptors, too
socket.getaddrinfo("127.0.0.1", PORT)


def opened():
    return len(os.listdir("/proc/self/fd")) - 1


def exhaust(spare):
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(spare):
        os.close(held.pop())
    return held


def release(held):
    while held:
        os.close(held.pop())


class Blocking:
    # Calls the blocking shell.

    async def make(self, **starts):
        return Streams("127.0.0.1", PORT, **OPTIONS, **starts)

    async def next(self, streams):
        return next(streams)

    async def add(self, streams, **starts):
        streams.add(**starts)

    async def close(self, streams):
        streams.close()


class Asyncio:
    # Calls that for asyncio.

    async def make(self, **starts):
        return pystreamredis.asyncio.Streams("127.0.0.1", PORT, **OPTIONS, **starts)

    async def next(self, streams):
        return await anext(streams)

    async def add(self, streams, **starts):
        await streams.add(**starts)

    async def close(self, streams):
        await streams.aclose()


shell = Blocking() if SHELL == "blocking" else Asyncio()


async def outcome(awaitable):
    # A failure, raised where that is asked for, or what is returned.
    try:
        found = await awaitable
    except ConnectionError as error:
        assert RAISING, error
        return error
    except (StopIteration, StopAsyncIteration):
        return None
    assert not (RAISING and isinstance(found, ConnectionError)), found
    return found


async def until_message(streams):
    for _ in range(200):
        found = await outcome(shell.next(streams))
        if isinstance(found, tuple):
            return found[1].decode()
    raise AssertionError("no message")


def check(failure):
    assert isinstance(failure, ConnectionError), repr(failure)
    assert f"127.0.0.1:{PORT}" in str(failure), failure
    assert "open files" in str(failure), failure


BODY

async def warm_up():
    # What is imported at need is there from now on.
    streams = await shell.make(s=0)
    assert await until_message(streams) == "1-0"
    await shell.close(streams)


async def run():
    await warm_up()
    await main()


asyncio.run(run())
print("good")
"""
CONSTRUCTION = """
async def main():
    for spare in range(6):
        before = opened()
        held = exhaust(spare)
        streams = failure = None
        try:
            streams = await shell.make(s=0)
        except ConnectionError as error:
            assert RAISING, error
            failure = error
        if streams is not None:
            failure = await outcome(shell.next(streams))
        if spare == 0:
            check(failure)
        elif not isinstance(failure, tuple):
            check(failure)
        release(held)
        if streams is not None:
            if not isinstance(failure, tuple):
                assert await until_message(streams) == "1-0"
            await shell.close(streams)
        streams = None
        assert opened() == before, (spare, before, opened())
    streams = await shell.make(s=0)
    assert await until_message(streams) == "1-0"
    await shell.close(streams)
"""
RECONNECT = """
async def main():
    before = opened()
    streams = await shell.make(s=0)
    assert await until_message(streams) == "1-0"
    connected = opened()
    held = exhaust(0)
    failures = []
    # The server closes each connection after its message; that frees one descriptor.
    while len(failures) < 3:
        failure = await outcome(shell.next(streams))
        if isinstance(failure, ConnectionError):
            failures.append(failure)
            held += exhaust(0)
    check(failures[-1])
    check(failures[-2])
    release(held)
    assert await until_message(streams) == "2-0"
    assert opened() == connected, (connected, opened())
    await shell.close(streams)
    assert opened() == before, (before, opened())
"""
ADDITION = """
async def main():
    before = opened()
    OPTIONS["connections"] = 2
    streams = await shell.make(s=0)
    assert await until_message(streams) == "1-0"
    held = exhaust(0)
    # Nothing is to be raised where failures are returned.
    added = await outcome(shell.add(streams, t=0))
    if isinstance(added, ConnectionError):
        check(added)
        assert RAISING
    release(held)
    if "t" not in streams.positions:
        await shell.add(streams, t=0)
    assert await until_message(streams) == "1-0"
    await shell.close(streams)
    assert opened() == before, (before, opened())
"""


def run(body: str, shell: str, port: int, how: str) -> None:
    """Run one of the above in a process of its own."""
    command = [sys.executable, "-c", PROGRAM.replace("BODY", body), shell, str(port), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.stdout, done.stderr) == ("good\n", "")


both_shells = pytest.mark.parametrize("which", ["blocking", "asyncio"])
both_ways = pytest.mark.parametrize("how", ["raised", "returned"])
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


@both_shells
@both_ways
def test_a_reader_made_without_descriptors_fails_as_a_connection_does(which: str, how: str) -> None:
    """Contract 5.1, 5.2, 5.3: with none, one, two, ... left; and all is well once there are."""
    with Peer(LiveServer(s=["1-0"])) as peer:
        run(CONSTRUCTION, which, peer.port, how)


@both_shells
@both_ways
def test_a_reconnect_without_descriptors_fails_as_a_connection_does(which: str, how: str) -> None:
    """Contract 5.1, 5.2, 5.3: and goes on once there are some."""
    with Peer(
        LiveServer(s=["1-0"]),  # to warm up
        [Expect("XREAD"), entries("s", "1-0"), CLOSE],
        LiveServer(s=["1-0", "2-0"]),
    ) as peer:
        run(RECONNECT, which, peer.port, how)


@both_shells
@both_ways
def test_an_addition_without_descriptors_fails_as_a_connection_does(which: str, how: str) -> None:
    """Contract 2.5, 5.1: the streams that are followed go on."""
    with Peer(LiveServer(s=["1-0"], t=["1-0"])) as peer:
        run(ADDITION, which, peer.port, how)
