"""Both shells where Python lacks what it lacks on Windows, in processes of their own.

That is taken away before the library is imported. `tools.wine_smoke` does the same with the
official Windows Python, where that can be had.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import LiveServer
from tests.peer import Peer, closed_port, deaf_port
from tests.servers import LONG

ROOT = Path(__file__).parent.parent
SMOKE = ROOT / "tools" / "smoke.py"
# Takes away what Windows' Python lacks, then runs what follows.
LACKING = """
import asyncio, os, select, selectors, signal, socket, ssl, subprocess, sys, threading, time
import trio  # it looks at once at the system that it is on

unix_pair, inet = socket.socketpair, socket.AF_INET


def socketpair(family=inet, kind=socket.SOCK_STREAM, proto=0):
    # As Windows' Python does it: over loopback.
    assert family == inet, family
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


LACKS = {
    socket: ["AF_UNIX", "MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_REUSEPORT", "SCM_RIGHTS"],
    signal: [
        *("getitimer", "setitimer", "ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF", "pthread_kill"),
        *("SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "SIGTSTP", "SIGCONT"),
        *("pthread_sigmask", "siginterrupt", "alarm", "pause"),
    ],
    os: [
        *("register_at_fork", "fork", "get_blocking", "set_blocking", "getuid", "geteuid"),
        *("fchmod", "fchown", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "uname", "getpgid"),
    ],
    select: ["poll", "epoll"],
    selectors: ["PollSelector", "EpollSelector"],
    time: ["tzset"],
}
for module, names in LACKS.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
socket.socketpair = socketpair
for name in ("fcntl", "termios", "pwd", "grp", "resource", "tty", "pty"):
    sys.modules[name] = None


# Windows' select() takes 512 sockets; here it takes fewer.
MOST = 8
select_any = select.select


def select_few(read, write, failed, timeout=None):
    if not read and not write and not failed:
        # There it is an error to wait for nothing.
        raise OSError(10022, "An invalid argument was supplied")
    if max(len(read), len(write), len(failed)) > MOST:
        raise ValueError("too many file descriptors in select()")
    return select_any(read, write, failed, timeout)


class Select(selectors.SelectSelector):
    def _select(self, *args):
        return select_few(*args)


select.select = select_few
selectors.DefaultSelector = Select
sys.path.insert(0, ROOT)
"""
RUN_SMOKE = """
import runpy
sys.argv[0] = SMOKE
runpy.run_path(SMOKE, run_name="__main__")
"""
TOO_MANY = """
from pystreamredis import ConnectionError, Streams

PORT = int(sys.argv[1])
NAMES = {f"s{i}": 0 for i in range(20)}
try:
    with Streams("127.0.0.1", PORT, streams=NAMES, connections=20, block=2000) as streams:
        for _ in range(50):
            next(streams)
except ConnectionError as error:
    assert "cannot watch so many sockets: too many" in str(error), error
    assert f"127.0.0.1:{PORT}" in str(error), error
else:
    raise AssertionError("it has more connections than there can be")
options = dict(connections=20, block=10, raise_connection_exceptions=False)
with Streams("127.0.0.1", PORT, streams=NAMES, **options) as streams:
    failures = [item for item in (next(streams, None) for _ in range(50)) if item]
    assert any(isinstance(item, ConnectionError) for item in failures), failures
with Streams("127.0.0.1", PORT, streams=NAMES, connections=4, block=2000) as streams:
    assert len([next(streams) for _ in range(20)]) == 20
print("good")
"""
TEST_MODULES = """
import runpy
# What tests and their servers need to be imported, and conftest to be set up.
for name in ("tests.conftest", "tests.servers", "tests.peer", "tests.commands", "tests.cluster"):
    __import__(name)
sys.modules["tests.conftest"].pytest_configure()
print("good")
"""


def run(program: str, *arguments: object) -> None:
    """Run a program where all that is lacking."""
    text = LACKING.replace("ROOT", repr(str(ROOT))) + program.replace("SMOKE", repr(str(SMOKE)))
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=2 * LONG,
        check=False,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == ("good\n", "")


@pytest.mark.parametrize("setup", ["blocking", "selector", "no-readers"])
def test_everything_goes_without_what_windows_lacks(setup: str) -> None:
    """Reading, waiting, timeouts, failures, and closing from elsewhere."""
    with Peer(LiveServer(s=["1-0", "2-0", "3-0"])) as peer, deaf_port() as deaf:
        run(RUN_SMOKE, setup, peer.port, closed_port(), deaf)


@pytest.mark.parametrize("setup", ["blocking", "selector", "no-readers"])
def test_the_same_goes_with_all_that_this_system_has(setup: str) -> None:
    """So that what fails there is for what is lacking; and of loops that watch no sockets."""
    with Peer(LiveServer(s=["1-0", "2-0", "3-0"])) as peer, deaf_port() as deaf:
        arguments = [setup, peer.port, closed_port(), deaf]
        done = subprocess.run(
            [sys.executable, str(SMOKE), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=2 * LONG,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("good\n", "")


def test_more_sockets_than_select_takes_are_a_connection_error() -> None:
    """Contract 5.1: and fewer connections are as good as ever."""
    streams = {f"s{i}": ["1-0"] for i in range(20)}
    with Peer(LiveServer(**streams)) as peer:
        run(TOO_MANY, peer.port)


def test_the_tests_can_be_imported_there() -> None:
    """What only some tests need is imported by these."""
    run(TEST_MODULES)
