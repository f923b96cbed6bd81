"""Points in time as people type them: the start of a stream, and the end of reading."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ..protocol import ids

_TIMES = (
    "<ms>, an ISO date (2018-07-01, 2018-07-01T12:00), how long ago (-15m, -2h, -7d, -1w), now, "
    "today or yesterday"
)
_STARTS = f"{_TIMES}, or $, + or <ms>-<sequence>"
_DAYS_AGO = {"today": 0, "yesterday": 1}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_is_ago = re.compile(r"-(?:[0-9]+[smhdw])+").fullmatch
_is_id = re.compile(r"[0-9]+(?:-[0-9]+)?").fullmatch
# Times in seconds have looked so since 2001. In ms they would be in January 1970.
_is_in_seconds = re.compile("1[0-9]{9}").fullmatch
_is_month = re.compile("((?:19|20)[0-9]{2})-(0[1-9]|1[0-2])").fullmatch
_is_day = re.compile("((?:19|20)[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])").fullmatch
_is_year = re.compile("(?:19|20)[0-9]{2}").fullmatch


def is_ago(text: str) -> bool:
    """Return whether a text is a time before now: ``-15m``, ``-1h30m``."""
    return _is_ago(text) is not None


def parse_start(text: str, now: float) -> int | str | None:
    """Make a start value of ``$``, ``+``, ``<ms>-<sequence>``, or what `parse_time` takes.

    Raises:
        ValueError: The text is none of these.
    """
    # The server knows best what is there now, and its clock may differ.
    if text in ("$", "now"):
        return None
    if text == "+":
        return text
    if not _is_id(text) or _is_date(text):
        return parse_time(text, now, _STARTS)
    try:
        ids.parse_start(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return text


def parse_time(text: str, now: float, expected: str = _TIMES) -> int:
    """Parse ``1530403200000``, ``2018-07-01``, ``2018-07-01T02:00+02:00`` or ``-15m``.

    A time without a zone is in the local one, in which ``today`` and ``yesterday`` begin, too.
    ``2018-07`` and ``20180701`` are dates: as an ID and as ms they would be in January 1970.

    Args:
        text: The text to parse.
        now: The current time, in seconds since the epoch.
        expected: The alternatives that an error names.

    Returns:
        The time, in ms since the epoch.

    Raises:
        ValueError: The text is none of these.
    """
    if text.isdecimal() and text.isascii() and not _is_date(text):
        return int(text)
    if is_ago(text):
        parts = re.findall("([0-9]+)(.)", text)
        ago = sum(int(number) * _SECONDS[unit] for number, unit in parts)
        return max(0, int((now - ago) * 1000))
    if text == "now":
        return int(now * 1000)
    if text in _DAYS_AGO:
        day = datetime.fromtimestamp(now) - timedelta(days=_DAYS_AGO[text])
        text = day.date().isoformat()
    return _parse_iso(text, expected)


def doubt_about(time: str) -> str | None:
    """Return what a number of ms may have been meant to be, or None if it is in no doubt."""
    if _is_in_seconds(time):
        return f"if it is in seconds, use {time}000"
    if _is_year(time):
        return f"if it is a year, use {time}-01-01"
    return None


def _is_date(text: str) -> bool:
    return bool(_is_month(text) or _is_day(text))


def _parse_iso(text: str, expected: str) -> int:
    date = f"{text}-01" if _is_month(text) else re.sub("z$", "Z", text)
    try:
        ms = round(datetime.fromisoformat(date).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r}, expected {expected}") from None
    if ms < 0:
        raise ValueError(f"{text!r} is before 1970, where IDs begin; expected {expected}")
    return ms
