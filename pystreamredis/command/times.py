"""Points in time as people type them: where a stream starts, and where reading ends."""

from __future__ import annotations

import re
from datetime import datetime

from ..ids import parse_start

_TIMES = "<ms>, an ISO date (2018-07-01, 2018-07-01T12:00), or how long ago (-15m, -2h, -7d)"
_STARTS = f"{_TIMES}, or $ or <ms>-<sequence>"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_is_ago = re.compile(r"-(?:[0-9]+[smhdw])+").fullmatch
_is_id = re.compile(r"[0-9]+(?:-[0-9]+)?").fullmatch


def is_ago(text: str) -> bool:
    """Whether it says how long ago: ``-15m``, ``-1h30m``."""
    return _is_ago(text) is not None


def parse_start(text: str, now: float) -> int | str | None:
    """Make a start value (contract 2.2) of ``$``, ``<ms>-<sequence>``, or what `parse_time` takes.

    Raises:
        ValueError: It is none of these.
    """
    if text == "$":
        return None
    if not _is_id(text):
        return parse_time(text, now, _STARTS)
    try:
        parse_start(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return text


def parse_time(text: str, now: float, expected: str = _TIMES) -> int:
    """Read ``1530403200000``, ``2018-07-01``, ``2018-07-01T02:00+02:00`` or ``-15m``.

    What has no zone is in the local one.

    Args:
        text: What to read.
        now: What time it is, in seconds since the epoch.
        expected: What errors say that it might be.

    Returns:
        That time, in ms since the epoch.

    Raises:
        ValueError: It is none of these.
    """
    if text.isdecimal() and text.isascii():
        return int(text)
    if is_ago(text):
        parts = re.findall("([0-9]+)(.)", text)
        ago = sum(int(number) * _SECONDS[unit] for number, unit in parts)
        return max(0, int((now - ago) * 1000))
    return _read_iso(text, expected)


def _read_iso(text: str, expected: str) -> int:
    try:
        # Up to Python 3.10 nothing is known of Z.
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).astimezone()
        ms = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r}, expected {expected}") from None
    if ms < 0:
        raise ValueError(f"{text!r} is before 1970, where IDs begin; expected {expected}")
    return ms
