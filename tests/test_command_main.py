"""The command from without: how it is called, and what it says in the end."""

from __future__ import annotations

import os
import socket
from importlib.metadata import entry_points

import pytest

import pystreamredis
from pystreamredis.command.main import main
from tests.commands import Terminal, run
from tests.servers import wait_until


def test_the_installed_command_is_this_one() -> None:
    (entry,) = entry_points(group="console_scripts", name="pystreamredis")
    assert entry.load() is main


def test_the_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{pystreamredis.__version__}\n", "")


def test_bad_usage_is_2_and_not_a_word_to_stdout() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no streams are given" in done.stderr


def test_it_can_be_called_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redis://127.0.0.1:1", "s"]) == 1
    assert "cannot connect to 127.0.0.1:1" in capsys.readouterr().err


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
                assert terminal.finish() in ((130,) if is_ctrl_c else (0, -15))
        assert "Traceback" not in terminal.text
