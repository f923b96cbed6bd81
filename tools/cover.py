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

ROOT = Path(__file__).resolve().parent.parent
# The tests of a module that are not called after it.
OTHER_TESTS = {
    "protocol/__init__.py": ["test_protocol_package.py"],
    "protocol/errors.py": ["test_protocol_package.py", "test_protocol_buffer.py"],
    "protocol/messages.py": ["test_protocol_messages.py", "test_protocol_xread.py"],
    "protocol/patterns.py": ["test_protocol_entries.py"],
    "protocol/predict.py": ["test_protocol_xread.py"],
    "protocol/strategies.py": ["test_protocol_encoder.py", "test_protocol_buffer.py"],
    "pystreamredis/__init__.py": ["test_package.py"],
    "pystreamredis/asyncio/__init__.py": ["test_asyncio.py"],
    "pystreamredis/asyncio/streams.py": ["test_asyncio.py"],
    "pystreamredis/command/files.py": ["test_command_state.py"],
    "pystreamredis/command/locking.py": ["test_command_state.py"],
    "pystreamredis/trio/__init__.py": ["test_trio.py"],
    "pystreamredis/trio/streams.py": ["test_trio.py"],
    "pystreamredis/awaited.py": ["test_asyncio.py"],
    "pystreamredis/construction.py": ["test_streams.py", "test_asyncio.py"],
    "pystreamredis/core/stream.py": ["test_core_stream.py"],
    "pystreamredis/io/tasks.py": ["test_io_tasks.py", "test_asyncio.py"],
    "pystreamredis/io/thread_poll.py": ["test_io_event_loop.py", "test_executor.py"],
    "pystreamredis/secret.py": ["test_secrets.py"],
    "pystreamredis/tls.py": ["test_io_connection.py", "test_contract_certificates.py"],
}
# What is run as another process is not seen from here.
LEFT_OUT = {"pystreamredis/__main__.py", "pystreamredis/command/__init__.py"}
FLOOR = 85.0  # percent of lines and branches, in the mean of all modules
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


def measure(module: str, folder: Path) -> float:
    """Run a module's own tests; return the percentage of its lines and branches that ran.

    Where the tests fail, what they print is printed, and 0 is returned.
    """
    data = folder / module.replace("/", ".")
    environment = os.environ | {"COVERAGE_FILE": str(data), "PYTHONPATH": str(ROOT)}
    # The protocol is imported through the link in the package.
    source = module if module.startswith("pystreamredis/") else f"pystreamredis/{module}"
    include = f"--include={ROOT / source},{ROOT / module}"
    python = [sys.executable, "-m"]
    tests = ["pytest", "-q", "--hypothesis-profile=few", *tests_of(module)]
    run = [*python, "coverage", "run", "--branch", include, "-m", *tests]
    done = subprocess.run(  # noqa: S603
        run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(f"the tests of {module} fail:\n{done.stdout}{done.stderr}", flush=True)
        return 0.0
    report = folder / f"{data.name}.json"
    subprocess.run(  # noqa: S603
        [*python, "coverage", "json", "-q", "-o", report], cwd=ROOT, env=environment, check=True
    )
    share = float(json.loads(report.read_text("utf-8"))["totals"]["percent_covered"])
    print(f"{share:6.1f} %  {module}  by {', '.join(tests_of(module))}", flush=True)
    return share


def main(names: list[str]) -> int:
    """Measure all modules, or those named; print a line for each."""
    chosen = names or modules()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        shares = list(pool.map(lambda name: measure(name, Path(folder)), chosen))
    mean = sum(shares) / len(shares)
    print(f"{mean:6.1f} %  in the mean")
    low = [name for share, name in zip(shares, chosen, strict=True) if share < FLOOR_OF_ONE]
    if low or (not names and mean < FLOOR):
        print(f"below {FLOOR_OF_ONE:g} %, or {FLOOR:g} % in the mean: {low}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
