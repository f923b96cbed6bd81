"""The rows of a run, and the ratios that are worked out of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from statistics import median
from typing import Any

Row = dict[str, Any]

HIREDIS = "redis-py+hiredis"
PLAIN_HIREDIS = "redis-py+hiredis, plain"
ASYNC_HIREDIS = "redis.asyncio+hiredis"
FIRST_SIX = ("small", "one", "single", "wide", "mixed", "hundred")
HARD = ("unique", "binary")
LARGE = ("64k", "1m")
READING = (*FIRST_SIX, "decoded", *HARD, *LARGE)


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

    def distinct(self, key: str, **wanted: Any) -> list[Any]:
        """Return the values of a column in the order of their first appearance."""
        return list(dict.fromkeys(row[key] for row in self.select(**wanted) if key in row))

    def kinds(self) -> list[str]:
        """Return the kinds of real data that were there."""
        skipped = {row["kind"] for row in self.select(job="real") if "skipped" in row}
        return [kind for kind in self.distinct("kind", job="real") if kind not in skipped]

    def cases(self, job: str) -> dict[str, dict[str, Any]]:
        """Return what a workload or kind was measured as, with the values of its rows."""
        counts = sorted(self.distinct("count", job=job))
        if counts:
            return {f"{job}, count {count}": {"job": job, "count": count} for count in counts}
        streams = self.distinct("streams", job="real", kind=job)
        return {
            f"{job}, {number} stream{'s' if number > 1 else ''}": {
                "job": "real",
                "kind": job,
                "streams": number,
            }
            for number in streams
        }

    def ratios(self, key: str, peer: str, jobs: Iterable[str]) -> dict[str, float | None]:
        """Return the ratios of the cases with the peer in them; None for a job without."""
        ratios: dict[str, float | None] = {}
        for job in jobs:
            cases = self.cases(job).items()
            found = {
                label: self.ratio(key, peer, **case)
                for label, case in cases
                if self.select(reader=peer, **case)
            }
            ratios |= found or {job: None}
        return ratios

    def of_kinds(self, key: str, peer: str, streams: int) -> dict[str, float | None]:
        """Return the ratio of each kind of real data."""
        return {
            kind: self.ratio(key, peer, job="real", kind=kind, streams=streams)
            for kind in self.kinds()
        }

    def content_costs(self) -> dict[str, dict[str, float | None]]:
        """Return what each content costs, by group, in terms of the cheapest of its size."""
        groups: dict[str, dict[str, float | None]] = {}
        for group in self.distinct("group", job="contents"):
            costs = {
                content: self.median("cpu_us", job="contents", group=group, content=content)
                for content in self.distinct("content", job="contents", group=group)
            }
            least = min((cost for cost in costs.values() if cost), default=0.0)
            groups[group] = {
                content: cost / least if cost else None for content, cost in costs.items()
            }
        return groups


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the mean that suits ratios, or None if one of them is missing."""
    known = list(values)
    present = [value for value in known if value is not None]
    if not known or len(present) < len(known):
        return None
    return prod(present) ** (1 / len(present))
