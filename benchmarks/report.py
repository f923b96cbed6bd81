"""What the measurements say: tables in reStructuredText, and the chart.

Also a program that shows a result again: ``report.py [results.json]``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

from readers import READERS

Row = dict[str, Any]

HIREDIS = "redis-py+hiredis"
ASYNC_HIREDIS = "redis.asyncio+hiredis"
FIRST_SIX = ("small", "one", "single", "wide", "mixed", "hundred")
HARD = ("unique", "binary", "64k", "1m")
READING = (*FIRST_SIX, "decoded", *HARD)
GROWTH_LIMIT = 1.25
NOTE = (
    "All numbers are ratios of times within one round on one machine (median over the rounds).\n"
    "Absolute times mean little: they change with the machine and with what else it does."
)


class Results:
    """The rows of a run, and what can be asked of them."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def select(self, **wanted: Any) -> list[Row]:
        """Return the rows with these values, in the order of their rounds."""
        return [row for row in self._rows if wanted.items() <= row.items()]

    def values(self, key: str, **wanted: Any) -> list[float]:
        """Return one measurement of each round; nothing if one of the rounds is void."""
        rows = self.select(**wanted)
        return [] if any("void" in row for row in rows) else [row[key] for row in rows]

    def median(self, key: str, **wanted: Any) -> float | None:
        """Return the median over the rounds."""
        values = self.values(key, **wanted)
        return median(values) if values else None

    def ratio(self, key: str, peer: str, reader: str = "ours", **wanted: Any) -> float | None:
        """Return the median over the rounds of peer to reader: above 1, reader needs less."""
        peers = self.values(key, reader=peer, **wanted)
        readers = self.values(key, reader=reader, **wanted)
        ratios = [theirs / its for theirs, its in zip(peers, readers, strict=False)]
        return median(ratios) if ratios else None

    def counts(self, job: str) -> list[int]:
        """Return with which counts a workload was read."""
        return sorted({row["count"] for row in self.select(job=job)})

    def distinct(self, key: str, **wanted: Any) -> list[Any]:
        """Return the values of a column in the order of their first appearance."""
        return list(dict.fromkeys(row[key] for row in self.select(**wanted) if key in row))

    def ratios(self, key: str, peer: str, jobs: Iterable[str]) -> dict[str, float | None]:
        """Return the ratios for each workload and count; None for what was not measured."""
        ratios: dict[str, float | None] = {}
        for job in jobs:
            counts = self.counts(job)
            if not counts:
                ratios[job] = None
            for count in counts:
                ratios[f"{job}, count {count}"] = self.ratio(key, peer, job=job, count=count)
        return ratios


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the mean that suits ratios, or None if one of them is missing."""
    known = list(values)
    present = [value for value in known if value is not None]
    if not known or len(present) < len(known):
        return None
    return prod(present) ** (1 / len(present))


def rst_table(header: list[str], rows: list[list[str]]) -> str:
    """Lay out a reStructuredText table."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)

    def line(cells: list[str]) -> str:
        texts = [cells[0].ljust(widths[0])]
        texts += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "  ".join(texts).rstrip()

    return "\n".join([rule, line(header), rule, *map(line, rows), rule])


def _show(value: float | None, digits: int = 2) -> str:
    return "void" if value is None else f"{value:.{digits}f}"


def _time_ratios(results: Results) -> str:
    return _ratios("us", results)


def _cpu_ratios(results: Results) -> str:
    return _ratios("cpu_us", results)


def _ratios(key: str, results: Results) -> str:
    seen = {reader for job in READING for reader in results.distinct("reader", job=job)}
    peers = [reader for reader in READERS if reader in seen - {"ours"}]
    rows = []
    for job in READING:
        for count in results.counts(job):
            ratios = [
                _show(results.ratio(key, peer, job=job, count=count))
                if results.select(job=job, count=count, reader=peer)
                else "--"
                for peer in peers
            ]
            rows.append([job, str(count), *ratios])
    means = [geometric_mean(results.ratios(key, p, FIRST_SIX).values()) for p in peers]
    rows.append(["geometric mean of the first six", "both", *map(_show, means)])
    return rst_table(["workload", "count", *peers], rows)


def _absolute(results: Results) -> str:
    rows = []
    for job in READING:
        for count in results.counts(job):
            for reader in results.distinct("reader", job=job):
                row = {"job": job, "count": count, "reader": reader}
                us, cpu = results.median("us", **row), results.median("cpu_us", **row)
                peak = results.median("peak_kib", **row)
                mib = None if peak is None else peak / 1024
                rows.append([job, str(count), reader, _show(us), _show(cpu), _show(mib, 1)])
    header = ["workload", "count", "reader", "µs/message", "CPU µs/message", "peak MiB"]
    return rst_table(header, rows)


def _live(results: Results) -> str:
    rows = []
    for job in ("live-1", "live-100"):
        for reader in results.distinct("reader", job=job):
            keys = ("p50_us", "p99_us", "cpu_us")
            medians = [_show(results.median(key, job=job, reader=reader), 0) for key in keys]
            ratios = [_show(results.ratio(key, reader, job=job)) for key in keys]
            rows.append([job, reader, *medians, *ratios])
    header = ["job", "reader", "p50 µs", "p99 µs", "CPU µs", "p50 ratio", "p99 ratio", "CPU ratio"]
    return rst_table(header, rows)


def _scale(results: Results) -> str:
    rows = []
    for streams in results.distinct("streams", job="scale"):
        for reader in results.distinct("reader", job="scale"):
            row = {"job": "scale", "streams": streams, "reader": reader}
            if not results.select(**row):
                continue
            keys = ("p50_us", "p99_us", "cpu_us", "server_us", "waiting_kib", "connections")
            rows.append(
                [str(streams), reader, *(_show(results.median(key, **row), 0) for key in keys)]
            )
    header = ["streams", "reader", "p50 µs", "p99 µs", "CPU µs"]
    return rst_table([*header, "server's CPU µs", "its memory KiB", "connections"], rows)


def _nodes(results: Results) -> str:
    rows = []
    for streams, nodes, reader in product(
        *(results.distinct(key, job="nodes") for key in ("streams", "nodes", "reader"))
    ):
        row = {"job": "nodes", "streams": streams, "nodes": nodes, "reader": reader}
        if not results.select(kind="live", **row):
            continue
        live = ("p50_us", "p99_us", "cpu_us", "server_us", "connections")
        read = ("us", "cpu_us")
        rows.append(
            [
                *(str(streams), str(nodes), reader),
                *(_show(results.median(key, kind="live", **row), 0) for key in live),
                *(
                    _show(results.median(key, kind="read", **row))
                    if results.select(kind="read", **row)
                    else "--"
                    for key in read
                ),
            ]
        )
    header = ["streams", "nodes", "reader", "live: p50 µs", "p99 µs", "CPU µs", "servers' CPU µs"]
    return rst_table([*header, "connections", "history: µs/message", "CPU µs"], rows)


def _startup(results: Results) -> str:
    keys = ("import_ms", "rss_kib", "private_kib")
    rows = [
        [reader, *(_show(results.median(key, job="startup", reader=reader), 1) for key in keys)]
        for reader in results.distinct("reader", job="startup")
    ]
    ratios = [_show(results.ratio(key, "redis-py", job="startup"), 1) for key in keys]
    rows.append(["ratio", *ratios])
    return rst_table(["library", "import ms", "memory KiB (RSS)", "memory KiB (private)"], rows)


def _growth(results: Results) -> str:
    rows = []
    lines = [(row["axis"], row["reader"]) for row in results.select(job="growth")]
    for axis, reader in dict.fromkeys(lines):
        row = {"job": "growth", "axis": axis, "reader": reader}
        sizes = results.distinct("size", **row)
        costs = [results.values("cost", size=size, **row) for size in sizes]
        rise = _largest_rise(costs)
        cpu_rise = _largest_rise([results.values("cpu_cost", size=size, **row) for size in sizes])
        flat = "void" if rise is None else "yes" if rise <= GROWTH_LIMIT else "NO"
        medians = " ".join(_show(median(seen) if seen else None, 1) for seen in costs)
        extent = f"{sizes[0]} to {sizes[-1]}"
        rows.append([axis, reader, extent, medians, _show(rise), _show(cpu_rise), flat])
    header = ["cost in, over", "reader", "sizes", "costs", "largest rise", "of CPU time", "flat"]
    return rst_table(header, rows)


def _largest_rise(costs: list[list[float]]) -> float | None:
    """Return the largest ratio of the cost at a size to that at any smaller size.

    Costs may fall, for what is paid once is shared by more; they must not rise.
    """
    if not all(costs):
        return None
    return max(
        median(large / small for small, large in zip(costs[i], costs[j], strict=True))
        for i in range(len(costs))
        for j in range(i + 1, len(costs))
    )


@dataclass(frozen=True)
class Target:
    """A target of the project: a ratio that has to be reached."""

    job: str
    against: str
    at_least: float
    seen: Callable[[Results], dict[str, float | None]]


def _each(key: str, peer: str, jobs: Iterable[str]) -> Callable[[Results], dict[str, float | None]]:
    return lambda results: results.ratios(key, peer, jobs)


def _mean(results: Results) -> dict[str, float | None]:
    return {"": geometric_mean(results.ratios("us", HIREDIS, FIRST_SIX).values())}


def _one(key: str, peer: str, job: str) -> Callable[[Results], dict[str, float | None]]:
    return lambda results: {"": results.ratio(key, peer, job=job)}


def _at_scale(key: str) -> Callable[[Results], dict[str, float | None]]:
    return lambda results: {"": results.ratio(key, HIREDIS, job="scale", streams=10_000)}


def _flatness(results: Results) -> dict[str, float | None]:
    """The p50 among 10 streams in terms of that among 10,000."""
    few, many = (
        results.values("p50_us", job="scale", streams=streams, reader="ours")
        for streams in (10, 10_000)
    )
    ratios = [least / most for least, most in zip(few, many, strict=False)]
    return {"": median(ratios) if ratios else None}


def _asyncio(peer: str) -> Callable[[Results], dict[str, float | None]]:
    """Compare our reader for asyncio with another one."""
    return lambda results: (
        {
            f"small, count {count}": results.ratio(
                "us", peer, "ours asyncio", job="small", count=count
            )
            for count in results.counts("small")
        }
        or {"": None}
    )


TARGETS = (
    Target("first six, geometric mean, both counts", HIREDIS, 2.0, _mean),
    Target("each of the first six", HIREDIS, 1.4, _each("us", HIREDIS, FIRST_SIX)),
    Target("small, decode_responses=True", HIREDIS, 1.4, _each("us", HIREDIS, ("decoded",))),
    Target("unique, binary, 64k, 1m: each", HIREDIS, 1.0, _each("us", HIREDIS, HARD)),
    Target("each of the first six", "hiredis loop", 1.2, _each("us", "hiredis loop", FIRST_SIX)),
    Target("each of the first six", "redis-py pure", 7, _each("us", "redis-py pure", FIRST_SIX)),
    Target("live, 1 stream: CPU per message", HIREDIS, 2.5, _one("cpu_us", HIREDIS, "live-1")),
    Target("live, 1 stream: p50 latency", HIREDIS, 1.2, _one("p50_us", HIREDIS, "live-1")),
    Target("live, 10,000 streams: p50 latency", HIREDIS, 10, _at_scale("p50_us")),
    Target("live, 10,000 streams: CPU per message", HIREDIS, 5, _at_scale("cpu_us")),
    Target("live, 10,000 streams: p50 latency", "ours, 10 streams", 0.4, _flatness),
    Target("small, asyncio: throughput", "ours", 0.8, _asyncio("ours")),
    Target("small, asyncio", ASYNC_HIREDIS, 2.0, _asyncio(ASYNC_HIREDIS)),
    Target("import time", "redis-py", 8, _one("import_ms", "redis-py", "startup")),
    Target("memory added by the import", "redis-py", 5, _one("rss_kib", "redis-py", "startup")),
    Target("peak memory, each workload", HIREDIS, 1.0, _each("peak_kib", HIREDIS, READING)),
)


def _targets(results: Results) -> str:
    rows = []
    for target in TARGETS:
        seen = target.seen(results)
        known = {where: ratio for where, ratio in seen.items() if ratio is not None}
        where = min(known, key=lambda name: known[name], default="")
        least = known.get(where)
        if least is None or len(known) < len(seen):
            verdict = "void"
        else:
            verdict = "reached" if least >= target.at_least else "MISSED"
        texts = [f"{target.at_least:g}", _show(least), where or "--", verdict]
        rows.append([target.job, target.against, *texts])
    return rst_table(["job", "against", "at least", "seen", "least at", "verdict"], rows)


def _voids(results: Results) -> str:
    reasons: dict[tuple[str, str], str] = {}
    for row in results.select():
        if "void" in row:
            place = " ".join(str(row[key]) for key in ("job", "count", "axis") if key in row)
            reasons.setdefault((row["reader"], row["void"]), place)
    lines = [f"* {reader}: {why} (first at {place})" for (reader, why), place in reasons.items()]
    return "\n".join(lines) or "None."


def _environment(run: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    machine = ", ".join(f"{name}: {value}" for name, value in run["machine"].items())
    return f"{run['date']}; {machine}.\n{versions}."


def _parsers(results: Results) -> str:
    parsers = []
    for reader in results.distinct("reader"):
        names = results.distinct("parser", reader=reader)
        parsers += [f"{reader}: {' or '.join(names)}"] if names else []
    return f"What parses the replies, as seen in each process: {'; '.join(parsers)}."


SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[Results], str]], ...] = (
    ("How many times as fast this project reads as ...", READING, _time_ratios),
    (
        "The same in CPU time of the reader's process, which other work disturbs less",
        READING,
        _cpu_ratios,
    ),
    ("Absolute numbers, for orientation only", READING, _absolute),
    ("Live: 1,000 messages a second", ("live-1", "live-100"), _live),
    ("Among many streams: 1,000 messages a second to all of them", ("scale",), _scale),
    ("One server, and a cluster of three nodes", ("nodes",), _nodes),
    ("Start-up", ("startup",), _startup),
    ("Cost against size", ("growth",), _growth),
    ("Targets", (), _targets),
    ("Void rows", (), _voids),
)


def render(run: dict[str, Any]) -> Iterator[str]:
    """Yield the report, section by section."""
    results = Results(run["rows"])
    yield NOTE
    yield _environment(run)
    yield _parsers(results)
    for title, jobs, section in SECTIONS:
        if not jobs or any(results.select(job=job) for job in jobs):
            yield f"{title}\n{'-' * len(title)}"
            yield section(results)


def main() -> None:
    path = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("results.json")
    run = json.loads(path.read_text())
    for text in render(run):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
