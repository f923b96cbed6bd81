"""The made-up workloads: streams of messages whose IDs interleave as those of real writers do."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Fields = dict[bytes, bytes]
Entry = tuple[str, bytes, Fields]
"""``(stream name, ID, fields)``"""

FIRST_MS = 1_700_000_000_000
# Steps of the clock between two messages, in ms: some messages share one.
STEPS = (0, 0, 1, 1, 1, 2, 3)
# Once in so many messages a writer adds a dozen in one millisecond, so that
# sequence numbers of two digits occur and comparing IDs as text would be wrong.
BURST_EVERY = 10_000
BURST = 12


@dataclass(frozen=True)
class Workload:
    """Streams to read, and how the fields of their messages are made."""

    name: str
    streams: int
    messages: int
    fields: Callable[[random.Random, int], Fields]
    decode: bool = False

    def names(self) -> list[str]:
        """Name the streams, in the order in which readers are given them."""
        return [f"{self.name}:{number}" for number in range(self.streams)]

    def make(self, rng: random.Random, index: int, stream: int) -> Fields:  # noqa: ARG002
        """Make the fields of a message of one of the streams."""
        return self.fields(rng, index)

    def entries(self, messages: int) -> Iterator[Entry]:
        """Make the messages in the order in which a reader has to hand them over."""
        rng = random.Random(self.name)  # not for secrets: the same for every run
        names = self.names()
        ms, made = FIRST_MS, 0
        while made < messages:
            ms += 1
            sequences: dict[int, int] = {}
            slots: list[tuple[int, int]] = []
            while not slots or rng.choice(STEPS) == 0:
                stream = rng.randrange(self.streams)
                for _ in range(BURST if rng.randrange(BURST_EVERY) == 0 else 1):
                    sequences[stream] = sequences.get(stream, -1) + 1
                    slots.append((sequences[stream], stream))
            ms += rng.choice(STEPS)
            for sequence, stream in sorted(slots)[: messages - made]:
                yield names[stream], b"%d-%d" % (ms, sequence), self.make(rng, made, stream)
                made += 1


def _small(rng: random.Random, index: int) -> Fields:
    return {
        b"index": b"%d" % index,
        b"sensor": b"room-%d" % rng.randrange(200),
        b"value": b"%.2f" % rng.uniform(-20, 120),
    }


def _single(rng: random.Random, index: int) -> Fields:
    reading = {
        "index": index,
        "device": f"sensor-{rng.randrange(100_000):05d}",
        "site": rng.choice(("north", "south", "east", "west")),
        "location": [round(rng.uniform(-90, 90), 6), round(rng.uniform(-180, 180), 6)],
        "readings": {
            "temperature": round(rng.uniform(-20, 50), 3),
            "humidity": round(rng.uniform(0, 100), 3),
            "pressure": round(rng.uniform(950, 1050), 2),
            "battery": round(rng.uniform(0, 5), 3),
        },
        "tags": ["indoor", "calibrated", f"revision-{rng.randrange(20)}"],
        "note": "measured on schedule, nothing unusual was seen",
    }
    return {b"json": json.dumps(reading).encode()}


def _wide(rng: random.Random, index: int) -> Fields:
    fields = {b"column%d" % column: b"%d" % rng.randrange(10**6) for column in range(19)}
    return {b"index": b"%d" % index} | fields


def _mixed(rng: random.Random, index: int) -> Fields:
    schema = rng.randrange(5)
    columns = (b"index", b"kind", b"price", b"amount", b"origin")[: schema + 1]
    return {
        b"%b%d" % (column, schema): b"%d" % (index + rng.randrange(10**5)) for column in columns
    }


def _unique(rng: random.Random, index: int) -> Fields:
    return {b"field-%d-%d" % (index, column): b"%d" % rng.randrange(10**6) for column in range(3)}


# Pieces of the wire format, by which a reader that searches for it is led astray.
_TRAPS = (b"\r\n", b"\0", b"\r", b"\n", b"$5\r\n", b"\r\n*2\r\n$3\r\n", b"1-1\r\n", b"\0\0\r\n\0")


def _binary(rng: random.Random, index: int) -> Fields:
    return {
        b"head": b"%d\r\n\0" % index,
        b"body": b"".join(rng.choices(_TRAPS, k=rng.randrange(1, 12))) + rng.randbytes(40),
        b"tail": rng.randbytes(rng.randrange(0, 60)) + b"\r\n",
    }


def _large(size: int) -> Callable[[random.Random, int], Fields]:
    def fields(rng: random.Random, index: int) -> Fields:
        return {b"index": b"%d" % index, b"blob": rng.randbytes(size)}

    return fields


def sized(size: int, messages: int) -> Workload:
    """Make a workload of one field that holds so many bytes of text."""

    def fields(_: random.Random, index: int) -> Fields:
        return {b"value": (b"%d " % index).ljust(size, b"x")}

    return Workload(f"sized{size}", 4, messages, fields)


# So many messages that the slow readers take some tenths of a second.
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("small", 4, 40_000, _small),
        Workload("one", 1, 40_000, _small),
        Workload("single", 4, 40_000, _single),
        Workload("wide", 4, 12_000, _wide),
        Workload("mixed", 4, 40_000, _mixed),
        Workload("hundred", 100, 60_000, _small),
        Workload("decoded", 4, 40_000, _small, decode=True),
        Workload("unique", 4, 30_000, _unique),
        Workload("binary", 4, 30_000, _binary),
        Workload("64k", 4, 800, _large(1 << 16)),
        Workload("1m", 4, 48, _large(1 << 20)),
    )
}
