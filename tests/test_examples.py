"""The examples, run as a user runs them: also stopped amid their work, and started again."""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from demo import Check
from embedded_server import embedded_server, stop
from sensors import Client
from split import open_at_end

from tests.conftest import best_binary
from tests.peer import closed_port
from tests.sentinel import MASTER, Watched
from tests.servers import LONG, free_port, wait_until

# Makes the terminal at stdin the one whose Ctrl-C reaches the process.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
EXAMPLES = Path(__file__).parent.parent / "examples"


@contextlib.contextmanager
def running(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run an example; end it if that has not happened by itself."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                stop(process)  # type: ignore[arg-type]


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Wait for the end; return status, lines and what went to stderr.

    stderr is inherited by whatever the example starts, so its end only comes when the
    last process of theirs has ended.
    """
    output, errors = process.communicate(timeout=LONG)
    return process.returncode, output.splitlines(), errors


def messages_in(lines: list[str]) -> list[tuple[str, bytes, dict[bytes, bytes]]]:
    return [ast.literal_eval(line) for line in lines if line.startswith("(")]


def number(entry_id: bytes | str) -> tuple[int, ...]:
    text = entry_id if isinstance(entry_id, str) else entry_id.decode()
    return tuple(map(int, text.split("-")))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_server() as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with contextlib.closing(Client(url)) as client:
        client.call("FLUSHALL")
        yield client


def test_the_demo_prints_messages_in_order_and_ends_by_itself() -> None:
    with running("demo.py", "--seconds", 2) as demo:
        status, lines, errors = finish(demo)
    assert (status, errors) == (0, "")
    messages = messages_in(lines)
    ids = [number(entry_id) for _, entry_id, _ in messages]
    assert ids == sorted(ids)
    assert {name for name, _, _ in messages} >= {"Stream0", "Stream3"}
    assert re.fullmatch(rf"messages: {len(messages)} in \d+\.\d s", lines[-7])
    assert lines[-5:-3] == ["in order: yes", "none missing, none twice: yes"]


def test_the_demo_explains_itself_within_80_columns() -> None:
    with running("demo.py", "--seconds", 2) as demo:
        _, lines, _ = finish(demo)
    assert re.match(r"Four sensors add to four streams at 127\.0\.0\.1:\d+, and", lines[0])
    assert "Stream0 from its beginning" in lines[1]
    assert lines[-2].startswith("next: `make server`")
    assert max(map(len, lines)) <= 80


def test_the_demo_starts_each_stream_where_it_says() -> None:
    """Contract 2.2: the history of Stream0, a part of Stream3's, nothing old of the others."""
    first: dict[str, int] = {}
    with running("demo.py", "--seconds", 10 * LONG) as demo:
        assert demo.stdout is not None
        while len(first) < 4:
            for name, _, data in messages_in([demo.stdout.readline()]):
                first.setdefault(name, int(data[b"index"]))
        demo.send_signal(signal.SIGINT)
        finish(demo)
    assert first == {"Stream0": 0, "Stream1": 1, "Stream2": 1, "Stream3": 15}


def read_to_the_first_message(demo: subprocess.Popen[str]) -> None:
    assert demo.stdout is not None
    while not demo.stdout.readline().startswith("('Stream"):
        assert demo.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_cleanly_at_a_signal(number: signal.Signals) -> None:
    with running("demo.py", "--seconds", LONG) as demo:
        read_to_the_first_message(demo)
        demo.send_signal(number)
        status, lines, errors = finish(demo)
    assert (status, errors) == (0, "")
    assert "in order: yes" in lines


def test_ctrl_c_in_make_demo_is_no_error(tmp_path: Path) -> None:
    """As it is typed: on the terminal of `make` and of all that it has started."""
    for stamp in (".made", ".demo"):
        (tmp_path / stamp).touch()
    make = ["make", "demo", f"VENV={tmp_path}", f"RUN={sys.executable}"]
    master, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *make],
        cwd=EXAMPLES.parent,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
    )
    os.close(terminal)
    shown = ""
    with contextlib.suppress(OSError):  # the end of the last one who has the terminal open
        while data := os.read(master, 4096):
            shown += data.decode()
            if "('Stream" in shown and "^C" not in shown:
                os.write(master, b"\x03")
                shown += "^C"
    process.wait(LONG)
    os.close(master)
    assert "in order: yes" in shown
    assert "***" not in shown
    assert "Traceback" not in shown


def test_the_demo_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running("demo.py", "--seconds", LONG) as demo:
        assert demo.stdout is not None
        read_to_the_first_message(demo)
        assert list(tmp_path.iterdir()), "the server has no folder"
        demo.send_signal(signal.SIGINT)
        finish(demo)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_touches_nothing_on_a_server_of_the_users(url: str, client: Client) -> None:
    client.call("XADD", "Stream0", "5-0", "mine", "1")
    client.call("SET", "pystreamredis-demo:Stream1", "mine, too")
    with running("demo.py", url, "--seconds", 1) as demo:
        status, lines, errors = finish(demo)
    assert (status, errors) == (0, "")
    names = {name for name, _, _ in messages_in(lines)}
    assert names
    assert names <= {f"Stream{at}" for at in range(4)}
    assert any(
        re.match("They are pystreamredis-demo:[0-9a-f]{8}:Stream0 to", line) for line in lines
    )
    assert sorted(client.call("KEYS", "*")) == [b"Stream0", b"pystreamredis-demo:Stream1"]
    assert client.call("XRANGE", "Stream0", "-", "+") == [[b"5-0", [b"mine", b"1"]]]


def test_the_demo_says_so_where_no_server_is() -> None:
    port = closed_port()
    with running("demo.py", f"redis://:hush@127.0.0.1:{port}") as demo:
        status, lines, errors = finish(demo)
    assert (status, lines) == (1, [])
    assert errors.startswith(f"demo: cannot connect to 127.0.0.1:{port}: ")
    assert errors.count("\n") == 1
    assert "hush" not in errors


@pytest.mark.parametrize("text", ["localhost:6379", "http://localhost:6379", "redis"])
def test_the_demo_refuses_what_is_no_url(text: str) -> None:
    with running("demo.py", text) as demo:
        status, lines, errors = finish(demo)
    assert (status, lines) == (1, [])
    assert re.match(r"demo: url: .*; give redis://host:port", errors)


def ids_of_writers(client: Client) -> list[str]:
    """The IDs of the connections whose last command was XADD."""
    lines = client.call("CLIENT", "LIST").decode().splitlines()
    return [line.split()[0].removeprefix("id=") for line in lines if " cmd=xadd " in line]


def test_the_demo_fails_if_its_writer_dies(url: str, client: Client) -> None:
    with running("demo.py", url, "--seconds", 10) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith("("):
            assert demo.poll() is None
        writers: list[str] = []

        def has_found_some() -> bool:
            writers.extend(ids_of_writers(client))
            return bool(writers)

        wait_until(has_found_some)
        for writer in writers:
            client.call("CLIENT", "KILL", "ID", writer)
        status, _, errors = finish(demo)
    assert status == 1
    assert errors.splitlines()[-1] == "the writer has ended before its time"
    assert "Traceback" not in errors


def message(name: str, entry_id: bytes, index: int) -> tuple[str, bytes, dict[bytes, bytes]]:
    return name, entry_id, {b"index": b"%d" % index}


@pytest.mark.parametrize(
    ("messages", "in_order", "complete"),
    [
        ([("a", b"9-0", 0), ("b", b"10-0", 5), ("a", b"10-0", 1)], True, True),
        ([("a", b"1-9", 0), ("a", b"1-10", 1)], True, True),
        ([("a", b"10-0", 0), ("b", b"9-0", 5)], False, True),
        ([("a", b"1-10", 0), ("b", b"1-9", 5)], False, True),
        ([("a", b"1-0", 0), ("a", b"2-0", 2)], True, False),
        ([("a", b"1-0", 0), ("a", b"2-0", 0)], True, False),
        ([("a", b"1-0", 1)], True, False),
    ],
)
def test_the_check_of_the_demo_tells_order_from_disorder(
    messages: list[tuple[str, bytes, int]], *, in_order: bool, complete: bool
) -> None:
    check = Check({"a": 0, "b": 5})
    for each in messages:
        check.look_at(message(*each))
    assert (check.in_order, check.complete) == (in_order, complete)


def test_every_example_is_run_here() -> None:
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    run = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id == "running"
        and isinstance(call.args[0], ast.Constant)
    }
    assert run == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_embedded_server_runs_by_itself_until_it_is_interrupted() -> None:
    with running("embedded_server.py", free_port()) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        with contextlib.closing(Client(address)) as client:
            assert client.call("PING") == b"PONG"
        server.send_signal(signal.SIGINT)
        assert finish(server) == (0, [], "")
    with pytest.raises(OSError, match="refused"):
        Client(address)


_SERVES = """
from embedded_server import embedded_server
with embedded_server() as url:
    print(url, flush=True)
    input()
"""


def test_the_embedded_server_ends_with_a_program_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", _SERVES],
        cwd=EXAMPLES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as connection:
            program.kill()
            assert connection.recv(1) == b""


class Writer(threading.Thread):
    """Adds to three streams, with bursts, until told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._client = Client(url)
        self._told = threading.Event()

    def run(self) -> None:
        for index in itertools.count():
            self._client.call("XADD", f"s{index % 3}", "*", "index", index)
            if index % 50 == 0 and self._told.wait(0.02):
                break
        self._client.close()

    def finish(self) -> None:
        self._told.set()
        self.join(LONG)


def rows_in(db: Path) -> list[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(db, timeout=LONG)) as connection:
        try:
            found = connection.execute("SELECT stream, id, data FROM messages ORDER BY rowid")
            return found.fetchall()
        except sqlite3.OperationalError:  # the table is not there yet
            return []


def entries_of(client: Client, stream: str) -> list[str]:
    return [entry_id.decode() for entry_id, _ in client.call("XRANGE", stream, "-", "+")]


def test_resuming_after_kills_loses_and_repeats_nothing(
    url: str, client: Client, tmp_path: Path
) -> None:
    """Contract 2.4: `positions` that were stored go on exactly there."""
    db, streams = tmp_path / "messages.db", ["s0", "s1", "s2"]
    writer = Writer(url)
    writer.start()
    try:
        for after in (0.0, 0.4, 0.8):
            before = len(rows_in(db))
            with running("resume.py", db, url, *streams) as program:
                wait_until(lambda before=before: len(rows_in(db)) > before)  # type: ignore[misc]
                # Amid what it commits together.
                time.sleep(after)
                os.kill(program.pid, signal.SIGKILL)
                assert finish(program)[2] == ""
    finally:
        writer.finish()
    expected = {stream: entries_of(client, stream) for stream in streams}
    with running("resume.py", db, url, *streams) as program:
        wait_until(lambda: len(rows_in(db)) >= sum(map(len, expected.values())))
        program.send_signal(signal.SIGINT)
        assert finish(program) == (0, [], "")
    stored: dict[str, list[str]] = {stream: [] for stream in streams}
    for stream, entry_id, _ in rows_in(db):
        stored[stream].append(entry_id)
    assert stored == expected
    assert min(map(len, expected.values())) > 100


def test_resuming_outlives_the_server(tmp_path: Path) -> None:
    """Contract 5.3: a server that goes away and comes again ends nothing."""
    db = tmp_path / "messages.db"

    def add(url: str, entry_id: str) -> None:
        with contextlib.closing(Client(url)) as client:
            client.call("XADD", "s", entry_id, "f", "v")

    with contextlib.ExitStack() as stack:
        with embedded_server(free_port()) as url:
            add(url, "1-0")
            program = stack.enter_context(running("resume.py", db, url, "s"))
            wait_until(lambda: len(rows_in(db)) == 1)
        assert program.stderr is not None
        assert program.stderr.readline().endswith("; trying again\n")
        with embedded_server(int(url.rpartition(":")[2])) as again:
            add(again, "2-0")
            wait_until(lambda: len(rows_in(db)) == 2)
            program.send_signal(signal.SIGTERM)
            program.communicate(timeout=LONG)
    assert [row[:2] for row in rows_in(db)] == [("s", "1-0"), ("s", "2-0")]


def test_resume_keeps_bytes_that_are_no_text(url: str, client: Client, tmp_path: Path) -> None:
    """Contract 1.2: they survive, and stop no reader."""
    db = tmp_path / "messages.db"
    client.call("XADD", "s", "1-0", b"\xff", b"\x00\xfe")
    with running("resume.py", db, url, "s") as program:
        wait_until(lambda: len(rows_in(db)) == 1)
        program.send_signal(signal.SIGINT)
        assert finish(program) == (0, [], "")
    fields = {b"\xff".decode("utf-8", "surrogateescape"): "\x00\udcfe"}
    assert rows_in(db) == [("s", "1-0", json.dumps(fields))]


def test_the_sensors_write_until_their_input_ends(url: str, client: Client) -> None:
    with running("sensors.py", url, "--prefix", "lab:") as sensors:
        wait_until(lambda: client.call("EXISTS", "lab:Stream0", "lab:Stream2") == 2)
        status, lines, errors = finish(sensors)  # which ends it
    assert (status, errors) == (0, "")
    assert lines == ["writing to lab:Stream0, lab:Stream1, lab:Stream2, lab:Stream3"]
    written = client.call("XRANGE", "lab:Stream2", "-", "+")
    assert [fields[:2] for _, fields in written] == [
        [b"index", b"%d" % index] for index in range(len(written))
    ]


def test_sensors_continue_to_count_where_they_stopped(url: str, client: Client) -> None:
    client.add("lab:Stream2", "1-0", {"x": 1, "index": 41})
    with running("sensors.py", url, "--prefix", "lab:") as sensors:
        wait_until(
            lambda: client.call("XLEN", "lab:Stream2") > 1 and client.call("XLEN", "lab:Stream0")
        )
        finish(sensors)
    (_, fields), *_ = client.call("XRANGE", "lab:Stream2", "2-0", "+")
    assert fields[:2] == [b"index", b"42"]
    (_, fields), *_ = client.call("XRANGE", "lab:Stream0", "-", "+")
    assert fields[:2] == [b"index", b"0"]


# latest.py


def answer_of(address: str) -> Any:
    with urlopen(address, timeout=LONG) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_last_messages_are_served_until_a_signal(
    url: str, client: Client, number: signal.Signals
) -> None:
    client.call("XADD", "a", "5-0", "too", "old")
    last = client.call("XADD", "a", "*", "celsius", "20.4").decode()
    with running("latest.py", url, "a", "b", "--port", 0) as program:
        assert program.stdout is not None
        address = program.stdout.readline().strip()
        wait_until(lambda: bool(answer_of(address)))
        assert answer_of(address) == {"a": {"id": last, "data": {"celsius": "20.4"}}}
        last = client.call("XADD", "b", "*", "state", "open").decode()
        wait_until(lambda: len(answer_of(address)) == 2)
        assert answer_of(address)["b"] == {"id": last, "data": {"state": "open"}}
        program.send_signal(number)
        status, _, errors = finish(program)
    assert status == 0
    # Its log: one line.
    assert "INFO connected to 127.0.0.1:" in errors
    assert errors.count("\n") == 1


def test_the_server_of_last_messages_ends_when_they_are_refused_for_good(
    url: str, client: Client
) -> None:
    client.call("SET", "text", "is no stream")
    with running("latest.py", url, "text", "--port", 0) as program:
        status, _, errors = finish(program)
    assert status == 1
    assert "of stream 'text': WRONGTYPE" in errors.splitlines()[-1]
    assert "Traceback" not in errors


# events.py


@contextlib.contextmanager
def serving_events(url: str, stream: str, port: int = 0) -> Iterator[str]:
    with running("events.py", url, stream, "--port", port) as program:
        assert program.stdout is not None
        yield program.stdout.readline().strip()
        program.send_signal(signal.SIGINT)
        assert finish(program) == (0, [], "")


def events_from(address: str, count: int, after: str = "", **headers: str) -> list[str]:
    """Return the IDs of so many events."""
    request = Request(f"{address}events?after={after}", headers=headers)
    ids: list[str] = []
    with urlopen(request, timeout=LONG) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        while len(ids) < count:
            line = response.readline().decode()
            assert line
            ids += re.findall("^id: (.*)$", line)
    return ids


def test_a_browser_goes_on_after_its_last_event(url: str, client: Client) -> None:
    for at in range(30):
        client.call("XADD", "s", f"{at}-1", "n", at)
    with serving_events(url, "s") as address:
        assert events_from(address, 20) == [f"{at}-1" for at in range(10, 30)]
        assert events_from(address, 2, after="27-1") == ["28-1", "29-1"]
        # The header is newer than the address of the page.
        again = {"Last-Event-ID": "28-1"}
        assert events_from(address, 1, after="3-1", **again) == ["29-1"]
        for nonsense in ("x", "1-1-1", "$", f"{'9' * 21}-1"):
            assert events_from(address, 1, **{"Last-Event-ID": nonsense}) == ["10-1"]
        assert urlopen(address, timeout=LONG).read().startswith(b"<!doctype html>")
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{address}nothing", timeout=LONG)


def test_the_connection_of_a_browser_that_has_gone_is_closed(url: str, client: Client) -> None:
    client.call("XADD", "s", "1-1", "n", 1)
    with serving_events(url, "s") as address:
        assert events_from(address, 1) == ["1-1"]
        wait_until(lambda: client.call("CLIENT", "LIST").count(b"cmd=xread") == 0)


def test_a_page_in_a_browser_shows_each_message_once(
    url: str, client: Client, tmp_path: Path
) -> None:
    """The page may be loaded again, or the program may start again, or both."""
    api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    stream = "s</script>"
    port = free_port()
    count = 0

    def add(more: int) -> None:
        nonlocal count
        for at in range(count + 1, count + more + 1):
            client.call("XADD", stream, f"{at}-0", "n", f"<b>{at}</b>")
        count += more

    def check() -> None:
        shown = f"document.querySelectorAll('li').length >= {count}"
        page.wait_for_function(shown, timeout=LONG * 1000)
        lines = page.locator("li").all_inner_texts()
        assert lines == [f'{at}-0 {{"n": "<b>{at}</b>"}}' for at in range(1, count + 1)]

    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        with serving_events(url, stream, port) as address:
            add(3)
            page.goto(address)
            check()
            add(2)
            check()
            page.reload()
            add(2)
            check()
            page.goto("about:blank")
            add(5)
            page.goto(address)
            check()
        add(3)  # while the program is down, which the browser notices by itself
        with serving_events(url, stream, port):
            add(1)
            check()
            page.reload()
            check()
        browser.close()


# split.py


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_streams_go_into_a_file_each(url: str, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with running("split.py", folder, url, "a", "b/../c") as program:
        client.call("XADD", "a", "1-0", "n", 1)
        client.call("XADD", "b/../c", "1-0", "n", 2)
        client.call("XADD", "a", "2-0", "n", "line\nend")
        a, b = folder / "a.jsonl", folder / "b%2F..%2Fc.jsonl"
        wait_until(lambda: b.exists() and len(lines_of(a)) + len(lines_of(b)) == 3)
        program.send_signal(signal.SIGTERM)
        assert finish(program) == (0, [], "")
    assert lines_of(a) == [
        {"id": "1-0", "data": {"n": "1"}},
        {"id": "2-0", "data": {"n": "line\nend"}},
    ]
    assert lines_of(b) == [{"id": "1-0", "data": {"n": "2"}}]
    assert {path.name for path in folder.iterdir()} == {a.name, b.name}


def test_files_of_streams_go_on_after_kills(url: str, client: Client, tmp_path: Path) -> None:
    count, path = 3000, tmp_path / "a.jsonl"
    for at in range(1, count + 1):
        client.call("XADD", "a", f"{at}-0", "n", "x" * 1000)
    for share in (1, 2, 3, 4):
        with running("split.py", tmp_path, url, "a") as program:
            wait_until(
                lambda: path.exists() and path.stat().st_size > share * 200_000  # noqa: B023
            )
            program.kill()
    with running("split.py", tmp_path, url, "a") as program:
        wait_until(lambda: path.read_text("utf-8").count("\n") == count)
        program.send_signal(signal.SIGINT)
        assert finish(program) == (0, [], "")
    assert [line["id"] for line in lines_of(path)] == [f"{at}-0" for at in range(1, count + 1)]


@pytest.mark.parametrize("size", [10, 5000, 100_000])
@pytest.mark.parametrize("part", [b"", b'{"id": "3-', b'{"id": "3-0", "data": "' + b"x" * 50_000])
def test_a_line_that_was_written_in_part_is_cut_off(tmp_path: Path, size: int, part: bytes) -> None:
    path = tmp_path / "a.jsonl"
    whole = b"".join(b'{"id": "%d-0", "data": "%b"}\n' % (at, b"x" * size) for at in (1, 2))
    path.write_bytes(whole + part)
    file, last = open_at_end(path)
    file.close()
    assert last == "2-0"
    assert path.read_bytes() == whole
    path.write_bytes(part)
    file, last = open_at_end(path)
    file.close()
    assert (last, path.read_bytes()) == (None, b"")


# parquet.py


def parquet_rows(folder: Path) -> list[Any]:
    pq = pytest.importorskip("pyarrow.parquet")
    paths = sorted(folder.glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_streams_go_into_parquet_files(url: str, client: Client, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    for at in range(1, 8):
        client.call("XADD", f"s{at % 2}", f"{at}-0", "n", at, "n", b"\xff")
    with running("parquet.py", tmp_path, url, "s0", "s1", "--rows", 3) as program:
        wait_until(lambda: len(parquet_rows(tmp_path)) == 6)
        program.send_signal(signal.SIGTERM)
        assert finish(program) == (0, [], "")
    rows = parquet_rows(tmp_path)
    assert [(row["stream"], row["id"]) for row in rows] == [
        (f"s{n % 2}", f"{n}-0") for n in range(1, 8)
    ]
    assert rows[0]["data"] == [("n", "1"), ("n", "\ufffd")]
    assert rows[0]["time"].isoformat() == "1970-01-01T00:00:00.001000+00:00"
    positions = pq.read_schema(tmp_path / "00000002.parquet").metadata[b"positions"]
    assert json.loads(positions) == {"s0": "6-0", "s1": "7-0"}


def test_parquet_files_go_on_after_kills(url: str, client: Client, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    count = 4000
    for at in range(1, count + 1):
        client.call("XADD", f"s{at % 2}", f"{at}-0", "n", at)
    arguments = tmp_path, url, "s0", "s1", "--rows", 50, "--seconds", 0.2
    for share in (1, 2, 3):
        with running("parquet.py", *arguments) as program:
            wait_until(lambda: len(list(tmp_path.glob("*.parquet"))) > share * 10)  # noqa: B023
            program.kill()
    with running("parquet.py", *arguments) as program:
        wait_until(lambda: len(parquet_rows(tmp_path)) == count)
        program.send_signal(signal.SIGINT)
        assert finish(program) == (0, [], "")
    assert [row["id"] for row in parquet_rows(tmp_path)] == [
        f"{at}-0" for at in range(1, count + 1)
    ]


# export.py


def test_a_span_of_time_is_exported_in_order(url: str, client: Client) -> None:
    for name, ms in (("a", 999), ("a", 1000), ("b", 1500), ("a", 1999), ("b", 2000), ("a", 2001)):
        client.call("XADD", name, f"{ms}-0", "ms", ms)
    span = "1970-01-01T00:00:01+00:00", "1970-01-01T00:00:02+00:00"
    with running("export.py", url, *span, "a", "b") as program:
        status, lines, errors = finish(program)
    assert (status, errors) == (0, "")
    assert [json.loads(line) for line in lines] == [
        {"time": f"1970-01-01T00:00:01{fraction}+00:00", "stream": name, "data": {"ms": ms}}
        for fraction, name, ms in (
            ("", "a", "1000"),
            (".500000", "b", "1500"),
            (".999000", "a", "1999"),
        )
    ]


def test_an_export_ends_quietly_once_its_reader_has(url: str, client: Client) -> None:
    for _ in range(20):
        client.call("XADD", "a", "*", "long", "x" * 10_000)
    span = "1970-01-01T00:00:01+00:00", "2100-01-01T00:00:00+00:00"
    with running("export.py", url, *span, "a") as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        assert (program.stderr.read(), program.wait(LONG)) == ("", 0)


@pytest.mark.parametrize("program", ["export.py", "resume.py", "sentinel.py"])
def test_what_is_called_without_arguments_says_how_it_is_called(program: str) -> None:
    with running(program) as process:
        status, lines, errors = finish(process)
    assert (status, lines) == (1, [])
    assert f"\n    python examples/{program} " in errors
    assert "Traceback" not in errors


def test_an_export_without_a_server_says_so() -> None:
    span = "1970-01-01T00:00:01+00:00", "1970-01-01T00:00:02+00:00"
    with running("export.py", f"redis://127.0.0.1:{closed_port()}", *span, "a") as program:
        status, _, errors = finish(program)
    assert status == 1
    assert errors.startswith("export: cannot connect to 127.0.0.1:")
    assert errors.count("\n") == 1


# sentinel.py


def test_streams_are_followed_at_whichever_server_sentinel_says() -> None:
    with Watched(best_binary()) as watched:
        sentinels = ",".join(f"{host}:{port}" for host, port in watched.addresses)
        with running("sentinel.py", MASTER, sentinels, "a", "b") as program:
            assert program.stderr is not None
            assert program.stderr.readline() == f"connected to {watched.master.address}\n"
            watched.master.command("XADD", "a", "*", "n", "1")
            watched.master.command("WAIT", 1, 5000)
            watched.master.kill()
            watched.wait_until_master(watched.replica)
            watched.replica.command("XADD", "b", "*", "n", "2")
            assert program.stdout is not None
            lines = [program.stdout.readline() for _ in range(2)]
            program.send_signal(signal.SIGINT)
            status, _, errors = finish(program)
    read = [ast.literal_eval(line) for line in lines]
    assert [(name, data) for name, _, data in read] == [("a", {"n": "1"}), ("b", {"n": "2"})]
    assert status == 0
    assert f"connected to {watched.replica.address} after an outage of " in errors
    assert "Traceback" not in errors


def test_a_master_that_no_sentinel_knows_is_told() -> None:
    with running("sentinel.py", "mymaster", f"127.0.0.1:{closed_port()}", "a") as program:
        assert program.stderr is not None
        told = program.stderr.readline()
        program.send_signal(signal.SIGINT)
        finish(program)
    assert "no Sentinel knows the master 'mymaster' (127.0.0.1:" in told
