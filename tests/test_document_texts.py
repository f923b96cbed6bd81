"""What documents show that is no program: trees, files for other programs, lines of a log.

Each such block is compared with what it is about; one that nothing here knows fails.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml  # type: ignore[import-untyped]

from pystreamredis import RedisError, Streams
from pystreamredis.command.monitoring import Monitor
from tests.commands import LONG, url_of
from tests.documents import PORT, ROOT, Block, blocks_of
from tests.foreign import Engine
from tests.peer import Expect, Peer
from tests.scripted import block_of, entries
from tests.servers import Server, StartServer, free_port, wait_until

PAGES = {
    path.name if path.parent == ROOT else str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [*ROOT.glob("*.rst"), *sorted((ROOT / "docs").rglob("*.rst"))]
}
PROGRAMS = ("pycon", "python", "console")
LOOKED_AT = [
    (page, block)
    for page, text in PAGES.items()
    for block in blocks_of(text)
    if block.language not in PROGRAMS
]
Check: TypeAlias = Callable[[Block, str, Path, Server], None]
CHECKS: dict[str, Check] = {}


def check(first_line: str) -> Callable[[Check], Check]:
    """Register what is to hold for a block whose first line begins so."""

    def register(function: Check) -> Check:
        CHECKS[first_line] = function
        return function

    return register


@pytest.mark.parametrize(
    ("page", "block"), LOOKED_AT, ids=[f"{page}:{block.line}" for page, block in LOOKED_AT]
)
def test_what_is_shown_is_so(
    page: str, block: Block, tmp_path: Path, start_server: StartServer
) -> None:
    (holds,) = [each for first, each in CHECKS.items() if block.text.startswith(first)]
    holds(block, PAGES[page], tmp_path, start_server())


def test_there_is_nothing_here_that_no_document_shows() -> None:
    shown = [block.text for _, block in LOOKED_AT]
    assert [first for first in CHECKS if not any(text.startswith(first) for text in shown)] == []


@check("('Stream0', b'1529416095111-4', {b'index': b'21'})")
def is_the_message(block: Block, page: str, folder: Path, server: Server) -> None:
    server.command("XADD", "Stream0", "1529416095111-4", "index", "21")
    with Streams(**server.options, Stream0=0, block=None) as streams:
        assert block.text == "".join(f"{message}\n" for message in streams)


@check("RedisError")
def is_the_tree_of_errors(block: Block, page: str, folder: Path, server: Server) -> None:
    drawn = [re.split(r"(?<=\w) {2,}", line)[0] for line in block.text.splitlines()]
    assert drawn == list(tree(RedisError))


def tree(error: type[Exception]) -> Iterator[str]:
    """Draw the classes below one, in the order of their definition."""
    yield error.__name__
    classes = [each for each in error.__subclasses__() if each.__module__ == error.__module__]
    for each in classes:
        first, others = ("└── ", "    ") if each is classes[-1] else ("├── ", "│   ")
        name, *below = tree(each)
        yield first + name
        yield from (others + line for line in below)


@check(
    "protocol/        the wire format: bytes in, values out (installs as pystreamredis.protocol)"
)
def names_each_folder(block: Block, page: str, folder: Path, server: Server) -> None:
    lines = block.text.splitlines()
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8")
    top = {line.partition("/")[0] for line in lines if not line.startswith(" ")}
    assert top == set(re.findall(r"^graft (\w+)$", manifest, flags=re.MULTILINE))
    below = {line.strip().partition("/")[0] for line in lines if line.startswith("  ")}
    packages = {path.parent.name for path in (ROOT / "pystreamredis").glob("*/__init__.py")}
    assert below == packages - {"asyncio", "trio", "protocol"}


@check("server\n  | bytes")
def names_modules(block: Block, page: str, folder: Path, server: Server) -> None:
    package = ROOT / "pystreamredis"
    modules = {path.stem for path in [*package.glob("core/*.py"), *package.glob("io/*.py")]}
    # Each name stands in front of two blanks at least, after the lines that join them.
    named = re.findall(r"^[ |]*((?:\w+\.)?\w+(?:, \w+)*) {3,}", block.text, flags=re.MULTILINE)
    names = {name.rpartition(".")[2] for line in named for name in line.split(", ")}
    assert len(names) >= 7
    assert names - modules - {"protocol"} == set()


@check("WARNING localhost:6379 closed the connection")
def is_what_the_service_logs(block: Block, page: str, folder: Path, server: Server) -> None:
    (program,) = [each for each in blocks_of(page) if each.caption == "service.py"]
    (folder / "service.py").write_text(program.text.replace(PORT, str(server.port)), "utf-8")
    with running([sys.executable, "service.py"], folder) as process:
        assert process.stdout
        assert process.stdout.readline() == f"INFO connected to localhost:{server.port}\n"
        server.stop()
        logged = []
        for line in process.stdout:
            if "messages" not in line:
                logged.append(line.replace(str(server.port), PORT))
            if "closed" in line:
                server.start()
            if "after an outage" in line:
                break
    seconds = r"of [\d.]+ s"
    assert re.sub(seconds, "", "".join(logged)) == re.sub(seconds, "", block.text)


@check("[Unit]")
def starts_and_stops_the_service(block: Block, page: str, folder: Path, server: Server) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block.text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    service = unit["Service"]
    assert service["Restart"] in {"always", "on-failure"}
    # As in the tutorial: a clone there, with a .venv, and the file beside it.
    python = f"{service['WorkingDirectory']}/.venv/bin/python"
    (program,) = [each for each in blocks_of(page) if each.caption == "service.py"]
    (folder / "service.py").write_text(program.text.replace(PORT, str(server.port)), "utf-8")
    command, *arguments = service["ExecStart"].split()
    assert command == python
    with running([sys.executable, *arguments], folder) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("INFO connected")
        process.send_signal(signal.SIGTERM)  # KillSignal= of systemd.service
        assert process.wait(LONG) == 0
    assert (folder / "state.json").exists()


@check("services:")
def has_a_reader_that_reads(block: Block, page: str, folder: Path, server: Server) -> None:
    shown: dict[str, Any] = yaml.safe_load(block.text)
    ours: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    assert shown.keys() == {"services", "volumes"}
    services = shown["services"]
    assert services["redis"]["image"] == ours["services"]["redis"]["image"]
    reader = services["reader"]
    places = dict(each.split(":")[:2] for each in reader["volumes"])
    assert places == {".": "/reader", "state": "/state"}
    assert "state" in shown["volumes"]
    # What the shell in the container does, with what it finds there.
    shell, option, line = shlex.split(reader["command"])
    assert (shell, option) == ("sh", "-c")
    install, then, program = line.partition(" && ")
    assert (install, then) == ("pip install /reader", " && ")
    here = {
        "python": sys.executable,
        "/reader": str(ROOT),
        "/state": str(folder),
        "redis://redis:6379": url_of(server),
    }
    assert [there for there in here if there not in program] == []
    program = re.sub("|".join(map(re.escape, here)), lambda match: here[match[0]], program)
    server.command("XADD", "Stream0", "1-0", "f", "v")
    with running([shell, option, program], folder) as process:
        wait_until(lambda: rows(folder / "messages.db"))
        process.send_signal(signal.SIGTERM)  # what `docker compose stop` sends
        process.wait(LONG)
    assert rows(folder / "messages.db") == [("Stream0", "1-0", '{"f": "v"}')]


@check("livenessProbe:\n  exec:")
def finds_a_reader_that_reads_nothing(
    block: Block, page: str, folder: Path, server: Server
) -> None:
    command = yaml.safe_load(block.text)["livenessProbe"]["exec"]["command"]
    here = [part.replace("/state", str(folder)) for part in command[1:]]
    alive = folder / "alive"
    for age, status in ((0, 0), (3600, 1)):
        alive.touch()
        os.utime(alive, (time.time() - age,) * 2)
        assert subprocess.run([sys.executable, *here], check=False).returncode == status


@check("FROM python:")
def is_an_image_of_the_program(block: Block, page: str, folder: Path, server: Server) -> None:
    lines = [line.split(maxsplit=1) for line in block.text.splitlines()]
    programs = [each.caption for each in blocks_of(page) if each.language == "python"]
    assert programs == ["reader.py"]
    assert ["COPY", "reader.py /reader.py"] in lines
    (command,) = [json.loads(rest) for word, rest in lines if word == "CMD"]
    assert command == ["python", "/reader.py"]  # not a shell's line: signals reach the program
    assert {word for word, _ in lines} == {"FROM", "COPY", "RUN", "USER", "ENV", "VOLUME", "CMD"}


@check("defaults")
def has_a_proxy_that_waits_long_enough(
    block: Block, page: str, folder: Path, server: Server
) -> None:
    """It is run as well, where there is HAProxy."""
    with (
        Peer([Expect("XREAD"), entries("s", "1-0")]) as peer,
        Streams(peer.host, peer.port, block=0, s=0) as streams,
    ):
        next(streams)
    slice_ms = block_of(peer.commands[0])
    assert f"for at most {slice_ms // 1000} s" in page.replace("\n", " ")
    timeouts = re.findall(r"^ +timeout (?:client|server) (\d+)s$", block.text, flags=re.MULTILINE)
    assert len(timeouts) == 2
    assert min(map(int, timeouts)) * 1000 > slice_ms
    if shutil.which("haproxy") is None:
        return
    port = free_port()
    ports = {"6380": str(port), PORT: str(server.port)}
    text = re.sub("|".join(ports), lambda match: ports[match[0]], block.text)
    (folder / "haproxy.cfg").write_text(text, "utf-8")
    server.command("XADD", "s", "1-0", "f", "v")
    with (
        running(["haproxy", "-db", "-f", "haproxy.cfg"], folder),
        Streams("127.0.0.1", port, s=0, raise_connection_exceptions=False) as streams,
    ):
        wait_until(lambda: next(streams) == ("s", b"1-0", {b"f": b"v"}))


@check("pystreamredis: connected, ")
def is_a_line_of_figures(block: Block, page: str, folder: Path, server: Server) -> None:
    stats = {"connected": True, "answered": 0.5, "outages": 1, "gaps": 0, "streams": {}}
    line = Monitor(lambda: stats, None, 0).line(
        1_529_416_098.5, 1234, {"Stream0": "1529416095111-4"}
    )
    assert block.text == f"pystreamredis: {line}\n"


def rows(path: Path) -> list[Any]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=LONG)) as db:
        try:
            return db.execute("SELECT * FROM messages").fetchall()
        except sqlite3.OperationalError:  # there is no table yet
            return []


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@check("livenessProbe:\n  httpGet:")
def is_answered_by_the_program(block: Block, page: str, folder: Path, server: Server) -> None:
    """It names a path that the program on the page serves."""
    (path,) = re.findall(r"path: (/\w+),", block.text)
    assert f"localhost:{{server.server_port}}{path}" in page


def test_compose_takes_the_files() -> None:
    if reason := Engine().reason:
        pytest.skip(reason)
    files = [block.text for _, block in LOOKED_AT if block.language == "yaml"]
    shown = [text for text in files if "\nservices:" in f"\n{text}"]
    ours = (ROOT / "docker-compose.yml").read_text("utf-8")
    for text in (*shown, ours):
        subprocess.run(
            ["docker", "compose", "-f", "-", "config", "--quiet"], input=text, text=True, check=True
        )
