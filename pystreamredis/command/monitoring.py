"""Signs of life for operators: streams without messages, figures, and a file that is touched."""

from __future__ import annotations

import os

from .clock import ms_of
from .progress import FIRST_CLOCK, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Number of streams that a remark names.
_NAMED = 3
_EMPTY = "0-0"
# Time between two touches of the file, in seconds.
_TOUCH_EVERY = 1.0


def list_silent(
    began: Mapping[str, str], given: Mapping[str, object], now: Mapping[str, str], *, is_over: bool
) -> list[str]:
    """List remarks on streams without a message, the names of which may be misspelt.

    Args:
        began: The positions at the beginning.
        given: The starts as they were given; None for "now".
        now: The positions now.
        is_over: True if no message is waited for any more.
    """
    silent = [name for name in began if began[name] == now[name]]
    what = "no messages in" if is_over else "waiting for"
    remarks = [
        f"{what} {name!r}{_circumstances(given[name], began[name], is_over=is_over)}"
        for name in silent[:_NAMED]
    ]
    more = len(silent) - _NAMED
    return [*remarks, f"{what} {more} more stream{'s' if more > 1 else ''}"][: len(silent)]


def _circumstances(given: object, began: str, *, is_over: bool) -> str:
    text = ", from now on" if given is None and not is_over else ""
    if began == _EMPTY:
        return f"{text} (empty, or misspelt)"
    return text or f" after {began}"


class Monitor:
    """The state of the connection: as a line of figures, and as the age of a file.

    Args:
        path: The file to touch after answers of the server; None for none.
        now: The current time, in seconds since the epoch.

    Raises:
        OSError: The file cannot be touched. It is not tried again.
    """

    def __init__(self, path: str | None, now: float) -> None:
        self._path = path
        self._touched_at = 0.0
        self._answered_at = now
        self._is_connected = True
        self._outages = 0
        self.answered(now)

    def answered(self, now: float) -> None:
        """Take note of an answer of the server.

        Raises:
            OSError: The file cannot be touched. It is not tried again.
        """
        self._answered_at = now
        self._is_connected = True
        if self._path is None or now - self._touched_at < _TOUCH_EVERY:
            return
        path, self._path = self._path, None
        _touch(path)
        self._path, self._touched_at = path, now

    def failed(self) -> None:
        """Take note that the server cannot be reached."""
        self._outages += self._is_connected
        self._is_connected = False

    def line(self, now: float, count: int, positions: Mapping[str, str]) -> str:
        """Format the figures: the connection, the number of messages, and where streams are."""
        named = [_place(name, at, now) for name, at in [*positions.items()][:_NAMED]]
        if len(positions) > _NAMED:
            named.append(f"{len(positions) - _NAMED} more")
        outages = f"{self._outages} outage{'' if self._outages == 1 else 's'}"
        return (
            f"{'connected' if self._is_connected else 'not connected'}, "
            f"last answer {duration(now - self._answered_at)} ago, {outages}, "
            f"{count:,} messages; {', '.join(named)}"
        )


def _place(name: str, position: str, now: float) -> str:
    ms = ms_of(position)
    age = f" ({duration(now - ms / 1000)} old)" if ms >= FIRST_CLOCK else ""
    return f"{name!r} at {position}{age}"


def _touch(path: str) -> None:
    try:
        os.utime(path)
    except FileNotFoundError:
        # It is not opened if it is there: that of a named pipe would wait.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
