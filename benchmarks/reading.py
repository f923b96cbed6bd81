"""The main part: read a workload to its end, each reader in turn, several rounds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import measure
from readers import Job
from recording import Recording
from workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server import Link

COUNTS = (100, 1000)
# What is read before the clock runs, so that no lazy import or first connection counts.
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


def read_workload(
    link: Link, workload: Workload, readers: list[str], rounds: int, messages: int
) -> Iterator[dict[str, Any]]:
    """Measure the readers on one workload; yield a row for each reader, count and round."""
    if workload.decode:
        readers = [reader for reader in readers if reader in DECODING]
    link.ask(b"FLUSHALL")
    Recording(link, WARM_UP, WARM_UP.messages)
    recording = Recording(link, workload, messages)
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            replay = Path(folder, str(count))
            recording.save_requests(count, replay)
            job = Job(link.port, recording.names, count, decode=workload.decode, replay=str(replay))
            for number in range(rounds):
                for reader in readers:
                    result = measure(reader, job, warm_up=WARM_UP.names(), passes=1)
                    checked = check(reader, result, recording)
                    row = {"job": workload.name, "count": count, "round": number}
                    yield row | {"reader": reader} | checked


def check(reader: str, result: dict[str, Any], recording: Recording) -> dict[str, Any]:
    """Void a result that is not of the right messages; else work out its time per message."""
    if "void" in result:
        return result
    expected = recording.messages
    if reader != "raw":  # which checks the bytes it receives by their number
        if result["messages"] != expected:
            return {"void": f"{result['messages']} messages, expected {expected}"}
        if result.pop("digest") != recording.digest:
            return {"void": "content or order differs from what was written"}
    return result | {
        "messages": expected,
        "us": result["seconds"] * 1e6 / expected,
        "cpu_us": result["cpu_seconds"] * 1e6 / expected,
    }
