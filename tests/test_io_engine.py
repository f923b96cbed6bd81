"""`pystreamredis.io.engine`: connections end with their sessions, and nothing waits in vain."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pystreamredis import ConnectionError, ResponseError
from pystreamredis.core.events import Failed
from tests.simulation import Server, Simulation


def simulation(**options: object) -> Simulation:
    server = Server()
    server.add(b"s", "1-0")
    more: dict[str, object] = {"block": 100} | options
    return Simulation(server, {"s": 0, "t": 0}, **more).establish()  # type: ignore[arg-type]


@pytest.mark.parametrize("raising", [True, False])
def test_a_connection_whose_session_ended_is_closed_at_once(raising: bool) -> None:
    """Contract 5.2, 5.3: not only when the caller asks again."""
    it = simulation(cuts=[0], raise_connection_exceptions=raising)
    if raising:
        with pytest.raises(ConnectionError):
            it.next()
    else:
        assert isinstance(it.next(), ConnectionError)
    assert it.links == []
    assert it.next()[1] == b"1-0"
    assert len(it.links) == 1


def test_a_silent_connection_is_closed_with_its_failure() -> None:
    """Contract 5.5."""
    it = simulation(connection={"socket_timeout": 1})
    assert it.next()[1] == b"1-0"
    it.is_deaf = True
    with pytest.raises(TimeoutError):
        it.rest() or it.rest() or [it.rest() for _ in range(100)]
    assert it.links == []


def test_a_connection_without_streams_is_closed() -> None:
    """Contract 2.5."""
    it = simulation(connections=2)
    assert it.next()[1] == b"1-0"
    assert len(it.links) == 2
    it.discard("t")
    it.engine.end_unused()
    assert len(it.links) == 1


def test_without_streams_there_is_nothing_to_wait_for() -> None:
    it = simulation()
    it.discard("s", "t")
    with pytest.raises(ValueError, match="no streams left"):
        it.next()


def test_an_addition_that_fails_adds_nothing() -> None:
    """Contract 2.5: and the streams that were followed go on."""
    it = simulation()
    assert it.next()[1] == b"1-0"
    it.server.at_fault[b"u"] = "-NOPERM no"
    with pytest.raises(ResponseError):
        it.add(u=None)
    assert list(it.reader.positions) == ["s", "t"]
    it.server.add(b"s", "2-0")
    assert it.next()[1] == b"2-0"


def test_a_failure_from_before_an_addition_is_reported_after_it() -> None:
    """Contract 5.2: not raised by `add`, nor swallowed."""
    it = simulation(connections=1)
    assert it.next()[1] == b"1-0"
    it.engine.disconnect()
    (assignment,) = it.reader.assignments
    failure = ConnectionError("it broke")
    it.reader.disconnect(assignment)
    assignment.failure = Failed(failure, it.now)
    it.add(u=0)
    with pytest.raises(ConnectionError, match="it broke"):
        it.next()
    it.server.add(b"u", "2-0")
    assert it.next()[1] == b"2-0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_is_noticed() -> None:
    code = (
        "import os\n"
        "from pystreamredis.io.engine import Engine\n"
        "pid = os.fork()\n"
        "if not pid: os._exit(Engine.forks)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), Engine.forks)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_of_a_fork_is_another_generation() -> None:
    code = (
        "import os\n"
        "from pystreamredis.io.engine import Engine\n"
        "for _ in range(3):\n"
        "    if pid := os.fork():\n"
        "        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "os._exit(Engine.forks)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 3


def test_a_system_without_forks_has_one_generation() -> None:
    code = (
        "import os\n"
        "vars(os).pop('register_at_fork', None)\n"
        "from pystreamredis.io.engine import Engine\n"
        "print(Engine.forks)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
