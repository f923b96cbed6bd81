"""The benchmark: every reader, every job, in turn; ``make bench`` runs it.

Writes ``results.json`` and ``chart.svg``, and prints the report. Each reader is measured
in a process of its own, one after the other in each round, and compared within the
round: whatever else the machine does then, it does to all of them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chart
from embedding import measure_embedding
from followers import measure_followers
from growth import measure_growth
from live import measure_scale, read_live
from nodes import measure_nodes
from order import measure_order
from profiling import profile
from readers import READERS
from reading import read_contents, read_real, read_workload
from realdata import KINDS
from report import render, write
from results import Results
from server import embedded_server
from startup import measure_imports
from workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from server import Link

LIVE = {"live-1": 1}
LIVE_MESSAGES = 2000
# The jobs that the targets need most come first.
JOBS = (
    *KINDS,
    "contents",
    *LIVE,
    "startup",
    *WORKLOADS,
    "scale",
    "growth",
    "order",
    "hub",
    "nodes",
    "embed",
)
ROUNDS = 7
# One import takes so little that more rounds cost nothing; growth compares a reader with itself.
STARTUP_ROUNDS = 21
GROWTH_ROUNDS = 3
SCALE_ROUNDS = 3
QUICK = 0.1
PACKAGES = (
    *("pystreamredis", "redis", "hiredis", "valkey", "libvalkey", "coredis"),
    *("valkey-glide-sync", "matplotlib"),
)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--jobs", nargs="+", choices=JOBS, default=JOBS, metavar="JOB", help=", ".join(JOBS)
    )
    parser.add_argument(
        "--readers",
        nargs="+",
        choices=READERS,
        default=list(READERS),
        metavar="READER",
        help=", ".join(READERS),
    )
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"default: {ROUNDS}, {STARTUP_ROUNDS} of startup, {GROWTH_ROUNDS} of growth, "
        f"{SCALE_ROUNDS} of scale, order, hub and nodes; with --quick 1 of each",
    )
    parser.add_argument("--messages", type=int, help="of each workload, and of each live job")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="little of everything, in one round: shows that all works, not how fast it is",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="print where this reader's time goes in the workloads and live jobs, and no more",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the figures into README.rst and the documentation as well; "
        "benchmarks/report.py --write does so later",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="the folder for results.json and chart.svg; "
        "default: this one, with --quick a temporary one",
    )
    return parser.parse_args()


def rows_of(job: str, link: Link, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure one job."""
    readers = arguments.readers
    scale = QUICK if arguments.quick else 1

    def rounds(default: int) -> int:
        chosen: int | None = arguments.rounds
        return chosen or (1 if arguments.quick else default)

    def messages(default: int) -> int:
        chosen: int | None = arguments.messages
        return chosen or int(default * scale)

    live_messages = messages(LIVE_MESSAGES)
    measured: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "startup": lambda: measure_imports(rounds(STARTUP_ROUNDS)),
        "contents": lambda: read_contents(link, rounds(ROUNDS), scale),
        "embed": lambda: measure_embedding(link, rounds(ROUNDS), scale),
        "hub": lambda: measure_followers(link, rounds(SCALE_ROUNDS), scale),
        "growth": lambda: measure_growth(link, rounds(GROWTH_ROUNDS), scale),
        "order": lambda: measure_order(link, rounds(SCALE_ROUNDS), scale),
        "scale": lambda: measure_scale(link, readers, rounds(SCALE_ROUNDS), live_messages),
        "nodes": lambda: measure_nodes(link, readers, rounds(SCALE_ROUNDS), live_messages, scale),
    }
    if job in measured:
        return measured[job]()
    if job in KINDS:
        return read_real(link, job, readers, rounds(ROUNDS), scale)
    if job in LIVE:
        return read_live(link, LIVE[job], readers, rounds(ROUNDS), live_messages)
    workload = WORKLOADS[job]
    return read_workload(link, workload, readers, rounds(ROUNDS), messages(workload.messages))


def print_profiles(link: Link, arguments: argparse.Namespace) -> None:
    """Print where this reader's time goes."""
    for job in arguments.jobs:
        if job not in (*WORKLOADS, *LIVE):
            continue
        usual = LIVE_MESSAGES if job in LIVE else WORKLOADS[job].messages
        for text in profile(link, job, LIVE.get(job), arguments.messages or usual):
            print(text, end="\n\n")


def versions(link: Link) -> dict[str, str]:
    """Tell what was compared, each in which version."""
    found = {"Python": platform.python_version(), "server": link.version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, str]:
    """Tell what it was compared on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"CPU": model, "cores": str(os.cpu_count()), "system": platform.system()}


def measure_all(rows: list[dict[str, Any]], link: Link, arguments: argparse.Namespace) -> None:
    """Add the rows of all jobs, and print how far it has come."""
    begin = time.monotonic()
    for number, job in enumerate(arguments.jobs, 1):
        start, done = time.monotonic(), len(rows)
        rows += rows_of(job, link, arguments)
        voids = sum("void" in row for row in rows[done:])
        end = time.monotonic()
        print(
            f"{number} of {len(arguments.jobs)}, {job}: {end - start:.0f} s, "
            f"{end - begin:.0f} s in all" + (f", {voids} void" if voids else ""),
            file=sys.stderr,
            flush=True,
        )


def earlier_rows(path: Path, run: dict[str, Any], jobs: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows that an earlier run has of other jobs, and give this run its date.

    Raises:
        SystemExit: The earlier run was of other versions, or on another machine.
    """
    if set(jobs) == set(JOBS) or not path.exists():
        return []
    earlier = json.loads(path.read_text())
    different = [key for key in ("machine", "versions") if earlier[key] != run[key]]
    if different:
        sys.exit(
            f"{path} is of other {' and '.join(different)}, so these jobs cannot be added to it; "
            "run all jobs, or name another folder by --out"
        )
    run["date"] = earlier["date"]
    rows: list[dict[str, Any]] = earlier["rows"]
    return [row for row in rows if row["kind" if row["job"] == "real" else "job"] not in jobs]


def main() -> None:
    """Measure, write down, and report."""
    arguments = parse_arguments()
    if arguments.profile:
        with embedded_server() as link:
            print_profiles(link, arguments)
        return
    folder = arguments.out or Path(tempfile.mkdtemp() if arguments.quick else Path(__file__).parent)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with embedded_server() as link:
        run: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(link),
            "quick": arguments.quick,
            "rows": rows,
        }
        rows += earlier_rows(folder / "results.json", run, arguments.jobs)
        try:
            measure_all(rows, link, arguments)
        except KeyboardInterrupt:
            print("interrupted: what was measured is written", file=sys.stderr)
    # One row a line: a run's differences from the last one can be read.
    lines = ",\n".join(json.dumps(row) for row in rows)
    head = json.dumps(run | {"rows": []}, indent=1).removesuffix("]\n}")
    (folder / "results.json").write_text(f"{head}\n{lines}\n]\n}}\n")
    for text in render(run):
        print(text, end="\n\n")
    try:
        chart.draw(Results(rows), folder / "chart.svg")
    except ImportError as error:
        print(f"no chart: {error}")
    print(f"Written to {folder}")
    if arguments.write:
        write(run)


if __name__ == "__main__":
    main()
