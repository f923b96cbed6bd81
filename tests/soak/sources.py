"""One server taken for two: what looks like its `Streams`, and follows half of them at each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from pystreamredis import Redis, Streams

if TYPE_CHECKING:
    from collections.abc import Iterator

_READING = frozenset(Redis.streams.__kwdefaults__ or ())


class SeveralSources:
    """Looks like `Streams`; the names that come with messages are those of the streams alone."""

    def __init__(self, streams: dict[str, Any], **options: Any) -> None:
        reading = {name: options.pop(name) for name in _READING & options.keys()}
        sources = {source: Redis(**options) for source in ("even", "odd")}
        self._inner = Streams.from_sources(sources, _apart(streams), **reading)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._inner)
        if type(item) is not tuple:
            return item
        (_, name), *message = item
        return (name, *message)

    @property
    def positions(self) -> dict[str, Any]:
        """Those of all streams."""
        return {n: at for of_one in self._inner.positions.values() for n, at in of_one.items()}

    def add(self, streams: dict[str, Any]) -> None:
        """Follow more, each at its source."""
        self._inner.add(_apart(streams))

    def discard(self, *names: Any) -> None:
        """Drop streams."""
        self._inner.discard(*names)

    def close(self) -> None:
        """Close both."""
        self._inner.close()


def _apart(streams: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"even": {}, "odd": {}}
    for name, start in streams.items():
        found["odd" if crc32(name.encode()) % 2 else "even"][name] = start
    return found
