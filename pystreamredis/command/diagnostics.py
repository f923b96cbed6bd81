"""What the command says on stderr: remarks, and on a terminal a line of progress."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

from ..escaping import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# To the left edge, and nothing from there on.
_ERASE = "\r\x1b[K"
_WIDTH = 80  # where the terminal does not tell


class Diagnostics(logging.Handler):
    """Writes to stderr; what the library logs is told, too.

    Attributes:
        has_connected: Whether the library has logged so. Until then a failure is the
            end, and is told as such.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.is_terminal = os.isatty(2)
        self.has_connected = False
        self._has_line = False

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what was logged: a loss, a connection made again, a gap."""
        if self.has_connected:
            self.report(record.getMessage())
        self.has_connected = self.has_connected or record.levelno == logging.INFO

    def report(self, text: str) -> None:
        """Write a remark, without what a terminal would obey."""
        self.erase()
        _write(f"pystreamredis: {escape(text)}\n")

    def show(self, line: Callable[[int], str]) -> None:
        """Write the line of progress, made for so many columns, over the one before."""
        # In the last column of some terminals the cursor goes to the next line.
        _write(_ERASE + line(_columns() - 1))
        self._has_line = True

    def erase(self) -> None:
        """Remove the line of progress."""
        if self._has_line:
            _write(_ERASE)
            self._has_line = False


def _columns() -> int:
    with suppress(OSError):
        return os.get_terminal_size(2).columns or _WIDTH
    return _WIDTH


def _write(text: str) -> None:
    # Where nobody listens, there is nothing to be said.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()
