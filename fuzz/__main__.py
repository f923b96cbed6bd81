"""Run the targets under atheris, or one of them on a file: ``python -m fuzz TARGET --on FILE``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from fuzz import load_targets, seeds_of

FOUND = Path(__file__).parent / "found"
# The library is to stay far below this whatever comes, and no input to take so long.
_LIMITS = ["-rss_limit_mb=512", "-timeout=10", "-max_len=4096"]


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process, which atheris ends."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["pystreamredis"]):
        target = load_targets()[name]
    with TemporaryDirectory() as corpus:
        for at, data in enumerate(seeds_of(name)):
            Path(corpus, str(at)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1", *_LIMITS]
        FOUND.mkdir(exist_ok=True)
        prefix = f"-artifact_prefix={FOUND / name}-"
        atheris.Setup([sys.argv[0], corpus, prefix, *options], target)
        atheris.Fuzz()


def fuzz_at_random(name: str, seconds: float, seed: int) -> int:
    """Fuzz one target without atheris: cut, join and spoil the inputs of the corpus."""
    target, inputs, random = load_targets()[name], seeds_of(name), Random(seed)  # noqa: S311
    until, number, data = monotonic() + seconds, 0, b""
    try:
        while monotonic() < until:
            data = random.choice(inputs)
            for _ in range(random.randrange(1, 5)):
                at, other = random.randrange(len(data) + 1), random.choice(inputs)
                begin = random.randrange(len(other) + 1)
                slip = other[begin : begin + random.randrange(12)] or random.randbytes(1)
                data = data[:at] + slip + data[at + random.randrange(4) :]
            target(data)
            number += 1
    except Exception:
        FOUND.mkdir(exist_ok=True)
        (FOUND / f"{name}-{number}").write_bytes(data)
        raise
    finally:
        sys.stderr.write(f"number_of_executed_units: {number}\n")
    return 0


def fuzz_all(seconds: float, seed: int) -> int:
    """Fuzz each target in a process of its own, as many at a time as there are cores."""
    names = list(load_targets())
    cores = os.cpu_count() or 1
    share = max(2, round(seconds * cores / len(names)))

    def fuzz_one(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fuzz", name, f"--duration={share}", f"--seed={seed}"]
        return subprocess.run(command, capture_output=True, text=True, errors="replace")  # noqa: S603

    broken = []
    with ThreadPoolExecutor(cores) as executor:
        for name, done in zip(names, executor.map(fuzz_one, names), strict=True):
            runs = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
            count = int(runs[-1].split()[-1]) if runs else 0
            _print(f"{'BROKEN' if done.returncode else 'holds'}  {count:10,} inputs  {name}")
            if done.returncode:
                broken.append(name)
                _print(done.stdout[-3000:] + done.stderr[-3000:])
    if broken:
        _print(f"what breaks them is in {FOUND}: python -m fuzz TARGET --on FILE runs it again")
    return 1 if broken else 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", help="all of them if there is none")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on", metavar="FILE", help="run the target on this, without atheris")
    options = parser.parse_args()
    if options.on:
        load_targets()[options.target](Path(options.on).read_bytes())
        return 0
    if find_spec("atheris") is None:
        if options.target:
            return fuzz_at_random(options.target, options.duration, options.seed)
        _print("fuzz: found no atheris, so inputs are changed at random, without a guide")
    elif options.target:
        fuzz(options.target, round(options.duration), options.seed)
    return fuzz_all(options.duration, options.seed)


if __name__ == "__main__":
    sys.exit(main())
