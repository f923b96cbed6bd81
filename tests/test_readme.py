"""README.rst: what it shows is typed in, and what it says of options is compared."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import re
import shlex
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from select import select
from typing import Any

import pytest
from embedded_server import embedded_server
from sensors import Client

from pystreamredis import Redis, Streams
from tests.certificates import Authority

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text("utf-8")
LONG = 60.0


class Block:
    """A code block: its language, its text, and the line where it begins."""

    def __init__(self, language: str, text: str, line: int) -> None:
        self.language = language
        self.text = text
        self.line = line


def blocks_of(document: str) -> list[Block]:
    found = re.finditer(
        r"^\.\. code-block:: (\w+)\n\n((?:(?: {4}.*)?\n)+)", document, flags=re.MULTILINE
    )
    return [
        Block(
            match[1],
            re.sub("^ {4}", "", match[2], flags=re.MULTILINE).strip("\n") + "\n",
            document.count("\n", 0, match.start(2)),
        )
        for match in found
    ]


BLOCKS = blocks_of(README)
TLS = [block for block in BLOCKS if "ssl=True" in block.text]
RESUME = [block for block in BLOCKS if "sqlite3" in block.text]
PROGRAMS = [block for block in BLOCKS if block.language == "python" and block not in RESUME]
# What is typed in one after the other, with what is done at the server in between.
SESSION = [block for block in BLOCKS if block.language in ("pycon", "console") and block not in TLS]


def at(port: int, text: str) -> str:
    """What is said of the server that the README has at localhost:6379."""
    return text.replace("6379", str(port))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def do_at_the_server(client: Client, block: Block) -> None:
    for command in re.findall(r"^\$ redis-cli (.*)$", block.text, flags=re.MULTILINE):
        client.call(*shlex.split(command))


def type_in(block: Block, port: int, variables: dict[str, Any]) -> str:
    """Run what a session shows; return what was different."""
    session = doctest.DocTestParser().get_doctest(
        at(port, block.text), variables, "README.rst", "README.rst", block.line
    )
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(session, out=report.append, clear_globs=False)
    variables.update(session.globs)
    return "".join(report)


@pytest.fixture
def url() -> Iterator[str]:
    with embedded_server() as url:
        yield url


@pytest.fixture(scope="module")
def filled() -> Iterator[int]:
    """The port of a server with all that the README adds to one."""
    with embedded_server() as url:
        client = Client(url)
        for block in SESSION:
            do_at_the_server(client, block)
        client.close()
        yield port_of(url)


def test_the_readme_has_what_the_tests_below_look_for() -> None:
    assert len(PROGRAMS) >= 3
    assert len(RESUME) == len(TLS) == 1
    assert sum(block.language == "pycon" for block in SESSION) >= 8
    # No code block escapes the expression that finds them.
    assert README.count("code-block::") == len(BLOCKS)


def test_sessions_print_what_the_readme_shows(url: str) -> None:
    client = Client(url)
    variables: dict[str, Any] = {}
    for block in SESSION:
        if block.language == "console":
            do_at_the_server(client, block)
        else:
            assert not type_in(block, port_of(url), variables)
    client.close()


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"line {block.line}")
def test_programs_run(block: Block, filled: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", at(filled, block.text)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("print(message)" in block.text) == bool(done.stdout)


def test_the_first_program_prints_the_message_shown_after_it(filled: int) -> None:
    program = BLOCKS.index(PROGRAMS[0])
    shown = BLOCKS[program + 1].text
    done = subprocess.run(
        [sys.executable, "-c", at(filled, PROGRAMS[0].text)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert done.stdout.startswith(shown)


def test_the_resuming_program_is_the_one_in_examples() -> None:
    assert RESUME[0].text == (ROOT / "examples" / "resume.py").read_text("utf-8")


@contextlib.contextmanager
def tls_in_front_of(port: int, authority: Authority) -> Iterator[int]:
    """A TLS server that passes one connection on to a server without; give its port."""
    context = authority.sign("server", "DNS:localhost").server_context()

    def serve(listener: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(listener.accept()[0], server_side=True) as front,
            socket.create_connection(("127.0.0.1", port)) as back,
        ):
            pass_on(front, back)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LONG)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(LONG)


def pass_on(front: ssl.SSLSocket, back: socket.socket) -> None:
    """Pass bytes on in both directions until either end closes."""
    while ready := [front] if front.pending() else select([front, back], [], [], LONG)[0]:
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (back if source is front else front).sendall(data)


def test_the_session_over_tls_prints_what_the_readme_shows(
    filled: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert f'"{Path(authority.certfile).name}"' in TLS[0].text
    with tls_in_front_of(filled, authority) as port:
        session = Block("pycon", TLS[0].text.replace("6390", str(port)), TLS[0].line)
        assert not type_in(session, filled, {"Redis": Redis})


def table_rows(document: str) -> dict[str, str]:
    """The options in the tables, and their defaults."""
    rows = re.findall(r"^   \* - ``(\w+)``\n     - ``(.*)``$", document, flags=re.MULTILINE)
    assert len(dict(rows)) == len(rows), "an option is in the tables twice"
    return dict(rows)


def test_the_tables_have_every_option_with_its_default() -> None:
    """Contract 1.2: the options, and what they are by default."""
    shown = {
        name: parameter.default.__name__
        if isinstance(parameter.default, type)
        else repr(parameter.default).replace("'", '"')
        for name, parameter in inspect.signature(Streams).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    assert table_rows(README) == shown


def test_commands_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"(?:\$ |``)make ([a-z]+)", README))
    assert {"demo", "test"} <= named <= targets


def test_files_that_are_named_exist() -> None:
    named = re.findall(r"(?:examples|tests|benchmarks|protocol)/[\w/]*(?:\.py)?", README)
    assert "examples/resume.py" in named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_ports_of_the_compose_file_are_the_ones_named() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    ports = re.findall(r"127\.0\.0\.1:(?:\$\{\w+:-)?(\d+)", compose)
    assert ports
    assert [port for port in ports if f"make demo URL=redis://localhost:{port}" not in README] == []
