"""Measure the code against the house rules: ``python -m tools.house``, or ``make house``.

The table has the target beside each figure. The exit status is 1 where a target is missed. The core
is the package without its command, but with `testing`, which users import; stubs (``.pyi``), tests
and tools are no part of it. Its lines are all lines of its files, docstrings and blank ones among
them. `tree.names_to_learn` says which names count: by it h11 0.16 has 173, httpcore 1.0 has 291.
The wording is that of all code and documents.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tools import live, tree

ROOT = Path(__file__).parent.parent
# The folder of each package; the wire format installs below the other one.
PACKAGES = {"pystreamredis": "pystreamredis", "pystreamredis.protocol": "protocol"}
COMMAND = "pystreamredis.command"
# Written so that this file does not contain them.
UNWANTED = {
    "in " + "lieu of": r"in\s+lieu\s+of",
    "an" + "ew": r"an(?:ew)",
    "men" + "d": r"men(?:d(?:s|ed|ing)?)",
}
# The words of the document that the project was asked for with.
QUOTATION = re.compile(r"returned\s+in\s+lieu\s+of\s+a\s+message")
PROSE = (".py", ".rst")
# Folders of the repository whose text others have written, or programs.
NOT_OURS = re.compile(r"\.|build$|dist$|generated$|__pycache__$|.*\.egg-info$")


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        label: The measured quantity.
        value: The figure.
        target: The largest value that is within the target.
        detail: The place where the figure comes from, if there is one.
    """

    label: str
    value: float
    target: float
    detail: str = ""

    @property
    def is_met(self) -> bool:
        """True if the figure is within the target."""
        return self.value <= self.target


def read_packages(root: Path) -> list[tree.Module]:
    """Read the modules of the packages that are there."""
    folders = {name: root / folder for name, folder in PACKAGES.items()}
    return tree.read({name: folder for name, folder in folders.items() if folder.is_dir()})


def code_rows(modules: list[tree.Module]) -> Iterator[Row]:
    """Measure classes and functions, and which modules import each other."""
    sizes = tree.sizes(modules) or [tree.Size("none", 0, 0)]
    fattest, most = sizes[0], max(sizes, key=lambda size: size.methods)
    lines, longest = tree.longest_function(modules)
    depth, deepest = tree.deepest_nesting(modules)
    groups = tree.cycles(tree.import_graph(modules))
    names = "; ".join(" ".join(map(_short, group)) for group in groups)
    yield Row("attributes of the fattest class", fattest.attributes, 18, fattest.name)
    yield Row("methods of the class with the most", most.methods, 25, most.name)
    yield Row("lines of the longest function", lines, 60, longest)
    yield Row("deepest nesting", depth, 4, deepest)
    yield Row("import cycles", len(groups), 0, names)


def core_rows(modules: list[tree.Module]) -> Iterator[Row]:
    """Measure how much there is to learn and to read, and how high the imports are stacked."""
    chain = tree.floors(tree.import_graph(modules))
    yield Row("names to learn in the core", len(tree.names_to_learn(modules)), 450)
    yield Row("lines of the core", sum(module.lines for module in modules), 6800)
    yield Row("import floors of the core", len(chain), 7, " > ".join(map(_short, chain)))


def _short(name: str) -> str:
    return name.removeprefix("pystreamredis.")


def comment_rows(modules: list[tree.Module]) -> Iterator[Row]:
    """Measure how comments and docstrings open."""
    comments = [text for module in modules for text in module.comments()]
    docstrings = [text for module in modules for text in module.docstrings()]
    label = "{} that open with What, How, Whether, ... (%)"
    for kind, texts in (("comments", comments), ("docstrings", docstrings)):
        yield Row(label.format(kind), round(tree.share_of_questions(texts), 1), 2)


def wording_rows(root: Path) -> Iterator[Row]:
    """Count unwanted words in all code and documents."""
    texts = {path: path.read_text("utf-8") for path in _prose(root)}
    for word, pattern in UNWANTED.items():
        found = {path: _count(pattern, text) for path, text in texts.items()}
        worst = sorted((path for path in found if found[path]), key=lambda path: -found[path])
        detail = ", ".join(f"{path.relative_to(root)} {found[path]}" for path in worst[:3])
        yield Row(f"occurrences of '{word}'", sum(found.values()), 0, detail)


def _prose(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if NOT_OURS.match(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _prose(path)
        elif path.suffix in PROSE:
            yield path


def _count(pattern: str, text: str) -> int:
    return len(re.findall(rf"\b{pattern}\b", QUOTATION.sub("", text), re.IGNORECASE))


def live_rows(root: Path) -> Iterator[Row]:
    """Measure the way of a lone live message, by ``next()`` and by ``for``."""
    from pystreamredis import Streams  # not needed for the rows of a tree that is only read

    ways = {"next()": live.passages_by_next, "for": live.passages_by_for}
    for way, measure in ways.items():
        calls = live.Calls(root / folder for folder in PACKAGES.values())
        with (
            live.Server() as server,
            Streams("127.0.0.1", server.port, live="0-0", block=0) as streams,
        ):
            passage = live.typical(measure(streams, calls))
        yield Row(f"calls of a lone live message, by {way}", passage.calls, 45)
        yield Row(f"files that it passes, by {way}", passage.files, 12)


def rows_of(root: Path) -> Iterator[Row]:
    """Measure a tree, without running it."""
    modules = read_packages(root)
    core = [module for module in modules if not f"{module.name}.".startswith(f"{COMMAND}.")]
    yield from code_rows(modules)
    yield from core_rows(core)
    yield from comment_rows(modules)
    yield from wording_rows(root)


def table(rows: Iterable[Row]) -> str:
    """Lay the rows out as text."""
    lines = [f"{'':<52} {'now':>7} {'at most':>8}"]
    for row in rows:
        mark = "" if row.is_met else "  missed"
        detail = f"  {row.detail}" if row.detail and not row.is_met else ""
        lines.append(f"{row.label:<52} {row.value:>7g} {row.target:>8g}{mark}{detail}")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return the exit status."""
    rows = [*rows_of(ROOT), *live_rows(ROOT)]
    print(table(rows))
    return not all(row.is_met for row in rows)


if __name__ == "__main__":
    sys.exit(main())
