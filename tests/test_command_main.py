"""The command from outside: calls, exit codes, and Ctrl-C at any moment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

import pystreamredis
from pystreamredis.command.main import main
from tests.commands import COMMAND, ENDED_BY_CTRL_C, LONG, Terminal, environment, run, url_of
from tests.servers import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Endpoint

# Has Ctrl-C come once a module is looked for; or within a finalizer, which loses exceptions.
_INTERRUPTED = """
import os, signal, sys
from pystreamredis.command.main import main

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(name, path, target=None):
        if name == sys.argv[1]:
            how()

class Finalized:
    __del__ = interrupt

how = interrupt if sys.argv[2] == "plainly" else Finalized
sys.modules.pop(sys.argv[1], None)
sys.meta_path.insert(0, Finder)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main([sys.argv[3], "s"]))
"""

# Has it come so many seconds after `main` has begun, which then imports others.
_INTERRUPTED_AFTER = """
import os, signal, sys, time
from pystreamredis.command.main import main

class Finder:
    def find_spec(name, path, target=None):
        if name == "pystreamredis.command.signals" and not os.fork():
            time.sleep(float(sys.argv[1]))
            os.kill(os.getppid(), signal.SIGINT)
            os._exit(0)

sys.meta_path.insert(0, Finder)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main([sys.argv[2], "s"]))
"""


def _call(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env=environment(),
    )


def test_the_installed_command_is_this_one() -> None:
    (entry,) = entry_points(group="console_scripts", name="pystreamredis")
    assert entry.load() is main


@pytest.mark.parametrize("how", ["plainly", "in a finalizer"])
@pytest.mark.parametrize("module", ["command.arguments", "command.template", "io.blocking"])
def test_ctrl_c_is_not_lost_at_the_beginning(server: Endpoint, module: str, how: str) -> None:
    """Neither while modules are imported, nor while it connects."""
    done = _call(_INTERRUPTED, f"pystreamredis.{module}", how, url_of(server))
    assert (done.returncode, done.stdout) == (130, "")
    is_ignored = module == "io.blocking" and how != "plainly"
    assert ("KeyboardInterrupt" in done.stderr) is is_ignored


def test_ctrl_c_ends_what_it_takes_to_take_note_of_it() -> None:
    """The import of `signal`, which is most of what comes before."""
    done = _call(_INTERRUPTED, "signal", "plainly", "redis://localhost:1")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("delay", [at / 100 for at in range(11)])
def test_ctrl_c_ends_it_whenever_it_comes(server: Endpoint, delay: float) -> None:
    """From `main` on: before that, what Python imports for itself may lose it."""
    done = _call(_INTERRUPTED_AFTER, delay, url_of(server))
    assert (done.returncode, done.stdout) == (130, "")


# A loop, as people write it at a prompt; it says so if it goes on.
_LOOP = """
for number in 1 2; do "$@"; echo "round $number is over"; done
"""


def test_ctrl_c_ends_a_shell_loop_around_it(server: Endpoint, tmp_path: Path) -> None:
    """A shell ends its loop only if the command itself died of SIGINT."""
    server.command("XADD", "s", "1-0", "f", "v")
    state = tmp_path / "state"
    arguments = [url_of(server), "s=0", "--json", "--state", str(state)]
    with subprocess.Popen(
        ["bash", "-c", _LOOP, "loop", *COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as shell:
        assert shell.stdout is not None
        assert '"1-0"' in shell.stdout.readline()
        os.killpg(shell.pid, signal.SIGINT)
        output, errors = shell.communicate(timeout=LONG)
    assert (shell.returncode, output, errors) == (-signal.SIGINT, "", "")
    assert json.loads(state.read_text()) == {"s": "1-0"}


def test_a_misspelt_option_gets_one_helpful_line() -> None:
    done = run("--jsn", "s")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "pystreamredis: unknown option --jsn; did you mean --json? (see pystreamredis --help)\n"
    )


def test_the_path_of_a_socket_is_no_stream(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        done = run(path)
    assert done.returncode == 2
    assert f"'{path}' is a unix socket, expected unix://{path}" in done.stderr


def test_who_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert main(["redis://127.0.0.1:1", "s"]) == 1
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_as_before_in_the_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["redis://127.0.0.1:1", "s"]) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_the_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{pystreamredis.__version__}\n", "")


def test_bad_usage_is_2_and_not_a_word_to_stdout() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no streams are given" in done.stderr


def test_it_can_be_called_from_python(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["redis://127.0.0.1:1", "s"]) == 1
    assert "cannot connect to 127.0.0.1:1" in capfd.readouterr().err


def test_help_into_a_pipe_that_is_closed_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("--help", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("is_ctrl_c", [True, False])
def test_connecting_can_be_interrupted(*, is_ctrl_c: bool) -> None:
    """A server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=60"
        with Terminal(url, "s") as terminal:
            connection, _ = silent.accept()
            with connection:
                wait_until(lambda: connection.recv(1))
                if is_ctrl_c:
                    terminal.interrupt()
                else:
                    terminal.terminate()
                assert terminal.finish() in ((ENDED_BY_CTRL_C,) if is_ctrl_c else (0, -15))
        assert "Traceback" not in terminal.text


def test_a_request_for_figures_before_there_are_any_ends_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        with subprocess.Popen([*COMMAND, url, "s"], stderr=subprocess.PIPE) as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGUSR1)
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=LONG)
    assert (process.returncode, errors) == (-signal.SIGTERM, b"")


def test_a_start_that_may_be_in_seconds_is_reported(server: Endpoint) -> None:
    """Contract 2.2: it is in ms."""
    server.command("XADD", "s", "1-0", "f", "old")
    server.command("XADD", "s", "1530403200-0", "f", "new")
    done = run(url_of(server), "s=1530403200", "--exit", "--format", "{field[f]}")
    assert (done.returncode, done.stdout) == (0, "new\n")
    assert done.stderr == (
        "pystreamredis: stream 's': start 1530403200 is taken as ms, in January 1970; "
        "if it is in seconds, use 1530403200000\n"
    )
