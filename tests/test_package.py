"""The package as a whole: its names, which module may know which, and what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import pystreamredis
from pystreamredis import exceptions
from tests.servers import Endpoint

HOUSE = Path(pystreamredis.__file__).parent

# Each module may import those above it, and no other one. What is not listed stands
# below all of these: a shell over the core.
LAYERS = [
    "protocol.errors",
    "protocol.values",
    "protocol.buffer",
    "protocol.encoder",
    "protocol.parser",
    "protocol.ids",
    "protocol.messages",
    "protocol.patterns",
    "protocol.entries",
    "protocol.predict",
    "protocol.xread",
    "protocol",
    "exceptions",
    "escaping",
    "secret",
    "tls",
    "options",
    "redis_py",
    "starts",
    "url",
    "core.events",
    "core.delivery",
    "core.stream",
    "core.failures",
    "core.merge",
    "core.hold",
    "core.slots",
    "core.readahead",
    "core.assignment",
    "core.exchanges",
    "core.session",
    "core.cluster",
    "core.topology",
    "core.reader",
    "io.log",
    "testing",
    "io.connection",
    "io.engine",
    "io.thread_poll",
    "io.blocking",
    "io.tasks",
    "io.event_loop",
    "io.nursery",
    "construction",
    "streams",
    "awaited",
    "asyncio.streams",
    "trio.streams",
    "command.clock",
    "command.times",
    "command.formats",
    "command.template",
    "command.arguments",
    "command.progress",
    "command.files",
    "command.locking",
    "command.state",
    "command.signals",
    "command.output",
    "command.monitoring",
    "command.diagnostics",
    "command.connecting",
    "command.run",
    "command.main",
]
# No sockets, no clocks, no threads: bytes in, values out.
PURE = [
    # Options look into files, and ask what the system has, as soon as they are given.
    *(name for name in LAYERS[: LAYERS.index("core.reader") + 1] if name not in {"options", "tls"}),
    "command.times",
    "command.formats",
    "command.template",
    "command.arguments",
    "command.progress",
]
IMPURE = {
    "asyncio",
    "datetime.now",
    "io",
    "logging",
    "os",
    "queue",
    "random",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}
# What nobody should pay for who does not use it.
HEAVY = {
    "argparse",
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "datetime",
    "difflib",
    "inspect",
    "json",
    "logging",
    "selectors",
    "socket",
    "ssl",
    "threading",
    "typing",
    "typing_extensions",
    "urllib",
    "urllib.parse",
}
# What it takes to connect.
SHELL = {"selectors", "socket", "threading"}
NAMES = {
    "AuthenticationError",
    "ConnectionError",
    "Hub",
    "Last",
    "MessageError",
    "ProtocolError",
    "Redis",
    "RedisError",
    "ResponseError",
    "Streams",
    "StrictRedis",
    "TimeoutError",
}


def modules() -> dict[str, Path]:
    """List all modules of the package, by their names within it."""
    found = {}
    for path in sorted([*HOUSE.glob("**/*.py"), *(HOUSE / "protocol").glob("*.py")]):
        parts = path.relative_to(HOUSE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = path
    return found


def imports_of(name: str, path: Path, *, runs: bool = False) -> set[str]:
    """List what a module imports: within the package as "ids", else as "socket".

    Args:
        name: The module.
        path: Its file.
        runs: True to leave out what only type checkers import.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    if runs:
        tree.body = [node for node in tree.body if not _is_for_type_checkers(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(_targets(node, package))
    return found - {name}


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _targets(node: ast.ImportFrom, package: str) -> list[str]:
    if not node.level:
        assert node.module is not None
        return [node.module]
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1]
    if node.module is not None:
        return [".".join([*base, node.module])]
    return [".".join([*base, alias.name]) for alias in node.names]


MODULES = modules()


def test_every_module_of_the_layers_is_there() -> None:
    """So that the order below is about what there is."""
    assert [name for name in LAYERS if name not in MODULES] == []


@pytest.mark.parametrize("name", LAYERS)
def test_imports_point_one_way_only(name: str) -> None:
    """Pure core, thin shells: what is said about a module depends on those above it."""
    above = LAYERS[: LAYERS.index(name)]
    if name == "protocol":
        above = [other for other in above if other.startswith("protocol.")]
    own = {other for other in imports_of(name, MODULES[name]) if other in MODULES}
    if name.startswith("core."):
        # A session and the assignment that it reads are types of each other's attributes.
        typed = own - imports_of(name, MODULES[name], runs=True)
        own -= {other for other in typed if other.startswith("core.")}
    # Nothing imports the packages that have these libraries' names.
    assert own - set(above) - {"asyncio", "trio"} == set()


@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("protocol")])
def test_the_wire_format_knows_nothing_of_iteration(name: str) -> None:
    """Contract 1: `pystreamredis.protocol` is the wire format alone."""
    own = {other for other in imports_of(name, MODULES[name]) if other in MODULES}
    assert {other for other in own if not other.startswith("protocol")} == set()


@pytest.mark.parametrize("name", PURE)
def test_the_core_has_no_sockets_and_no_clocks(name: str) -> None:
    """Contract 1: no sockets, no clocks; and so for all that is above the shells."""
    # The pauses before new tries to connect have a random part.
    known = {"random"} if name == "core.assignment" else set()
    assert imports_of(name, MODULES[name]) & IMPURE == known


@pytest.mark.parametrize("name", MODULES)
def test_every_module_opens_with_its_job(name: str) -> None:
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text("utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":", "?"))


def test_the_public_names_are_those_of_the_contract() -> None:
    """Contract 1, 9.1: `Streams`, `Redis`, `Hub`, and the error classes."""
    assert set(pystreamredis.__all__) == NAMES
    assert sorted(pystreamredis.__all__) == pystreamredis.__all__


def test_no_other_name_is_public() -> None:
    """A name that can be imported is one that someone relies on."""
    public = {
        name
        for name in dir(pystreamredis)
        if not name.startswith("_")
        and not isinstance(getattr(pystreamredis, name), types.ModuleType)
    }
    assert public - {"TYPE_CHECKING"} == NAMES
    with pytest.raises(AttributeError, match="module 'pystreamredis' has no attribute 'Nothing'"):
        pystreamredis.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_strict_redis_is_the_same_class() -> None:
    """Contract 1: for the seed's name."""
    assert pystreamredis.StrictRedis is pystreamredis.Redis


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.endswith("Error")))
def test_errors_are_the_very_ones_of_their_module(name: str) -> None:
    """Contract 1: `pystreamredis.exceptions`, also exported from `pystreamredis`."""
    assert getattr(pystreamredis, name) is getattr(exceptions, name)


@pytest.mark.parametrize("name", pystreamredis.protocol.__all__)
def test_the_wire_format_exports_what_it_names(name: str) -> None:
    """Contract 1: encoder, RESP2/RESP3 parser, XREAD replies."""
    assert hasattr(pystreamredis.protocol, name)


def test_there_is_a_version_and_a_mark_that_types_are_there() -> None:
    assert pystreamredis.__version__
    assert (HOUSE / "py.typed").exists()


def run(code: str) -> list[str]:
    """Run some lines in a Python of their own that has nothing but the package."""
    start = f"import sys; sys.path.insert(0, {str(HOUSE.parent)!r}); "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-W", "error", "-c", start + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def test_an_import_is_cheap() -> None:
    """Nothing that is slow to import comes with the package; what needs it imports it."""
    loaded = run("from pystreamredis import Streams; print(*sys.modules)")
    assert "pystreamredis.streams" in loaded
    assert HEAVY & set(loaded) == set()
    assert [name for name in loaded if name.startswith("pystreamredis.command")] == []


@pytest.mark.parametrize(
    ("module", "also"),
    [("pystreamredis", []), ("pystreamredis.command.main", [".command", ".command.main"])],
)
def test_what_is_not_asked_for_yet_is_not_imported(module: str, also: list[str]) -> None:
    """The command takes note of Ctrl-C first, and whoever wants the parser gets no sockets."""
    loaded = run(f"import {module}; print(*sys.modules)")
    own = {name for name in loaded if name.startswith("pystreamredis")}
    assert own == {f"pystreamredis{name}" for name in ["", ".exceptions", *also]}
    assert {"enum", "signal", *HEAVY} & set(loaded) == set()


@pytest.mark.parametrize("name", [*sorted(NAMES), "exceptions", "protocol"])
def test_every_name_is_there_whichever_is_asked_for_first(name: str) -> None:
    """Contract 1: as an attribute of the package, too."""
    code = f"import pystreamredis; print(pystreamredis.{name} is None, *dir(pystreamredis))"
    printed = run(code)
    assert printed[0] == "False"
    assert NAMES - set(printed) == set()


def test_help_tells_of_all_names() -> None:
    """Also of those that were not asked for yet."""
    printed = run("import pydoc; print(pydoc.plain(pydoc.render_doc('pystreamredis')))")
    classes = re.findall(r"class (\w+)|(\w+) = ", " ".join(printed))
    assert NAMES - {name for names in classes for name in names} == set()


@pytest.mark.parametrize(
    ("use", "brings"),
    [
        ("Streams('{host}', {port}, s=0, block=None)", SHELL),
        ("Redis('{host}', {port}).streams(s='1-0', t=None, block=None)", SHELL),
        (
            "Streams.from_url('redis://{host}:{port}', s=0, block=None)",
            SHELL | {"urllib", "urllib.parse"},
        ),
        ("[Redis('{host}', {port}, ssl=True)]", {"ssl"}),
    ],
)
def test_what_is_slow_to_import_comes_with_its_use(
    use: str, brings: set[str], one_server: Endpoint
) -> None:
    """Also when messages were read: nothing of the way that they take needs more."""
    one_server.command("XADD", "s", "5-0", "f", "v")
    use = use.format(host=one_server.host, port=one_server.port)
    first = f"from pystreamredis import Redis, Streams; print(len([*{use}])); "
    printed = run(f"{first}print(*sys.modules)")
    assert printed[0] == "1"
    assert HEAVY & set(printed) - brings_along(brings) == brings


def brings_along(names: set[str]) -> set[str]:
    """What comes with them that nobody here has asked for."""
    code = "import sys; " + "".join(f"import {name}; " for name in names) + "print(*sys.modules)"
    return HEAVY & set(run(code)) - names


def test_the_wire_format_needs_nothing_but_itself() -> None:
    """Contract 1: no sockets, no clocks, also in what it has imported."""
    code = "import pystreamredis.protocol.xread as xread; print(*xread.__dict__)"
    assert "XreadParser" in run(code)


def test_the_folder_is_no_module_of_its_own() -> None:
    """A user's own `protocol.py` would be shadowed."""
    loaded = run("import pystreamredis.protocol; print(*sys.modules)")
    assert "protocol" not in loaded
    assert "pystreamredis.protocol" in loaded
