"""A connection on an event loop: TCP, TLS or a unix socket.

It takes in what comes until someone wants it, and no more than some of that: whoever
does not ask for messages does not have them pile up.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ..options import ConnectionOptions

# What one call takes in at most, in bytes: some thousand entries.
_CHUNK = 262_144
# From how many bytes on that nobody has taken nothing more is read.
_ENOUGH = 2 * _CHUNK


class Link(asyncio.BufferedProtocol):
    """One connection: what came over it, and how it ended.

    Args:
        wake: What is called when there is something new.
        keepalive: Whether TCP probes it when nothing happens.

    Attributes:
        is_lost: Whether it has ended.
        error: What ended it; None where the peer has closed it, and before.
    """

    def __init__(self, wake: Callable[[], None], *, keepalive: bool) -> None:
        self.is_lost = False
        self.error: Exception | None = None
        self._wake = wake
        self._keepalive = keepalive
        self._transport: asyncio.Transport
        self._buffer = memoryview(bytearray(_CHUNK))
        self._received: list[bytes] = []
        self._size = 0
        self._ended = asyncio.get_running_loop().create_future()

    # What the event loop tells.

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            with suppress(OSError):  # that the peer has closed it is told elsewhere
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, self._keepalive)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's name
        """Say where to put what comes next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        self._received.append(bytes(self._buffer[:nbytes]))
        self._size += nbytes
        if self._size >= _ENOUGH:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self.is_lost = True
        # The pipe breaks when something is sent to a peer that has closed it.
        self.error = None if isinstance(exc, BrokenPipeError) else exc
        if not self._ended.done():
            self._ended.set_result(None)
        self._wake()

    # What its holder asks.

    @property
    def has_news(self) -> bool:
        """Whether something came, or it has ended."""
        return bool(self._received) or self.is_lost

    def receive(self) -> bytes:
        """Take out what came: b"" where that is nothing."""
        data = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        if self._size >= _ENOUGH and not self.is_lost:
            self._transport.resume_reading()
        self._size = 0
        return data

    def send(self, data: bytes) -> None:
        """Send; where that cannot be, what comes next says why."""
        if data and not self.is_lost:
            self._transport.write(data)

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    async def ended(self) -> None:
        """Wait until it is closed."""
        await asyncio.shield(self._ended)


async def connect(options: ConnectionOptions, wake: Callable[[], None]) -> Link | OSError:
    """Make a connection, to the first of the host's addresses that takes one.

    Returns:
        The connection, or why there is none.
    """

    def make() -> Link:
        return Link(wake, keepalive=options.socket_keepalive)

    failure = OSError("the host has no addresses")
    try:
        for address in await _addresses(options):
            try:
                return await _open(options, address, make)
            except OSError as error:
                failure = error
    except OSError as error:
        return error
    return failure


async def _addresses(options: ConnectionOptions) -> list[tuple[int, str]]:
    """List families and addresses."""
    if options.unix_socket_path is not None:
        return [(socket.AF_UNIX, os.fsdecode(options.unix_socket_path))]
    loop = asyncio.get_running_loop()
    try:
        # Not by the loop's own function: uvloop's takes no notice of an IPv6 scope.
        found = await loop.run_in_executor(
            None, partial(socket.getaddrinfo, type=socket.SOCK_STREAM), options.host, options.port
        )
    except UnicodeError as error:
        raise OSError(f"{options.host!r} is no host name: {error}") from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


async def _open(
    options: ConnectionOptions, address: tuple[int, str], make: Callable[[], Link]
) -> Link:
    try:
        _, link = await asyncio.wait_for(
            _connecting(options, address, make), options.connect_timeout
        )
    except asyncio.TimeoutError:
        # Which in Python 3.10 is not the built-in one.
        raise TimeoutError(f"no answer within {options.connect_timeout:g} s") from None
    except OSError as error:
        if not error.args:  # what asyncio makes of the end of the stream there
            text = "the peer closed the connection within the TLS handshake"
            raise ConnectionResetError(text) from None
        if error.errno is None or type(error).__module__ != "builtins":
            raise
        # asyncio says that the call has failed, and not why.
        raise OSError(error.errno, os.strerror(error.errno)) from None
    return link


def _connecting(
    options: ConnectionOptions, address: tuple[int, str], make: Callable[[], Link]
) -> Coroutine[None, None, tuple[Any, Link]]:
    loop = asyncio.get_running_loop()
    family, host = address
    if family == socket.AF_UNIX:
        return loop.create_unix_connection(make, host)
    return loop.create_connection(
        make,
        host,
        options.port,
        family=family,
        ssl=options.ssl_context,
        server_hostname=options.host if options.ssl_context else None,
    )
