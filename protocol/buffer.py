"""Received bytes that were not understood yet.

Two things keep it linear, however small the pieces are that bytes come in: what
was fed is joined only when a reader has come to the end of what it has, and not
before enough has come for that reader to get any further.
"""

from __future__ import annotations

from collections import deque

from .errors import ProtocolError

# Bytes of a peer that an error shows.
MAX_SHOWN = 100
# The longest line: errors and simple strings are lines, and servers keep theirs
# far shorter; digits without end must not fill the memory.
MAX_LINE = 65_536


class Buffer:
    """Bytes in order: `data` from `pos` on is joined, the rest waits in pieces.

    Attributes:
        data: The bytes that can be read, some of them taken already.
        pos: Position of the first one that was not taken.
        fed: Number of all bytes fed.
    """

    __slots__ = ("_awaits_line", "_missing", "_pieces", "_waiting", "data", "fed", "pos")

    def __init__(self) -> None:
        self.data: bytes = b""
        self.pos: int = 0
        self.fed: int = 0
        self._pieces: deque[bytes] = deque()
        self._waiting = 0  # bytes in them
        # Number of bytes that must come before another look is of any use.
        self._missing = 0
        self._awaits_line = False

    @property
    def consumed(self) -> int:
        """Number of the bytes fed that were taken."""
        return self.fed - len(self)

    def __len__(self) -> int:
        return len(self.data) - self.pos + self._waiting

    def forget(self) -> bool:
        """Free the memory of what was taken if that is all there is; return whether it is."""
        if self.pos < len(self.data) or self._pieces:
            return False
        self.data = b""
        self.pos = 0
        return True

    def feed(self, data: bytes) -> None:
        """Take in bytes as they were received."""
        self.fed += len(data)
        if not self._pieces and self.pos == len(self.data):
            # There is nothing to join it to. What may change is copied.
            self.data = bytes(data)
            self.pos = self._missing = 0
            return
        if not data:
            return
        self._pieces.append(bytes(data))
        self._waiting += len(data)
        self._missing -= len(data)
        if self._awaits_line and b"\n" in data:
            self._missing = 0

    def join(self) -> bool:
        """Make all that came readable at `data`; False if nothing new can be read yet."""
        if self._missing > 0 or not self._pieces:
            return False
        rest = self.data[self.pos :]
        self.data = b"".join((rest, *self._pieces)) if rest else b"".join(self._pieces)
        self.pos = 0
        self._pieces.clear()
        self._waiting = 0
        self._missing = 0
        self._awaits_line = False
        return True

    def line(self, *, may_end_in_lf: bool = False) -> bytes | None:
        """Take the line at `pos`, without its CRLF; None while it is not all there."""
        while (end := self.data.find(b"\n", self.pos)) < 0:
            have = len(self.data) - self.pos
            if have > MAX_LINE:
                raise ProtocolError(f"line of more than {have} bytes, expected at most {MAX_LINE}")
            if not self.join():
                self._await_line(MAX_LINE + 1 - have)
                return None
        line = self.data[self.pos : end]
        if len(line) > MAX_LINE:
            raise ProtocolError(f"line of {len(line)} bytes, expected at most {MAX_LINE}")
        if line[-1:] != b"\r":
            if may_end_in_lf:
                self.pos = end + 1
                return line
            raise ProtocolError(f"line {excerpt(line)} ends in LF, expected CRLF")
        self.pos = end + 1
        return line[:-1]

    def block(self, size: int) -> bytes | None:
        """Take `size` bytes and their CRLF; None while they are not all there."""
        missing = size + 2 - (len(self.data) - self.pos)
        if missing > self._waiting:
            self._missing = missing - self._waiting
            self._awaits_line = False
            return None
        block = self._gather(size) if missing > 2 else self._slice(size)
        end = self._slice(2)
        if end != b"\r\n":
            raise ProtocolError(f"{end!r} after {size} bytes of a bulk string, expected CRLF")
        return block

    def _slice(self, size: int) -> bytes:
        if len(self.data) < self.pos + size:
            self.join()
        start = self.pos
        self.pos += size
        return self.data[start : self.pos]

    def _gather(self, size: int) -> bytes:
        """Take bytes that are in several pieces: each is copied once, unlike by `join`."""
        parts: list[bytes | memoryview] = [memoryview(self.data)[self.pos :]]
        missing = size - len(parts[0])
        while missing:
            piece = self._pieces.popleft()
            self._waiting -= len(piece)
            self.data, self.pos = piece, min(missing, len(piece))
            parts.append(piece if missing >= len(piece) else memoryview(piece)[:missing])
            missing -= self.pos
        return b"".join(parts)

    def peek(self, size: int = 1) -> bytes:
        """Return the next bytes, not taken; fewer if more are not there yet."""
        while len(found := self.data[self.pos : self.pos + size]) < size and self.join():
            pass
        return found

    def _await_line(self, missing: int) -> None:
        # A reader that asks again at the same place must not forget what came since.
        if self._missing <= 0:
            self._missing = missing
            self._awaits_line = True


def excerpt(data: bytes) -> str:
    """Describe `data` for the text of an error: its first bytes, escaped."""
    if len(data) <= MAX_SHOWN:
        return repr(data)
    return f"{data[:MAX_SHOWN]!r}... ({len(data)} bytes)"
