"""The command in one file: the sources as they are, run with nothing but Python."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.commands import LONG, environment, url_of
from tests.servers import Endpoint, wait_until
from tools.pyz import ROOT, build, oldest_python

HOUSE = ROOT / "pystreamredis"


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / "dist" / "pystreamredis.pyz"
    assert build(path) == path.stat().st_size
    return path


def command(pyz: Path, *arguments: object) -> list[str]:
    """No folder, no variable and no installed package is looked at."""
    return [sys.executable, "-I", "-S", "-B", "-W", "error", str(pyz), *map(str, arguments)]


def run(pyz: Path, *arguments: object) -> tuple[int, str, str]:
    done = subprocess.run(
        command(pyz, *arguments),
        cwd=pyz.parent,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env=environment(),
    )
    return done.returncode, done.stdout, done.stderr


def test_it_begins_as_a_program_does(pyz: Path) -> None:
    assert pyz.read_bytes().startswith(b"#!/usr/bin/env python3\nPK")
    assert os.access(pyz, os.X_OK)


def test_it_holds_the_sources_as_they_are(pyz: Path) -> None:
    expected = {
        f"pystreamredis/{path.relative_to(HOUSE).as_posix()}": path.read_bytes()
        for path in [*HOUSE.rglob("*"), *(HOUSE / "protocol").glob("*")]
        if path.is_file() and path.suffix != ".pyc"
    }
    assert "pystreamredis/protocol/xread.py" in expected
    with zipfile.ZipFile(pyz) as archive:
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        found = {entry.filename: archive.read(entry) for entry in files}
    assert {entry.compress_type for entry in files} == {zipfile.ZIP_DEFLATED}
    del found["__main__.py"]
    compiled = {name for name in found if name.endswith(".pyc")} - {"__main__.pyc"}
    assert compiled == {name + "c" for name in expected if name.endswith(".py")}
    assert {name: data for name, data in found.items() if not name.endswith(".pyc")} == expected


def test_what_is_compiled_is_used(pyz: Path) -> None:
    """By the Python that built it: nothing of it is compiled again."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[1])) if event == "compile" else None)
import pystreamredis.command.main
print([name for name in seen if "pyz" in name])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(pyz)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert done.stdout == "[]\n"


FAILS = """
import sys, traceback
sys.path.insert(0, sys.argv[1])
from pystreamredis import Streams
try:
    Streams(s=-1)
except ValueError:
    traceback.print_exc()
"""


def test_a_traceback_shows_lines_of_the_sources(pyz: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", FAILS, str(pyz)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    frame = re.findall(r'File ".*pyz/(.*)", line (\d+), in .*\n +(raise .*)', done.stderr)[-1]
    path, number, line = frame
    assert (ROOT / path).read_text("utf-8").splitlines()[int(number) - 1].strip() == line


# The Python that runs it.


def main_module(pyz: Path) -> str:
    with zipfile.ZipFile(pyz) as archive:
        return archive.read("__main__.py").decode("ascii")


def test_its_first_lines_run_on_python_2_7_and_3_6(pyz: Path) -> None:
    """None of the syntax that is newer: annotations, f-strings, walrus, print without brackets."""
    module = ast.parse(main_module(pyz), feature_version=(3, 7))
    newer = (ast.AnnAssign, ast.JoinedStr, ast.NamedExpr, ast.FunctionDef, ast.Starred)
    assert [node for node in ast.walk(module) if isinstance(node, newer)] == []


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 19)])
def test_an_older_python_is_told_in_one_line(pyz: Path, version: tuple[int, int, int]) -> None:
    """It says which Python is needed, before anything that this one could not read."""
    pretend = (
        f"import sys; sys.version_info = {version}\n"
        "def no_package(event, arguments):\n"
        "    if event == 'import' and 'pystreamredis' in arguments[0]: raise AssertionError\n"
        "sys.addaudithook(no_package)\n"
        "sys.argv = sys.argv[1:]; code = open(sys.argv[1]).read()\n"
        "exec(compile(code, '__main__.py', 'exec'))"
    )
    (pyz.parent / "__main__.py").write_text(main_module(pyz), "ascii")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", pretend, "-", str(pyz.parent / "__main__.py")],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    major, minor, _ = version
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"pystreamredis: this is Python {major}.{minor}, expected 3.11 or later: "
        "run it with a newer python3\n"
    )


def test_the_oldest_python_is_the_one_of_the_metadata(pyz: Path) -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert metadata["project"]["requires-python"] == ">= {}.{}".format(*oldest_python())
    assert "sys.version_info < ({}, {})".format(*oldest_python()) in main_module(pyz)


# What it does.


def test_it_prints_what_is_there_and_ends(pyz: Path, one_server: Endpoint) -> None:
    one_server.command("XADD", "a", "1-0", "f", "x y")
    one_server.command("XADD", "b", "1-1", "f", "\xe9")
    code, output, errors = run(pyz, url_of(one_server), "a", "b", "--exit", "--json")
    assert (code, errors) == (0, "")
    assert [json.loads(line)["id"] for line in output.splitlines()] == ["1-0", "1-1"]


def test_it_follows_and_goes_on_where_it_was(
    pyz: Path, one_server: Endpoint, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    arguments = (url_of(one_server), "s=0", "--format", "{field[f]}", "--state", state)
    for value in ("1", "2"):
        with subprocess.Popen(
            command(pyz, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_until(lambda: b"flags=b " in one_server.command("CLIENT", "LIST"))
            one_server.command("XADD", "s", "*", "f", value)
            assert process.stdout is not None
            assert process.stdout.readline() == f"{value}\n"
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=LONG) == ("", "")
            assert process.returncode == 0


def test_its_exit_codes_are_those_of_the_command(pyz: Path) -> None:
    """The program that zipapp itself would write ends with 0 always."""
    assert run(pyz, "--version")[0] == 0
    assert run(pyz)[0] == 2
    assert run(pyz, "redis://127.0.0.1:1", "s")[0] == 1


def test_help_is_as_long_as_ever(pyz: Path) -> None:
    """It is no docstring."""
    whole = subprocess.run(
        [sys.executable, "-m", "pystreamredis", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert run(pyz, "--help") == (0, whole.stdout, "")
