"""RESP for tests: a plain blocking client, and reply bytes for scripted peers.

It is written apart from the library on purpose, so that both cannot share a mistake.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    Argument = str | bytes | int | float


class CommandError(Exception):
    """An error reply."""


class Error(NamedTuple):
    """To be encoded as an error reply."""

    text: str


class Simple(NamedTuple):
    """To be encoded as a simple string."""

    text: str


class Push(NamedTuple):
    """To be encoded as a RESP3 push."""

    items: Sequence[Any]


class Attribute(NamedTuple):
    """To be encoded as RESP3 attributes, which stand before a reply."""

    pairs: dict[Any, Any]


class Raw(NamedTuple):
    """Bytes that are to be sent as they are."""

    data: bytes


NULL = Raw(b"_\r\n")  # RESP3's; None is encoded as the null array of RESP2


def encode(value: Any) -> bytes:
    """Make the bytes of a reply: see the classes above for what Python has no type for."""
    if isinstance(value, Raw):
        return value.data
    if value is None:
        return b"*-1\r\n"
    if isinstance(value, (Error, Simple)):
        return (b"-" if isinstance(value, Error) else b"+") + value.text.encode() + b"\r\n"
    if isinstance(value, bool):
        return b"#t\r\n" if value else b"#f\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        return b",%b\r\n" % repr(value).encode()
    if isinstance(value, (str, bytes)):
        return _bulk(value)
    return _encode_aggregate(value)


def _encode_aggregate(value: Any) -> bytes:
    if isinstance(value, (dict, Attribute)):
        mark, pairs = (b"%", value) if isinstance(value, dict) else (b"|", value.pairs)
        items = [item for pair in pairs.items() for item in pair]
        return b"%b%d\r\n%b" % (mark, len(pairs), b"".join(map(encode, items)))
    if isinstance(value, Push):
        mark, items = b">", list(value.items)
    elif isinstance(value, (set, frozenset)):
        mark, items = b"~", sorted(value, key=repr)
    elif isinstance(value, (list, tuple)):
        mark, items = b"*", list(value)
    else:
        raise TypeError(f"cannot encode {type(value).__name__}, expected a kind of reply")
    return b"%b%d\r\n%b" % (mark, len(items), b"".join(map(encode, items)))


def encode_command(*args: Argument) -> bytes:
    """Make the bytes of a command: an array of bulk strings."""
    return b"*%d\r\n%b" % (len(args), b"".join(map(_bulk, args)))


def _bulk(value: Argument) -> bytes:
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


class CommandParser:
    """Takes in what clients send, in pieces of any size, and gives the commands."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Take in bytes; give the commands that are complete now."""
        self._data += data
        commands = []
        while (taken := self._take()) is not None:
            commands.append(taken)
        return commands

    def _take(self) -> list[bytes] | None:
        header, newline, rest = self._data.partition(b"\r\n")
        if not newline:
            return None
        words = []
        for _ in range(_count(header, b"*")):
            header, newline, rest = rest.partition(b"\r\n")
            if not newline:
                return None
            size = _count(header, b"$")
            if len(rest) < size + 2:
                return None
            words.append(rest[:size])
            rest = rest[size + 2 :]
        self._data = rest
        return words


class ReplyScanner:
    """Takes in what a server sends, in pieces of any size, and finds where replies end.

    Attributes:
        reply: What has come of the reply that is not complete yet.
    """

    def __init__(self) -> None:
        self.reply = b""
        # What is missing: bytes of a string, items of the aggregates around.
        self._skip = 0
        self._items: list[int] = []
        self._header = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take in bytes; give the replies that are complete now, one after the other."""
        replies, start, at = [], 0, 0
        while at < len(data):
            if self._skip:
                taken = min(self._skip, len(data) - at)
                self._skip -= taken
                at += taken
            else:
                end = data.find(b"\n", at) + 1 or len(data)
                self._header += data[at:end]
                at = end
                if not self._header.endswith(b"\n"):
                    break
                self._take_header()
            if not self._skip and not self._is_within():
                replies.append(self.reply + data[start:at])
                self.reply, start = b"", at
        self.reply += data[start:]
        return replies

    def _take_header(self) -> None:
        header, self._header = self._header.rstrip(), b""
        mark, number = header[:1], header[1:]
        if mark in b"$=!" and number != b"-1":
            self._skip = int(number) + 2
        elif mark in b"*~>%|" and number != b"-1":
            # Attributes stand before a reply, which is one more item.
            self._items.append(int(number) * (2 if mark in b"%|" else 1) + (mark == b"|") + 1)

    def _is_within(self) -> bool:
        """Count an item, and say whether some are missing."""
        while self._items:
            self._items[-1] -= 1
            if self._items[-1]:
                return True
            self._items.pop()
        return False


def _count(header: bytes, mark: bytes) -> int:
    if header[:1] != mark:
        raise ValueError(f"got {header[:40]!r}, expected {mark!r} and a number")
    return int(header[1:])


class Client:
    """A blocking RESP2 connection: to a host and port, or to a unix socket's path.

    Simple and bulk strings come as bytes, error replies are raised as CommandError.
    """

    def __init__(self, host: str, port: int | None = None, *, timeout: float = 60.0) -> None:
        if port is None:
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.settimeout(timeout)
        self._data = b""  # not makefile(), which is of no use after a timeout
        try:
            self.sock.connect(host if port is None else (host, port))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; more than once is fine."""
        self.sock.close()

    def is_stale(self) -> bool:
        """Whether anything has come that nobody asked for: mostly the end."""
        return bool(self._data or select.select([self.sock], [], [], 0)[0])

    def command(self, *args: Argument) -> Any:
        """Send a command and read its reply."""
        self.send(*args)
        return self.receive()

    def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Send all commands at once and read all replies; raise the first error, if any."""
        encoded = [encode_command(*command) for command in commands]
        self.sock.sendall(b"".join(encoded))
        replies = [self._read() for _ in encoded]
        for reply in replies:
            if isinstance(reply, CommandError):
                raise reply
        return replies

    def send(self, *args: Argument) -> None:
        """Send a command and leave its reply for later."""
        self.sock.sendall(encode_command(*args))

    def receive(self) -> Any:
        """Read one reply; an error inside of an array comes as a value."""
        reply = self._read()
        if isinstance(reply, CommandError):
            raise reply
        return reply

    def _read(self) -> Any:
        line = self._read_line()
        mark, rest = line[:1], line[1:]
        if mark == b"+":
            return rest
        if mark == b"-":
            return CommandError(rest.decode(errors="replace"))
        if mark not in b":$*":
            raise ValueError(f"got {line!r}, expected RESP2")
        number = int(rest)
        if mark == b":":
            return number
        if number < 0:
            return None
        if mark == b"*":
            return [self._read() for _ in range(number)]
        return self._read_exactly(number + 2)[:-2]

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._receive_more()
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def _read_exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._receive_more()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def _receive_more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError(f"the server closed the connection after {self._data[-99:]!r}")
        self._data += data
