"""Which streams to follow, and from where: what callers may say (contract 2.1, 2.2, 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .ids import before, parse_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any, TypeAlias

    Name: TypeAlias = str | bytes
    # What messages are named by: of several sources, with that of theirs.
    Followed: TypeAlias = Name | tuple[str, Name]
    Start: TypeAlias = int | str | bytes | datetime | None
    OfOneSource: TypeAlias = (
        Name | Mapping[str, Start] | Mapping[bytes, Start] | Mapping[Name, Start] | Iterable[Name]
    )
    StreamsArgument: TypeAlias = OfOneSource | Mapping[str, Start | OfOneSource]

_EXPECTED = (
    "expected None or '$' (now), an int (epoch time in ms), an aware datetime, "
    "'<ms>' or '<ms>-<sequence>'"
)


def read_streams(
    streams: StreamsArgument | None, named: Mapping[str, Start]
) -> list[tuple[Name, Start]]:
    """List the streams given by `streams=` and as keywords, in the order given.

    Raises:
        TypeError: A name is neither str nor bytes, or `streams` holds no names.
    """
    if streams is None:
        pairs: list[tuple[Name, Start]] = []
    elif isinstance(streams, Mapping):
        items: Mapping[Any, Any] = streams
        pairs = list(items.items())
    elif isinstance(streams, (str, bytes)):
        pairs = [(streams, None)]
    elif isinstance(streams, Iterable):
        pairs = [(name, None) for name in streams]
    else:
        raise TypeError(
            f"streams is {streams!r}, expected a dict, list, tuple or set of names, or a name"
        )
    pairs.extend(named.items())
    for name, _ in pairs:
        if not isinstance(name, (str, bytes)):
            raise TypeError(f"stream name {name!r} is {type(name).__name__}, expected str or bytes")
    return pairs


def read_streams_at(
    sources: Iterable[str | None], streams: StreamsArgument | None, named: Mapping[str, Start]
) -> dict[str | None, list[tuple[Name, Start]]]:
    """List for each source the streams that are to be followed there.

    Where sources have names, streams are followed at each of them, unless they stand in
    lieu of a start value, as what is given as `streams=`: then it is a source that is named.

    Raises:
        TypeError: As `read_streams`.
        ValueError: Streams are given for what is no source.
    """
    pairs = read_streams(streams, named)
    found: dict[str | None, list[tuple[Name, Start]]] = {source: [] for source in sources}
    if None in found:
        return {None: pairs}
    for name, start in pairs:
        if not isinstance(start, (Mapping, list, tuple, set, frozenset)):
            for of_source in found.values():
                of_source.append((name, start))
        elif name in found:
            found[name] += read_streams(start, {})
        else:
            raise ValueError(f"streams are given for {name!r}, expected a source: {list(found)}")
    return found


def read_start(name: Name, start: Start, options: Iterable[str] = ()) -> bytes | None:
    """Make of a start value the ID to read after; None for "now".

    Errors name the stream, and may name one of the `options`, which are keywords.

    Raises:
        ValueError: A start of a right type that is none of those in contract 2.2.
        TypeError: A start of any other type.
    """
    try:
        return _read(start)
    except (ValueError, TypeError) as error:
        shown = "(not shown)" if _is_secret(name) else f"{start!r}: {error}"
        text = f"stream {name!r}: start {shown}; {_EXPECTED}{_meant(name, options)}"
        raise type(error)(text) from None


def _read(start: object) -> bytes | None:
    if start is None:
        return None
    if isinstance(start, bool):
        raise TypeError("it is a bool")
    if isinstance(start, int):
        return before(start)
    if isinstance(start, bytes):
        start = start.decode("latin-1")
    if isinstance(start, str):
        return None if start == "$" else parse_start(start)
    if hasattr(start, "utcoffset"):
        return _read_datetime(start)
    raise TypeError(f"it is {type(start).__name__}")


def _read_datetime(start: object) -> bytes:
    # The caller has imported datetime already, or there would be none to read.
    from datetime import datetime, timedelta, timezone

    if not isinstance(start, datetime):
        raise TypeError(f"it is {type(start).__name__}")
    if start.utcoffset() is None:
        raise ValueError("it is a naive datetime, which is no point in time without its zone")
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return before((start - epoch) // timedelta(milliseconds=1))


def _is_secret(name: Name) -> bool:
    """Whether a start value may be a password, given under a misspelt keyword."""
    return isinstance(name, str) and bool(_meant(name.lower().rstrip("0123456789"), ["password"]))


def _meant(name: Name, options: Iterable[str]) -> str:
    """Every keyword that is no option names a stream, so a slip of the pen does, too."""
    from difflib import get_close_matches

    # Streams are numbered, options never.
    if not isinstance(name, str) or name[-1:].isdigit():
        return ""
    close = get_close_matches(name, options, n=1)
    return f" (was the option {close[0]!r} meant?)" if close else ""
