"""One measurement of one reader, in this process; run by `run.py` for each.

Takes what to measure as JSON on its standard input and prints what was seen as JSON.
Imports little, for its memory counts as the reader's.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from readers import AT_SCALE, IN_CLUSTERS, PLAIN, READERS, Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from merge import Message


ALL = READERS | PLAIN | AT_SCALE | IN_CLUSTERS


class Counter:
    """A consumer that does nothing with a message but count it."""

    def __init__(self) -> None:
        self.messages = 0
        self.seconds = self.cpu_seconds = 0.0

    def begin(self) -> None:
        self._cpu = time.process_time()
        self._start = time.perf_counter()

    def take(self, messages: Iterable[Message]) -> bool:
        taken = 0
        for _name, _entry_id, _data in messages:
            taken += 1
        return self._note(taken)

    async def take_async(self, messages: AsyncIterable[Message]) -> bool:
        taken = 0
        async for _name, _entry_id, _data in messages:
            taken += 1
        return self._note(taken)

    def _note(self, taken: int) -> bool:
        self.messages += taken
        self.seconds = time.perf_counter() - self._start
        self.cpu_seconds = time.process_time() - self._cpu
        return False


class Digest:
    """A consumer that condenses what it is given, and its order, into one short text.

    Into another one without the order, by which a reader is checked that does not merge.
    """

    def __init__(self, id_type: type = bytes) -> None:
        import hashlib  # maps OpenSSL, a few megabytes: not before memory was measured

        self._new = hashlib.blake2b
        self._hash = self._new(digest_size=16)
        self._sum = 0
        self._id_type = id_type

    def begin(self) -> None:
        pass

    def take(self, messages: Iterable[Message]) -> bool:
        for message in messages:
            self._check(*message)
        return False

    async def take_async(self, messages: AsyncIterable[Message]) -> bool:
        async for message in messages:
            self._check(*message)
        return False

    def _check(self, name: Any, entry_id: Any, data: Any) -> None:
        if (
            type(name) is not str
            or type(entry_id) is not self._id_type
            or not isinstance(data, dict)
        ):
            raise TypeError(f"message {(name, entry_id, data)!r:.200}, expected str, ID, dict")
        self.add(name, entry_id, data)

    def add(self, name: str, entry_id: Any, data: dict[Any, Any]) -> None:
        parts = [name, entry_id]
        for pair in data.items():
            parts += pair
        texts = [part.encode() if isinstance(part, str) else part for part in parts]
        lengths = repr([*map(len, texts)]).encode()
        message = self._new(lengths + b"".join(texts), digest_size=16).digest()
        self._hash.update(message)
        self._sum += int.from_bytes(message, "big")

    def text(self) -> str:
        return self._hash.hexdigest()

    def unordered(self) -> str:
        return f"{self._sum % (1 << 128):032x}"


class Latencies:
    """A consumer of live messages, which hold the time at which they were written."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.nanoseconds: list[int] = []
        self.cpu_seconds = 0.0

    def begin(self) -> None:
        pass

    def take(self, messages: Iterable[Message]) -> bool:
        return any(self._see(data) for _name, _entry_id, data in messages)

    async def take_async(self, messages: AsyncIterable[Message]) -> bool:
        async for _name, _entry_id, data in messages:
            if self._see(data):
                return True
        return False

    def _see(self, data: Any) -> bool:
        """Note when a message came; return whether it was the last one."""
        seen = self.nanoseconds
        if not seen:
            # Not from the beginning on: connecting is another matter.
            self._cpu = time.process_time()
        seen.append(time.monotonic_ns() - int(data[b"written"]))
        if len(seen) < self._expected:
            return False
        self.cpu_seconds = time.process_time() - self._cpu
        return True


def memory(field: str) -> int:
    """Return a size of this process in KiB, as the kernel counts it.

    Not `ru_maxrss`, which a child inherits from its parent.
    """
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    raise KeyError(field)


def measure_reading(
    name: str, job: Job, warm_up: list[str], passes: int, *, is_checked: bool
) -> dict[str, Any]:
    """Read streams to their end: timed first, then perhaps again to check what comes.

    Of several passes the best counts; the first one is the one with cold caches.
    """
    baseline = memory("VmRSS")
    read = ALL[name]
    if name != "raw":
        read(Job(job.port, warm_up, job.limit, decode=job.decode), Counter())
    counters = [Counter() for _ in range(passes)]
    for counter in counters:
        parser = read(job, counter)
    best = min(counters, key=lambda counter: counter.seconds)
    result = {
        "messages": best.messages,
        "seconds": best.seconds,
        "cpu_seconds": best.cpu_seconds,
        "baseline_kib": baseline,
        "peak_kib": memory("VmHWM"),
        "parser": parser,
    }
    if is_checked and name != "raw":
        digest = Digest(str if job.decode else bytes)
        read(job, digest)
        result["digest"] = digest.unordered() if name in PLAIN else digest.text()
    return result


def measure_live(name: str, job: Job, expected: int) -> dict[str, Any]:
    """Wait for messages as they are written, until all have come."""
    latencies = Latencies(expected)
    ALL[name](job, latencies)
    seen = sorted(latencies.nanoseconds)
    return {
        "messages": len(seen),
        "p50_us": seen[len(seen) // 2] / 1000,
        "p99_us": seen[len(seen) * 99 // 100] / 1000,
        "cpu_us": latencies.cpu_seconds * 1e6 / (len(seen) - 1),
    }


def main() -> None:
    task = json.load(sys.stdin)
    job = Job(**task["job"])
    try:
        if job.block is None:
            result = measure_reading(
                task["reader"],
                job,
                task["warm_up"],
                task["passes"],
                is_checked=task["is_checked"],
            )
        else:
            result = measure_live(task["reader"], job, task["messages"])
    except Exception as error:  # noqa: BLE001 - whatever it is, it voids this reader's row
        result = {"void": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
