"""The targets of the project: what is compared with what, and the ratio to be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from results import (
    ASYNC_HIREDIS,
    FIRST_SIX,
    HARD,
    HIREDIS,
    PLAIN_HIREDIS,
    READING,
    Results,
    geometric_mean,
)

Seen = dict[str, float | None]
"""The ratio for each case; None for what was not measured."""


@dataclass(frozen=True)
class Target:
    """A ratio that has to be reached; or must not be exceeded, where it is one of our own."""

    job: str
    against: str
    bound: float
    seen: Callable[[Results], Seen]
    is_limit: bool = False

    def judge(self, results: Results) -> Verdict:
        """Compare what was seen with the bound."""
        seen = self.seen(results)
        known = {where: ratio for where, ratio in seen.items() if ratio is not None}
        worst = max if self.is_limit else min
        where = worst(known, key=lambda name: known[name], default="")
        ratio = known.get(where)
        if ratio is None or len(known) < len(seen):
            return Verdict(self, ratio, where, "not measured")
        is_met = ratio <= self.bound if self.is_limit else ratio >= self.bound
        return Verdict(self, ratio, where, "met" if is_met else "MISSED")


@dataclass(frozen=True)
class Verdict:
    """The ratio seen for a target, at the place where it is furthest from being reached."""

    target: Target
    seen: float | None
    where: str
    text: str

    @property
    def margin(self) -> float:
        """The ratio seen in terms of the bound: below 1, the target is missed."""
        if self.seen is None:
            return 0.0
        bound = self.target.bound
        return bound / self.seen if self.target.is_limit else self.seen / bound


def _each(key: str, peer: str, jobs: Iterable[str]) -> Callable[[Results], Seen]:
    return lambda results: results.ratios(key, peer, jobs)


def _of_kinds(key: str, peer: str, streams: int) -> Callable[[Results], Seen]:
    return lambda results: results.of_kinds(key, peer, streams) or {"": None}


def _mean(seen: Callable[[Results], Seen]) -> Callable[[Results], Seen]:
    return lambda results: {"": geometric_mean(seen(results).values())}


def _one(key: str, peer: str, job: str) -> Callable[[Results], Seen]:
    return lambda results: {"": results.ratio(key, peer, job=job)}


def _at_scale(key: str) -> Callable[[Results], Seen]:
    return lambda results: {"": results.ratio(key, HIREDIS, job="scale", streams=10_000)}


def _flatness(results: Results) -> Seen:
    """The p50 among 10 streams in terms of that among 10,000."""
    few, many = (
        results.values("p50_us", job="scale", streams=streams, reader="ours")
        for streams in (10, 10_000)
    )
    ratios = [least / most for least, most in zip(few, many, strict=False)]
    return {"": median(ratios) if ratios else None}


def _asyncio(peer: str) -> Callable[[Results], Seen]:
    """Compare our reader for asyncio with another one."""
    return lambda results: (
        {
            label: results.ratio("us", peer, "ours asyncio", **case)
            for label, case in results.cases("small").items()
        }
        or {"": None}
    )


def _content(results: Results) -> Seen:
    costs = results.content_costs()
    return {
        f"{group}: {content}": cost
        for group, of_group in costs.items()
        for content, cost in of_group.items()
    } or {"": None}


def _growth(axis: str) -> Callable[[Results], Seen]:
    def seen(results: Results) -> Seen:
        row = {"job": "growth", "axis": axis, "reader": "ours"}
        sizes = results.distinct("size", **row)
        return {"": largest_rise([results.values("cost", size=size, **row) for size in sizes])}

    return seen


def largest_rise(costs: list[list[float]]) -> float | None:
    """Return the largest ratio of the cost at a size to that at any smaller size.

    Costs may fall, for what is paid once is shared by more; they must not rise.
    """
    if not costs or not all(costs):
        return None
    return max(
        median(large / small for small, large in zip(costs[i], costs[j], strict=True))
        for i in range(len(costs))
        for j in range(i + 1, len(costs))
    )


_SIX = _each("us", HIREDIS, FIRST_SIX)
_REAL_ONE = _of_kinds("cpu_us", PLAIN_HIREDIS, 1)
_REAL_FOUR = _of_kinds("us", HIREDIS, 4)
_LOOP = "hiredis loop"

TARGETS = (
    Target("real data, one stream, each kind: CPU", PLAIN_HIREDIS, 0.7, _REAL_ONE),
    Target("real data, one stream, mean: CPU", PLAIN_HIREDIS, 1.0, _mean(_REAL_ONE)),
    Target("real data, four streams, each kind", HIREDIS, 1.0, _REAL_FOUR),
    Target("real data, four streams, mean", HIREDIS, 1.3, _mean(_REAL_FOUR)),
    Target("six workloads, mean over both counts", HIREDIS, 2.0, _mean(_SIX)),
    Target("each of the six", HIREDIS, 1.4, _SIX),
    Target("unique, binary: each", HIREDIS, 1.2, _each("us", HIREDIS, HARD)),
    Target("values of 64 KiB", HIREDIS, 1.0, _each("us", HIREDIS, ("64k",))),
    Target("values of 1 MiB", HIREDIS, 1.0, _each("us", HIREDIS, ("1m",))),
    Target("live, 1 stream: CPU per message", HIREDIS, 1.8, _one("cpu_us", HIREDIS, "live-1")),
    Target("live, 1 stream: p50 latency", HIREDIS, 1.3, _one("p50_us", HIREDIS, "live-1")),
    Target("live, 10,000 streams: p50 latency", HIREDIS, 25, _at_scale("p50_us")),
    Target("live, 10,000 streams: CPU per message", HIREDIS, 5, _at_scale("cpu_us")),
    Target("the most expensive content: CPU", "the cheapest", 3, _content, is_limit=True),
    Target("import time", "redis-py", 8, _one("import_ms", "redis-py", "startup")),
    Target("memory added by the import", "redis-py", 8, _one("rss_kib", "redis-py", "startup")),
    Target("small, asyncio", "ours", 0.9, _asyncio("ours")),
    Target("small, asyncio", ASYNC_HIREDIS, 2.0, _asyncio(ASYNC_HIREDIS)),
    # Older ones, which still hold.
    Target("small, decode_responses=True", HIREDIS, 1.4, _each("us", HIREDIS, ("decoded",))),
    Target("each of the six", _LOOP, 1.2, _each("us", _LOOP, FIRST_SIX)),
    Target("each of the six", "redis-py pure", 7, _each("us", "redis-py pure", FIRST_SIX)),
    Target("live, 10,000 streams: p50 latency", "ours, 10 streams", 0.4, _flatness),
    Target("peak memory, each workload", HIREDIS, 1.0, _each("peak_kib", HIREDIS, READING)),
    Target(
        "a message at the dearest count",
        "the cheapest",
        1.25,
        _growth("ns per message, count"),
        is_limit=True,
    ),
)


def verdicts(results: Results) -> Iterator[Verdict]:
    """Judge all targets: what was missed first, by the margin; then the others."""
    judged = [target.judge(results) for target in TARGETS]
    yield from sorted(judged, key=lambda verdict: (verdict.seen is None, verdict.margin))
