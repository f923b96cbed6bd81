"""Content of attackers: entries of one size in bytes and fields that differ in cost.

Whoever may write to a stream chooses what its reader has to parse. For each size stand the
plainest content and the most expensive ones known; the reader is compared with itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from workloads import Workload

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from workloads import Fields

    Maker = Callable[[random.Random, int, int, int], list[tuple[bytes, bytes]]]
    """From a source of chance, the entry's number, the bytes of its strings, its fields."""

# The bytes of an entry's strings, and its fields.
SIZES = {"short": (64, 3), "text": (640, 3), "many": (640, 32), "long": (6000, 1)}
BYTES = 6 << 20
MAX_MESSAGES = 8000
_NAME = 4


def _even(size: int, number: int) -> list[int]:
    """Divide the bytes of values among the fields."""
    left = size - number * _NAME
    return [left * (at + 1) // number - left * at // number for at in range(number)]


def _uneven(rng: random.Random, size: int, number: int) -> list[int]:
    left = size - number * _NAME
    cuts = sorted(rng.randrange(left + 1) for _ in range(number - 1))
    return [end - start for start, end in pairwise([0, *cuts, left])]


def _named(values: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [(b"n%03d" % at, value) for at, value in enumerate(values)]


def _filled(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def _plain(_: random.Random, index: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    return _named([b"%0*d" % (length, index) for length in _even(size, number)])


def _of_lengths(rng: random.Random, _: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    return _named([b"x" * length for length in _uneven(rng, size, number)])


def _of_bytes(rng: random.Random, _: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    return _named([rng.randbytes(length) for length in _uneven(rng, size, number)])


def _of(pattern: bytes) -> Maker:
    def make(rng: random.Random, _: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
        return _named([_filled(pattern, length) for length in _uneven(rng, size, number)])

    return make


def _new_names(_: random.Random, index: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    values = [b"x" * length for length in _even(size, number)]
    names = [b"%x" % (index * 7 + at) for at in range(number)]
    return [
        (name.rjust(_NAME, b"n")[-4:], value) for name, value in zip(names, values, strict=True)
    ]


def _schemas(_: random.Random, index: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    values = [b"x" * length for length in _even(size, number)]
    return [(b"s%02d%c" % (index % 40, 48 + at), value) for at, value in enumerate(values)]


def _turns(rng: random.Random, index: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    """Change the kind as soon as the one before has been learnt."""
    makers = (_of_lengths, _schemas, _of_bytes, _new_names, _of(b"\r\n"))
    return makers[index // 80 % len(makers)](rng, index, size, number)


def _by_chance(rng: random.Random, index: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
    makers = (_plain, _of_lengths, _of_bytes, _new_names, _of(b"\r\n"), _of(b"$1\r\nx\r\n"))
    return rng.choice(makers)(rng, index, size, number)


def _rarely(maker: Maker) -> Maker:
    """Make plain entries but for one in eight."""

    def make(rng: random.Random, index: int, size: int, number: int) -> list[tuple[bytes, bytes]]:
        return (_plain if index % 8 else maker)(rng, index, size, number)

    return make


_FAKE = b"\r\n*2\r\n$15\r\n1700000000001-0\r\n*2\r\n$4\r\nn000\r\n$1\r\n1"

PLAIN = "plain"
CONTENTS: dict[str, Maker] = {
    PLAIN: _plain,
    "any lengths": _of_lengths,
    "any bytes": _of_bytes,
    "CR": _of(b"\r"),
    "CRLF": _of(b"\r\n"),
    "like strings": _of(b"\r\n$1\r\nx"),
    "like entries": _of(_FAKE),
    "like lengths": _of(b"\r\n$"),
    "new names": _new_names,
    "40 schemas": _schemas,
    "kinds in turn": _turns,
    "kinds by chance": _by_chance,
    "CRLF, one in eight": _rarely(_of(b"\r\n")),
    "like entries, one in eight": _rarely(_of(_FAKE)),
}
BESIDE = "beside"
# Beside other streams: the share of the messages that the attacker writes.
_STREAMS = 4


@dataclass(frozen=True)
class _Beside(Workload):
    """Streams of plain entries, but for the first one."""

    def make(self, rng: random.Random, index: int, stream: int) -> Fields:
        if stream:
            return dict(_plain(rng, index, *SIZES["short"]))
        return super().make(rng, index, stream)


def contents() -> list[tuple[str, str, Workload]]:
    """Return each group of equal size, each content, and the workload that reads it."""
    return [
        (group, content, _workload(group, content, maker))
        for group in (*SIZES, BESIDE)
        for content, maker in CONTENTS.items()
    ]


def _workload(group: str, content: str, maker: Maker) -> Workload:
    size, number = SIZES["short" if group == BESIDE else group]

    def fields(rng: random.Random, index: int) -> Fields:
        return dict(maker(rng, index, size, number))

    kind, streams = (_Beside, _STREAMS) if group == BESIDE else (Workload, 1)
    return kind(f"{group}: {content}", streams, min(MAX_MESSAGES, BYTES // size), fields)
