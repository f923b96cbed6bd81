"""A profile of this reader, function by function; ``run.py --profile`` prints it.

For orientation: the profiler makes calls of Python functions look dearer than they are. What a
message takes in all is measured without it. Times are of the processor, so that waits do not count.
"""

from __future__ import annotations

import cProfile
import subprocess
import sys
import time
from collections import Counter as Counts
from pathlib import Path
from typing import TYPE_CHECKING, Any

import live
from measure import Counter
from readers import Job, ours
from reading import COUNTS, WARM_UP
from recording import Recording
from workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from merge import Message
    from server import Link

# The number of functions to name.
_LINES = 24


class _Follower(Counter):
    """Takes so many live messages, which are written as soon as it waits."""

    def __init__(self, job: Job, wanted: int) -> None:
        super().__init__()
        self._wanted = wanted
        figures = map(str, (job.port, len(job.names), 0, wanted, live.RATE))
        self._command = [sys.executable, live.__file__, *figures]

    def take(self, messages: Iterable[Message]) -> bool:
        with subprocess.Popen(self._command):
            for _ in messages:
                self.messages += 1
                if self.messages == self._wanted:
                    return True
        return False


def profile(link: Link, job: str, streams: int | None, messages: int) -> Iterator[str]:
    """Read a job; yield what to print. A live one has a number of `streams`."""
    if streams is not None:
        names = live.StreamSet(streams).names()
        live_job = Job(link.port, names, limit=100, block=0)
        yield _report(job, lambda: _read(live_job, _Follower(live_job, messages)))
        return
    link.ask(b"FLUSHALL")
    Recording(link, WARM_UP, WARM_UP.messages)
    recording = Recording(link, WORKLOADS[job], messages)
    _read(Job(link.port, list(WARM_UP.names()), limit=100), Counter())
    for count in COUNTS:
        counted = Job(link.port, recording.names, count, decode=WORKLOADS[job].decode)
        yield _report(f"{job}, count {count}", lambda job=counted: _read(job, Counter()))


def _read(job: Job, counter: Counter) -> int:
    ours(job, counter)
    return counter.messages


def _report(title: str, read: Callable[[], int]) -> str:
    start, cpu = time.perf_counter(), time.process_time()
    messages = read()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(read)
    lines = [
        f"{title}: {seconds * 1e6 / messages:.2f} us a message, "
        f"{cpu_seconds * 1e6 / messages:.2f} us of the processor's time. Under the profiler:",
        "  calls   own us  (both for each message)",
    ]
    calls: Counts[str] = Counts()
    own: Counts[str] = Counts()
    # Not by pstats, which keeps one of the functions that patterns make, since all have one name.
    for entry in profiler.getstats():
        calls[_name_of(entry.code)] += entry.callcount
        own[_name_of(entry.code)] += entry.inlinetime
    for name, seconds in own.most_common(_LINES):
        lines.append(f"{calls[name] / messages:7.2f} {seconds * 1e6 / messages:8.3f}  {name}")
    return "\n".join(lines)


def _name_of(code: Any) -> str:
    if isinstance(code, str):  # it is not written in Python
        return code
    return f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_name}"
