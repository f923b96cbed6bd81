"""The wheel and the sdist in `dist/`, as a user meets them: run by `make dist`."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pystreamredis
from tools import share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

ROOT = Path(__file__).parent.parent
# What uses the library with types that are right.
RIGHT = """
from pystreamredis import ConnectionError, Redis, Streams
from pystreamredis.protocol import NEED_DATA, Parser, encode_command

def follow(streams: Streams) -> int:
    messages = 0
    try:
        for name, entry_id, data in streams:
            messages += 1
    except ConnectionError as error:
        print(str(error))
    stored: dict[str | bytes, bytes | str | None] = streams.positions
    streams.add(another=None)
    streams.discard("another")
    return messages + len(stored)

with Redis("localhost", 6379).streams({b"s": "1-0"}, t=0, block=None) as streams:
    follow(streams)
with Streams.from_url("redis://localhost", ["s"], count=5) as streams:
    follow(streams)
parser = Parser()
parser.feed(encode_command("XADD", b"s", "*", "n", 5))
assert parser.next_value() is not NEED_DATA
"""
# Lines that are wrong, each in its own way.
WRONG = """
from pystreamredis import Redis, ResponseError, Streams
from pystreamredis.protocol import encode_command
Streams("localhost", "6379", s=0)
Streams(s=0, count="many")
Redis(db="first")
Redis().streams(s=object())
Streams(s=0).positions.append(1)
encode_command(1.5j)
ResponseError("text").code + 1
"""


def only(pattern: str) -> Path:
    (found,) = (ROOT / "dist").glob(pattern)
    return found


@pytest.fixture(scope="module")
def wheel() -> Path:
    return only("*.whl")


@pytest.fixture(scope="module")
def sdist() -> Path:
    return only("*.tar.gz")


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(sdist) as archive:
        # Python before 3.11.4 has no such filter.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(folder)
    (root,) = folder.iterdir()
    return root


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    options = ["--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run([python, "-m", "pip", "install", *options, wheel], check=True)
    return python


def modules_in_the_tree() -> Iterator[tuple[str, Path]]:
    house = ROOT / "pystreamredis"
    for path in [*house.glob("**/*.py"), *house.glob("**/*.pyi"), house / "py.typed"]:
        if "protocol" not in path.relative_to(house).parts:
            yield f"pystreamredis/{path.relative_to(house)}", path
    for path in (ROOT / "protocol").glob("*.py"):
        yield f"pystreamredis/protocol/{path.name}", path


def mypy(python: Path, folder: Path, program: str) -> list[str]:
    """What a user's `mypy --strict` says of a program; not from here, where the sources are."""
    (folder / "program.py").write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "program.py"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def pyright(python: Path, folder: Path, program: str) -> list[str]:
    """Return what pyright says of a program of a user's."""
    (folder / "program.py").write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", python, "program.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout.splitlines()


def test_the_wheel_holds_every_module_as_it_is_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {
            name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name
        }
    folder = f"pystreamredis-{pystreamredis.__version__}.data/data/"
    shared = {f"{folder}{name}": text.encode() for name, text in share.files().items()}
    modules = {name: path.read_bytes() for name, path in modules_in_the_tree()}
    assert found == modules | shared


def test_the_sdist_holds_what_the_repository_does(unpacked: Path) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no repository here, or no git, to compare with")
    # A checkout may be somebody else's: a CI's.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    listed = done.stdout.split("\0")
    # The link to protocol/ is a folder there.
    missing = [name for name in listed if name and not (unpacked / name).exists()]
    assert missing == []
    assert (unpacked / "pystreamredis" / "protocol" / "__init__.py").is_file()


def test_the_tests_run_from_the_sdist(unpacked: Path) -> None:
    modules = [
        "tests/test_package.py",
        "tests/test_protocol_package.py",
        "tests/test_core_merge.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *modules],
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_metadata_say_what_is_so(metadata: Message) -> None:
    assert metadata["Name"] == "pystreamredis"
    assert metadata["Version"] == pystreamredis.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert needed == []
    labels = {each.partition(", ")[0] for each in metadata.get_all("Project-URL", [])}
    assert labels >= {"Source", "Issues", "Changelog"}


def test_the_readme_is_the_long_description(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/x-rst"
    shown = metadata.get_payload(decode=True)
    assert isinstance(shown, bytes)
    assert shown.decode("utf-8").strip() == (ROOT / "README.rst").read_text("utf-8").strip()


def test_the_classifiers_name_every_python_that_the_tests_run_on(metadata: Message) -> None:
    prefix = "Programming Language :: Python :: 3."
    named = [
        each.removeprefix("Programming Language :: Python :: ")
        for each in metadata.get_all("Classifier", [])
        if each.startswith(prefix)
    ]
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    assert len(named) >= 4
    assert [version for version in named if f'"{version}"' not in noxfile] == []


def test_the_installed_wheel_is_the_one_that_is_imported(installed: Path) -> None:
    code = (
        "import sys, pystreamredis as p, pystreamredis.protocol as w; "
        "print(p.__version__, p.__file__.startswith(sys.prefix), w.__file__.startswith(sys.prefix))"
    )
    done = subprocess.run([installed, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [pystreamredis.__version__, "True", "True"]


def test_the_manual_and_completion_are_installed(installed: Path) -> None:
    environment = installed.parent.parent
    assert [name for name in share.files() if not (environment / name).is_file()] == []


def test_a_program_of_a_users_has_types_that_are_right(installed: Path, tmp_path: Path) -> None:
    assert mypy(installed, tmp_path, RIGHT) == ["Success: no issues found in 1 source file"]


def test_each_wrong_line_of_a_users_program_is_found(installed: Path, tmp_path: Path) -> None:
    """So that the types are not merely Any."""
    said = mypy(installed, tmp_path, WRONG)
    found = {int(line.split(":")[1]) for line in said if ": error:" in line}
    first = WRONG.splitlines().index('Streams("localhost", "6379", s=0)') + 1
    assert found == set(range(first, len(WRONG.splitlines()) + 1))


def test_an_editable_install_is_visible_to_mypy_and_pyright(tmp_path: Path) -> None:
    """The environment that runs this has one; an import hook would hide the sources."""
    here = Path(sys.executable)
    assert mypy(here, tmp_path, RIGHT) == ["Success: no issues found in 1 source file"]
    assert pyright(here, tmp_path, RIGHT) == ["0 errors, 0 warnings, 0 informations"]
