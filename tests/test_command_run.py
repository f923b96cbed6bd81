"""The command at work: its ends, its state, and the failures it survives."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import (
    COMMAND,
    ENDED_BY_CTRL_C,
    LONG,
    Terminal,
    finish,
    rows_of,
    run,
    running,
    url_of,
)
from tests.proxy import Proxy
from tests.servers import Endpoint, StartServer, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def fill(server: Endpoint, count: int, streams: int = 2, size: int = 0) -> list[tuple[str, str]]:
    """Add messages to streams in turn; return stream and ID of all of them, in order."""
    ids = [(f"s{index % streams}", f"{1 + index // 3}-{index % 3}") for index in range(count)]
    server.pipeline(
        ("XADD", stream, entry_id, "f", f"{index}{'x' * size}")
        for index, (stream, entry_id) in enumerate(ids)
    )
    return ids


def ids_in(lines: list[str]) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [(message["stream"], message["id"]) for message in found]


def waits_at(server: Endpoint) -> bool:
    """Return whether a client waits for messages there, and so has pinned "now"."""
    return b"flags=b " in server.command("CLIENT", "LIST")


# Where it ends.


def test_it_prints_the_last_messages_of_each_stream(one_server: Endpoint) -> None:
    """Contract 2.2."""
    fill(one_server, 12)
    one_server.command("XADD", "few", "9-0", "f", "v")
    done = run(url_of(one_server), "s0", "s1=+", "few", "--exit", "--json", "--last", "2")
    assert (done.returncode, done.stderr) == (0, "")
    found = ids_in(done.stdout.splitlines())
    assert found == [("s0", "3-2"), ("s0", "4-1"), ("s1", "4-2"), ("few", "9-0")]


def test_it_prints_what_is_there_in_order_and_ends(one_server: Endpoint) -> None:
    key = one_server.key
    for name, entry_id in (("a", "1-0"), ("b", "1-1"), ("a", "2-0")):
        one_server.command("XADD", key(name), entry_id, "f", "x y")
    done = run(url_of(one_server), key("a"), key("b"), "--exit")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f'1970-01-01 00:00:00.001 {key("a")} 1-0 f="x y"',
        f'1970-01-01 00:00:00.001 {key("b")} 1-1 f="x y"',
        f'1970-01-01 00:00:00.002 {key("a")} 2-0 f="x y"',
    ]


def test_it_follows_until_a_signal_comes(one_server: Endpoint) -> None:
    with running(url_of(one_server), "s", "--format", "{field[f]}") as command:
        assert command.stdout is not None
        wait_until(lambda: waits_at(one_server))
        for value in ("1", "2"):
            one_server.command("XADD", "s", "*", "f", value)
            # At once, not when some buffer is full.
            assert command.stdout.readline() == f"{value}\n".encode()
            time.sleep(1.1)  # longer than one read waits
        command.send_signal(signal.SIGTERM)
        assert finish(command) == (0, "", "")


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_limit(one_server: Endpoint, tmp_path: Path, count: int) -> None:
    ids = fill(one_server, 30)
    state = tmp_path / "state"
    arguments = [url_of(one_server), "s0=0", "s1=0", "--count", count, "--json", "--state", state]
    for at in (0, 10, 20):
        done = run(*arguments, "--limit", 10)
        assert (done.returncode, done.stderr) == (0, "")
        assert ids_in(done.stdout.splitlines()) == ids[at : at + 10]
    assert json.loads(state.read_text()) == {"s0": ids[-2][1], "s1": ids[-1][1]}


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_until(one_server: Endpoint, tmp_path: Path, count: int) -> None:
    ids = fill(one_server, 30)
    state = tmp_path / "state"
    arguments = [url_of(one_server), "s0=0", "s1=0", "--count", count, "--json", "--state", state]
    done = run(*arguments, "--until", 5)
    before = [(stream, entry_id) for stream, entry_id in ids if int(entry_id.split("-")[0]) < 5]
    assert ids_in(done.stdout.splitlines()) == before
    # Later messages were read, but are left for another run.
    done = run(*arguments, "--exit")
    assert ids_in(done.stdout.splitlines()) == ids[len(before) :]


def test_until_a_time_that_is_to_come(one_server: Endpoint) -> None:
    until = int(time.time() * 1000) + 1500
    one_server.command("XADD", "s", "*", "f", "v")
    done = run(url_of(one_server), "s=0", "--until", until, "--block", "100")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert time.time() * 1000 >= until


def test_exit_may_wait_for_a_late_message(one_server: Endpoint) -> None:
    """Contract 4.2."""
    with running(url_of(one_server), "s", "--exit", "--block", "30000", "--limit", "1") as command:
        wait_until(lambda: waits_at(one_server))
        one_server.command("XADD", "s", "5-0", "f", "v")
        code, output, errors = finish(command)
    assert (code, errors) == (0, "")
    assert output.endswith("s 5-0 f=v\n")


def test_a_refusal_ends_it_and_names_the_stream(one_server: Endpoint) -> None:
    one_server.command("SET", "text", "not a stream")
    done = run(url_of(one_server), "s=0", "text=0")
    assert done.returncode == 1
    assert "of stream 'text': WRONGTYPE" in done.stderr
    assert done.stderr.count("\n") == 1


# Pipes.


def test_a_reader_that_has_enough_ends_it_quietly(one_server: Endpoint, tmp_path: Path) -> None:
    """As `head` does."""
    fill(one_server, 20_000)
    state = tmp_path / "state"
    with running(url_of(one_server), "s0=0", "s1=0", "--state", state) as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.stdout.close()
        command.stdout = None
        assert finish(command) == (0, "", "")
    assert set(json.loads(state.read_text())) == {"s0", "s1"}


def test_a_reader_that_has_gone_is_noticed_while_nothing_comes(
    one_server: Endpoint, tmp_path: Path
) -> None:
    """`| head -1` would wait for a second message that may never come."""
    one_server.command("XADD", "s", "5-0", "f", "v")
    state = tmp_path / "state"
    with running(url_of(one_server), "s=0", "--state", state) as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.stdout.close()
        command.stdout = None
        assert finish(command) == (0, "", "")
    assert json.loads(state.read_text()) == {"s": "5-0"}


def test_nothing_is_counted_that_did_not_get_into_the_pipe(
    one_server: Endpoint, tmp_path: Path
) -> None:
    """SIGTERM amid a write that blocks, again and again, until all is read."""
    ids = fill(one_server, 3000, size=100)
    state = tmp_path / "state"
    arguments = url_of(one_server), "s0=0", "s1=0", "--json", "--exit", "--state", state
    found: list[str] = []
    runs = 0
    while len(found) < len(ids):
        with running(*arguments) as command:
            assert command.stdout is not None
            wait_until(lambda: is_stuck(command) or command.poll() is not None)
            command.terminate()
            assert command.wait(60) in (0, -signal.SIGTERM)
            found += command.stdout.read().decode().splitlines()
            assert command.stderr is not None
            assert command.stderr.read() == b""
        runs += 1
    assert ids_in(found) == ids
    assert runs > 3


def is_stuck(command: subprocess.Popen[bytes]) -> bool:
    """Return whether its pipe is full."""
    assert command.stdout is not None
    size = int.from_bytes(fcntl.ioctl(command.stdout, termios.FIONREAD, bytes(4)), "little")
    return size > 65536 - 4096


def test_ctrl_c_twice_does_not_wait_for_anything(one_server: Endpoint, tmp_path: Path) -> None:
    ids = fill(one_server, 3, size=2_000_000)
    state = tmp_path / "state"
    arguments = url_of(one_server), "s0=0", "s1=0", "--json", "--exit", "--state", state
    with running(*arguments) as command:
        wait_until(lambda: is_stuck(command))
        command.send_signal(signal.SIGINT)
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == ENDED_BY_CTRL_C
    done = run(*arguments)
    assert ids_in(done.stdout.splitlines()) == ids


def test_a_full_disk_is_reported(one_server: Endpoint, tmp_path: Path) -> None:
    fill(one_server, 10)
    state = tmp_path / "state"
    with open("/dev/full", "wb") as full:
        done = run(url_of(one_server), "s0=0", "--exit", "--state", state, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "pystreamredis: cannot write: No space left on device\n"
    assert json.loads(state.read_text()) == {"s0": "0-0"}


def test_a_closed_stdout_is_reported(one_server: Endpoint) -> None:
    """Its number would be that of the connection, into which messages would go."""
    one_server.command("XADD", "s", "1-0", "f", "v")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "-", *COMMAND, url_of(one_server), "s=0", "--exit"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "pystreamredis: cannot write: stdout is closed\n"


def test_bytes_survive_in_a_pipe(one_server: Endpoint) -> None:
    one_server.command("XADD", "s", "1-0", "f", b"\xff\x00\r\n")
    with running(url_of(one_server), "s=0", "--exit", "--format", "{field[f]}|") as command:
        output, _ = command.communicate(timeout=60)
    assert output == b"\xff\x00\r\n|\n"


def test_names_survive_that_are_not_utf8(one_server: Endpoint) -> None:
    name = b"\xff".decode("utf-8", "surrogateescape")
    one_server.command("XADD", b"\xff", "1-0", "f", "v")
    done = run(url_of(one_server), f"{name}=0", "--exit", "--json")
    assert json.loads(done.stdout)["stream"] == {"base64": "/w=="}


def test_a_table_has_its_header_once(one_server: Endpoint, tmp_path: Path) -> None:
    one_server.command("XADD", "s", "1-0", "a", "1")
    table = tmp_path / "table.csv"
    arguments = url_of(one_server), "s=0", "--exit", "--csv", "a", "--state", tmp_path / "state"
    for entry_id in ("2-0", "3-0"):
        with open(table, "ab") as file:
            run(*arguments, stdout=file)
        one_server.command("XADD", "s", entry_id, "b", "1")
    assert table.read_text() == "stream,id,a\ns,1-0,1\ns,2-0,\n"


# The state.


def test_now_is_kept_over_a_restart(one_server: Endpoint, tmp_path: Path) -> None:
    """Contract 2.3: also where no message had come yet."""
    state = tmp_path / "state"
    one_server.command("XADD", "s", "5-0", "f", "old")
    with running(url_of(one_server), "s", "--state", state) as command:
        wait_until(state.exists)
        command.kill()
    one_server.command("XADD", "s", "6-0", "f", "new")
    done = run(url_of(one_server), "s", "--exit", "--state", state, "--format", "{field[f]}")
    assert done.stdout == "new\n"


def test_the_state_keeps_up_with_what_is_printed(one_server: Endpoint, tmp_path: Path) -> None:
    """So that kill -9 repeats little, however long it has run."""
    state = tmp_path / "state"
    with running(url_of(one_server), "s=0", "--state", state) as command:
        for at in (1, 2, 3):
            one_server.command("XADD", "s", f"{at}-0", "f", "v")
            assert command.stdout is not None
            command.stdout.readline()
            stored = {"s": f"{at}-0"}
            wait_until(lambda: state.exists() and json.loads(state.read_text()) == stored)  # noqa: B023


# Runs the command, and prints what it has synced and replaced, in order.
_LIST_SYNCS = """
import os, sys
fsync, replace, link, calls = os.fsync, os.replace, os.link, []
os.fsync = lambda fd: (fd == 1 and calls.append("output"), fsync(fd))
os.replace = lambda *paths: (calls.append("state"), replace(*paths))
os.link = lambda *paths: (calls.append("state"), link(*paths))
from pystreamredis.command.main import main
main(sys.argv[1:])
print(*calls, file=sys.stderr)
"""


def test_output_is_on_the_disk_before_the_state_is(one_server: Endpoint, tmp_path: Path) -> None:
    fill(one_server, 10)
    arguments = [url_of(one_server), "s0=0", "--exit", "--state", str(tmp_path / "state")]
    with open(tmp_path / "output", "wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", _LIST_SYNCS, *arguments],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
    calls = done.stderr.split()
    assert calls == ["output", "state"] * (len(calls) // 2)
    assert len(calls) >= 4  # where it starts, and where it has ended


def test_streams_that_are_new_to_the_state_start_as_they_say(
    one_server: Endpoint, tmp_path: Path
) -> None:
    fill(one_server, 12, streams=3)
    state = tmp_path / "state"
    state.write_text('{"s0": "2-0", "other": "7-7"}')
    done = run(url_of(one_server), "s0=0", "s1=3", "s2=$", "-e", "-J", "--state", state)
    assert ids_in(done.stdout.splitlines()) == [
        ("s0", "3-0"),
        ("s1", "3-1"),
        ("s0", "4-0"),
        ("s1", "4-1"),
    ]
    assert json.loads(state.read_text()) == {
        "s0": "4-0",
        "s1": "4-1",
        "s2": "4-2",
        "other": "7-7",
    }


def test_a_spoilt_state_is_reported_before_anything_is_done(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("{}{")
    done = run("redis://127.0.0.1:1", "s", "--state", state)
    assert done.returncode == 2
    assert f"state {state} holds no positions" in done.stderr


def test_a_state_that_cannot_be_stored_any_more_ends_it(
    one_server: Endpoint, tmp_path: Path
) -> None:
    state = tmp_path / "folder" / "state"
    state.parent.mkdir()
    one_server.command("XADD", "s", "1-0", "f", "v")
    with running(url_of(one_server), "s=0", "--state", state) as command:
        wait_until(lambda: state.exists() and json.loads(state.read_text()) == {"s": "1-0"})
        state.unlink()
        state.parent.rmdir()
        # It may have noticed before this comes.
        one_server.command("XADD", "s", "2-0", "f", "v")
        code, output, errors = finish(command)
    assert code == 1
    assert output.splitlines()[0].endswith("s 1-0 f=v")
    # Once.
    assert errors == f"pystreamredis: state {state}: No such file or directory\n"


# Runs the command with less patience for other programs.
_IMPATIENT = """
import sys
from pystreamredis.command import locking
from pystreamredis.command.main import main
locking.PATIENCE = 0.1
sys.exit(main(sys.argv[1:]))
"""


def test_a_state_that_others_keep_locked_is_stored_later(
    one_server: Endpoint, tmp_path: Path
) -> None:
    """A command that was stopped amid its store must not end the others."""
    state = tmp_path / "state"
    state.write_text("{}")
    one_server.command("XADD", "s", "1-0", "f", "v")
    arguments = [url_of(one_server), "s=0", "--format", "{id}", "--state", str(state)]
    with state.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "-c", _IMPATIENT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as command:
            assert command.stdout is not None
            assert command.stderr is not None
            locked = b"another program does not release its lock; trying again\n"
            assert command.stderr.readline().endswith(locked)
            assert command.stdout.readline() == b"1-0\n"
            assert command.stderr.readline().endswith(locked)
            assert json.loads(state.read_text()) == {}
            fcntl.flock(file, fcntl.LOCK_UN)
            command.terminate()
            assert command.wait(60) == 0
    assert json.loads(state.read_text()) == {"s": "1-0"}


def test_a_state_that_stays_locked_at_the_end_is_a_failure(
    one_server: Endpoint, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_text("{}")
    one_server.command("XADD", "s", "1-0", "f", "v")
    arguments = [url_of(one_server), "s=0", "--exit", "--state", str(state)]
    with state.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-c", _IMPATIENT, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith("another program does not release its lock\n")
    assert json.loads(state.read_text()) == {}


def test_kills_lose_nothing_and_repeat_only_what_was_not_stored(
    one_server: Endpoint, tmp_path: Path
) -> None:
    """kill -9 at any time, with a reader that is slow at times, until all is there."""
    ids = fill(one_server, 20_000)
    state, output = tmp_path / "state", tmp_path / "output"
    arguments = url_of(one_server), "s0=0", "s1=0", "--json", "--state", state, "--count", 10
    for delay in (0.0, 0.4, 1.3):
        with open(output, "ab") as file, running(*arguments, stdout=file) as command:
            size = output.stat().st_size
            wait_until(lambda: output.stat().st_size > size)  # noqa: B023
            time.sleep(delay)
            command.kill()
    with open(output, "ab") as file:
        assert run(*arguments, "--exit", stdout=file).returncode == 0
    found = ids_in(rows_of(output))
    assert set(found) == set(ids)
    # Each run goes on in order from a place that was reached before.
    places = {entry: at for at, entry in enumerate(ids)}
    reached = -1
    for entry in found:
        assert places[entry] <= reached + 1
        reached = max(reached, places[entry])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_lose_nothing_and_repeat_nothing(
    one_server: Endpoint, tmp_path: Path, number: signal.Signals
) -> None:
    ids = fill(one_server, 20_000)
    state, output = tmp_path / "state", tmp_path / "output"
    arguments = url_of(one_server), "s0=0", "s1=0", "--json", "--state", state, "--count", 10
    for delay in (0.0, 0.1, 0.3):
        with open(output, "ab") as file, running(*arguments, stdout=file) as command:
            wait_until(state.exists)
            size = output.stat().st_size
            wait_until(lambda: output.stat().st_size > size or len(rows_of(output)) == len(ids))  # noqa: B023
            time.sleep(delay)
            command.send_signal(number)
            code, _, errors = finish(command)
            assert (code, errors) == (ENDED_BY_CTRL_C if number == signal.SIGINT else 0, "")
    with open(output, "ab") as file:
        assert run(*arguments, "--exit", stdout=file).returncode == 0
    assert ids_in(rows_of(output)) == ids


# Outages.


def test_outages_are_reported_and_survived(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes")
    with running(url_of(server), "s", "--format", "{field[f]}") as command:
        assert command.stdout is not None
        wait_until(lambda: waits_at(server))
        server.command("XADD", "s", "1-0", "f", "1")
        assert command.stdout.readline() == b"1\n"
        server.restart()
        server.command("XADD", "s", "2-0", "f", "2")
        assert command.stdout.readline() == b"2\n"
        command.terminate()
        code, _, errors = finish(command)
    assert code == 0
    lost, again = errors.splitlines()
    assert lost.startswith("pystreamredis: ")
    assert server.address in lost
    assert again.startswith(f"pystreamredis: connected to {server.address} after an outage of ")


def test_a_signal_ends_it_amid_an_outage(one_server: Endpoint, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Proxy(one_server.host, one_server.port) as proxy:
        arguments = f"redis://127.0.0.1:{proxy.port}", "s=0", "--state", state
        with running(*arguments) as command:
            assert command.stdout is not None
            one_server.command("XADD", "s", "1-0", "f", "1")
            command.stdout.readline()
            proxy.refuse()
            proxy.drop_all()
            assert command.stderr is not None
            assert command.stderr.readline()
            command.send_signal(signal.SIGINT)
            assert command.wait(60) == ENDED_BY_CTRL_C
    assert json.loads(state.read_text()) == {"s": "1-0"}


def test_a_server_that_never_answered_is_a_connection_that_failed(one_server: Endpoint) -> None:
    with Proxy(one_server.host, one_server.port) as proxy:
        proxy.close_after(0, "down")
        done = run(f"redis://127.0.0.1:{proxy.port}", "s=0")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


# Figures and health.


def test_figures_are_printed_when_asked_for(one_server: Endpoint) -> None:
    one_server.command("XADD", "s", "1-0", "f", "v")
    with running(url_of(one_server), "s=0", "t", "--format", "{id}") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == b"1-0\n"
        wait_until(lambda: waits_at(one_server))
        for _ in range(2):
            command.send_signal(signal.SIGUSR1)
            line = command.stderr.readline().decode()
            assert re.fullmatch(
                r"pystreamredis: connected, last answer \d+ s ago, 0 outages, 0 gaps, 1 message; "
                r"'s' at 1-0, 't' at 0-0\n",
                line,
            )
        command.send_signal(signal.SIGTERM)
        assert finish(command) == (0, "", "")


def test_figures_are_printed_during_an_outage_and_while_nobody_reads(
    start_server: StartServer,
) -> None:
    server = start_server()
    fill(server, 300, size=1000)
    with running(url_of(server), "s0=0", "s1=0", "--json") as command:
        assert command.stderr is not None
        # Nobody reads, so it waits for the pipe after the first messages.
        assert command.stdout is not None
        assert select.select([command.stdout], [], [], LONG)[0]
        assert figures_of(command) == figures_of(command) == ("connected", "0")
        command.send_signal(signal.SIGTERM)
        finish(command)
    with (
        Proxy(server.host, server.port) as proxy,
        running(f"redis://127.0.0.1:{proxy.port}", "s0") as command,
    ):
        wait_until(lambda: waits_at(server))
        proxy.refuse()
        proxy.drop_all()
        wait_until(lambda: figures_of(command) == ("not connected", "1"))
        command.send_signal(signal.SIGTERM)
        finish(command)


def figures_of(command: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Ask for a line; return the connection, and the number of outages."""
    assert command.stderr is not None
    command.send_signal(signal.SIGUSR1)
    found = None
    while found is None:
        line = command.stderr.readline().decode()
        assert line
        found = re.search(": ((?:not )?connected), .* ago, ([0-9]+) outages?, ", line)
    return found[1], found[2]


def test_the_file_for_probes_is_touched_while_answers_come(
    one_server: Endpoint, tmp_path: Path
) -> None:
    path = tmp_path / "alive"
    with (
        Proxy(one_server.host, one_server.port) as proxy,
        running(f"redis://127.0.0.1:{proxy.port}", "s", "--health", path) as command,
    ):
        wait_until(path.exists)
        for _ in range(2):  # no message comes
            os.utime(path, (0, 0))
            wait_until(lambda: path.stat().st_mtime > 0)
        proxy.refuse()
        proxy.drop_all()
        wait_until(lambda: figures_of(command)[0] == "not connected")
        os.utime(path, (0, 0))
        time.sleep(2.5)  # as long as two attempts to connect
        assert path.stat().st_mtime == 0
        command.send_signal(signal.SIGTERM)
        finish(command)


def test_a_file_for_probes_that_cannot_be_is_bad_usage(
    one_server: Endpoint, tmp_path: Path
) -> None:
    done = run(url_of(one_server), "s", "--health", tmp_path / "none" / "alive")
    assert done.returncode == 2
    assert (
        done.stderr == f"pystreamredis: --health {tmp_path}/none/alive: No such file or directory\n"
    )


# A terminal.


def test_a_terminal_shows_colours_and_one_line_a_message(one_server: Endpoint) -> None:
    one_server.command("XADD", "s", "1-0", "f", "\x1b[2Jv", "g", b"\xff")
    with Terminal(url_of(one_server), "s=0", "--exit") as terminal:
        assert terminal.finish() == 0
        assert "\x1b[3" in terminal.text
        assert "\x1b[2J" not in terminal.text
        line = r'1970-01-01 00:00:00.001 s 1-0 f="\x1b[2Jv" g="\xff"'
        assert terminal.screen == [line, ""]


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_shows_no_colours_unless_wanted(
    one_server: Endpoint, env: dict[str, str]
) -> None:
    one_server.command("XADD", "s", "1-0", "f", "v")
    with Terminal(url_of(one_server), "s=0", "--exit", env=env) as terminal:
        assert terminal.finish() == 0
        assert terminal.text == "1970-01-01 00:00:00.001 s 1-0 f=v\r\n"


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_colours_get_into_a_pipe_where_they_are_wanted(
    one_server: Endpoint, env: dict[str, str]
) -> None:
    one_server.command("XADD", "s", "1-0", "f", "v")
    done = run(url_of(one_server), "s=0", "--exit", "--color=always", env=env)
    assert re.sub(r"\x1b\[[0-9]*m", "", done.stdout) == "1970-01-01 00:00:00.001 s 1-0 f=v\n"
    assert "\x1b[36m" in done.stdout


def test_a_terminal_gets_no_colours_where_they_are_unwanted(one_server: Endpoint) -> None:
    one_server.command("XADD", "s", "1-0", "f", "v")
    with Terminal(url_of(one_server), "s=0", "--exit", "--color=never") as terminal:
        assert terminal.finish() == 0
        assert "\x1b" not in terminal.text


@pytest.mark.parametrize("form", [["--json"], ["--csv", "f"], ["--format", "{field[f]}"]])
def test_no_format_lets_a_terminal_obey_values(one_server: Endpoint, form: list[str]) -> None:
    one_server.command("XADD", "s", "1-0", "f", "\x1b[2J\x07\x9b2J\r")
    with Terminal(url_of(one_server), "s=0", "--exit", *form) as terminal:
        assert terminal.finish() == 0
        assert not set(terminal.text) & {"\x1b", "\x07", "\x9b"}
        assert "2J" in terminal.text


def test_a_terminal_is_told_of_streams_without_messages(
    one_server: Endpoint, tmp_path: Path
) -> None:
    url = url_of(one_server)
    one_server.command("XADD", "s", "1-0", "f", "v")
    with Terminal(url, "s", "Sream0") as terminal:
        terminal.wait_for("waiting for 'Sream0', from now on")
        terminal.interrupt()
        terminal.finish()
        assert "pystreamredis: waiting for 's', from now on\r\n" in terminal.text
    with Terminal(url, "s", "Sream0", "--exit") as terminal:
        assert terminal.finish() == 0
        assert "no messages in 'Sream0'" in terminal.text
        assert "'s'" not in terminal.text
    state = tmp_path / "state"
    state.write_text('{"s": "1-0"}')
    with Terminal(url, "s", "--state", state) as terminal:
        terminal.wait_for("waiting for 's' after 1-0\r\n")
    # Only there: for a log it is not worth a line.
    assert run(url, "Sream0", "--exit").stderr == ""


def test_a_terminal_is_told_of_them_while_other_streams_are_busy(one_server: Endpoint) -> None:
    is_seen = threading.Event()

    def write() -> None:
        while not is_seen.wait(0.1):
            one_server.command("XADD", "busy", "*", "f", "v")

    writer = threading.Thread(target=write)
    with Terminal(url_of(one_server), "busy", "Sream0") as terminal:
        writer.start()
        try:
            terminal.wait_for("waiting for 'Sream0', from now on")
        finally:
            is_seen.set()
            writer.join()
        assert "waiting for 'busy'" not in terminal.text


def test_ctrl_c_ends_a_wait(one_server: Endpoint) -> None:
    with Terminal(url_of(one_server), "s=0") as terminal:
        one_server.command("XADD", "s", "1-0", "f", "v")
        terminal.wait_for("f=")
        terminal.interrupt()
        assert terminal.finish() == ENDED_BY_CTRL_C
        assert "Traceback" not in terminal.text


PROGRESS = r"[\d,]+ messages, [\d,]+/s"
HISTORY = 360


@pytest.fixture
def slow(one_server: Endpoint) -> Iterator[list[str]]:
    """Return arguments that read a history slowly enough for a line of progress."""
    fill(one_server, HISTORY)
    with Proxy(one_server.host, one_server.port) as proxy:
        proxy.delays = 0.01  # each of 60 reads takes that long, on any machine
        yield [f"redis://127.0.0.1:{proxy.port}", "s0=0", "s1=0", "--count", "3"]


def test_progress_is_shown_on_the_terminal_and_gone_in_the_end(
    one_server: Endpoint, slow: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "output"
    with open(path, "wb") as file, Terminal(*slow, stdout=file) as terminal:
        terminal.wait_for(PROGRESS)
        wait_until(lambda: terminal.read(0) and terminal.screen == [""])
        one_server.command("XADD", "s0", "*", "f", "late")
        wait_until(lambda: path.read_bytes().endswith(b"late\n"))
        terminal.interrupt()
        assert terminal.finish() == ENDED_BY_CTRL_C
        assert terminal.screen in ([""], ["^C"])
    assert len(rows_of(path)) == HISTORY + 1


def test_progress_and_messages_share_a_terminal(slow: list[str]) -> None:
    with Terminal(*slow, "--exit", columns=50, env={"NO_COLOR": "1"}) as terminal:
        assert terminal.finish() == 0
        assert len([*map(str, terminal.screen)]) == HISTORY + 1
        shown = terminal.text.split("\r\x1b[K")
        lines = [line for line in shown if line and "\n" not in line]
        assert lines
        assert max(map(len, lines)) < 50
        assert all(line.startswith("1970-") for line in terminal.screen[:-1])


def test_progress_is_never_in_a_pipe(slow: list[str]) -> None:
    arguments = [*slow, "--exit"]
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    # Nor where another program may write to the same terminal what it is piped.
    reading, writing = os.pipe()
    with Terminal(*arguments, stdout=writing) as terminal:
        os.close(writing)
        size = 0
        while data := os.read(reading, 65536):
            size += len(data)
        assert terminal.finish() == 0
        assert terminal.text == ""
    os.close(reading)
    assert size == len(done.stdout)
