"""Runtimes other than a plain CPython: PyPy, sub-interpreters, gevent and eventlet.

PYSTREAMREDIS_TEST_PYPY  the executable; by default `pypy3` in PATH
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.servers import LONG, Endpoint

ROOT = Path(__file__).parent.parent
PYPY = os.environ.get("PYSTREAMREDIS_TEST_PYPY") or shutil.which("pypy3")

# It reads what is there, waits for what is not, and goes on after a closed connection.
READ = """
import sys
from pystreamredis import Streams
with Streams("127.0.0.1", int(sys.argv[1]), a=0, b=0, count=2, block=50) as streams:
    print([message[1] for message in streams])
    print(streams.positions)
"""
READ_BY_ASYNCIO = """
import asyncio, sys
from pystreamredis.asyncio import Streams
async def main():
    async with Streams("127.0.0.1", int(sys.argv[1]), a=0, b=0, count=2, block=50) as streams:
        print([message[1] async for message in streams])
        print(streams.positions)
asyncio.run(main())
"""
EXPECTED = [
    "[b'1-0', b'2-0', b'3-0', b'4-0', b'5-0']",
    "{'a': b'5-0', 'b': b'4-0'}",
]
# A program of two green threads: one waits in a read, the other writes what it waits for.
GREEN = """
import sys
{patch}
import time
from pystreamredis import Streams
sys.path.append({examples!r})
from sensors import Client
port = int(sys.argv[1])
found = []
def read():
    with Streams("127.0.0.1", port, c=None, block=0) as streams:
        ready.append(True)
        found.append(next(streams)[1])
def write():
    while not ready:
        time.sleep(0.01)
    client = Client(f"redis://127.0.0.1:{{port}}")
    client.add("c", "7-0", {{"f": "v"}})
    client.close()
ready = []
{run}
print(found)
"""
GREEN_THREADS = {
    "gevent": (
        "from gevent import monkey; monkey.patch_all()",
        "import gevent; gevent.joinall([gevent.spawn(read), gevent.spawn(write)], timeout=30)",
    ),
    "eventlet": (
        "import eventlet; eventlet.monkey_patch()",
        "threads = [eventlet.spawn(read), eventlet.spawn(write)]\n"
        "for thread in threads:\n    thread.wait()",
    ),
}


def run(program: str, port: int, python: str = sys.executable, *options: str) -> list[str]:
    done = subprocess.run(
        [python, *options, "-c", program, str(port)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def port(one_server: Endpoint) -> int:
    for at in (1, 2, 3, 4, 5):
        one_server.command("XADD", "b" if at % 2 == 0 else "a", f"{at}-0", "f", "v")
    assert one_server.port
    return one_server.port


@pytest.mark.skipif(PYPY is None, reason="no pypy3 is installed")
@pytest.mark.parametrize("program", [READ, READ_BY_ASYNCIO], ids=["blocking", "asyncio"])
def test_pypy_reads_in_both_shells(program: str, port: int) -> None:
    assert run(program, port, str(PYPY), "-S", "-W", "error") == EXPECTED


@pytest.mark.parametrize("program", [READ], ids=["blocking"])
def test_sub_interpreters_read_side_by_side(program: str, port: int) -> None:
    """Each has modules of its own; nothing is shared."""
    if find_spec("_xxsubinterpreters") is None and find_spec("_interpreters") is None:
        pytest.skip("this Python has no module for sub-interpreters")
    outer = (
        "import sys\n"
        "try:\n    import _interpreters as subs\n"
        "except ImportError:\n    import _xxsubinterpreters as subs\n"
        "for _ in range(2):\n"
        "    one = subs.create()\n"
        f"    subs.run_string(one, f'import sys; sys.argv = [\"\", {{sys.argv[1]!r}}]')\n"
        f"    subs.run_string(one, {program!r})\n"
        "    subs.destroy(one)\n"
    )
    assert run(outer, port) == EXPECTED * 2


@pytest.mark.parametrize("library", GREEN_THREADS)
def test_a_wait_lets_other_green_threads_run(library: str, port: int) -> None:
    """Or the one that writes would never come to it."""
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    patch, work = GREEN_THREADS[library]
    program = GREEN.format(patch=patch, run=work, examples=str(ROOT / "examples"))
    assert run(program, port) == ["[b'7-0']"]
