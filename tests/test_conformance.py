"""`fuzz/conformance.json`: what it says of bytes is what the parser does, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from fuzz import conformance
from pystreamredis.protocol import NEED_DATA, Parser, ProtocolError

VECTORS = conformance.load()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_parser_conforms(vector: dict[str, Any]) -> None:
    """Value, types and attributes; or an error at the same byte."""
    data = vector["bytes"]
    for size in (1, 3, len(data)):
        found = _read([data[at : at + size] for at in range(0, len(data), size)])
        assert found == ((vector["value"], len(data)) if "value" in vector else vector["offset"])


def _read(pieces: list[bytes]) -> Any:
    """Read a value: it, described, and where it ends; or the offset of an error."""
    parser = Parser(types=True)
    value: Any = NEED_DATA
    try:
        for piece in pieces:
            parser.feed(piece)
            value = parser.next_value()
    except ProtocolError as error:
        return error.offset
    return conformance.describe(value), parser.consumed


def test_the_vectors_are_distinct() -> None:
    assert len(VECTORS) > 200
    for key in ("name", "bytes"):
        assert len({vector[key] for vector in VECTORS}) == len(VECTORS)
    assert {vector["resp"] for vector in VECTORS} == {2, 3}


@pytest.mark.parametrize("name", conformance.PARSERS)
def test_a_parser_that_is_installed_reads_most_of_resp2(name: str) -> None:
    """That the script drives it as it is to be driven."""
    if name != "pystreamredis":
        pytest.importorskip(name)
    plain = [v for v in VECTORS if v["resp"] == 2 and "value" in v]
    differing = [v for v in plain if conformance.difference(conformance.PARSERS[name], v)]
    assert len(differing) <= (0 if name == "pystreamredis" else len(plain) // 4), differing
