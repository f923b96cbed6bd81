"""Run the vectors of ``conformance.json`` over parsers of RESP: ``python -m fuzz.conformance``.

It prints for each parser that is installed (this one, hiredis, redis-py's, coredis') the vectors
that it reads in another way. The vectors are for everybody; what they are is described in the
file itself.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pystreamredis.protocol import (
    NEED_DATA,
    Map,
    Parser,
    ProtocolError,
    Push,
    ServerError,
    Set,
    Typed,
    VerbatimString,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).with_name("conformance.json")
MISSING, REFUSED = "asks for more bytes", "raises"


def load() -> list[dict[str, Any]]:
    """Read the vectors; their bytes as `bytes`."""
    vectors: list[dict[str, Any]] = json.loads(FILE.read_text("ascii"))["vectors"]
    for vector in vectors:
        vector["bytes"] = vector["bytes"].encode("latin-1")
    return vectors


def describe(value: Typed) -> dict[str, Any]:
    """Write a value as the file has it."""
    kind, inner = value.kind.decode(), value.value
    described: dict[str, Any] = {"type": kind, "value": _describe_inner(kind, inner)}
    if isinstance(inner, VerbatimString):
        described["format"] = inner.format
    if value.attributes is not None:
        described["attributes"] = _describe_inner("%", value.attributes)
    return described


def _describe_inner(kind: str, inner: Any) -> Any:
    if isinstance(inner, Map):
        return [[describe(key), describe(item)] for key, item in inner]
    if kind == "$?":
        return [part.decode("latin-1") for part in inner]
    if isinstance(inner, list):
        return [describe(item) for item in inner]
    if isinstance(inner, bytes):
        return inner.decode("latin-1")
    if isinstance(inner, ServerError):
        return inner.text.encode("utf-8", "surrogateescape").decode("latin-1")
    return str(inner) if kind in ("(", ",") else inner


def _plain(described: dict[str, Any], *, is_strict: bool) -> Any:
    """Make of a described value what parsers without types have in common.

    Unless it is strict, sets are arrays and big numbers are text.
    """
    kind, inner = described["type"], described["value"]
    if inner is None or kind == "#":
        return inner
    if kind == "$?":
        return "".join(inner).encode("latin-1")
    if kind in ("-", "!"):
        return {"error": True}
    if kind[0] in "*>%~":
        nested = inner if kind[0] == "%" else [inner]
        plain = [[_plain(item, is_strict=is_strict) for item in items] for items in nested]
        if kind[0] == "%":
            return {"pairs": sorted((repr(key), repr(item)) for key, item in plain)}
        is_set = kind[0] == "~" and is_strict
        return {"members": sorted(map(repr, plain[0]))} if is_set else plain[0]
    if kind in ("(", ","):
        inner = float(inner) if kind == "," else int(inner) if is_strict else inner
    return _scalar(inner)


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        return {"double": "nan" if math.isnan(value) else value}
    return value.encode("latin-1") if isinstance(value, str) else value


def _reduce(value: Any) -> Any:
    """Make the same of what a parser returns."""
    if isinstance(value, (ServerError, BaseException)):
        return {"error": True}
    if isinstance(value, (dict, Map)):
        pairs: Any = value.items() if isinstance(value, dict) else value
        return {"pairs": sorted((repr(_reduce(k)), repr(_reduce(v))) for k, v in pairs)}
    if isinstance(value, (set, frozenset, Set)):
        return {"members": sorted(repr(_reduce(item)) for item in value)}
    if isinstance(value, (list, tuple, Push)):
        return [_reduce(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return bytes(value) if isinstance(value, bytes) else _scalar(value)


# One function for each parser: bytes in, its first value out, or MISSING, or REFUSED.


def by_pystreamredis(data: bytes, _: int) -> Any:
    """Read with the parser of this package."""
    parser = Parser()
    parser.feed(data)
    try:
        value = parser.next_value()
    except ProtocolError:
        return REFUSED
    return MISSING if value is NEED_DATA else _reduce(value)


def by_hiredis(data: bytes, _: int) -> Any:
    """Read with hiredis-py."""
    hiredis: Any = import_module("hiredis")
    reader = hiredis.Reader(notEnoughData=NEED_DATA)
    reader.feed(data)
    try:
        value = reader.gets()
    except hiredis.ProtocolError:
        return REFUSED
    return MISSING if value is NEED_DATA else _reduce(value)


class _Socket:
    """Stands for the socket and the connection of redis-py's parsers."""

    socket_timeout = None

    def __init__(self, data: bytes, encoder: Any) -> None:
        self._sock = self
        self._data = data
        self.encoder = encoder

    def recv(self, _: int) -> bytes:
        data, self._data = self._data, b""
        if not data:
            raise BlockingIOError(errno.EWOULDBLOCK, "no more")
        return data

    def settimeout(self, _: object) -> None:
        pass


def by_redis_py(data: bytes, resp: int) -> Any:
    """Read with the parsers in Python of redis-py."""
    parsers: Any = import_module("redis._parsers")
    errors: Any = import_module("redis.exceptions")
    parser = (parsers._RESP2Parser if resp == 2 else parsers._RESP3Parser)(65536)
    parser.on_connect(_Socket(data, parsers.Encoder("utf-8", "strict", False)))
    options = {} if resp == 2 else {"push_request": True}
    try:
        value = parser.read_response(disable_decoding=True, **options)
    except errors.InvalidResponse:
        return REFUSED
    except (errors.ConnectionError, BlockingIOError) as error:
        return MISSING if "more" in str(error) else {"error": True}
    except errors.ResponseError:
        return {"error": True}
    return _reduce(value)


def by_coredis(data: bytes, _: int) -> Any:
    """Read with coredis."""
    module: Any = import_module("coredis.parser")
    parser = module.Parser()
    parser.feed(data)
    try:
        value = parser.parse()
    except (module.InvalidResponse, module.ProtocolError):
        return REFUSED
    return MISSING if isinstance(value, module.NotEnoughData) else _reduce(value[1])


PARSERS: dict[str, Callable[[bytes, int], Any]] = {
    "pystreamredis": by_pystreamredis,
    "hiredis": by_hiredis,
    "redis": by_redis_py,
    "coredis": by_coredis,
}


def difference(read: Callable[[bytes, int], Any], vector: dict[str, Any]) -> str | None:
    """Say what a parser makes of a vector if that is not what is expected."""
    expected = accepted = REFUSED
    if "value" in vector:
        expected, accepted = (_plain(vector["value"], is_strict=it) for it in (True, False))
    try:
        found = read(vector["bytes"], vector["resp"])
    except Exception as error:  # noqa: BLE001  # a fault of a parser is what is looked for
        found = REFUSED if "error" in vector else f"raises {type(error).__name__}"
    return None if found in (expected, accepted) else f"{found!r:.80}, expected {expected!r:.80}"


def main() -> int:
    """Read the command line."""
    arguments = argparse.ArgumentParser(prog="python -m fuzz.conformance", description=__doc__)
    arguments.add_argument("parser", nargs="*", choices=[*PARSERS, []], default=[])
    vectors = load()
    status = 0
    for name in arguments.parse_args().parser or PARSERS:
        try:
            number = version(name)
        except PackageNotFoundError:
            sys.stdout.write(f"{name}: not installed\n")
            continue
        found = [(vector, difference(PARSERS[name], vector)) for vector in vectors]
        differing = [(vector, text) for vector, text in found if text is not None]
        sys.stdout.write(f"{name} {number}: {len(differing)} of {len(vectors)} differ\n")
        for vector, text in differing:
            sys.stdout.write(f"    {vector['name']}: {vector['bytes'][:60]!r}: {text}\n")
        status = status or (name == "pystreamredis" and bool(differing))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
