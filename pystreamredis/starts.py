"""The names of streams and their start values, as callers give them (contract 2.1, 2.2, 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .options import CONNECTION, OPTIONS
from .protocol import ids
from .redis_py import ADVICE
from .secret import Secret, is_secret_name, reveal

_MOST_LAST = 2**31 - 1


class Last:
    """A start value: the n-th message from the end, included, and all that follow.

    Where there are fewer, the stream starts at its beginning. ``Last(1)`` is the same as ``"+"``.

    Args:
        n: The number of messages, at least 1. To find the start, the server sends some multiple
            of it.

    Raises:
        TypeError: `n` is not an int.
        ValueError: `n` is out of range.
    """

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        if not isinstance(n, int) or isinstance(n, bool):
            raise TypeError(f"Last({n!r}): n must be an int")
        if not 1 <= n <= _MOST_LAST:
            raise ValueError(f"Last({n}): n must be from 1 to {_MOST_LAST}")
        self.n: int = n

    def __repr__(self) -> str:
        return f"Last({self.n})"


TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any, TypeAlias

    Name: TypeAlias = str | bytes
    # The name in a message: with several sources, a pair of the source's name and the stream's.
    Followed: TypeAlias = Name | tuple[str, Name]
    Start: TypeAlias = int | str | bytes | datetime | Last | None
    OfOneSource: TypeAlias = (
        Name | Mapping[str, Start] | Mapping[bytes, Start] | Mapping[Name, Start] | Iterable[Name]
    )
    StreamsArgument: TypeAlias = OfOneSource | Mapping[str, Start | OfOneSource]

_FORMS = (
    "a start must be None or '$' (now), an int (epoch time in ms), an aware datetime, "
    "'<ms>', '<ms>-<sequence>', '+' or Last(n)"
)
_WARNING = 30  # as logging has it, which is slow to import
# The largest start that is more likely to be in seconds, or another slip.
_MAX_SECONDS = 10**10


def parse_streams(
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
            f"streams is {streams!r}, but must be a dict, list, tuple or set of names, or one name"
        )
    pairs.extend(named.items())
    for name, _ in pairs:
        if not isinstance(name, (str, bytes)):
            raise TypeError(
                f"stream name {name!r} is of type {type(name).__name__}, but must be a str or bytes"
            )
    return pairs


def parse_streams_at(
    sources: Iterable[str | None], streams: StreamsArgument | None, named: Mapping[str, Start]
) -> dict[str | None, list[tuple[Name, Start]]]:
    """List for each source the streams to follow there.

    Where sources have names, each stream is followed at all of them. A name with a dict, list,
    tuple or set instead of a start value is that of a source, and these are its streams.

    Raises:
        TypeError: As `parse_streams`.
        ValueError: Streams are given for what is no source.
    """
    pairs = parse_streams(streams, named)
    found: dict[str | None, list[tuple[Name, Start]]] = {source: [] for source in sources}
    if None in found:
        return {None: pairs}
    for name, start in pairs:
        if not isinstance(start, (Mapping, list, tuple, set, frozenset)):
            for of_source in found.values():
                of_source.append((name, start))
        elif name in found:
            found[name] += parse_streams(start, {})
        else:
            raise ValueError(
                f"streams are given for {name!r}, which is not a source; these are {list(found)}"
            )
    return found


def parse_start(name: Name, start: Start) -> bytes | int:
    """Make of a start value the ID to read after, or the number of messages before "now".

    Errors name the stream, and the option that may have been meant by it.

    Raises:
        ValueError: A start of a right type that is none of those in contract 2.2.
        TypeError: A start of any other type.
    """
    try:
        return _parse(reveal(start))
    except (ValueError, TypeError) as error:
        failure = type(error)(_describe(name, start, error))
    # Raised here, it is without the frames below, which have a secret as a local variable.
    raise failure


def find_doubtful_starts(
    streams: StreamsArgument | None, named: Mapping[str, Start]
) -> list[tuple[int, str]]:
    """Return a warning, with its level, for each start that may be in seconds instead of ms."""
    found: list[tuple[int, str]] = []
    for starts in (streams, named):
        if not isinstance(starts, Mapping):
            continue
        for name, start in starts.items():
            if isinstance(start, Mapping):
                found += find_doubtful_starts(start, {})
            elif (ms := _ms_in_1970(reveal(start))) is not None:
                text = f"stream {name!r}: start {ms} is taken as ms, early in 1970; "
                found.append((_WARNING, f"{text}if it is in seconds, take {ms}000"))
    return found


def check_keywords(caller: str, named: Iterable[str]) -> None:
    """Refuse keywords that name an option which belongs elsewhere, instead of a stream.

    Args:
        caller: The function that was given them, for the text.
        named: The keywords that are not options of this function.

    Raises:
        TypeError: There is such a one.
    """
    for name in named:
        if name in OPTIONS:
            text = (
                "an option of the connection; give it to Redis() or Streams()"
                if name in CONNECTION
                else "an option of reading; give it to Streams() or Redis.streams()"
            )
        elif name in ADVICE:
            text = f"an option of redis-py that is not one here; {ADVICE[name]}"
        else:
            continue
        raise TypeError(
            f"{caller} got {name!r}, which is {text}. "
            f"A stream of that name goes into streams={{{name!r}: ...}}"
        )


def check_names(names: Iterable[object]) -> None:
    """Check the names of streams to drop.

    Raises:
        TypeError: One is not a name.
    """
    for name in names:
        own = name[1] if isinstance(name, tuple) and len(name) == 2 else name
        if not isinstance(own, (str, bytes)):
            hint = (
                "; give each as an argument: discard(*names)" if isinstance(name, Iterable) else ""
            )
            raise TypeError(f"discard() got {name!r}, but takes names of streams{hint}")


def _parse(start: object) -> bytes | int:
    if start is None:
        return 0
    if isinstance(start, bool):
        raise TypeError("it is a bool")
    if isinstance(start, int):
        return ids.before(start)
    if isinstance(start, bytes):
        start = start.decode("latin-1")
    if isinstance(start, str):
        from_end = {"$": 0, "+": 1}.get(start)
        return ids.parse_start(start) if from_end is None else from_end
    if isinstance(start, Last):
        return start.n
    if hasattr(start, "utcoffset"):
        return _parse_datetime(start)
    raise TypeError(f"it is of type {type(start).__name__}")


def _parse_datetime(start: object) -> bytes:
    # The caller has imported datetime already, or there would be none to read.
    from datetime import UTC, datetime, timedelta

    if not isinstance(start, datetime):
        raise TypeError(f"it is of type {type(start).__name__}")
    if start.utcoffset() is None:
        raise ValueError("it is a naive datetime, which is not a point in time without its zone")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return ids.before((start - epoch) // timedelta(milliseconds=1))


def _describe(name: Name, start: object, error: Exception) -> str:
    if isinstance(start, Secret) or _is_secret(name):
        shown = "(not shown)"
    else:
        shown = f"{start!r}: {error}"
    return f"stream {name!r}: start {shown}; {_FORMS}{_hint_at_option(name, ['streams', *OPTIONS])}"


def _is_secret(name: Name) -> bool:
    """Return whether a start value may be a password, given under a misspelt keyword."""
    if not isinstance(name, str):
        return False
    own = name.lower().rstrip("0123456789")
    return is_secret_name(name) or bool(_hint_at_option(own, ["password"]))


def _hint_at_option(name: Name, options: Iterable[str]) -> str:
    """Name the option that may have been meant: every unknown keyword is a stream."""
    from difflib import get_close_matches

    # Streams are numbered, options never.
    if not isinstance(name, str) or name[-1:].isdigit():
        return ""
    close = get_close_matches(name, options, n=1)
    return f" (was the option {close[0]!r} meant?)" if close else ""


def _ms_in_1970(start: object) -> int | None:
    """Return a start in ms that is suspiciously early."""
    if isinstance(start, (str, bytes)):
        text = start if isinstance(start, str) else start.decode("latin-1")
        start = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
    if not isinstance(start, int) or isinstance(start, bool):
        return None
    return start if 1 <= start <= _MAX_SECONDS else None
