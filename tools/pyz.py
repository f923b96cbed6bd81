"""Build ``dist/pystreamredis.pyz``: the command in one file, for any Python from 3.10 on.

It is to stay small, so what only people and type checkers read is left out: comments, docstrings,
annotations, and names that nobody uses elsewhere; and what the command has no use for,
`pystreamredis.asyncio` and `pystreamredis.__main__`. All of that is in the wheel.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

from python_minifier import minify
from python_minifier.transforms.remove_annotations_options import RemoveAnnotationsOptions

from tools.squeeze import add

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "dist" / "pystreamredis.pyz"
# What it is to stay below, in bytes.
LIMIT = 60 * 1024
LEFT_OUT = shutil.ignore_patterns("__pycache__", "py.typed", "asyncio", "__main__.py")
# `zipapp` would write one that forgets the exit code. Ctrl-C ends imports, too.
MAIN = """\
import sys
try:
    from pystreamredis.command.main import main
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
"""
# Also where they might mean something: no class here looks at its own.
ANNOTATIONS = RemoveAnnotationsOptions(remove_class_attribute_annotations=True)


class WithoutTypes(ast.NodeTransformer):
    """Drops what is there for annotations."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Drop what is for type checkers alone."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """Drop what tells that there is no type checker."""
        return None if ast.unparse(node) == "TYPE_CHECKING = False" else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Drop how annotations are read: there are none left."""
        return None if node.module == "__future__" else node


class ShortNames(ast.NodeTransformer):
    """Shortens the names on top of a module that are its own: those with one underscore.

    They keep it, which no local name has that the minifier makes: Python 3.12 takes a global
    for a local where a comprehension elsewhere in the same function has one of that name.
    """

    def __init__(self, module: ast.Module) -> None:
        words = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
        short = (f"_{letter}" for letter in ascii_letters if f"_{letter}" not in words)
        own = filter(re.compile("_[a-zA-Z]").match, names_on_top(module))
        self._short = dict(zip(own, short, strict=False))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Rename where it is used."""
        node.id = self._short.get(node.id, node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        """Rename where it is said to be global."""
        node.names = [self._short.get(name, name) for name in node.names]
        return node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Rename where it is defined: a method of that name is another matter."""
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.ClassDef):
                each.name = self._short.get(each.name, each.name)
        return self.generic_visit(node)


def names_on_top(module: ast.Module) -> Iterator[str]:
    """List the names that a module gives to its functions, classes and values."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        for target in getattr(node, "targets", []):
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))


def bare(source: str) -> str:
    """Write a module again, without what running it does not take."""
    module = WithoutTypes().visit(ast.parse(source))
    return minify(
        ast.unparse(ShortNames(module).visit(module)),
        remove_annotations=ANNOTATIONS,
        remove_literal_statements=True,
        # Names for what occurs often make it larger once it is compressed.
        hoist_literals=False,
        # Else a stream could not have the name of the argument.
        convert_posargs_to_args=False,
    )


def build(target: Path) -> int:
    """Write the file; return its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        house = Path(folder) / "pystreamredis"
        shutil.copytree(ROOT / "pystreamredis", house, ignore=LEFT_OUT)
        for path in house.rglob("*.py"):
            path.write_text(bare(path.read_text("utf-8")), "utf-8")
        (Path(folder) / "__main__.py").write_text(MAIN, "utf-8")
        write(target, Path(folder))
    return target.stat().st_size


def write(target: Path, folder: Path) -> None:
    """Do as `zipapp.create_archive` does, but compress as far as can be, and leave times out."""
    with target.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with ZipFile(file, "w") as archive:
            for path in sorted(folder.rglob("*.py")):
                entry = ZipInfo(path.relative_to(folder).as_posix())
                add(archive, entry, path.read_bytes())
    target.chmod(0o755)


if __name__ == "__main__":
    size = build(TARGET)
    print(f"{TARGET.relative_to(ROOT)}: {size} bytes, {size - LIMIT:+} of {LIMIT}")
    sys.exit(size >= LIMIT)
