"""Remarks of the command on stderr, and on a terminal a line of progress."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

from ..escaping import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Go to the left edge, and erase everything from there on.
_ERASE = "\r\x1b[K"
_DEFAULT_WIDTH = 80


class Diagnostics(logging.Handler):
    """Writes to stderr, also the records that the library logs.

    Attributes:
        is_terminal: True if stderr is a terminal.
        has_connected: True if the library has logged a connection. A failure before that ends the
            command, and is reported as its end.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.is_terminal: bool = os.isatty(2)
        self.has_connected: bool = False
        self._has_line = False

    def emit(self, record: logging.LogRecord) -> None:
        """Report a record of the library: a lost connection, a new one, a gap."""
        if self.has_connected:
            self.report(record.getMessage())
        self.has_connected = self.has_connected or record.levelno == logging.INFO

    def report(self, text: str) -> None:
        """Write a remark on a line of its own, with unsafe characters escaped."""
        self.erase()
        _write(f"pystreamredis: {escape(text)}\n")

    def show(self, line: Callable[[int], str]) -> None:
        """Write the line of progress, made for so many columns, over the one before."""
        # A character in the last column moves the cursor to the next line of some terminals.
        _write(_ERASE + line(_columns() - 1))
        self._has_line = True

    def erase(self) -> None:
        """Remove the line of progress."""
        if self._has_line:
            _write(_ERASE)
            self._has_line = False


def _columns() -> int:
    with suppress(OSError):
        return os.get_terminal_size(2).columns or _DEFAULT_WIDTH
    return _DEFAULT_WIDTH


def _write(text: str) -> None:
    # A stderr that is closed has no number any more, but for others.
    if sys.stderr is None:
        return
    # Not by the stream's own method, which a signal's handler may have interrupted in itself. A
    # stderr that is broken does not end the command.
    with suppress(OSError):
        os.write(2, text.encode(sys.stderr.encoding or "utf-8", "backslashreplace"))
