"""The time of an ID, in the local zone."""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache


def ms_of(entry_id: str) -> int:
    """Return the time of an ID, in ms since the epoch."""
    return int(entry_id.partition("-")[0])


def local_time(ms: int) -> str:
    """Format a time for people: ``2018-06-19 14:08:15.111``."""
    minute, rest = divmod(ms, 60_000)
    found = _local_minute(minute)
    if found is None:
        return str(ms)
    return f"{found[0]} {found[1]}{rest // 1000:02d}.{rest % 1000:03d}"


def iso_time(ms: int) -> str:
    """Format a time for programs: ``2018-06-19T14:08:15.111+02:00``."""
    minute, rest = divmod(ms, 60_000)
    found = _local_minute(minute)
    if found is None:
        return str(ms)
    return f"{found[0]}T{found[1]}{rest // 1000:02d}.{rest % 1000:03d}{found[2]}"


def format_time(ms: int, spec: str) -> str:
    """Format a time as `datetime.strftime` does."""
    try:
        moment = datetime.fromtimestamp(ms // 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(ms)
    return moment.replace(microsecond=ms % 1000 * 1000).strftime(spec)


def forget_zone() -> None:
    """Use the zone that the process has now, after it was changed."""
    _local_minute.cache_clear()


# Consecutive messages mostly have the same minute; and since 1972 no zone has had an offset with
# seconds.
@lru_cache(maxsize=16)
def _local_minute(minute: int) -> tuple[str, str, str] | None:
    """Return the date, hour and minute, and the zone; None if the calendar ends before."""
    try:
        local = time.localtime(minute * 60)
        if local.tm_year > 9999:
            return None
        zone = time.strftime("%z", local)
        return (
            time.strftime("%Y-%m-%d", local),
            time.strftime("%H:%M:", local),
            f"{zone[:-2]}:{zone[-2:]}",
        )
    except (ValueError, OverflowError, OSError):
        return None
