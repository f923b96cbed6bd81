"""A TCP proxy on loopback that breaks connections in the ways that networks do.

``with Proxy(server.host, server.port) as proxy: ...``, then connect to ``proxy.port``. What
it does can be changed at any time, for connections that are open and for new ones.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from select import select
from threading import Lock, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Literal

from tests.resp import CommandParser, ReplyScanner
from tests.servers import LONG, free_port, keep_port

if TYPE_CHECKING:
    from typing import Self

    # Up goes what clients send, down goes what the server sends.
    Direction = Literal["up", "down"]

_POLL = 0.01  # seconds until a thread that waits sees that its work has changed
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass
class _Fault:
    """What happens at a byte, which is counted for each connection from now on."""

    offset: int
    action: Literal["close", "reset"] | bytes
    once: bool = False
    pattern: bytes = b""  # count from where that stands, wherever it does
    passed: Counter[_Link] = field(default_factory=Counter)


class Proxy:
    """Passes connections on to a server, or does not.

    Only one that reads replies, which must not be TLS, can add some or cut them.

    `port` stays the same, `commands` is what clients have sent, passed on or not, and
    `connections` is how many were accepted; `added` is how many replies too many were sent.
    """

    def __init__(
        self,
        upstream_host: str,
        upstream_port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        reads_replies: bool = False,
    ) -> None:
        self.upstream = (upstream_host, upstream_port)
        self.ssl_context = ssl_context
        self.reads_replies = reads_replies
        self.host = "127.0.0.1"
        self.port = free_port()
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self._links: list[_Link] = []
        self._listener: socket.socket | None = None
        self._kept_port: socket.socket | None = None
        self._lock = Lock()  # of the two above
        self._forget_faults()

    def _forget_faults(self) -> None:
        self.splits = False
        self.delays = 0.0
        self.silent: Literal["", "swallow", "hold"] = ""
        self.faults: dict[Direction, _Fault] = {}
        self.surplus: tuple[bytes, int] | None = None
        self.added = 0
        self.longest_reply: int | None = None

    def __enter__(self) -> Self:
        self._kept_port = keep_port(self.port)
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept_port is not None:
            self._kept_port.close()
        self.refuse()
        self.drop_all()

    def refuse(self) -> None:
        """Refuse new connections, until `heal`. Those that are open stay so."""
        self._accept()  # they are open for their clients
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

    def drop_all(self, *, reset: bool = False) -> None:
        """Close every connection now, or reset it."""
        self._accept()
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.ending = "reset" if reset else "close"
        for link in links:
            link.thread.join(LONG)

    def close_after(
        self, size: int, direction: Direction, *, reset: bool = False, once: bool = False
    ) -> None:
        """Let that many bytes through from now on, then close or reset the connection.

        With 0 it ends when the first byte would pass. `once`: only the first connection
        that gets that far.
        """
        self.faults[direction] = _Fault(size, "reset" if reset else "close", once)

    def corrupt(
        self, offset: int, direction: Direction, byte: bytes = b"\0", *, once: bool = False
    ) -> None:
        """Put another byte in the place of one, counted from now on; if empty, flip a bit of it.

        `once`: only in the first connection that gets that far.
        """
        self.faults[direction] = _Fault(offset, byte, once)

    def spoil(self, pattern: bytes, offset: int, byte: bytes) -> None:
        """Put another byte in the place of one within the next `pattern` that a server sends.

        Once: then "down" is in `faults` no more.
        """
        self.faults["down"] = _Fault(offset, byte, once=True, pattern=pattern)

    def add_replies(self, reply: bytes, every: int) -> None:
        """Send one reply too many with each n-th one that holds something, until `heal`.

        It is in front of those that come in one piece, and behind others.

        Args:
            reply: What to send; if empty, that one again.
            every: Which ones.
        """
        self.surplus = (reply, every)

    def cut_replies(self, size: int) -> None:
        """Let that many bytes of each reply through, then close the connection, until `heal`."""
        self.longest_reply = size

    def split(self) -> None:
        """Send each byte on its own."""
        self.splits = True

    def delay(self, seconds: float) -> None:
        """Pass nothing on before that time is over."""
        self.delays = seconds

    def silence(self, *, hold: bool = False) -> None:
        """Swallow what comes, with connections open; or hold it until `heal`."""
        self.silent = "hold" if hold else "swallow"

    def heal(self) -> None:
        """End all faults; connections that were closed stay so."""
        self._forget_faults()
        with self._lock:
            if self._listener is not None:
                return
            listener = self._listener = socket.create_server((self.host, self.port), backlog=64)
        Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while self._listener is listener:
            self._accept()
            sleep(_POLL)

    def _accept(self) -> None:
        """Accept all connections that wait for it."""
        with self._lock:
            while self._listener is not None and select([self._listener], [], [], 0)[0]:
                self.connections += 1
                self._links.append(_Link(self, self._listener.accept()[0]))


class _Link:
    """A connection and the thread that serves it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.ending: Literal["", "close", "reset"] = ""
        self._proxy = proxy
        self._parser = CommandParser()
        self._scanner = ReplyScanner()
        self._full_replies = 0
        self.thread = Thread(target=self._run, args=(client,), daemon=True)
        self.thread.start()

    def _run(self, client: socket.socket) -> None:
        # For clients, a server that cannot be reached is a closed connection.
        with suppress(OSError), socket.create_connection(self._proxy.upstream, LONG) as server:
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setblocking(False)
            if context := self._proxy.ssl_context:  # the first read shakes hands
                client = context.wrap_socket(
                    client, server_side=True, do_handshake_on_connect=False
                )
            self._pass_on(client, server)
        _close(client, reset=self.ending == "reset")

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        alive = [client, server]
        while not self.ending and (self._proxy.silent or len(alive) == 2):
            # TLS keeps nothing back from select(): a read below takes a whole record.
            readable = select(alive, [], [], _POLL)[0]
            if self._proxy.silent == "hold":
                sleep(_POLL)
                continue
            for source in readable:
                try:
                    data = source.recv(65536)
                except _NOT_YET:
                    continue
                except OSError:  # among them a reset
                    data = b""
                if not data:
                    alive.remove(source)
                elif source is client:
                    with suppress(ValueError):  # it is no RESP
                        self._proxy.commands += self._parser.feed(data)
                    self._pass(data, server, "up")
                else:
                    self._pass(data, client, "down")

    def _pass(self, data: bytes, target: socket.socket, direction: Direction) -> None:
        due = monotonic() + self._proxy.delays
        while monotonic() < due and self._proxy.delays and not self.ending:
            sleep(_POLL)
        if self._proxy.silent:
            return
        ending: Literal["", "close", "reset"] = ""
        if fault := self._proxy.faults.get(direction):
            whole = data
            data, ending = self._apply(fault, data)
            if fault.once and data is not whole and not ending:
                self._proxy.faults.pop(direction, None)
        if direction == "down" and self._proxy.reads_replies:
            data, cut = self._bend_replies(data)
            ending = ending or cut
        size = 1 if self._proxy.splits else 65536
        for start in range(0, len(data), size):
            self._send(target, data[start : start + size])
        self.ending = self.ending or ending
        if fault and ending and fault.once and self._proxy.faults.get(direction) is fault:
            del self._proxy.faults[direction]

    def _bend_replies(self, data: bytes) -> tuple[bytes, Literal["", "close"]]:
        """Add the reply that is too many, and cut the one that is too long."""
        passed, sent = len(self._scanner.reply), b""
        try:
            replies = self._scanner.feed(data)
        except ValueError:  # it was spoilt
            self._scanner = ReplyScanner()
            return data, ""
        longest = self._proxy.longest_reply
        for reply in [*replies, self._scanner.reply]:
            if longest is not None and len(reply) > longest:
                return sent + reply[passed : max(longest, passed)], "close"
            surplus = b""
            if reply in replies and _holds_something(reply):
                surplus = self._find_surplus(reply)
            # In front of it, where it was not begun: there it looks like its answer.
            sent += reply[passed:] + surplus if passed else surplus + reply
            passed = 0
        return sent, ""

    def _find_surplus(self, reply: bytes) -> bytes:
        if self._proxy.surplus is None:
            return b""
        self._full_replies += 1
        surplus, every = self._proxy.surplus
        if self._full_replies % every:
            return b""
        self._proxy.added += 1
        return surplus or reply

    def _apply(self, fault: _Fault, data: bytes) -> tuple[bytes, Literal["", "close", "reset"]]:
        at = fault.offset - fault.passed[self]
        if fault.pattern:
            found = data.find(fault.pattern)
            at = found + fault.offset if found >= 0 else -1
        fault.passed[self] += len(data)
        if isinstance(fault.action, bytes):
            if 0 <= at < len(data):
                byte = fault.action or bytes([data[at] ^ 1])
                data = data[:at] + byte + data[at + 1 :]
            return data, ""
        return (data, "") if at > len(data) else (data[:at], fault.action)

    def _send(self, target: socket.socket, data: bytes) -> None:
        while data and not self.ending:
            select([], [target], [], _POLL)
            with suppress(*_NOT_YET):
                data = data[target.send(data) :]


def _holds_something(reply: bytes) -> bool:
    return reply[:1] in b"*%" and reply[1:3] != b"0\r" and reply[1:2] != b"-"


def _close(sock: socket.socket, *, reset: bool) -> None:
    with sock, suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        sock.shutdown(socket.SHUT_WR)
        # What is left unread would turn the end into a reset.
        for _ in range(100):
            if not sock.recv(65536):
                return
