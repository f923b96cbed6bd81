"""Run one measurement in a process of its own, and bring back what it saw.

Whatever goes wrong there, from a library that is not installed to a crash, is a void
row with its reason and never the end of the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from readers import Job

HERE = Path(__file__).parent
TIMEOUT = 120


def start(reader: str, job: Job, **task: Any) -> subprocess.Popen[str]:
    """Start a measurement; `measure.py` says what the task may hold."""
    task |= {"reader": reader, "job": job._asdict()}
    command = [sys.executable, str(HERE / "measure.py")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, **pipes, encoding="utf-8")
    assert process.stdin is not None
    # Not an argument, of which the system takes no more than 128 KiB.
    with suppress(BrokenPipeError), process.stdin as stdin:
        json.dump(task, stdin)
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str], timeout: float = TIMEOUT) -> dict[str, Any]:
    """Wait for a measurement and return its result, ``{"void": reason}`` if there is none."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"void": f"not done after {timeout:.0f} s"}
    if process.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        return {"void": f"ended with {process.returncode}: {last}"[:300]}
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def measure(reader: str, job: Job, **task: Any) -> dict[str, Any]:
    """Run a measurement from start to end."""
    return finish(start(reader, job, **task))
