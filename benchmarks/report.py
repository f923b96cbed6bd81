"""The report: tables of the measurements in reStructuredText.

Also a program: ``report.py [results.json]`` shows a result again, and ``--write`` puts its
figures where README.rst and the documentation have them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from readers import PLAIN, READERS
from realdata import KINDS
from results import FIRST_SIX, HIREDIS, LARGE, PLAIN_HIREDIS, READING, Results, geometric_mean
from targets import largest_rise, verdicts

GROWTH_LIMIT = 1.25
NOTE = (
    "All numbers are ratios of times within one round on one machine (median over the rounds).\n"
    "Absolute times mean little: they change with the machine and with what else it does."
)


def rst_table(header: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """Lay out a reStructuredText table whose first columns are texts, the others numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if at < texts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([rule, line(header), rule, *map(line, rows), rule])


def _show(value: float | None, digits: int = 2) -> str:
    return "void" if value is None else f"{value:,.{digits}f}"


def _time_ratios(results: Results) -> str:
    return _ratios("us", results)


def _cpu_ratios(results: Results) -> str:
    return _ratios("cpu_us", results)


def _ratios(key: str, results: Results) -> str:
    jobs = _reading_jobs(results)
    cases = {label: case for job in jobs for label, case in results.cases(job).items()}
    seen = {row["reader"] for case in cases.values() for row in results.select(**case)}
    peers = [reader for reader in (*READERS, *PLAIN) if reader in seen - {"ours"}]
    rows = []
    for label, case in cases.items():
        ratios = [
            _show(results.ratio(key, peer, **case)) if results.select(reader=peer, **case) else "--"
            for peer in peers
        ]
        rows.append([label, *ratios])
    means = [
        ("the six workloads", [results.ratios(key, peer, FIRST_SIX) for peer in peers]),
        ("real data", [results.ratios(key, peer, results.kinds()) for peer in peers]),
    ]
    for label, of_peers in means:
        known = [{at: ratio for at, ratio in seen.items() if at in cases} for seen in of_peers]
        shown = [_show(geometric_mean(seen.values())) if seen else "--" for seen in known]
        rows.append([f"geometric mean of {label}", *shown])
    return rst_table(["workload", *peers], rows)


def _reading_jobs(results: Results) -> list[str]:
    return [*results.kinds(), *(job for job in READING if results.select(job=job))]


def _absolute(results: Results) -> str:
    rows = []
    for job in _reading_jobs(results):
        for label, case in results.cases(job).items():
            for reader in results.distinct("reader", **case):
                us, cpu, peak = (
                    results.median(key, reader=reader, **case)
                    for key in ("us", "cpu_us", "peak_kib")
                )
                mib = None if peak is None else peak / 1024
                rows.append([label, reader, _show(us), _show(cpu), _show(mib, 1)])
    header = ["workload", "reader", "µs/message", "CPU µs/message", "peak MiB"]
    return rst_table(header, rows)


def _kinds(results: Results) -> str:
    rows = []
    for kind in results.kinds():
        row = {"job": "real", "kind": kind}
        ratios = [
            results.ratio("cpu_us", PLAIN_HIREDIS, streams=1, **row),
            results.ratio("us", HIREDIS, streams=1, **row),
            results.ratio("cpu_us", PLAIN_HIREDIS, streams=4, **row),
            results.ratio("us", HIREDIS, streams=4, **row),
        ]
        label = results.distinct("label", **row)[0]
        rows.append((ratios[0] or 0, [kind, label, *map(_show, ratios)]))
    header = ["kind", "what it is", "1: CPU, plain loop", "1: time, merged"]
    header += ["4: CPU, plain loop", "4: time, merged"]
    return rst_table(header, [row for _, row in sorted(rows)], texts=2)


def _contents(results: Results) -> str:
    costs = results.content_costs()
    contents = results.distinct("content", job="contents")
    rows = [
        [content, *(_show(of_group.get(content), 1) for of_group in costs.values())]
        for content in contents
    ]
    most = [
        max((cost or 0 for cost in of_group.values()), default=0) for of_group in costs.values()
    ]
    return rst_table(["content", *costs], [*rows, ["the most", *(_show(cost, 1) for cost in most)]])


def _live(results: Results) -> str:
    rows = []
    for job in ("live-1",):
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
                [f"{streams:,}", reader, *(_show(results.median(key, **row), 0) for key in keys)]
            )
    header = ["streams", "reader", "p50 µs", "p99 µs", "CPU µs"]
    return rst_table([*header, "server's CPU µs", "its memory KiB", "connections"], rows, texts=2)


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
                *(f"{streams:,}", str(nodes), reader),
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
    return rst_table([*header, "connections", "history: µs/message", "CPU µs"], rows, texts=3)


def _order(results: Results) -> str:
    rows = []
    for rate, hold in product(*(results.distinct(key, job="order") for key in ("rate", "hold"))):
        row = {"job": "order", "rate": rate, "hold": hold}
        late, messages = (sum(results.values(key, **row)) for key in ("late", "messages"))
        keys = ("p50_us", "p99_us", "cpu_us", "reads")
        pace = f"{rate:,} a second" if rate else "as fast as can be"
        medians = [_show(results.median(key, **row), 0) for key in keys]
        rows.append([pace, hold, f"{late:,} of {messages:,}", *medians])
    header = ["written", "hold", "out of order", "p50 µs", "p99 µs", "CPU µs", "reads a second"]
    return rst_table(header, rows, texts=2)


def _hub(results: Results) -> str:
    rows = []
    for streams, reader in product(
        *(results.distinct(k, job="hub") for k in ("streams", "reader"))
    ):
        row = {"job": "hub", "streams": streams, "reader": reader}
        if not (found := results.select(**row)):
            continue
        keys = ("p50_us", "p99_us", "cpu_us", "rss_kib", "traced_kib", "connections")
        shown = [
            _show(results.median(key, **row), 0) if key in found[0] or "void" in found[0] else "--"
            for key in keys
        ]
        rows.append([f"{streams:,}", reader, f"{found[0]['rate']:,}", *shown])
    header = ["streams", "reader", "messages a second", "p50 µs", "p99 µs", "CPU µs of a delivery"]
    header += ["memory KiB each (RSS)", "of Python", "connections"]
    return rst_table(header, rows, texts=2)


def _startup(results: Results) -> str:
    keys = ("import_ms", "rss_kib", "private_kib")
    rows = [
        [reader, *(_show(results.median(key, job="startup", reader=reader), 1) for key in keys)]
        for reader in results.distinct("reader", job="startup")
    ]
    ratios = [_show(results.ratio(key, "redis-py", job="startup"), 1) for key in keys]
    rows.append(["ratio", *ratios])
    return rst_table(["library", "import ms", "memory KiB (RSS)", "memory KiB (private)"], rows)


def _embed(results: Results) -> str:
    rows = []
    for reader in results.distinct("reader", job="embed"):
        row = {"job": "embed", "reader": reader}
        files = results.distinct("files", **row)
        cells = [str(files[0]) if files else "void"]
        for length in results.distinct("length", job="embed"):
            peak = results.median("peak_kib", length=length, **row)
            cells += [
                _show(results.median("user_ms", length=length, **row), 0),
                _show(None if peak is None else peak / 1024, 1),
            ]
        rows.append([reader, *cells])
    numbers = [f"{length:,}" for length in results.distinct("length", job="embed")]
    columns = [f"{number}: {what}" for number in numbers for what in ("user ms", "peak MiB")]
    return rst_table(["reader", "files", *columns], rows)


def _growth(results: Results) -> str:
    rows = []
    lines = [(row["axis"], row["reader"]) for row in results.select(job="growth")]
    for axis, reader in dict.fromkeys(lines):
        row = {"job": "growth", "axis": axis, "reader": reader}
        sizes = results.distinct("size", **row)
        costs = [results.values("cost", size=size, **row) for size in sizes]
        rise = largest_rise(costs)
        cpu_rise = largest_rise([results.values("cpu_cost", size=size, **row) for size in sizes])
        flat = "void" if rise is None else "yes" if rise <= GROWTH_LIMIT else "NO"
        medians = " ".join(_show(median(seen) if seen else None, 1) for seen in costs)
        extent = f"{sizes[0]} to {sizes[-1]}"
        rows.append([axis, reader, extent, medians, _show(rise), _show(cpu_rise), flat])
    header = ["cost in, over", "reader", "sizes", "costs", "largest rise", "of CPU time", "flat"]
    return rst_table(header, rows)


def _targets(results: Results) -> str:
    rows = []
    for verdict in verdicts(results):
        target = verdict.target
        bound = f"{'at most' if target.is_limit else 'at least'} {target.bound:g}"
        seen = "--" if verdict.seen is None else _show(verdict.seen)
        rows.append([target.job, target.against, bound, seen, verdict.where or "--", verdict.text])
    return rst_table(["job", "against", "target", "seen", "where", "verdict"], rows, texts=2)


def _voids(results: Results) -> str:
    reasons: dict[tuple[str, str], str] = {}
    for row in results.select():
        if "void" in row:
            place = " ".join(str(row[key]) for key in ("job", "count", "axis") if key in row)
            reasons.setdefault((row["reader"], row["void"]), place)
    lines = [f"* {reader}: {why} (first at {place})" for (reader, why), place in reasons.items()]
    lines += [
        f"* {row['kind']}: {row['skipped']}"
        for row in results.select(job="real")
        if "skipped" in row
    ]
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
    ("Real data: how many times as fast as redis-py with hiredis", ("real",), _kinds),
    ("What the content costs, in terms of the cheapest of its size", ("contents",), _contents),
    ("How many times as fast this project reads as ...", (*READING, "real"), _time_ratios),
    (
        "The same in CPU time of the reader's process, which other work disturbs less",
        (*READING, "real"),
        _cpu_ratios,
    ),
    ("Absolute numbers, for orientation only", (*READING, "real"), _absolute),
    ("Live: 1,000 messages a second", ("live-1",), _live),
    ("Among many streams: 1,000 messages a second to all of them", ("scale",), _scale),
    ("One server, and a cluster of three nodes", ("nodes",), _nodes),
    ("Order, while four writers write to ten streams", ("order",), _order),
    ("Ten thousand followers of one hub, and one reader of the same streams", ("hub",), _hub),
    ("Start-up", ("startup",), _startup),
    ("A whole process, to its first message and to many", ("embed",), _embed),
    ("Cost against size", ("growth",), _growth),
    ("Targets", (), _targets),
    ("Void rows, and kinds of data that were not to be had", (), _voids),
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


# The figures in other files, from ``.. bench: NAME`` to ``.. bench: end``.

_ROOT = Path(__file__).parent.parent
_SECTION = re.compile(
    r"(?<=^\.\. bench: )(?!end$)(\w+)\n.*?(?=^\.\. bench: end$)", re.DOTALL | re.MULTILINE
)
FILES = (
    "README.rst",
    "docs/explanation/performance.rst",
    "docs/explanation/order.rst",
    "docs/explanation/growing.rst",
    "docs/howto/embed.rst",
)


def _summary(run: dict[str, Any]) -> str:
    """Compare with redis-py with hiredis in the fewest figures, the least first."""
    results = Results(run["rows"])

    def live(**row: Any) -> dict[str, float | None]:
        keys = {"latency": "p50_us", "CPU": "cpu_us"}
        return {name: results.ratio(key, HIREDIS, **row) for name, key in keys.items()}

    kinds = f"{len(results.kinds()) or len(KINDS)} kinds of real data"
    merged, plain = "the same job", "a plain loop: CPU"
    real = results.of_kinds("cpu_us", PLAIN_HIREDIS, 1), results.of_kinds("us", HIREDIS, 4)
    jobs = (
        (f"{kinds}, 1 stream", plain, real[0]),
        (f"{kinds}, 4 streams", merged, real[1]),
        ("6 made-up workloads", merged, results.ratios("us", HIREDIS, FIRST_SIX)),
        ("values of 64 KiB, 1 MiB", merged, results.ratios("us", HIREDIS, LARGE)),
        ("live, 1 stream", merged, live(job="live-1")),
        ("live, 10,000 streams, 100 connections", merged, live(job="scale", streams=10_000)),
    )
    rows: list[tuple[float, list[str]]] = []
    for job, against, seen in jobs:
        known = {where: ratio for where, ratio in seen.items() if ratio is not None}
        if not known:
            rows.append((0, [job, against, "not measured", ""]))
            continue
        where = min(known, key=lambda name: known[name])
        least, mean = known[where], _show(geometric_mean(known.values()))
        rows.append((least, [job, against, f"{least:.2f} ({where})", mean]))
    header = ["read", "compared with", "least", "mean"]
    versions, machine = run["versions"], run["machine"]
    return (
        f"{rst_table(header, [row for _, row in sorted(rows)], texts=3)}\n\n"
        f"One run of ``make bench`` on {run['date']}: {machine['cores']} cores, "
        f"Python {versions['Python']}, {versions['server']}, redis-py {versions['redis']}.\n"
    )


def _section(name: str, run: dict[str, Any]) -> str:
    if name == "summary":
        return _summary(run)
    results = Results(run["rows"])
    if name == "targets":
        return _targets(results) + "\n"
    job, table = {
        "kinds": ("real", _kinds),
        "contents": ("contents", _contents),
        "order": ("order", _order),
        "hub": ("hub", _hub),
        "scale": ("scale", _scale),
        "nodes": ("nodes", _nodes),
        "embed": ("embed", _embed),
    }[name]
    return (table(results) if results.select(job=job) else "Not measured yet.") + "\n"


def write(run: dict[str, Any], *, is_trial: bool = False) -> list[str]:
    """Put the figures of a run into README.rst and the documentation; name what changes."""
    changed = []
    for name in FILES:
        path = _ROOT / name
        before = path.read_text("utf-8")
        text = _SECTION.sub(lambda at: f"{at[1]}\n\n{_section(at[1], run)}\n", before)
        if text != before:
            changed.append(name)
            if not is_trial:
                path.write_text(text, "utf-8")
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    default = Path(__file__).with_name("results.json")
    parser.add_argument("results", nargs="?", type=Path, default=default)
    parser.add_argument("--write", action="store_true", help="put the figures into the documents")
    parser.add_argument("--check", action="store_true", help="fail if they are not there")
    arguments = parser.parse_args()
    run = json.loads(arguments.results.read_text("utf-8"))
    if arguments.write or arguments.check:
        changed = write(run, is_trial=arguments.check)
        if arguments.check and changed:
            sys.exit(f"{', '.join(changed)}: not the figures of this run; use report.py --write")
        return
    for text in render(run):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
