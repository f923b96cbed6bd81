"""Peers that follow a script instead of being a server, and peers that do nothing.

``with Peer([Expect("XREAD"), b"*-1\\r\\n", CLOSE]) as peer: ...``, then connect to
``peer.port``. A script may also be a function that is given the `Conversation`.
"""

from __future__ import annotations

import atexit
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from functools import cache
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tests.resp import CommandParser, encode
from tests.servers import LONG, free_port, keep_port

if TYPE_CHECKING:
    from typing import Self


class Step(Enum):
    """Steps of scripts without more to say."""

    CLOSE = "close"
    RESET = "reset"
    SILENT = "silent"


CLOSE, RESET, SILENT = Step


class Expect:
    """The step that waits for a command, and for one that starts with these words."""

    def __init__(self, *words: str | bytes) -> None:
        self.words = words


class Gone(Exception):
    """The client has closed the connection, which is no failure of a script."""


class Conversation:
    """One connection, as the script sees it. What is left open stays so, and silent.

    Attributes:
        number: 0 for the first connection to the peer, 1 for the second, and so on.
    """

    def __init__(self, sock: socket.socket, number: int, record: Callable[..., None]) -> None:
        self.number = number
        self.over = Event()
        self._sock = sock
        self._record = record
        self._parser = CommandParser()
        self._commands: list[list[bytes]] = []

    def expect(self, *words: str | bytes) -> list[bytes]:
        """Wait for a command, and for one that starts with these words."""
        self._sock.settimeout(LONG)
        while not self._commands:
            try:
                self._receive()
            except TimeoutError:
                raise AssertionError(f"nothing within {LONG} s, expected {words}") from None
        command = self._commands.pop(0)
        wanted = [word if isinstance(word, bytes) else word.encode() for word in words]
        assert command[: len(wanted)] == wanted, f"got {command}, expected {wanted}"
        return command

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.sendall(data)

    def reply(self, value: Any) -> None:
        """Send a value: see `encode`."""
        self.send(encode(value))

    def wait_for_bytes(self, seconds: float | None = None) -> bool:
        """Wait until something has come, commands or not; it is not read.

        Args:
            seconds: How long at most, where nothing need come; None is until it does.

        Returns:
            Whether something is there to be read.
        """
        if self._commands:
            return True
        self._sock.settimeout(LONG if seconds is None else seconds)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            if seconds is None:
                raise
            return False
        finally:
            self._sock.settimeout(LONG)
        return True

    def pause(self, seconds: float) -> None:
        """Do nothing for a time, or until the peer ends."""
        if self.over.wait(seconds):
            raise Gone

    def close(self) -> None:
        """Close the connection; what the client has sent meanwhile is read first."""
        # Unread, it would turn the end into a reset; it may be TLS, and so no commands.
        with suppress(OSError, Gone, ValueError):
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.setblocking(False)
            for _ in range(100):
                self._receive()
        self._sock.close()

    def reset(self) -> None:
        """Close the connection with a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def stay_silent(self) -> None:
        """Read what comes, and answer nothing to it."""
        self._sock.settimeout(None)
        while True:  # until the client or the peer ends it
            with suppress(ValueError):  # which TLS may be, where it happens to have a line's end
                self._receive()

    @property
    def closed(self) -> bool:
        return self._sock.fileno() < 0

    def end(self) -> None:
        """End the connection, from another thread too."""
        self.over.set()
        with suppress(OSError):  # the script has closed it
            self._sock.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise Gone
        commands = self._parser.feed(data)
        self._commands += commands
        self._record(commands)


Script = Callable[[Conversation], object] | Sequence[Any]


class Peer:
    """Listens on loopback and follows a script with each connection.

    Of several scripts each connection takes the next, and the last one is for all others.
    The steps of a script are: `Expect`, bytes to send, any other value to encode and send,
    CLOSE, RESET, and SILENT, which is what comes after the last step too.

    A script that fails, by an unexpected command say, fails the `with` block.

    Args:
        host: The loopback address to listen on.
        port: The port there; 0 for any that is free.
        unix_socket: The path of a unix socket to listen on instead.

    Attributes:
        commands: All that clients have sent.
        connections: How many have been accepted.
        completed: How many scripts have come to their end.
    """

    def __init__(
        self,
        *scripts: Script,
        host: str = "127.0.0.1",
        port: int = 0,
        unix_socket: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.unix_socket = unix_socket
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self.completed = 0
        self._scripts = scripts
        self._failures: list[BaseException] = []
        self._ended = False
        self._conversations: list[Conversation] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        listener = self._listen()
        listener.settimeout(0.01)
        self._threads.append(Thread(target=self._accept, args=(listener,), daemon=True))
        self._threads[0].start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        if self._failures and kind is None:
            raise self._failures[0]

    def close(self) -> None:
        """End all connections, and take no more."""
        self._ended = True
        self._threads[0].join(LONG)
        for conversation in self._conversations:
            conversation.end()
        for thread in self._threads:
            thread.join(LONG)

    def _listen(self) -> socket.socket:
        if self.unix_socket is not None:
            return socket.create_server(self.unix_socket, family=socket.AF_UNIX)
        listener = socket.create_server((self.host, self.port or free_port()))
        self.port = listener.getsockname()[1]
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._ended:
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                conversation = Conversation(sock, self.connections, self.commands.extend)
                self._conversations.append(conversation)
                self._threads.append(
                    Thread(target=self._converse, args=(sock, conversation), daemon=True)
                )
                self.connections += 1
                self._threads[-1].start()

    def _converse(self, sock: socket.socket, conversation: Conversation) -> None:
        script = self._scripts[min(conversation.number, len(self._scripts) - 1)]
        try:
            with sock:
                if self.unix_socket is None:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._follow(script, conversation)
                self.completed += 1
                if not conversation.closed:
                    conversation.stay_silent()
        except (Gone, ConnectionError):
            pass
        except BaseException as failure:  # noqa: BLE001 - it is raised where the test sees it
            self._failures.append(failure)

    def _follow(self, script: Script, conversation: Conversation) -> None:
        if callable(script):
            script(conversation)
            return
        for step in script:
            if isinstance(step, Expect):
                conversation.expect(*step.words)
            elif isinstance(step, bytes):
                conversation.send(step)
            elif step is CLOSE:
                conversation.close()
            elif step is RESET:
                conversation.reset()
            elif step is not SILENT:
                conversation.reply(step)


@contextmanager
def deaf_port(*, full: bool = False) -> Iterator[int]:
    """Listen and never accept: connections open, and nothing ever comes.

    With `full` the queue of connections is full, so that even connecting hangs.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(0 if full else 64)
        if full:
            _fill(listener.getsockname(), stack)
        yield listener.getsockname()[1]


def _fill(address: tuple[str, int], stack: ExitStack) -> None:
    for _ in range(64):
        sock = stack.enter_context(socket.socket())
        sock.settimeout(0.5)  # a connection that can be is made at once
        try:
            sock.connect(address)
        except TimeoutError:
            return
    raise AssertionError("64 connections were opened, expected that a queue of none is full")


@cache
def closed_port() -> int:
    """Find a loopback port where nobody listens, and nobody will: the same each time."""
    port = free_port()
    atexit.register(keep_port(port).close)
    return port
