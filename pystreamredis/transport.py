"""A connection as a stream of bytes: TCP, TLS or a unix socket.

It blocks in no call but `Transport.wait_and_receive`, and there for a moment only.

Errors are left as they come, all of them `OSError`: what they mean is said where
they are caught.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from time import monotonic

from .waiting import READ, SLICE, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from ssl import SSLSocket
    from typing import Any, TypeAlias, TypeVar

    from .options import ConnectionOptions

    Made = TypeVar("Made")
    Connecting: TypeAlias = Generator[tuple[socket.socket, int, float | None], bool | None, Made]
    """Yields sockets, what to wait for, and until when; is sent whether that came."""

# How many bytes are received at once: at first, and at most.
_FEW = 65_536
_MOST = 1_048_576
# From how many bytes on more of them may be there already.
_MUCH = 16_384
# Has one call not block, on a socket that may; 0 where the system has no such thing.
_AT_ONCE: int = getattr(socket, "MSG_DONTWAIT", 0)


class Transport:
    """An open connection.

    Args:
        sock: A connected socket that does not block, or, if it does, for a moment only: then
            it can be waited for by receiving, which saves the system a call.
        would_block: What it raises where it would have to wait.

    Attributes:
        unsent: What the kernel has not taken of what was to be sent.
        can_wait: Whether that can be done, and is likely to be worth it: the last such wait
            was not in vain.
    """

    def __init__(self, sock: socket.socket, would_block: tuple[type[OSError], ...]) -> None:
        self.sock = sock
        self.can_wait = sock.getblocking()
        self._at_once = _AT_ONCE if sock.getblocking() else 0
        self._would_block = would_block
        self.unsent = b""
        # Kept: to allocate as much for each call takes longer than to copy what came.
        self._room = memoryview(bytearray(_FEW))
        # Whether more was there than fits into it.
        self._is_flooded = False

    @property
    def events(self) -> int:
        """What to wait for."""
        return READ | WRITE if self.unsent else READ

    def has_pending(self) -> bool:
        """Whether bytes can be received that no wait would tell of."""
        return False

    def receive(self) -> bytes | None:
        """Take in what has come: b"" at the end of the stream, None if nothing is there."""
        data = self._receive(self._at_once)
        self.can_wait = bool(self._at_once and data)
        return data

    def wait_and_receive(self) -> bytes | None:
        """Do the same, but wait for `SLICE` if nothing is there."""
        data = self._receive(0)
        self.can_wait = bool(data)
        return data

    def _receive(self, flags: int) -> bytes | None:
        taken, size = 0, _MUCH
        try:
            if self._is_flooded:
                # To copy as much takes longer than to allocate it.
                data = self.sock.recv(_MOST, flags)
                self._is_flooded = len(data) >= _FEW
                return data
            # The sooner the end of a reply is known, the sooner the next read is on its way.
            while size >= _MUCH and taken < len(self._room):
                size = self.sock.recv_into(self._room[taken:], 0, flags)
                taken += size
                flags = self._at_once
        except self._would_block:
            if not taken:
                self._is_flooded = False
                return None
        except OSError:
            # What has come before is to be taken in first; then it is raised again.
            if not taken:
                raise
        data = bytes(self._room[:taken])
        if taken == len(self._room):
            self._is_flooded = taken == _MOST
            if not self._is_flooded:
                self._room = memoryview(bytearray(4 * taken))
        return data

    def send(self, data: bytes = b"") -> None:
        """Send, after what is unsent yet; what the kernel does not take is kept."""
        unsent = self.unsent + data if self.unsent else data
        try:
            while unsent:
                unsent = unsent[self.sock.send(unsent, self._at_once) :]
        except self._would_block:
            pass
        self.unsent = unsent

    def close(self) -> None:
        """Close it; what is unsent is dropped."""
        self.sock.close()


class TlsTransport(Transport):
    """An open connection over TLS, which decrypts more than it was asked for."""

    sock: SSLSocket

    def has_pending(self) -> bool:
        """Whether decrypted bytes are left."""
        return self.sock.pending() > 0


def connecting(options: ConnectionOptions) -> Connecting[Transport]:
    """Make a connection, to the first of the host's addresses that takes one, step by step.

    It yields what to wait for, and until when at most (by `time.monotonic`; None for
    ever), and is to be sent whether that came. Closing it frees what it has.

    Raises:
        OSError: None of them does; the last one's error.
    """
    failure = OSError("the host has no addresses")
    for family, address in _addresses(options):
        try:
            return (yield from _open(family, address, options))
        except OSError as error:  # also a family that this machine has not
            failure = error
    raise failure


def _addresses(options: ConnectionOptions) -> list[tuple[int, Any]]:
    if options.unix_socket_path is not None:
        return [(socket.AF_UNIX, options.unix_socket_path)]
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{options.host!r} is no host name: {error}") from error
    return [(family, address) for family, _, _, _, address in found]


def _open(family: int, address: Any, options: ConnectionOptions) -> Connecting[Transport]:
    timeout = options.connect_timeout
    deadline = None if timeout is None else monotonic() + timeout

    def until_ready(sock: socket.socket, events: int) -> Connecting[None]:
        if not (yield sock, events, deadline):
            raise TimeoutError(f"no answer within {timeout:g} s")

    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if options.ssl_context is not None:
            # Of one that is reset before that, Python would lose the descriptor.
            sock = options.ssl_context.wrap_socket(
                sock, server_hostname=options.host, do_handshake_on_connect=False
            )
        return (yield from _connect(sock, address, options, until_ready))
    except BaseException:
        sock.close()
        raise


def _connect(
    sock: socket.socket,
    address: Any,
    options: ConnectionOptions,
    until_ready: Callable[[socket.socket, int], Connecting[None]],
) -> Connecting[Transport]:
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK) and sock.family != socket.AF_UNIX:
        yield from until_ready(sock, WRITE)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    _raise(code)
    if sock.family != socket.AF_UNIX:
        # Requests are small, and each is waited for.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, options.socket_keepalive)
    if options.ssl_context is None:
        _block_for_a_moment(sock)
        return Transport(sock, (BlockingIOError, InterruptedError))
    return (yield from _secure(sock, until_ready))


def _block_for_a_moment(sock: socket.socket) -> None:
    """Have a socket block for `SLICE` at most when it receives, if the system can do that."""
    if not _AT_ONCE:
        return
    time = struct.pack("@ll", 0, int(SLICE * 1_000_000))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time)
        # On macOS MSG_DONTWAIT does not apply to what is sent.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, time)
    except OSError:
        return  # its struct timeval is another
    sock.setblocking(True)
    is_bounded = any(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, len(time)))
    # One that only pretends to block, as gevent's, would wait for ever.
    if not (is_bounded and os.get_blocking(sock.fileno())):
        sock.setblocking(False)


def _raise(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))


def _secure(
    sock: Any, until_ready: Callable[[socket.socket, int], Connecting[None]]
) -> Connecting[Transport]:
    from ssl import SSLWantReadError, SSLWantWriteError

    while True:
        try:
            sock.do_handshake()
        except SSLWantReadError:
            yield from until_ready(sock, READ)
        except SSLWantWriteError:
            yield from until_ready(sock, WRITE)
        except OSError as error:
            if error.errno == errno.ENOTCONN:  # any more; why, the system knows
                _raise(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            raise
        else:
            return TlsTransport(sock, (SSLWantReadError, SSLWantWriteError))
