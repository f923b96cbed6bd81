"""Count the calls that a lone live message passes, from ``next()`` to its return.

A scripted server on a loopback port answers each blocking XREAD with one message, a moment after
the reader has begun to wait. `sys.setprofile` sees each call within the package.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import NamedTuple, Self

# The first messages meet a reader that is still learning what to expect.
WARM_UP = 20
MEASURED = 11
# Seconds: long enough for the reader to be waiting when the message comes.
_PAUSE = 0.01
_TIMEOUT = 10.0


class Passage(NamedTuple):
    """Figures of one message.

    Attributes:
        calls: Calls of functions of the package, resumptions of generators included.
        files: Files that these functions are in.
    """

    calls: int
    files: int


class Calls:
    """Counts the calls of functions that are defined below some folders."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(f"{folder.resolve()}/" for folder in folders)
        self._files: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def take(self) -> Passage:
        """Return the figures since the last time."""
        figures = Passage(self._counts.total(), len(self._counts))
        self._counts.clear()
        return figures

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count within this block, in this thread."""
        self._counts.clear()
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, *_: object) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            if name not in self._files:
                self._files[name] = str(Path(name).resolve())
            path = self._files[name]
            if path.startswith(self._folders):
                self._counts[path] += 1


class Server:
    """A server of one connection, which answers XREAD alone.

    Attributes:
        port: The loopback port it listens at.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_over = Event()
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; the reader must be closed before."""
        self._is_over.set()
        self._listener.close()
        self._thread.join(_TIMEOUT)

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # nobody came before the end
            return
        with connection:
            connection.settimeout(_TIMEOUT)
            try:
                for number, command in enumerate(_commands(connection), 1):
                    connection.sendall(self._answer(command, number))
            except OSError:
                return

    def _answer(self, command: list[bytes], number: int) -> bytes:
        words = [word.upper() for word in command]
        if words[0] != b"XREAD":
            return b"-ERR unknown command\r\n"
        if b"BLOCK" not in words:
            return b"*-1\r\n"
        self._is_over.wait(_PAUSE)
        stream = command[words.index(b"STREAMS") + 1]
        entry = [b"%d-0" % number, [b"field", b"value"]]
        return _encode([[stream, [entry]]])


def _encode(value: bytes | list[object]) -> bytes:
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(_encode, value))  # type: ignore[arg-type]


def _commands(connection: socket.socket) -> Iterator[list[bytes]]:
    with connection.makefile("rb") as file:
        while head := file.readline():
            command = []
            for _ in range(int(head[1:])):
                length = int(file.readline()[1:])
                command.append(file.read(length + 2)[:-2])
            yield command


def passages_by_next(streams: Iterator[object], calls: Calls) -> list[Passage]:
    """Measure messages that are asked for by ``next()``."""
    found = []
    for _ in range(WARM_UP + MEASURED):
        with calls.counting():
            next(streams)
        found.append(calls.take())
    return found[WARM_UP:]


def passages_by_for(streams: Iterable[object], calls: Calls) -> list[Passage]:
    """Measure messages that are asked for by a ``for`` loop."""
    found = []
    with calls.counting():
        for _ in streams:
            found.append(calls.take())
            if len(found) == WARM_UP + MEASURED:
                break
    return found[WARM_UP:]


def typical(passages: list[Passage]) -> Passage:
    """Return the most frequent figures; of those equally frequent, the larger ones."""
    counts = Counter(passages)
    return max(counts, key=lambda passage: (counts[passage], passage))
