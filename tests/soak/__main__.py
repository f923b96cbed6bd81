"""Run the campaign and print what came of it; the exit status says whether all is well."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.servers import Server, binaries
from tests.soak.campaign import Setup, run
from tests.soak.stopwatch import LongSilence, judge_quiet, judge_waits
from tests.soak.tables import put_into, sections


def main() -> int:
    """Read the command line, run the campaign, print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=300.0, help="seconds")
    parser.add_argument("--seed", default="", help="any text; at random if there is none")
    parser.add_argument("--write", nargs="*", default=[], help="files to put the figures into")
    options = parser.parse_args()
    seed = options.seed or secrets.token_hex(4)
    _print(f"seed {seed}: {options.duration:g} s of faults, after a minute without")
    kind, binary = next(iter(binaries().items()))
    with Server(binary, kind=kind) as server:
        figures = judge_quiet(server)
        silence = LongSilence(server)
        silence.start()
        report = run(Setup(options.duration, seed, times_waits=True))
        figures.append(silence.judge())
    figures += judge_waits(report.waits, "under faults")
    _print(str(report))
    for figure in figures:
        limit = f", at most {figure.limit}" if figure.limit else ""
        _print(f"{'' if figure.is_good else 'TOO MUCH: '}{figure.what}: {figure.seen}{limit}")
    is_good = report.is_good and all(figure.is_good for figure in figures)
    if is_good:
        for path in options.write:
            put_into(Path(path), sections(report, figures))
    return 0 if is_good else 1


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
