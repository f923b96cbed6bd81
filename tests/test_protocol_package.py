"""The package `pystreamredis.protocol`: its names, and that it stands by itself."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pystreamredis
from pystreamredis import protocol

EXPORTED = [
    "NEED_DATA",
    "Map",
    "MessageFactory",
    "NeedData",
    "Parser",
    "ProtocolError",
    "Push",
    "ServerError",
    "Set",
    "Typed",
    "Unmade",
    "VerbatimString",
    "XreadParser",
    "encode",
    "encode_command",
    "encode_xread",
    "stream_replies_of",
]
# What a wire format has no use for: "no sockets, no clocks".
FORBIDDEN = {"asyncio", "datetime", "select", "selectors", "socket", "ssl", "threading", "time"}

# For tests alone, so it may need what they need.
STRATEGIES = "strategies"

SOURCES = sorted(
    source for source in Path(protocol.__file__).parent.glob("*.py") if source.stem != STRATEGIES
)
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(pystreamredis.__path__, "pystreamredis.")
    if not info.name.endswith("__main__")  # importing that runs it
)


def test_all_names_what_is_public_and_nothing_else() -> None:
    """Contract 1: encoder, RESP2/RESP3 parser, XREAD replies; a name more is a promise more."""
    assert protocol.__all__ == EXPORTED
    public = {
        name
        for name, value in vars(protocol).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(EXPORTED)


def test_all_is_sorted_as_ruff_sorts_it() -> None:
    assert sorted(protocol.__all__, key=_isort_key) == protocol.__all__


def _isort_key(name: str) -> tuple[int, str]:
    # Constants, then classes, then the rest.
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_a_star_import_brings_them() -> None:
    namespace: dict[str, object] = {}
    exec("from pystreamredis.protocol import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(EXPORTED)


def test_the_sources_are_found() -> None:
    """The checks below look at these, and would pass on none."""
    names = {source.stem for source in SOURCES}
    assert names >= {"__init__", "buffer", "encoder", "errors", "parser", "values", "xread"}
    assert {f"pystreamredis.protocol.{name}" for name in names - {"__init__"}} <= set(MODULES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_nothing_of_the_wire_format_imports_the_rest(source: Path) -> None:
    """Contract 1: `pystreamredis.protocol` is the wire format alone."""
    siblings = {path.stem for path in SOURCES}
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"line {node.lineno} reaches out of the package"
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            assert set(modules) <= siblings, f"line {node.lineno}"
            continue
        for name in _absolute_imports(node):
            assert name in sys.stdlib_module_names or name == "typing_extensions", name
            assert name not in FORBIDDEN, name


def _absolute_imports(node: ast.AST) -> list[str]:
    """The top-level packages that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return [str(node.module).partition(".")[0]]
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_typing_extensions_is_for_type_checkers_only(source: Path) -> None:
    """The library has no dependencies: what is not of the standard library never runs."""
    tree = ast.parse(source.read_bytes())
    ignored = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) not in ignored:
            assert "typing_extensions" not in _absolute_imports(node)


def test_nothing_imports_the_strategies() -> None:
    """They need hypothesis, which is no dependency."""
    for source in Path(pystreamredis.__file__).parent.rglob("*.py"):
        assert STRATEGIES not in source.read_text("utf-8") or source.stem == STRATEGIES, source


def test_protocol_error_is_an_error_of_values() -> None:
    """What the server sent is bad input; what the caller sees of it is made elsewhere."""
    assert issubclass(protocol.ProtocolError, ValueError)
    assert not issubclass(protocol.ProtocolError, OSError)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


@pytest.mark.parametrize("name", ["encoder", "parser", "xread"])
def test_there_are_examples(name: str) -> None:
    """So that the test above cannot pass for want of any."""
    module = importlib.import_module(f"pystreamredis.protocol.{name}")
    assert doctest.testmod(module).attempted > 0
