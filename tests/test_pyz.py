"""The command in one file: small, and at work with nothing but Python."""

from __future__ import annotations

import ast
import builtins
import json
import re
import signal
import subprocess
import symtable
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import LONG, environment, url_of
from tests.servers import Endpoint, wait_until
from tools.pyz import LIMIT, ROOT, bare, build, names_on_top

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


def test_it_stays_small(pyz: Path) -> None:
    assert pyz.stat().st_size < LIMIT == 60 * 1024


def test_it_begins_as_a_program_does(pyz: Path) -> None:
    assert pyz.read_bytes().startswith(b"#!/usr/bin/env python3\nPK")


def test_it_holds_what_the_oldest_python_understands(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
        modules = [name for name in names if name.endswith(".py")]
        assert {"__main__.py", "pystreamredis/protocol/xread.py"} <= set(modules)
        for name in modules:
            ast.parse(archive.read(name), name, feature_version=(3, 10))
    assert [name for name in names if "asyncio" in name or "cache" in name] == []


def test_it_is_the_same_whenever_it_is_built_and_compressed_further_than_zlib_does(
    pyz: Path,
) -> None:
    with zipfile.ZipFile(pyz) as archive:
        entries = archive.infolist()
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        usual = sum(len(zlib.compress(archive.read(entry), 9)) - 6 for entry in entries)
    assert sum(entry.compress_size for entry in entries) < 0.99 * usual


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


SOURCE = '''"""What it is for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Empty:
    """Nothing."""

    url: str | None


class Full:
    """Something."""

    def method(self, first: int, *rest: Any, key: str = "#", **more: Any) -> int:
        """Do it."""
        late: int
        total: int = first  # a comment
        self.total: int = total
        late = total + len(rest) + len(key) + len(more)
        return late


_for_itself = len("text")


def _alone(given: int) -> int:
    return _for_itself + given


total = _alone(given=3)

if TYPE_CHECKING:
    kept = 1
else:
    kept = 2
'''


def test_what_is_left_out_of_a_module() -> None:
    left = bare(SOURCE)
    for gone in ("import Any", "Nothing", "Do it", "comment", "late", "int", "->"):
        assert gone not in left
    for own in ("_for_itself", "_alone"):
        assert own not in left
    # By these others may call it.
    for kept in ("class Full", "def method(", "first", "key='#'", "(given)", "total="):
        assert kept in left


def names_of(whole: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ...]]:
    """List functions and classes, with the names by which arguments can be given."""
    for node in whole.body:
        if isinstance(node, ast.ClassDef):
            yield (node.name,)
            yield from names_of(node)
        if isinstance(node, ast.If):  # for type checkers, who have no use for the rest
            yield from names_of(ast.Module(node.orelse, []))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
            # What a method calls its own object is nobody else's.
            is_own = isinstance(whole, ast.ClassDef) and not node.args.posonlyargs
            yield (node.name, *names[is_own:])


def without_private(names: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out a name that is its module's own."""
    is_private = names[0].startswith("_") and not names[0].startswith("__")
    return names[1:] if is_private else names


MODULES = [*HOUSE.rglob("*.py"), *(ROOT / "protocol").glob("*.py")]


def test_names_that_may_be_given_or_looked_up_are_kept() -> None:
    """Arguments may be keywords, and functions and classes are used by other modules."""
    for path in MODULES:
        source = path.read_text("utf-8")
        before, after = (
            [without_private(names) for names in names_of(ast.parse(text))]
            for text in (source, bare(source))
        )
        assert after == before, path


def scopes_in(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from scopes_in(child)


def test_no_local_has_the_new_name_of_a_global() -> None:
    """Python 3.12 may take the one for the other, where there are comprehensions."""
    for path in MODULES:
        source = path.read_text("utf-8")
        top = symtable.symtable(bare(source), str(path), "exec")
        known = {*top.get_identifiers(), *dir(builtins)}
        new = {*names_on_top(ast.parse(bare(source)))} - {*re.findall(r"\w+", source)}
        for scope in scopes_in(top):
            for symbol in scope.get_symbols():
                if symbol.is_global():
                    assert symbol.get_name() in known, path
                else:
                    assert symbol.get_name() not in new, path


def test_what_is_left_is_what_was_there() -> None:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    exec(SOURCE, before)
    exec(bare(SOURCE), after)
    arguments = (3, "a", "b")
    assert before["Full"]().method(*arguments, x=1) == after["Full"]().method(*arguments, x=1) == 7
    assert before["total"] == after["total"] == 7
    assert before["kept"] == after["kept"] == 2
