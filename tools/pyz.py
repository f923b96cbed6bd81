"""Build ``dist/pystreamredis.pyz``: the command in one file, for any Python from 3.10 on.

It is to stay small, so what only people and type checkers read is left out: comments, docstrings
and annotations; and `pystreamredis.asyncio`, for which the command has no use. All of that is in
the wheel.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import zipapp
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "dist" / "pystreamredis.pyz"
# What it is to stay below, in bytes.
LIMIT = 60 * 1024
LEFT_OUT = "asyncio"
# zipapp would write one that forgets the exit code.
MAIN = """\
import sys
from pystreamredis.command.main import main
sys.exit(main())
"""


class Bare(ast.NodeTransformer):
    """Takes docstrings and annotations out of a module, and what is for type checkers alone."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Remove a docstring, having gone through what is below."""
        super().generic_visit(node)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
            if not isinstance(node, ast.Module):
                node.body = node.body or [ast.Pass()]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Keep the name of an argument."""
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.Assign | None:
        """Keep the value, if there is one."""
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop what is imported for annotations."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            return None
        return self.generic_visit(node)


def bare(source: str) -> str:
    """Write a module again, without what running it does not take."""
    plain = ast.unparse(ast.fix_missing_locations(Bare().visit(ast.parse(source)))) + "\n"
    # One space a level is enough. No string is changed by it: unparse writes them in one line.
    return re.sub("^(?: {4})+", lambda found: " " * (len(found[0]) // 4), plain, flags=re.MULTILINE)


def build(target: Path) -> int:
    """Write the file; return its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        house = Path(folder) / "pystreamredis"
        leave_out = shutil.ignore_patterns("__pycache__", "py.typed", LEFT_OUT, f"{LEFT_OUT}.py")
        shutil.copytree(ROOT / "pystreamredis", house, ignore=leave_out)
        for path in house.rglob("*.py"):
            path.write_text(bare(path.read_text("utf-8")), "utf-8")
        (Path(folder) / "__main__.py").write_text(MAIN, "utf-8")
        zipapp.create_archive(folder, target, "/usr/bin/env python3", compressed=True)
    return target.stat().st_size


if __name__ == "__main__":
    size = build(TARGET)
    print(f"{TARGET.relative_to(ROOT)}: {size} bytes, {size - LIMIT:+} of {LIMIT}")
    sys.exit(size >= LIMIT)
