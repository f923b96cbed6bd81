"""A copy of the package's folder under another name, where nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pystreamredis
from tests.commands import LONG, environment, url_of
from tests.servers import Endpoint

HOUSE = Path(pystreamredis.__file__).parent
LIBRARY = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s", stream=sys.stdout)
from corp.inner.feed import Redis, Streams, exceptions, protocol
streams = Redis.from_url(sys.argv[1]).streams(a=0, b=0, block=None)
print(*streams)
print(issubclass(exceptions.TimeoutError, ConnectionError), protocol.Parser.__module__)
print([name for name in sys.modules if name.startswith("pystreamredis") or name == "protocol"])
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with a copy made as the README says; it is deep within a package."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "corp" / "inner").mkdir(parents=True)
    target = folder / "corp" / "inner" / "feed"
    subprocess.run(["cp", "-rL", str(HOUSE), str(target)], check=True)
    return folder


def run(program: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-E", "-S", "-B", "-W", "error", *arguments],
        cwd=program,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def url(one_server: Endpoint) -> str:
    one_server.command("XADD", "b", "1-0", "f", "1")
    one_server.command("XADD", "a", "2-0", "f", "2")
    return url_of(one_server)


def test_nothing_is_installed_there(program: Path) -> None:
    """Or the tests below would show little."""
    code = "import importlib.util as u; print(u.find_spec('pystreamredis'), u.find_spec('pip'))"
    assert run(program, "-c", code) == "None None\n"


def test_there_is_no_link_in_the_copy(program: Path) -> None:
    """So the clone may go away."""
    copied = [path for path in program.rglob("*") if "__pycache__" not in path.parts]
    assert any(path.name == "xread.py" for path in copied)
    assert [path for path in copied if path.is_symlink()] == []


def test_the_copy_reads_streams_under_its_own_name(program: Path, url: str) -> None:
    assert run(program, "-c", LIBRARY, url).splitlines() == [
        "pystreamredis INFO",
        "('b', b'1-0', {b'f': b'1'}) ('a', b'2-0', {b'f': b'2'})",
        "True corp.inner.feed.protocol.parser",
        "[]",
    ]


def test_the_command_of_the_copy_runs(program: Path, url: str) -> None:
    printed = run(program, "-m", "corp.inner.feed", url, "a", "b", "--exit", "--format", "{id}")
    assert printed == "1-0\n2-0\n"


# The files that may be deleted from a copy, as docs/howto/embed.rst has it.
SETS = {
    "trio": ["trio", "io/nursery.py"],
    # And trio again.
    "asyncio": ["asyncio", "awaited.py", "io/event_loop.py", "io/tasks.py"],
    "command": ["command", "__main__.py"],
    "url": ["url.py", "command", "__main__.py"],
    "tests": ["protocol/strategies.py", "testing.py"],
    "types": ["streams.pyi", "asyncio/streams.pyi", "trio/streams.pyi", "py.typed"],
}
SETS["asyncio"] += SETS["trio"]
SETS["all of them"] = sorted({part for parts in SETS.values() for part in parts}, reverse=True)
READING = """
import sys
from feed import Redis, Streams
port = int(sys.argv[1].rpartition(":")[2])
with Streams("127.0.0.1", port, a=0, b=0, block=None) as streams:
    print(*streams)
print(Redis("127.0.0.1", port))
"""


@pytest.mark.parametrize("parts", SETS.values(), ids=SETS)
def test_a_copy_reads_without_the_parts_that_may_be_deleted(
    parts: list[str], tmp_path: Path, url: str
) -> None:
    copy = tmp_path / "feed"
    shutil.copytree(HOUSE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for part in parts:
        path = copy / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=not path.parent.exists())
    assert run(tmp_path, "-c", READING, url).splitlines() == [
        "('b', b'1-0', {b'f': b'1'}) ('a', b'2-0', {b'f': b'2'})",
        f"<Redis at {url.removeprefix('redis://')}, db 0>",
    ]


def test_the_sets_are_those_of_the_page() -> None:
    page = (Path(__file__).parent.parent / "docs/howto/embed.rst").read_text("utf-8")
    for parts in list(SETS.values())[:-1]:
        assert [part for part in parts if f"``{part}``" not in page and ".pyi" not in part] == []
