"""Signs of life for operators: streams without messages, figures, and a file that is touched."""

from __future__ import annotations

import os

from .clock import local_time, ms_of
from .progress import FIRST_CLOCK, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# Number of streams that a remark names.
_NAMED = 3
_EMPTY = "0-0"
# End of the position from which all of the next ms is read.
_END_OF_MS = f"-{2**64 - 1}"
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
    if began.endswith(_END_OF_MS):
        return text or f" since {local_time(ms_of(began) + 1)}"
    return text or f" after {began}"


class Monitor:
    """The state of the reading: as a line of figures, and as the age of a file.

    Args:
        stats: `Streams.stats`.
        path: The file to touch after answers of the server; None for none.
        now: The current time, in seconds since the epoch: the connection was just made.

    Raises:
        OSError: The file cannot be touched.
    """

    def __init__(self, stats: Callable[[], dict[str, Any]], path: str | None, now: float) -> None:
        self._stats = stats
        self._path = path
        self._connected_at = self._touched_at = now
        if path is not None:
            _touch(path)

    def touch(self, now: float) -> None:
        """Touch the file if the server has answered since it was touched, at most once a second.

        Raises:
            OSError: The file cannot be touched. It is not tried again.
        """
        if self._path is None or now - self._touched_at < _TOUCH_EVERY:
            return
        answered = self._stats()["answered"]
        if answered is None or now - answered <= self._touched_at:
            return
        path, self._path = self._path, None
        _touch(path)
        self._path, self._touched_at = path, now

    @property
    def newest(self) -> dict[str, str]:
        """The ID of the newest entry received of each stream, printed or not; or its start."""
        streams = self._stats()["streams"]
        return {str(name): str(figures["last"]) for name, figures in streams.items()}

    def line(self, now: float, count: int, positions: Mapping[str, str]) -> str:
        """Format the figures: the connection, the number of messages, and where streams are."""
        stats = self._stats()
        answered = stats["answered"]
        if answered is None:
            answered = now - self._connected_at
        newest = self.newest
        places = [_place(name, at, newest.get(name, at), now) for name, at in positions.items()]
        if len(places) > _NAMED:
            places[_NAMED:] = [f"{len(places) - _NAMED} more"]
        return (
            f"{'connected' if stats['connected'] else 'not connected'}, "
            f"last answer {duration(answered)} ago, {_count(stats['outages'], 'outage')}, "
            f"{_count(stats['gaps'], 'gap')}, {_count(count, 'message')}; {', '.join(places)}"
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _place(name: str, position: str, newest: str, now: float) -> str:
    ms, behind = ms_of(position), ms_of(newest) - ms_of(position)
    notes = [f"{duration(now - ms / 1000)} old"] if ms >= FIRST_CLOCK else []
    if ms >= FIRST_CLOCK and behind > 0:
        notes.append(f"{duration(behind / 1000)} behind")
    return f"{name!r} at {position}" + (f" ({', '.join(notes)})" if notes else "")


def _touch(path: str) -> None:
    try:
        os.utime(path)
    except FileNotFoundError:
        # It is not opened if it is there: that of a named pipe would wait.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
