"""`tools.stubs`: types for checkers, which have to say what the program does.

What follows from them is checked in `tests/typing` by `make lint`.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

import pystreamredis
import pystreamredis.asyncio
import pystreamredis.trio
from pystreamredis.options import CONNECTION, OPTIONS
from tools import stubs

MODULES = {
    "streams.pyi": pystreamredis,
    "asyncio/streams.pyi": pystreamredis.asyncio,
    "trio/streams.pyi": pystreamredis.trio,
}


@pytest.mark.parametrize("path", stubs.STUBS, ids=str)
def test_stubs_are_as_their_tool_makes_them(path: Any) -> None:
    """Else run ``python -m tools.stubs``."""
    assert path.read_text("utf-8") == stubs.make_stub(stubs.STUBS[path])


@pytest.mark.parametrize("path", stubs.HUBS, ids=str)
def test_stubs_of_hubs_are_as_their_tool_makes_them(path: Any) -> None:
    assert path.read_text("utf-8") == stubs.make_hub_stub(stubs.HUBS[path])


@pytest.mark.parametrize("name", ["hub.pyi", "asyncio/hub.pyi"])
def test_the_stub_of_a_hub_has_its_methods_and_their_parameters(name: str) -> None:
    tree = ast.parse((stubs.PACKAGE / name).read_text("utf-8"))
    (stub,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    functions = [n for n in stub.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    program = pystreamredis.asyncio.Hub if "asyncio" in name else pystreamredis.Hub
    public = {name for name in dir(program) if not name.startswith("_")}
    assert public == {node.name for node in functions if not node.name.startswith("_")}
    parameters = inspect.signature(program.follow).parameters.values()
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    for node in functions:
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        assert node.name != "follow" or [argument.arg for argument in given] == names


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("kind", ["Streams", "Redis"])
def test_overloads_have_the_parameters_of_the_program(name: str, kind: str) -> None:
    tree = ast.parse((stubs.PACKAGE / name).read_text("utf-8"))
    (stub,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind)
    program = getattr(MODULES[name], kind)
    found = 0
    for node in stub.body:
        if isinstance(node, ast.FunctionDef) and node.name in {"__init__", "streams"}:
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = inspect.signature(getattr(program, node.name)).parameters.values()
            names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
            assert [argument.arg for argument in given] == names
            found += 1
    assert found == (9 if kind == "Streams" else 3 + 8)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("kind", ["Streams", "Redis"])
def test_methods_of_the_program_are_in_the_stub(name: str, kind: str) -> None:
    tree = ast.parse((stubs.PACKAGE / name).read_text("utf-8"))
    (stub,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    methods = {node.name for node in stub.body if isinstance(node, functions)}
    public = {name for name in dir(getattr(MODULES[name], kind)) if not name.startswith("_")}
    assert public == {name for name in methods if not name.startswith("_")}


def test_connection_options_of_a_handle_are_all_of_them() -> None:
    text = (stubs.PACKAGE / "streams.pyi").read_text("utf-8")
    handle = text.partition("class Redis")[2].partition("-> None")[0]
    assert {name for name in OPTIONS if f"        {name}:" in handle} == CONNECTION.keys()


@pytest.mark.parametrize("module", MODULES.values())
def test_annotations_may_be_evaluated(module: Any) -> None:
    """Contract 8.1: a program that runs may say ``Streams[...]``."""
    for kind in (module.Streams, module.Redis):
        assert kind[bytes].__origin__ is kind
    assert repr(module.Redis[str]("host")) == "<Redis at host:6379, db 0>"
