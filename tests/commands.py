"""The command as a process of its own: in pipes, and on a terminal."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from tests.servers import Endpoint

LONG = 60.0
# What a shell shows as 130, and what ends its loop.
ENDED_BY_CTRL_C = -signal.SIGINT
COMMAND = [sys.executable, "-W", "error", "-m", "pystreamredis"]
# Makes the terminal at stdin the one whose Ctrl-C reaches the process.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def url_of(server: Endpoint) -> str:
    return f"redis://{server.host}:{server.port}"


def environment(**more: str) -> dict[str, str]:
    """What the command finds: nothing of ours that would change what it prints."""
    ours = ("NO_COLOR", "REDISCLI_AUTH", "REDIS_URL", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"TZ": "UTC0", "TERM": "xterm", "COLUMNS": "80"} | more


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    more = options.pop("env", {})
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        timeout=LONG,
        check=False,
        env=environment(**more),
        **options,
    )


@contextmanager
def running(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run it beside the test; it is killed in the end if it still runs."""
    more = options.pop("env", {})
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        env=environment(**more),
        **options,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Wait for the end: the code, and what went to stdout and stderr."""
    output, errors = process.communicate(timeout=LONG)
    return process.returncode, (output or b"").decode(), errors.decode()


class Terminal:
    """The command on a terminal, which is its stdin, stderr and, unless given, stdout."""

    def __init__(
        self, *arguments: object, columns: int = 80, stdout: Any = None, env: Any = None
    ) -> None:
        self._master, end = os.openpty()
        self.resize(columns)
        command = [sys.executable, "-c", _TAKE_TERMINAL, *COMMAND, *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=end,
            stdout=end if stdout is None else stdout,
            stderr=end,
            env=environment(**(env or {})),
            start_new_session=True,
        )
        os.close(end)
        self.raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LONG)
        os.close(self._master)

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 24, columns, 0, 0)
        import fcntl  # Windows has none
        import termios

        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what comes within that time; say whether the other end is open."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        data = b""
        # The end of the last one who has it open is an error on Linux.
        with suppress(OSError):
            data = os.read(self._master, 65536)
        self.raw += data
        return bool(data)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until something was written, wherever it is by now."""
        deadline = monotonic() + LONG
        while not (found := re.search(pattern, self.text)):
            assert self.process.poll() is None or self.read(), self.text
            assert monotonic() < deadline, self.text
            self.read()
        return found

    def finish(self) -> int:
        """Read to the end; return the code."""
        deadline = monotonic() + LONG
        while self.read():
            assert monotonic() < deadline, self.text
        return self.process.wait(LONG)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "backslashreplace")

    @property
    def screen(self) -> list[str]:
        """The lines as they are seen in the end, without colours, however long they are."""
        lines = [""]
        column = 0
        for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[\s\S]", self.text):
            if token == "\n":
                lines.append("")
            elif token == "\r":
                column = 0
            elif token == "\x1b[K":
                lines[-1] = lines[-1][:column]
            elif len(token) == 1:
                lines[-1] = f"{lines[-1][:column]}{token}{lines[-1][column + 1 :]}"
                column += 1
        return lines


def rows_of(path: Path) -> list[str]:
    """The whole lines of a file that may be being written."""
    return path.read_text("utf-8", "surrogateescape").split("\n")[:-1]
