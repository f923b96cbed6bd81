"""Measure which branches of each module its own tests reach: ``make coverage``.

The tests of a whole program run through nearly every line of it, and so say little about a
module. Here a module counts as covered only where its own module of tests reaches it, as websockets
measures it. The exit status is 1 where a module, or the mean of all, is below its floor.

Usage: python -m tools.cover [path/to/module.py ...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
# The tests of a module that are not called after it.
OTHER_TESTS = {
    "protocol/__init__.py": ["test_protocol_package.py"],
    "protocol/errors.py": ["test_protocol_package.py", "test_protocol_buffer.py"],
    "protocol/messages.py": ["test_protocol_messages.py", "test_protocol_xread.py"],
    "protocol/patterns.py": ["test_protocol_entries.py"],
    "protocol/predict.py": ["test_protocol_xread.py"],
    "protocol/strategies.py": [
        "test_protocol_encoder.py",
        "test_protocol_parser.py",
        "test_protocol_xread.py",
    ],
    "pystreamredis/__init__.py": ["test_package.py"],
    "pystreamredis/asyncio/__init__.py": ["test_asyncio.py"],
    "pystreamredis/asyncio/streams.py": ["test_asyncio.py"],
    "pystreamredis/asyncio/hub.py": ["test_hub.py"],
    "pystreamredis/command/files.py": ["test_command_state.py"],
    "pystreamredis/command/locking.py": ["test_command_state.py"],
    "pystreamredis/trio/__init__.py": ["test_trio.py"],
    "pystreamredis/trio/streams.py": ["test_trio.py"],
    "pystreamredis/awaited.py": ["test_asyncio.py"],
    "pystreamredis/construction.py": ["test_streams.py", "test_asyncio.py", "test_options.py"],
    "pystreamredis/core/follower.py": ["test_core_hub.py", "test_hub.py"],
    "pystreamredis/core/stream.py": ["test_core_stream.py"],
    "pystreamredis/following.py": ["test_hub.py"],
    "pystreamredis/io/tasks.py": ["test_io_tasks.py", "test_asyncio.py"],
    "pystreamredis/io/thread_poll.py": ["test_io_event_loop.py", "test_executor.py"],
    "pystreamredis/secret.py": ["test_secrets.py"],
    "pystreamredis/tls.py": ["test_io_connection.py", "test_contract_certificates.py"],
}
# They run as other processes, which are not seen from here.
LEFT_OUT = {"pystreamredis/__main__.py", "pystreamredis/command/__init__.py"}
# Their tests mostly run the command as another process: they count in the mean alone.
SEEN_IN_PART = {
    "pystreamredis/command/connecting.py",
    "pystreamredis/command/main.py",
    "pystreamredis/command/run.py",
}
FLOOR = 87.0  # percent of lines and branches, in the mean of all modules
FLOOR_OF_ONE = 60.0


def tests_of(module: str) -> list[str]:
    """Return the modules of tests that a module counts as its own."""
    if module in OTHER_TESTS:
        return [f"tests/{name}" for name in OTHER_TESTS[module]]
    parts = module.removesuffix(".py").split("/")
    return [f"tests/test_{'_'.join(parts if parts[0] == 'protocol' else parts[1:])}.py"]


def modules() -> list[str]:
    """Return the paths of all modules that have code."""
    paths = [*(ROOT / "protocol").glob("*.py"), *(ROOT / "pystreamredis").rglob("*.py")]
    names = {path.relative_to(ROOT).as_posix() for path in paths if path.stat().st_size > 200}
    return sorted(
        name for name in names - LEFT_OUT if not name.startswith("pystreamredis/protocol/")
    )


def run_tests(tests: str, names: list[str], folder: Path) -> Path | None:
    """Run a module of tests and note which parts of these modules it reaches.

    Returns:
        The file of what was noted; None where the tests fail, after their output was printed.
    """
    data = folder / Path(tests).stem
    # The protocol is imported through the link in the package.
    sources = [
        name if name.startswith("pystreamredis/") else f"pystreamredis/{name}" for name in names
    ]
    include = "--include=" + ",".join(str(ROOT / source) for source in [*sources, *names])
    coverage = [sys.executable, "-m", "coverage", "run", "--branch", include, "-m"]
    begin = monotonic()
    done = subprocess.run(  # noqa: S603
        [*coverage, "pytest", "-q", "--hypothesis-profile=few", tests],
        cwd=ROOT,
        env=os.environ | {"COVERAGE_FILE": str(data), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{monotonic() - begin:6.0f} s  {tests}", flush=True)
    if done.returncode != 0:
        print(f"{tests} fails:\n{done.stdout}{done.stderr}", flush=True)
        return None
    return data


def share_of(module: str, noted: Mapping[str, Path | None], folder: Path) -> float:
    """Return the percentage of a module's lines and branches that its tests reach.

    0 where one of them fails.
    """
    own = [noted[tests] for tests in tests_of(module)]
    found = [str(data) for data in own if data is not None]
    if len(found) < len(own):
        return 0.0
    name = folder / module.replace("/", ".")
    combined, report = f"{name}.data", Path(f"{name}.json")
    of_module = ["-q", f"--data-file={combined}"]
    for arguments in (
        ["combine", "--keep", *of_module, *found],
        ["json", *of_module, f"--include=*/{module}", f"-o{report}"],
    ):
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "coverage", *arguments], cwd=ROOT, check=True
        )
    return float(json.loads(report.read_text("utf-8"))["totals"]["percent_covered"])


def main(names: list[str]) -> int:
    """Measure all modules, or those named; print a line for each."""
    chosen = names or modules()
    reached: dict[str, list[str]] = {}
    for name in chosen:
        for tests in tests_of(name):
            reached.setdefault(tests, []).append(name)
    with TemporaryDirectory() as temporary, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(temporary)
        runs = pool.map(lambda tests: run_tests(tests, reached[tests], folder), reached)
        noted = dict(zip(reached, runs, strict=True))
        shares = {name: share_of(name, noted, folder) for name in chosen}
    for name, share in sorted(shares.items(), key=lambda item: item[1]):
        print(f"{share:6.1f} %  {name}  by {', '.join(tests_of(name))}")
    mean = sum(shares.values()) / len(shares)
    print(f"{mean:6.1f} %  in the mean")
    low = [
        name for name, share in shares.items() if share < FLOOR_OF_ONE and name not in SEEN_IN_PART
    ]
    if low or (not names and mean < FLOOR):
        print(f"below {FLOOR_OF_ONE:g} %, or {FLOOR:g} % in the mean: {low}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
