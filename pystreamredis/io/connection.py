"""One connection: how it is made, used and ended. TCP, TLS or a unix socket.

It never blocks: it says which socket to watch, and is called when that is ready. What the bytes
mean, its session knows.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import suppress
from time import monotonic

from ..core.events import Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Protocol, TypeAlias

    from ..core.assignment import Assignment
    from ..core.reader import Reader
    from ..core.session import Session
    from ..options import ConnectionOptions

    class LookUp(Protocol):
        """The outcome of a look-up, which may still be to come."""

        def done(self) -> bool:
            """Return True if the outcome is there."""
            ...

        def result(self) -> Any:
            """Return the outcome, or raise what went wrong."""
            ...

        def cancel(self) -> object:
            """Take note that nobody needs the outcome any more."""
            ...

    class Watcher(Protocol):
        """A poller, which watches sockets."""

        def watch(self, sock: socket.socket, events: int, owner: Connection) -> None:
            """Watch a socket for its owner from now on."""
            ...

        def forget(self, sock: socket.socket) -> None:
            """Stop watching a socket."""
            ...

        def look_up(self, function: Callable[[], Any], owner: Connection) -> LookUp:
            """Call what may block; the owner has to respond when that is done."""
            ...

    Addresses: TypeAlias = list[tuple[int, Any]]
    Steps: TypeAlias = Generator[tuple[socket.socket, int], bool | None, None]

READ, WRITE = 1, 2
"""Events to watch a socket for."""

_FAMILY_UNIX = getattr(socket, "AF_UNIX", None)
# Bytes received by one call: usually, and while large replies come in.
_FEW = 65_536
_MOST = 1_048_576


class Connection:
    """A connection, from the look-up of its host to its end.

    Attributes:
        session: The session over it; None until it is open.
        deadline: Time until which it has to be open; None for ever.

    Args:
        reader: Whoever wants it.
        assignment: The streams to read over it, and where.
        poller: Whoever watches its socket.
    """

    def __init__(self, reader: Reader, assignment: Assignment, poller: Watcher) -> None:
        self._reader = reader
        self._assignment = assignment
        self._poller = poller
        self.session: Session | None = None
        self.deadline: float | None = None
        self._look_up: LookUp | None = None
        self._addresses: Addresses = []
        # The address that is tried, or was.
        self._index = 0
        self._steps: Steps | None = None
        self._sock: Any = None
        self._would_block: tuple[type[OSError], ...] = BlockingIOError, InterruptedError
        self._is_tls = False
        self._unsent = b""
        self._size = _FEW
        # The look whether anything can be received, where there is one: it takes less than to
        # receive nothing.
        self._look: Callable[[int], list[tuple[int, int]]] | None = None
        # Pieces that were received before anybody asked for them, and the error after them.
        self._fetched: list[bytes | OSError] = []
        # True while the session has more to read than it has read.
        self._has_more = False

    def begin(self) -> None:
        """Begin to connect."""
        self._assignment.is_connecting = True
        options = self._assignment.options
        self._set_deadline(options)

        def look_up() -> tuple[ConnectionOptions, Addresses]:
            located = options.located()
            return located, _addresses_of(located)

        if options.finds_host or not (options.unix_socket_path or _is_numeric(options.host)):
            try:
                self._look_up = self._poller.look_up(look_up, self)
            except Exception as error:  # noqa: BLE001 - there may be no thread for it
                self._fail(error)
        else:
            self._looked_up(look_up)

    def respond(self) -> bool:
        """Go on: the socket is ready, or the look-up is done.

        Returns:
            True if more bytes can be had that no poller sees.
        """
        session = self.session
        if session is None:
            self._go_on_connecting()
            return False
        if self._sock is None or session.phase is Phase.CLOSED:
            return False
        self._reader.active[self._assignment] = None
        if self._look_up is not None and self._look_up.done():
            look_up, self._look_up = self._look_up, None
            session.dialogue.log_in(look_up.result)
        else:
            self._take_in(session, monotonic())
        if self._unsent:
            self.flush()
        if self.session is None or self.session.phase is Phase.CLOSED:
            self.close()
            return False
        return self._has_more or bool(self._fetched) or (self._is_tls and self._sock.pending() > 0)

    def _take_in(self, session: Session, now: float) -> None:
        """Pass on what was received, or what the session has not read of it yet."""
        data = b""
        if not self._has_more:
            received = self._fetched.pop(0) if self._fetched else self._receive()
            if received is None:
                return
            if not received or isinstance(received, OSError):
                session.lose(now, received or None)
                return
            data = received
        if session.receive(data, now):
            if session.outgoing:
                self.flush()
            self._has_more = session.process()

    def expire(self) -> None:
        """Give up: it is not open by the deadline."""
        if self._steps is not None:
            self._go_on(is_ready=False)
        else:
            self._fail(_timed_out(self._assignment.options))

    def send(self) -> bool:
        """Send what the session has to send; return True if it has received something first."""
        session, look = self.session, self._look
        is_silent = look is not None and not self._fetched and not look(0)
        if is_silent or session is None or not session.expects_nothing:
            self.flush()
            return False
        self.fetch()
        early, self._fetched = self._fetched, []
        for data in early:
            if isinstance(data, OSError):
                session.lose(monotonic(), data)
            elif data:
                session.receive_early(data, monotonic())
            else:
                session.lose(monotonic())
        self.flush()
        while early and session.phase is not Phase.CLOSED and session.process():
            pass
        return bool(early)

    def flush(self) -> None:
        """Send what the session has to send."""
        session = self.session
        if session is None or self._sock is None:
            return
        data = session.take_outgoing(monotonic()) if session.outgoing else b""
        was_full = bool(self._unsent)
        if was_full:
            data = self._unsent + data
        try:
            self._unsent = data[self._sock.send(data) :] if data else b""
        except self._would_block:
            self._unsent = data
        except OSError:
            # Replies up to here are still to be read; what ends them says why.
            self._unsent = b""
        if was_full or self._unsent:
            try:
                self._poller.watch(self._sock, READ | WRITE if self._unsent else READ, self)
            except OSError as error:
                session.lose(monotonic(), error)
                self.close()

    def fetch(self) -> bool:
        """Receive before anybody asks, up to 4 pieces; return False if nothing more should be."""
        if self.session is None or self._sock is None:
            return False
        if self._unsent or len(self._fetched) >= 4:
            return False
        data = self._receive()
        if data is not None:
            self._fetched.append(data)
        return data != b"" and not isinstance(data, OSError)

    def break_off(self, error: OSError) -> None:
        """End it for this reason, once what was received is processed."""
        if self.session is None:
            self._fail(error)
        else:
            self._fetched.append(error)

    def close(self) -> None:
        """End it, also if it is still being made."""
        self._assignment.is_connecting = False
        self.deadline = None
        look_up, self._look_up = self._look_up, None
        if look_up is not None:
            look_up.cancel()
        self._unsent = b""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()
        self._close_socket()

    def close_if_over(self) -> bool:
        """End it if its session has ended; return True if it has."""
        if self.session is None or self.session.phase is not Phase.CLOSED:
            return False
        self.close()
        return True

    def _close_socket(self) -> None:
        # Not forgotten before it is closed: an interruption may come at any point.
        if self._sock is not None:
            try:
                self._poller.forget(self._sock)
            finally:
                self._sock.close()
            self._sock = None

    # Connecting.

    def _set_deadline(self, options: ConnectionOptions) -> None:
        if options.connect_timeout is not None:
            self.deadline = monotonic() + options.connect_timeout

    def _go_on_connecting(self) -> None:
        if self._look_up is not None:
            if self._look_up.done():
                look_up, self._look_up = self._look_up, None
                self._looked_up(look_up.result)
        elif self._steps is not None:
            self._go_on(is_ready=True)

    def _looked_up(self, outcome: Callable[[], tuple[ConnectionOptions, Addresses]]) -> None:
        assignment = self._assignment
        try:
            options, addresses = outcome()
        except Exception as error:  # noqa: BLE001 - a callable host may raise anything
            self._fail(error)
            return
        assignment.options = options
        self._set_deadline(options)
        turn = assignment.history.address_turn % len(addresses) if addresses else 0
        self._addresses = addresses[turn:] + addresses[:turn]
        self._steps = self._connect(options)
        self._go_on(is_ready=None)

    def _go_on(self, *, is_ready: bool | None) -> None:
        """Take one more step to connect."""
        steps = self._steps
        if steps is None:
            return
        try:
            sock, events = steps.send(is_ready)
            self._poller.watch(sock, events, self)
        except StopIteration:
            self._steps = self.deadline = None
            self._open()
        except Exception as error:  # noqa: BLE001 - whatever it is, others are not disturbed
            self._fail(error)

    def _open(self) -> None:
        assignment = self._assignment
        if len(self._addresses) > 1:
            assignment.history.address_turn += self._index
        try:
            self._poller.watch(self._sock, READ, self)
        except OSError as error:
            self._fail(error)
            return
        if not self._is_tls and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            self._look = poll.poll
        assignment.is_connecting = False
        ask = None if assignment.options.ask_credentials is None else self._ask
        self.session = self._reader.opened(monotonic(), assignment, self._address, ask)
        self.close_if_over()

    def _ask(self) -> None:
        """Have the caller's callable asked for credentials."""
        function = self._assignment.options.ask_credentials
        if function is not None:
            self._look_up = self._poller.look_up(function, self)

    def _fail(self, error: Exception) -> None:
        self.close()
        self._reader.not_opened(monotonic(), self._assignment, self._address, error)

    @property
    def _address(self) -> str:
        """The address of the peer, for people: the host, and which of its addresses."""
        address = self._assignment.options.address
        if len(self._addresses) > 1:
            address += f" ({self._addresses[self._index][1][0]})"
        return address

    def _connect(self, options: ConnectionOptions) -> Steps:
        """Connect to the first address that takes a connection.

        It yields a socket and what to wait for, and is sent True once that is there, or False
        after the deadline.

        Raises:
            OSError: No address does; the error of the last one.
        """
        failure = OSError("the host has no addresses")
        for index, (family, address) in enumerate(self._addresses):
            self._index = index
            try:
                yield from self._connect_to(family, address, options)
            except OSError as error:  # also a family that this machine does not have
                failure = error
                self._close_socket()
                self._set_deadline(options)
            else:
                return
        raise failure

    def _connect_to(self, family: int, address: Any, options: ConnectionOptions) -> Steps:
        context = options.make_ssl_context()
        self._sock = sock = socket.socket(family, socket.SOCK_STREAM)
        if context is not None:
            # Python would lose the descriptor of a socket that is reset before that.
            self._sock = sock = context.wrap_socket(
                sock, server_hostname=options.host, do_handshake_on_connect=False
            )
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK) and family != _FAMILY_UNIX:
            if not (yield sock, WRITE):
                raise _timed_out(options)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise _error(code)
        if family != _FAMILY_UNIX:
            # Requests are small, and each is waited for.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, options.socket_keepalive)
        if context is not None:
            self._set_deadline(options)
            yield from self._secure(sock, options)

    def _secure(self, sock: Any, options: ConnectionOptions) -> Steps:
        from ssl import SSLWantReadError, SSLWantWriteError

        self._is_tls = True
        self._would_block = SSLWantReadError, SSLWantWriteError
        while True:
            try:
                sock.do_handshake()
            except SSLWantReadError:
                events = READ
            except SSLWantWriteError:
                events = WRITE
            except OSError as error:
                if error.errno == errno.ENOTCONN:  # any more; the system knows why
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    raise _error(code) from error
                raise
            else:
                return
            if not (yield sock, events):
                raise _timed_out(options)

    # Receiving.

    def _receive(self) -> bytes | OSError | None:
        """Receive what has come: b"" at the end of the stream, None if there is nothing.

        An error is returned, since it may not be asked for yet.

        Memory for large replies is allocated by the system, which is faster than to keep it.
        """
        try:
            data: bytes = self._sock.recv(self._size)
        except self._would_block:
            self._size = _FEW
            return None
        except OSError as error:
            return error
        if len(data) < _FEW:
            self._size = _FEW
        elif self._size == _FEW:
            # The sooner the end of a reply is known, the sooner the next read is on its way.
            with suppress(OSError):  # which comes again
                data += self._sock.recv(_MOST)
            self._size = _MOST if len(data) > _MOST else _FEW
        return data


def _addresses_of(options: ConnectionOptions) -> Addresses:
    """List families and addresses.

    Raises:
        OSError: The host cannot be resolved.
    """
    if options.unix_socket_path is not None:
        if _FAMILY_UNIX is None:
            raise OSError("this system's Python has no unix sockets")
        return [(_FAMILY_UNIX, options.unix_socket_path)]
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{options.host!r} is not a host name: {error}") from error
    return [(family, address) for family, _, _, _, address in found]


def _is_numeric(host: str) -> bool:
    """Return True for an address of digits, which needs no look-up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host.partition("%")[0])
            return True
    return False


def _error(code: int) -> OSError:
    known: dict[int, str] | None = getattr(socket, "errorTab", None)
    if known is None:
        return OSError(code, os.strerror(code))
    # Windows numbers the errors of sockets in its own way, and strerror() knows none of them.
    import ctypes

    text: str = known.get(code) or vars(ctypes)["FormatError"](code)
    return OSError(code, text)


def _timed_out(options: ConnectionOptions) -> TimeoutError:
    return TimeoutError(f"no answer within {options.connect_timeout:g} s")
