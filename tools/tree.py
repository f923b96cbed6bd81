"""Read a tree of modules with `ast` and `tokenize`, whatever its layout, and measure it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# Words that open a description with a question instead of a noun or a verb.
_OPENERS = re.compile(r"(?:what|how|whether|who|where|of|those|for how)\b", re.IGNORECASE)
# Comments for programs.
_PRAGMA = re.compile(r"#!|# ?(?:noqa|type:|pyright:|pragma:|fmt:|ruff:|atheris:)")
_BLOCKS = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


class Size(NamedTuple):
    """Figures of one class."""

    name: str
    attributes: int
    methods: int


class Module:
    """A module of the tree.

    Attributes:
        name: Its full name: ``"pystreamredis.protocol.ids"``.
        path: The file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.source = path.read_text("utf-8")
        self.syntax = ast.parse(self.source, str(path))

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        """All classes, those within classes and functions included."""
        return [node for node in ast.walk(self.syntax) if isinstance(node, ast.ClassDef)]

    @cached_property
    def functions(self) -> list[Function]:
        """All functions, methods and nested functions included."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return [node for node in ast.walk(self.syntax) if isinstance(node, kinds)]

    @property
    def lines(self) -> int:
        """The number of lines of the file."""
        return len(self.source.splitlines())

    def constants(self) -> Iterator[str]:
        """Find the names that are assigned on top of the module or a class, dunders left out."""
        bodies = [self.syntax.body, *(node.body for node in self.classes)]
        for node in chain.from_iterable(map(_running, bodies)):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            for each in (each for target in targets for each in ast.walk(target)):
                if isinstance(each, ast.Name) and not _is_dunder(each.id):
                    yield each.id

    def imports(self, known: Iterable[str]) -> set[str]:
        """Find the modules among those known that it imports when it runs."""
        names = set(known)
        found: set[str] = set()
        for node in _running([self.syntax], nested=True):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                inner = {f"{base}.{alias.name}" for alias in node.names}
                found |= inner & names or {base}
        return found & names - {self.name}

    def full_name(self, name: str) -> str:
        """Return the name of a thing with that of its module, as the module's imports say."""
        first, dot, rest = name.partition(".")
        for node in _running([self.syntax], nested=True):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == first:
                        return f"{self._base(node)}.{alias.name}{dot}{rest}"
        return name if dot else f"{self.name}.{name}"

    def _base(self, node: ast.ImportFrom) -> str:
        """Return the full name of the module after ``from``."""
        parts = self.package.split(".")
        above = parts[: len(parts) + 1 - node.level] if node.level else []
        return ".".join([*above, *([node.module] if node.module else [])])

    def docstrings(self) -> Iterator[str]:
        """Find the docstrings of the module, its classes and its functions."""
        for node in (self.syntax, *self.classes, *self.functions):
            if text := ast.get_docstring(node):
                yield text

    def comments(self) -> Iterator[str]:
        """Find the blocks of comments: lines one below the other, and each behind code."""
        last_row, block = -1, ""
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type != tokenize.COMMENT or _PRAGMA.match(token.string):
                continue
            row, column = token.start
            stands_alone = not token.line[:column].strip()
            text = token.string.lstrip("#").strip()
            if stands_alone and row == last_row + 1:
                block += f" {text}"
            else:
                if block:
                    yield block
                block = text
            last_row = row if stands_alone else -1
        if block:
            yield block


def read(roots: Mapping[str, Path]) -> list[Module]:
    """Read the modules below some folders; links to folders are passed over.

    Args:
        roots: The folder of each package: ``{"pystreamredis.protocol": Path("protocol")}``.
    """
    found = []
    for package, folder in roots.items():
        for path in sorted(_files(folder)):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found.append(Module(name, path))
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.suffix == ".py":
            yield path


# Classes and names.


def sizes(modules: Iterable[Module]) -> list[Size]:
    """Measure all classes, the ones with the most attributes first.

    What a class inherits from classes of the tree counts as its own: a mixin makes no class
    smaller for its reader.
    """
    by_name = {module.name: module for module in modules}
    found = []
    for module in by_name.values():
        for node in module.classes:
            family = list(_family(module, node, by_name))
            attributes = {attribute for each in family for attribute in attributes_of(each)}
            methods = {method.name for each in family for method in methods_of(each)}
            found.append(Size(node.name, len(attributes), len(methods)))
    return sorted(found, key=lambda size: (-size.attributes, -size.methods, size.name))


def _family(
    module: Module, node: ast.ClassDef, modules: Mapping[str, Module]
) -> Iterator[ast.ClassDef]:
    """Find a class of a module and its bases in the tree; classes may have one name."""
    yield node
    for base in node.bases:
        inner = base.value if isinstance(base, ast.Subscript) else base
        name = module.full_name(ast.unparse(inner))
        owner = modules.get(name.rpartition(".")[0])
        if owner is None:
            continue
        for other in owner.classes:
            if other.name == name.rpartition(".")[2] and other is not node:
                yield from _family(owner, other, modules)


def methods_of(node: ast.ClassDef) -> list[Function]:
    """Find the methods of a class, overloads and setters among them."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [each for each in _running(node.body) if isinstance(each, kinds)]


def attributes_of(node: ast.ClassDef) -> set[str]:
    """Find what a class keeps in its objects: slots, fields, and whatever is set on self."""
    found: set[str] = set()
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            if "ClassVar" not in ast.unparse(each.annotation):
                found.add(each.target.id)
        elif isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__slots__":
            texts = (leaf.value for leaf in ast.walk(each.value) if isinstance(leaf, ast.Constant))
            found.update(text for text in texts if isinstance(text, str))
    for method in methods_of(node):
        arguments = [*method.args.posonlyargs, *method.args.args]
        if arguments:
            found.update(_set_on(arguments[0].arg, method))
    return {name for name in found if not _is_dunder(name)}


def _set_on(owner: str, method: Function) -> Iterator[str]:
    for node in ast.walk(method):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == owner
        ):
            yield node.attr


def names_to_learn(modules: Iterable[Module]) -> set[str]:
    """Collect the names of modules, classes, functions, attributes and constants.

    A name counts once, however many things have it: a method that several classes have, or one with
    overloads. Names with an underscore and nested functions count like the others. Dunders, locals,
    parameters, and aliases of types, which only checkers see, do not.
    """
    found: set[str] = set()
    for module in modules:
        found.add(module.name.rpartition(".")[2])
        found.update(node.name for node in (*module.classes, *module.functions))
        found.update(name for node in module.classes for name in attributes_of(node))
        found.update(module.constants())
    return {name for name in found if not _is_dunder(name)} - {"TYPE_CHECKING"}


# Imports.


def import_graph(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Return the modules of the tree that each one imports when it runs."""
    listed = list(modules)
    known = [module.name for module in listed]
    return {module.name: module.imports(known) for module in listed}


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Find the groups of modules that import each other, directly or not."""
    reach = {name: _reachable(name, graph) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


def floors(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the longest chain of imports; of a cycle, each module counts once."""
    best: dict[str, list[str]] = {}

    def chain(name: str, above: frozenset[str]) -> list[str]:
        if name not in best:
            below = (chain(other, above | {name}) for other in sorted(graph[name] - above))
            best[name] = [name, *max(below, key=len, default=[])]
        return best[name]

    return max((chain(name, frozenset({name})) for name in sorted(graph)), key=len, default=[])


# Functions and prose.


def longest_function(modules: Iterable[Module]) -> tuple[int, str]:
    """Return the number of lines of the longest function, and its name."""
    return _largest(modules, lambda node: (node.end_lineno or node.lineno) - node.lineno + 1)


def deepest_nesting(modules: Iterable[Module]) -> tuple[int, str]:
    """Return the number of blocks within each other in a function, and its name."""
    return _largest(modules, lambda node: max(map(_depth, node.body), default=0))


def _largest(modules: Iterable[Module], figure: Callable[[Function], int]) -> tuple[int, str]:
    found = (
        (figure(node), f"{module.name}.{node.name}")
        for module in modules
        for node in module.functions
    )
    return max(found, default=(0, ""))


def _depth(node: ast.AST, is_elif: bool = False) -> int:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return 0  # it is measured by itself
    inner = 0
    for child in ast.iter_child_nodes(node):
        is_next = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        inner = max(inner, _depth(child, is_next))
    return inner + (isinstance(node, _BLOCKS) and not is_elif)


def share_of_questions(texts: Iterable[str]) -> float:
    """Return the share of texts, in percent, that open with a word such as What."""
    listed = list(texts)
    return 100 * sum(bool(_OPENERS.match(text)) for text in listed) / max(1, len(listed))


def _running(body: Iterable[ast.AST], *, nested: bool = False) -> Iterator[ast.AST]:
    """Find the statements of a body, those for type checkers left out.

    Args:
        body: Statements, in which ``if`` and ``try`` are followed.
        nested: Whether to look into functions and classes, too.
    """
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _running(node.orelse, nested=nested)
        elif nested or isinstance(node, (ast.If, ast.Try)):
            yield from _running(ast.iter_child_nodes(node), nested=nested)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
