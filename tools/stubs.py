"""Write the stubs of `Streams` and `Redis` for type checkers: ``python -m tools.stubs``.

The type of a message follows from a few options (contract 8.1). So each function that makes
`Streams` has an overload for each of their combinations, and every overload has all the other
options, as the signatures in `pystreamredis.construction` have them. Nobody should write that by
hand, several times for each shell.
"""

from __future__ import annotations

import inspect
import re
from itertools import product
from pathlib import Path
from typing import NamedTuple

from pystreamredis import construction
from pystreamredis.options import CONNECTION, OPTIONS, READ

PACKAGE = Path(__file__).parent.parent / "pystreamredis"
# For each stub the library whose tasks await it, if any does.
STUBS = {
    PACKAGE / "streams.pyi": "",
    PACKAGE / "asyncio/streams.pyi": "asyncio",
    PACKAGE / "trio/streams.pyi": "trio",
}
# The same for the hubs.
HUBS = {PACKAGE / "hub.pyi": "", PACKAGE / "asyncio/hub.pyi": "asyncio"}
IGNORED = "  # type: ignore[assignment]"
_TEMPLATE = '''"""Types of this package's `{name}`, made by tools/stubs.py."""

# A dict of data comes before any other type, whatever the rest.
# mypy: disable-error-code="overload-overlap"
from collections.abc import Callable, Iterable, {Iterator}, Mapping
from ssl import SSLContext
from typing import Any, Generic, Literal, Never, overload

from typing_extensions import Self, TypeVar

from {package}exceptions import ConnectionError
from {package}starts import OfOneSource
{imports}

_Message = TypeVar("_Message", covariant=True, default=Any)
_Text = TypeVar("_Text", covariant=True, default=Any)
_BytesData = TypeVar("_BytesData", default=dict[bytes, bytes])
_TextData = TypeVar("_TextData", default=dict[str, str])
_Response = TypeVar("_Response", default=None)
_Id = TypeVar("_Id")
_Data = TypeVar("_Data", default=Any)

class Streams(Generic[_Message]):
{init}{from_url}{from_sources}{connect}    @property
    def positions(self) -> dict[Any, Any]: ...
    @property
    def complete_until(self) -> int | None: ...
    @property
    def caught_up(self) -> bool: ...
    def stats(self) -> dict[str, Any]: ...
    def __{a}iter__(self) -> Self: ...
    {async}def __{a}next__(self) -> _Message: ...
    @overload
    def batches(
        self: Streams[tuple[Any, _Id, _Data]], n: int
    ) -> {Iterator}[list[tuple[Any, _Id, _Data]]]: ...
    @overload
    def batches(
        self: Streams[tuple[Any, _Id, _Data] | None], n: int
    ) -> {Iterator}[list[tuple[Any, _Id, _Data]]]: ...
    @overload
    def batches(
        self: Streams[tuple[Any, _Id, _Data] | ConnectionError], n: int
    ) -> {Iterator}[list[tuple[Any, _Id, _Data]] | ConnectionError]: ...
    @overload
    def batches(
        self: Streams[tuple[Any, _Id, _Data] | ConnectionError | None], n: int
    ) -> {Iterator}[list[tuple[Any, _Id, _Data]] | ConnectionError]: ...
    @overload
    def batches(self, n: int) -> {Iterator}[Any]: ...
    {async}def __{a}enter__(self) -> Self: ...
    {async}def __{a}exit__(self, *_: object) -> None: ...
    {async}def add(
        self, /, streams: StreamsArgument | None = None, **named_streams: Start
    ) -> None: ...
    def discard(self, *names: Followed) -> None: ...
    {async}def {a}close(self) -> None: ...
    def __reduce__(self) -> Never: ...

class Redis(Generic[_Text]):
{redis}{redis_from_url}{redis_streams}
StrictRedis = Redis
'''

_HUB = '''"""Types of this package's `{name}`, made by tools/stubs.py."""

# A dict of data comes before any other type, whatever the rest.
# mypy: disable-error-code="overload-overlap"
from collections.abc import Callable, Iterable, Mapping
from ssl import SSLContext
from typing import Any, Generic, Literal, Never, overload

from typing_extensions import Self, TypeVar

from {package}exceptions import ConnectionError
{imports}
from .streams import Redis, Streams

_Text = TypeVar("_Text", covariant=True, default=Any)
_Response = TypeVar("_Response", default=None)
_Data = TypeVar("_Data", default=Any)
_Of = TypeVar("_Of")

class Hub(Generic[_Text]):
{init}{from_url}    @classmethod
    def from_sources(
        cls,
        sources: Mapping[str, Redis[_Of]],
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
    ) -> Hub[_Of]: ...
{follow}    {async}def __{a}enter__(self) -> Self: ...
    {async}def __{a}exit__(self, *_: object) -> None: ...
    {async}def {a}close(self) -> None: ...
    def __reduce__(self) -> Never: ...
'''


def _show(default: object) -> str:
    return default.__name__ if isinstance(default, type) else repr(default).replace("'", '"')


class Case(NamedTuple):
    """A combination of options, and the type of the messages that results.

    Attributes:
        options: The parameters of these options.
        text: The type of IDs.
        message: The type of what is delivered.
    """

    options: dict[str, str]
    text: str
    message: str


def _fields(text: str, data: str) -> str:
    # pyright takes the type of the data from the default, mypy from the default of the variable.
    return f": Callable[[Iterable[tuple[{text}, {text}]]], {data}] = dict[{text}, {text}],{IGNORED}"


_BYTES = Case(
    {"decode_responses": ": Literal[False] = False", "fields": _fields("bytes", "_BytesData")},
    "bytes",
    "tuple[Any, bytes, _BytesData]",
)
_TEXT = Case(
    {"decode_responses": ": Literal[True]", "fields": _fields("str", "_TextData")},
    "str",
    "tuple[Any, str, _TextData]",
)
# Nobody knows before the program runs.
_UNKNOWN = Case({"decode_responses": ": bool"}, "Any", "Any")
_STOPS = {"stop_on_timeout": ": Literal[False] = False", "timeout_response": ": object = None"}
_GOES_ON = {
    "stop_on_timeout": ": bool",
    "timeout_response": f": _Response = None,{IGNORED}",
}
_RAISES = {"raise_connection_exceptions": ": Literal[True] = True"}
_RETURNS = {"raise_connection_exceptions": ": bool"}
_ENDINGS = [
    (_STOPS | _RAISES, ""),
    (_STOPS | _RETURNS, " | ConnectionError"),
    (_GOES_ON | _RAISES, " | _Response"),
    (_GOES_ON | _RETURNS, " | _Response | ConnectionError"),
]


def _combined(*cases: Case) -> list[Case]:
    return [
        Case(case.options | options, case.text, case.message + other)
        for case, (options, other) in product(cases, _ENDINGS)
    ]


CASES = [*_combined(_BYTES, _TEXT), _UNKNOWN]
# Streams of a handle, whose text is known.
_OF_HANDLES = _combined(
    Case(
        {"fields": ": type[dict[Any, Any]] = dict"},
        "_Text",
        "tuple[Any, _Text, dict[_Text, _Text]]",
    ),
    Case(
        {"fields": ": Callable[[Iterable[tuple[_Text, _Text]]], _Data]"},
        "_Text",
        "tuple[Any, _Text, _Data]",
    ),
)
_HANDLES = [
    Case({"decode_responses": case.options["decode_responses"]}, case.text, "")
    for case in (_BYTES, _TEXT, _UNKNOWN)
]
# Choices, which the functions check themselves.
_NARROWER = {
    "on_rewind": ': Literal["keep", "restart"] = "keep"',
    "protocol": ": Literal[2, 3] = 2",
}
_OPTIONS = {
    parameter.name: f": {parameter.annotation} = {_show(parameter.default)}"
    for parameter in inspect.signature(construction.Streams).parameters.values()
    if parameter.kind is not parameter.VAR_KEYWORD
} | _NARROWER
_SOURCE = inspect.getsource(construction)
_READ, _CONNECTION = list(READ), list(CONNECTION)
_ALL = [name for name in _OPTIONS if name in OPTIONS]


def overloads(definition: str, parameters: list[str], result: str, cases: list[Case]) -> str:
    """Return overloads of a function, one for each case.

    Args:
        definition: The decorators, if there are any, and the begin of the definition.
        parameters: Names of options, and whole parameters, with ``{text}`` and ``{message}``.
        result: The type that is returned, likewise.
        cases: The cases.
    """
    made = ""
    for case in cases:
        made += f"    @overload\n    {definition}(\n"
        for name in parameters:
            text = f"{name}{_OPTIONS[name]}" if name in _OPTIONS else name
            if name in case.options:
                text = f"{name}{case.options[name]}"
            text = text.format(text=case.text, message=case.message)
            made += f"        {text}\n" if text.endswith(IGNORED) else f"        {text},\n"
        made += f"    ) -> {result.format(text=case.text, message=case.message)}: ...\n"
    return made


def make_stub(library: str) -> str:
    """Return the stub of the module of one shell: that of a library of tasks, or for threads."""
    is_async = bool(library)
    name = f"{library}.streams" if is_async else "streams"
    streams, named = ["streams", "*"], ["**named_streams: Start"]
    options = ["/", "host", "port", *streams, *_ALL[2:], *named]
    of_class = "@classmethod\n    def "
    package = ".." if is_async else "."
    # Imports that only checkers need.
    lines = re.findall(r"^    from \.(\w+ import .*)$", _SOURCE, re.MULTILINE)
    fill = {
        "imports": "\n".join(f"from {package}{line}" for line in lines),
        "name": name,
        "Iterator": "AsyncIterator" if is_async else "Iterator",
        "package": package,
        "async": "async " if is_async else "",
        "a": "a" if is_async else "",
        "init": overloads("def __init__", ["self: Streams[{message}]", *options], "None", CASES),
        "from_url": overloads(
            f"{of_class}from_url",
            ["cls", "url: str", "/", *streams, *_ALL, *named],
            "Streams[{message}]",
            CASES,
        ),
        "from_sources": overloads(
            f"{of_class}from_sources",
            [
                *("cls", "sources: Mapping[str, Redis[{text}]]", "/", *streams, *_READ),
                "**named_streams: Start | OfOneSource",
            ],
            "Streams[{message}]",
            _OF_HANDLES,
        ),
        "connect": "",
        "redis": overloads(
            "def __init__",
            ["self: Redis[{text}]", "/", "host", "port", "*", *_CONNECTION[2:]],
            "None",
            _HANDLES,
        ),
        "redis_from_url": overloads(
            f"{of_class}from_url",
            ["cls", "url: str", "/", "*", *_CONNECTION],
            "Redis[{text}]",
            _HANDLES,
        ),
        "redis_streams": overloads(
            "def streams",
            ["self", "/", *streams, *_READ, *named],
            "Streams[{message}]",
            _OF_HANDLES,
        ),
    }
    if is_async:
        connect = "@classmethod\n    async def connect"
        fill["connect"] = overloads(connect, ["cls", *options], "Streams[{message}]", CASES)
    return _TEMPLATE.format(**fill)


def make_hub_stub(library: str) -> str:
    """Return the stub of a shell's hub."""
    is_async = bool(library)
    package = ".." if is_async else "."
    lines = re.findall(r"^    from \.(\w+ import .*)$", _SOURCE, re.MULTILINE)
    shared = ["connections", "max_bytes"]
    reading = [name for name in _READ if name not in shared]
    return _HUB.format(
        name=f"{library}.hub" if is_async else "hub",
        package=package,
        imports="\n".join(f"from {package}{line}" for line in lines),
        init=overloads(
            "def __init__",
            ["self: Hub[{text}]", "/", "host", "port", "*", *shared, *_CONNECTION[2:]],
            "None",
            _HANDLES,
        ),
        from_url=overloads(
            "@classmethod\n    def from_url",
            ["cls", "url: str", "/", "*", *shared, *_CONNECTION],
            "Hub[{text}]",
            _HANDLES,
        ),
        follow=overloads(
            "def follow",
            ["self", "/", "streams", "*", *reading, "**named_streams: Start"],
            "Streams[{message}]",
            [Case({**case.options, "hold": ": int = 0"}, *case[1:]) for case in _OF_HANDLES],
        ),
        a="a" if is_async else "",
        **{"async": "async " if is_async else ""},
    )


def main() -> None:
    """Write all."""
    for path, library in HUBS.items():
        path.write_text(make_hub_stub(library), "utf-8")
    for path, library in STUBS.items():
        path.write_text(make_stub(library), "utf-8")


if __name__ == "__main__":
    main()
