"""Run the campaign and print what came of it; the exit status says whether all is well."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.soak.campaign import Setup, cpu_while_away, run

_MOST_CPU = 0.02


def main() -> int:
    """Read the command line, run the campaign, print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=300.0, help="seconds")
    parser.add_argument("--seed", default="", help="any text; at random if there is none")
    options = parser.parse_args()
    seed = options.seed or secrets.token_hex(4)
    sys.stdout.write(f"seed {seed}, {options.duration:g} s\n")
    sys.stdout.flush()
    cpu = cpu_while_away(3.0)
    report = run(Setup(options.duration, seed))
    sys.stdout.write(f"{report}\n{cpu:10.2%}  of a core used while a server is away\n")
    return 0 if report.is_good and cpu < _MOST_CPU else 1


if __name__ == "__main__":
    sys.exit(main())
