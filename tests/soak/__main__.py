"""Run the campaign and print what came of it; the exit status says whether all is well."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers import Server, binaries
from tests.soak.campaign import PROMISES, Setup, run
from tests.soak.stopwatch import LongSilence, judge_quiet, judge_waits
from tests.soak.tables import put_into, sections

if TYPE_CHECKING:
    from typing import NoReturn

    from tests.soak.campaign import Report
    from tests.soak.stopwatch import Figure


def main() -> int:
    """Read the command line, run the campaign, print the report."""
    signal.signal(signal.SIGTERM, _terminate)
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
    failed = failures(report, figures)
    if failed:
        _print(f"FAILED: {'; '.join(failed)}")
        return 1
    for path in options.write:
        put_into(Path(path), sections(report, figures))
    return 0


def failures(report: Report, figures: list[Figure]) -> list[str]:
    """Name what was not as it is to be, in short."""
    found = [f"{getattr(report, name)} {text}" for name, text in PROMISES.items()]
    found = [text for text in found if not text.startswith("0 ")]
    if report.notes:
        found.append(f"{len(report.notes)} notes above")
    for figure in figures:
        if not figure.is_good:
            why = " (load on the machine may be why)" if figure.seen.endswith("s") else ""
            found.append(f"{figure.what}: {figure.seen}, at most {figure.limit}{why}")
    return found


def _terminate(*_: object) -> NoReturn:
    """End as by Ctrl-C: what was started is ended on the way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Whose exception would take the place of this one, and ends but a wait where waits are timed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
