"""Documents that are followed as a reader follows them: block by block, at a real server.

Of the code blocks of a page in reStructuredText,

- `pycon` is typed in, and must print what is shown; a page is one session;
- `python` is a program. It is run at once, and must end without an error. With a caption, or with
  a first line like `# collect.py`, it is a file of that name, for a command below it to run;
- `console` has commands, which are run, and must print what is shown: `...` stands for anything,
  `^C` is typed when all that is above it was printed. What has a caption is run in a terminal of
  its own, and ends with the page, as do the sensors. `git clone` must name the address of the
  project and `redis-cli` speaks to the server, `make pyz` builds, of `make`
  else the target must be known; `pip` installs into an environment of its own, which the commands
  below it find; `docker compose` is put down under `not_run` where no engine answers;
- all others are what `tests/test_document_texts.py` is about.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from pathlib import Path
from select import select
from typing import Any

from sensors import Client

from pystreamredis import Streams
from tests.certificates import Authority
from tests.servers import free_port
from tools.pyz import TARGET, build

ROOT = Path(__file__).parent.parent
LONG = 60.0
FILE = re.compile(r"\A    # ([\w/]+\.py)$", re.MULTILINE)  # GitHub knows no captions
PORT = "6379"  # where documents have their server
TLS_PORT = "6390"  # and the one with TLS
# What a build of the package takes of a clone.
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "README.rst",
    "LICENSE",
    "pystreamredis",
    "protocol",
    "share",
)


class Block:
    """A code block: its language, its caption or "", its text, and the line where it begins."""

    def __init__(self, language: str, caption: str, text: str, line: int) -> None:
        self.language = language
        self.caption = caption
        self.text = text
        self.line = line


class Command:
    """A line of a console, and what is shown below it."""

    def __init__(self, line: str, shown: str) -> None:
        self.line = line
        self.shown, self.interrupt, self.shown_then = shown.partition("^C\n")


def blocks_of(document: str) -> list[Block]:
    """Find the code blocks of a page; their options but the caption are passed over."""
    found = re.finditer(
        r"^\.\. code-block:: (\w+)\n((?: {3,4}:.*\n)*)\n((?:(?: {4}.*)?\n)+)",
        document,
        flags=re.MULTILINE,
    )
    return [
        Block(
            match[1],
            "".join(re.findall(":caption: (.*)", match[2]) or re.findall(FILE, match[3])),
            re.sub("^ {4}", "", match[3], flags=re.MULTILINE).strip("\n") + "\n",
            document.count("\n", 0, match.start(3)),
        )
        for match in found
    ]


def commands_of(block: Block) -> list[Command]:
    found = re.finditer(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block.text, flags=re.MULTILINE)
    return [Command(match[1].replace("\\\n", ""), match[2]) for match in found]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def table_rows(document: str) -> dict[str, str]:
    """The options in the tables, and their defaults."""
    rows = re.findall(r"^   \* - ``(\w+)``\n     - ``(.*)``$", document, flags=re.MULTILINE)
    rows += re.findall(r"^``(\w+)`` +``(\S+)``  ", document, flags=re.MULTILINE)
    assert len(dict(rows)) == len(rows), "an option is in the tables twice"
    return dict(rows)


def defaults() -> dict[str, str]:
    """The options, and what they are by default, as tables show it (contract 1.2)."""
    return {
        name: parameter.default.__name__
        if isinstance(parameter.default, type)
        else repr(parameter.default).replace("'", '"')
        for name, parameter in inspect.signature(Streams).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))


def make_targets_named(document: str) -> set[str]:
    return set(re.findall(r"(?:\$ |``)make ([a-z]+)", document))


def files_named(document: str) -> set[str]:
    """The files and folders of the repository that are named, without those linked to."""
    folders = "benchmarks|docs|examples|fuzz|protocol|tests|tools"
    return set(re.findall(rf"(?<![\w/.])(?:{folders})/[\w/.-]*\w", document))


class Reader:
    """Somebody who has a clone, and a server, and does what a page says.

    Args:
        page: Its name, for reports.
        port: Where the server is.
        folder: An empty folder; it gets the files, and is where programs are run.
        tls_port: Where the same server is with TLS, if the page has such a one.
    """

    def __init__(self, page: str, port: int, folder: Path, tls_port: int = 0) -> None:
        self._page = page
        self._ports = {PORT: str(port), TLS_PORT: str(tls_port)}
        self._folder = folder
        self._variables: dict[str, Any] = {"__name__": "__main__"}
        # One for all, since what is printed goes where the first one had it go.
        self._runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        self._url = f"redis://127.0.0.1:{port}"
        self._client = Client(self._url)
        self._others: list[subprocess.Popen[str]] = []
        self._programs = os.path.dirname(sys.executable)
        self._compose = Compose()
        for name in ("examples", "micro", "pystreamredis", "LICENSE"):
            (folder / name).symlink_to(ROOT / name)

    @property
    def not_run(self) -> list[str]:
        """The commands that there is no engine for."""
        return self._compose.not_run

    def close(self) -> None:
        """End what still runs in other terminals, and in containers."""
        self._client.close()
        self._compose.close()
        for process in self._others:
            with process:
                os.killpg(process.pid, signal.SIGINT)

    def follow(self, block: Block) -> str:
        """Do what a block says; return what was different from what it shows."""
        if block.language == "pycon":
            return self.type_in(block)
        if block.language == "console":
            return "".join(self._run_command(command, block) for command in commands_of(block))
        if block.language != "python":
            return ""
        if not block.caption:
            return self.run_program(block)[0]
        (self._folder / block.caption).write_text(self._here(block.text), "utf-8")
        return ""

    def type_in(self, block: Block) -> str:
        """Run what a session shows; return what was different."""
        session = doctest.DocTestParser().get_doctest(
            self._here(block.text), self._variables, self._page, self._page, block.line
        )
        report: list[str] = []
        where = os.getcwd()
        os.chdir(self._folder)
        try:
            self._runner.run(session, out=report.append, clear_globs=False)
        finally:
            os.chdir(where)
        self._variables.update(session.globs)
        return "".join(report)

    def run_program(self, block: Block) -> tuple[str, str]:
        """Run a program to its end; return what went wrong, and what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", self._here(block.text)],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        ended_well = (done.returncode, done.stderr) == (0, "")
        wrong = "" if ended_well else f"{self._page}, line {block.line}: {done.stderr or done}"
        return wrong, done.stdout

    def do_at_the_server(self, block: Block) -> None:
        """Do what a block does by redis-cli alone."""
        for command in commands_of(block):
            if command.line.startswith("redis-cli "):
                self._client.call(*shlex.split(command.line)[1:])

    def _here(self, text: str) -> str:
        """What is said of the servers that documents have on ports of their own."""
        for port, here in self._ports.items():
            text = text.replace(port, here)
        return text

    def _run_command(self, command: Command, block: Block) -> str:
        if command.line.startswith("docker compose "):
            return self._compose.run(command.line)
        line = self._here(command.line)
        if line.startswith("git clone "):
            address = shlex.split(line)[2]
            is_ours = f'"{address}"' in (ROOT / "pyproject.toml").read_text("utf-8")
            return "" if is_ours else f"{address} is not in pyproject.toml\n"
        if line.startswith("pip install "):
            return self._install(line)
        if line.startswith("redis-cli "):
            self._client.call(*shlex.split(line)[1:])
            return ""
        if line == "make pyz":
            build(self._folder / "dist" / TARGET.name)
            return ""
        if " make " in f" {line}":
            line = f"{line} --dry-run > /dev/null"
        # How long it takes to get as far as is shown is the machine's affair.
        line = line.replace("sleep 2; kill", "read; kill" if command.shown else "sleep 10; kill")
        process = self._start(line)
        if block.caption or "examples/sensors.py" in line:
            self._others.append(process)
            assert process.stdout
            while command.shown and process.stdout.readline() not in command.shown:
                pass
            return ""
        with process:
            wrong = self._watch(process, command)
        return wrong and f"{self._page}, line {block.line}: {command.line}\n{wrong}\n"

    def _install(self, line: str) -> str:
        """Run pip in a copy of the clone, in an environment that has nothing else."""
        clone, environment = self._folder / "clone", self._folder / "environment"
        clone.mkdir()
        for name in SOURCES:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, clone / name)
        venv.create(environment, with_pip=True, symlinks=True)
        self._programs = str(environment / "bin")
        done = _run(line.replace("pip", "pip --disable-pip-version-check -q"), clone, self._path)
        return done or _run("pystreamredis --version", self._folder, self._path)

    @property
    def _path(self) -> dict[str, str]:
        return {"PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}"}

    def _start(self, line: str) -> subprocess.Popen[str]:
        line = line.replace(".venv/bin/", "")
        return subprocess.Popen(
            ["bash", "-c", line],
            cwd=ROOT if "--dry-run" in line else self._folder,
            env=os.environ
            | self._path
            | {"PYTHONUNBUFFERED": "1", "TZ": "UTC", "REDIS_URL": self._url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _watch(self, process: subprocess.Popen[str], command: Command) -> str:
        """Compare what a command prints; type ^C where it is shown."""
        timer = threading.Timer(LONG, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            assert process.stdout
            shown, printed = self._here(command.shown), ""
            if command.interrupt:
                printed = _read_until(process, shown)
                os.killpg(process.pid, signal.SIGINT)
                rest = process.stdout.read()
                is_right = _is_as_shown(printed, shown) and (
                    _is_as_shown(rest, self._here(command.shown_then))
                    if command.shown_then
                    else "Traceback" not in rest
                )
                return "" if is_right else f"printed:\n{printed}^C\n{rest}"
            if "; kill " in command.line:
                # Before it ends, a program that can prints one line more.
                lines = shown.splitlines(keepends=True)
                printed = _read_until(
                    process, "".join(lines[:-1] if "-TERM" in command.line else lines)
                )
            assert process.stdin
            process.stdin.close()  # which ends `read`
            printed += process.stdout.read()
            is_right = process.wait() == 0 and _is_as_shown(printed, shown)
            return "" if is_right else f"ended with {process.returncode}, printed:\n{printed}"
        finally:
            timer.cancel()


class Compose:
    """Runs commands of Docker Compose on the compose file, beside whatever runs already."""

    def __init__(self) -> None:
        self.not_run: list[str] = []
        self._is_up = False
        self._own = {
            "COMPOSE_PROJECT_NAME": f"pystreamredis-{secrets.token_hex(4)}",
            "REDIS_PORT": str(free_port()),
            "VALKEY_PORT": str(free_port()),
        }

    def run(self, line: str) -> str:
        """Run one if an engine answers; return what went wrong."""
        if _run("docker compose ls", ROOT):
            self.not_run.append(line)
            return ""
        self._is_up = " down" not in line
        return _run(line, ROOT, self._own)

    def close(self) -> None:
        """Remove what was not removed."""
        if self._is_up:
            self.run("docker compose down")


def _run(line: str, folder: Path, variables: dict[str, str] | None = None) -> str:
    """Run a command to its end; return "" if it ended well, otherwise what it said."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | (variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * LONG,  # some is fetched from the net
        check=False,
    )
    return "" if done.returncode == 0 else f"{line}: {done.stderr or done}\n"


def _read_until(process: subprocess.Popen[str], shown: str) -> str:
    """Read lines until all that is shown has come, or there are no more."""
    assert process.stdout
    printed = ""
    while not _is_as_shown(printed, shown) and (line := process.stdout.readline()):
        printed += line
    return printed


def _is_as_shown(printed: str, shown: str) -> bool:
    return doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS)


@contextlib.contextmanager
def tls_in_front_of(port: int, authority: Authority) -> Iterator[int]:
    """A TLS server that passes connections on to a server without; give its port."""
    context = authority.sign("server", "DNS:localhost").server_context()

    def serve(accepted: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            accepted,
            context.wrap_socket(accepted, server_side=True) as front,
            socket.create_connection(("127.0.0.1", port)) as back,
        ):
            _pass_on(front, back)

    def listen(listener: socket.socket) -> None:
        while not is_over.is_set():
            accepted, _ = listener.accept()
            threading.Thread(target=serve, args=(accepted,), daemon=True).start()

    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        at: int = listener.getsockname()[1]
        yield at
        is_over.set()
        socket.create_connection(("127.0.0.1", at)).close()
        thread.join(LONG)


def _pass_on(front: ssl.SSLSocket, back: socket.socket) -> None:
    """Pass bytes on in both directions until either end closes."""
    while ready := [front] if front.pending() else select([front, back], [], [], LONG)[0]:
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (back if source is front else front).sendall(data)
