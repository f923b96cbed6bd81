"""Whole messages written to a file, and the number of them that were written.

Where a write could block, in pipes and terminals, no more is written at once than fits. So a
signal can end the command at any time, and the number of written messages is known. Up to that
size a line gets into a pipe as a whole or not at all.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from itertools import accumulate
from time import monotonic

from .signals import can_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Size that a pipe takes without blocking when it is writable.
_FITS = getattr(select, "PIPE_BUF", 512)
# Time to finish a line that is begun when a signal ends the command, in seconds.
LINE_GRACE = 1.0
_NEWLINE = ord("\n")
# Errors of a write after the reader has gone.
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)


class Output:
    """Writes lines, as long as `wait` returns that the file is writable.

    Attributes:
        is_gone: True if the reader has gone.
        failure: The error that ended writing otherwise.
        is_file: True if it is a regular file.
        is_pipe: True if it is a pipe or a socket.
        is_terminal: True if it is a terminal.
    """

    def __init__(self, fd: int, wait: Callable[[int], bool]) -> None:
        self.is_gone: bool = False
        self.failure: OSError | None = None
        self._fd = fd
        self._wait = wait
        mode = os.fstat(fd).st_mode
        self.is_file: bool = stat.S_ISREG(mode)
        self.is_pipe: bool = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self.is_terminal: bool = os.isatty(fd)
        self._blocks = self.is_pipe or self.is_terminal

    @property
    def has_ended(self) -> bool:
        """True if no more can be written."""
        return self.is_gone or self.failure is not None or self._has_no_reader()

    @property
    def is_empty(self) -> bool:
        """True if the file has no content, and for everything but regular files."""
        return not self.is_file or os.fstat(self._fd).st_size == 0

    def write(self, lines: Sequence[str]) -> int:
        """Write lines; return the number of lines that were written as a whole."""
        data = memoryview("".join(lines).encode("utf-8", "surrogateescape"))
        sent = self._send(data)
        if sent == len(data):
            return len(lines)
        sizes = (len(line.encode("utf-8", "surrogateescape")) for line in lines)
        return sum(end <= sent for end in accumulate(sizes))

    def sync(self) -> None:
        """Make the content of a regular file survive a crash of the machine.

        Raises:
            OSError: The file cannot be synced.
        """
        if self.is_file:
            os.fsync(self._fd)

    def _has_no_reader(self) -> bool:
        """Return whether a pipe has no reader, without writing."""
        if not self.is_pipe or os.name != "posix":
            return False
        poll = select.poll()
        poll.register(self._fd, 0)
        return bool(poll.poll(0))

    def _send(self, data: memoryview) -> int:
        sent = 0
        try:
            while sent < len(data):
                if self._blocks and not self._wait(self._fd):
                    return self._finish_line(data, sent)
                sent += os.write(self._fd, self._next_piece(data, sent))
        except OSError as error:
            if error.errno in _GONE:
                self.is_gone = True
            else:
                self.failure = error
        return sent

    def _finish_line(self, data: memoryview, sent: int) -> int:
        """Write the rest of a line that is begun, unless the reader is too slow."""
        if not sent or data[sent - 1] == _NEWLINE:
            return sent
        end = sent + bytes(data[sent:]).index(_NEWLINE) + 1
        deadline = monotonic() + LINE_GRACE
        while sent < end and can_write(self._fd, deadline - monotonic()):
            sent += os.write(self._fd, data[sent : min(end, sent + _FITS)])
        return sent

    def _next_piece(self, data: memoryview, start: int) -> memoryview:
        """Return the part to write next: whole lines, as far as they fit."""
        if not self._blocks or len(data) - start <= _FITS:
            return data[start:]
        piece = data[start : start + _FITS]
        end = bytes(piece).rfind(b"\n") + 1
        return piece[: end or _FITS]
