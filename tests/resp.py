"""RESP for tests: a plain blocking client, and what scripted peers send and read.

The bytes are made and read by `pystreamredis.protocol`, which fuzz/conformance.json compares
with bytes that are written out by hand.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any

from pystreamredis import protocol
from pystreamredis.protocol import NEED_DATA, Parser, Push, ServerError, Typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    Argument = str | bytes | int | float

__all__ = ["NULL", "Error", "Push", "Simple", "encode"]  # what scripts of peers send

Error = ServerError
NULL = Typed(b"_", None)  # RESP3's; None is encoded as the null array of RESP2


class CommandError(Exception):
    """An error reply."""


def Simple(text: str) -> Typed:  # noqa: N802  # as the classes beside it
    """Make a simple string."""
    return Typed(b"+", text)


def Attribute(pairs: dict[Any, Any]) -> Typed:  # noqa: N802
    """Make attributes, which stand before a reply."""
    return Typed(b"|", pairs)


def encode(value: Any) -> bytes:
    """Make the bytes of a reply."""
    return protocol.encode(Typed(b"*", None) if value is None else value)


def encode_command(*args: Argument) -> bytes:
    """Make the bytes of a command; any argument may be a number."""
    return protocol.encode_command(*(a if isinstance(a, bytes) else str(a) for a in args))


class CommandParser:
    """Takes in what clients send, in pieces of any size, and gives the commands."""

    def __init__(self) -> None:
        self._parser = Parser()

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Take in bytes; give the commands that are complete now."""
        self._parser.feed(data)
        commands = []
        while (command := self._parser.next_value()) is not NEED_DATA:
            if type(command) is not list or not all(type(word) is bytes for word in command):
                raise ValueError(f"got {command!r}, expected a command")
            commands.append(command)
        return commands


class ReplyScanner:
    """Takes in what a server sends, in pieces of any size, and finds where replies end.

    Attributes:
        reply: What has come of the reply that is not complete yet.
    """

    def __init__(self) -> None:
        self.reply = b""
        self._parser = Parser()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in bytes; give the replies that are complete now, one after the other."""
        parser, replies, start = self._parser, [], self._parser.buffer.fed - len(self.reply)
        self.reply += data
        parser.feed(data)
        while parser.next_value() is not NEED_DATA:
            size = parser.consumed - start
            replies.append(self.reply[:size])
            self.reply = self.reply[size:]
            start += size
        return replies


class Client:
    """A blocking connection: to a host and port, or to a unix socket's path.

    Simple and bulk strings come as bytes, error replies are raised as CommandError.
    """

    def __init__(self, host: str, port: int | None = None, *, timeout: float = 60.0) -> None:
        if port is None:
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.settimeout(timeout)
        self._parser = Parser()
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
        return bool(len(self._parser.buffer) or select.select([self.sock], [], [], 0)[0])

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
        while (value := self._parser.next_value()) is NEED_DATA:
            data = self.sock.recv(65536)
            if not data:
                seen = self._parser.expecting()
                raise ConnectionError(f"the server closed the connection after {seen}")
            self._parser.feed(data)
        return _with_errors(value)


def _with_errors(value: Any) -> Any:
    if isinstance(value, ServerError):
        return CommandError(value.text)
    return list(map(_with_errors, value)) if type(value) is list else value
