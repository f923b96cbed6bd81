"""The main part: read a workload to its end, each reader in turn, several rounds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contents import contents
from packages import NotAvailable
from processes import measure
from readers import PLAIN, Job
from realdata import KINDS, STREAMS, workload_of
from recording import Recording
from workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server import Link

COUNTS = (100, 1000)
# Read before the clock runs, so that no lazy import or first connection counts.
WARM_UP = Workload("warm-up", 1, 50, WORKLOADS["wide"].fields)
# The readers that can be asked for text instead of bytes.
DECODING = (
    "ours",
    "ours asyncio",
    "redis-py+hiredis",
    "redis.asyncio+hiredis",
    "redis-py pure",
    "hiredis loop",
    "raw",
)
# The readers of real data, and those that read with every count.
REAL_READERS = ("ours", "redis-py+hiredis", *PLAIN)
EVERY_COUNT = ("ours", "ours asyncio", "redis-py+hiredis", "redis.asyncio+hiredis", "hiredis loop")


def read_workload(
    link: Link, workload: Workload, readers: list[str], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers on one workload; yield a row for each reader, count and round."""
    if workload.decode:
        readers = [reader for reader in readers if reader in DECODING]
    chosen = {COUNTS[0]: readers}
    for count in COUNTS[1:]:
        chosen[count] = [reader for reader in readers if reader in EVERY_COUNT]
    for row in _read(link, workload, chosen, rounds, messages):
        yield {"job": workload.name} | row


def read_real(
    link: Link, kind: str, readers: list[str], rounds: int, scale: float
) -> Iterator[dict[str, Any]]:
    """Measure the readers on a kind of real data, in one stream and in four."""
    chosen = [reader for reader in REAL_READERS if reader in {*readers, *PLAIN}]
    for streams in STREAMS:
        head = {"job": "real", "kind": kind, "label": KINDS[kind][0], "streams": streams}
        try:
            workload = workload_of(kind, streams)
        except NotAvailable as error:
            yield head | {"skipped": str(error)}
            continue
        messages = max(1, int(workload.messages * scale))
        for row in _read(link, workload, {COUNTS[0]: chosen}, rounds, messages):
            yield head | row


def read_contents(link: Link, rounds: int, scale: float) -> Iterator[dict[str, Any]]:
    """Measure this reader on the content of attackers, each content in turn."""
    for group, content, workload in contents():
        messages = int(workload.messages * scale)
        for row in _read(link, workload, {COUNTS[0]: ["ours"]}, rounds, messages):
            yield {"job": "contents", "group": group, "content": content} | row


def _read(
    link: Link, workload: Workload, readers: dict[int, list[str]], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers given for each count."""
    link.ask(b"FLUSHALL")
    Recording(link, WARM_UP, WARM_UP.messages)
    recording = Recording(link, workload, messages)
    with tempfile.TemporaryDirectory() as folder:
        for count, chosen in readers.items():
            replay = Path(folder, str(count))
            if "raw" in chosen:
                recording.save_requests(count, replay)
            job = Job(link.port, recording.names, count, decode=workload.decode, replay=str(replay))
            for number in range(rounds):
                for reader in chosen:
                    # Each round reads the same: it is checked in the first one.
                    result = measure(
                        reader, job, warm_up=WARM_UP.names(), passes=1, is_checked=not number
                    )
                    row = {"count": count, "round": number, "reader": reader}
                    yield row | check(reader, result, recording)


def check(reader: str, result: dict[str, Any], recording: Recording) -> dict[str, Any]:
    """Void a result that is not of the right messages; else work out its time per message."""
    if "void" in result:
        return result
    expected = recording.messages
    if reader != "raw":  # which checks the bytes it receives by their number
        if result["messages"] != expected:
            return {"void": f"{result['messages']} messages, expected {expected}"}
        digest = recording.unordered if reader in PLAIN else recording.digest
        if result.pop("digest", digest) != digest:
            return {"void": "content or order differs from what was written"}
    return result | {
        "messages": expected,
        "us": result["seconds"] * 1e6 / expected,
        "cpu_us": result["cpu_seconds"] * 1e6 / expected,
    }
