"""A byte that is changed on its way: RESP has no checksums, TLS has.

A byte of structure is noticed. One of a name, an ID, a field or a value gives another reply
that is as good, which nobody can tell from the true one, and so the documentation says.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, RedisError, Streams
from tests.certificates import Authority
from tests.feeding import FedReader
from tests.proxy import Proxy
from tests.resp import encode
from tests.scripted import next_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Endpoint

REPLY = [
    ["s", [["11-5", ["ff", "vvv"]], ["12-5", ["ff", "www"]]]],
    ["t", [["13-0", ["gg", "xx"]]]],
]


def texts(value: Any) -> Iterator[str]:
    """List the strings in a reply, in their order."""
    if isinstance(value, str):
        yield value
    else:
        for item in value:
            yield from texts(item)


def content() -> set[int]:
    """Find the places of bytes that are no structure."""
    data, places, at = encode(REPLY), set(), 0
    for text in texts(REPLY):
        at = data.index(b"\r\n%b\r\n" % text.encode(), at) + 2
        places |= set(range(at, at + len(text)))
        at += len(text)
    return places


def read(data: bytes) -> tuple[list[Any], RedisError | None]:
    """Deliver what is in a reply; return it, and the failure that comes with or after it."""
    fed = FedReader({"s": 0, "t": 0}, count=10, block=None)
    fed.ask(0.0)
    fed.feed(data, 0.0)
    found: list[Any] = []
    try:
        found.extend(fed.take(0.0))
    except RedisError as failure:
        return found, failure
    return found, None


@pytest.mark.parametrize("place", range(len(encode(REPLY))))
def test_a_byte_of_structure_is_noticed(place: int) -> None:
    """At once, or by what is left over; or else the reply is not whole, and times out."""
    data = encode(REPLY)
    good, failure = read(data)
    assert failure is None
    bits = {data[place] ^ 1 << bit for bit in range(8)}
    for byte in bits | set(b"*$+-:_,#%~>|0129\r\n \0\xff") - {data[place]}:
        found, failure = read(data[:place] + bytes([byte]) + data[place + 1 :])
        if place not in content():
            assert failure is not None or found in (good, [])
        for name in "st":
            ids = [
                tuple(map(int, message[1].split(b"-"))) for message in found if message[0] == name
            ]
            assert ids == sorted(set(ids))


def test_a_byte_of_a_value_cannot_be_noticed() -> None:
    """The limit of it: whoever wants this noticed, takes TLS."""
    data = encode(REPLY)
    place = data.index(b"vvv")
    found, failure = read(data[:place] + b"V" + data[place + 1 :])
    assert failure is None
    assert found[0] == ("s", b"11-5", {b"ff": b"Vvv"})


def test_under_tls_any_byte_is_noticed(embedded: Endpoint, tmp_path: Path) -> None:
    """In either direction; all that was written is delivered, each message once."""
    random = Random("bytes")
    authority = Authority(tmp_path)
    context = authority.sign("server", "IP:127.0.0.1").server_context()
    expected = [("s", b"%d-0" % i, {b"n": b"x" * (i % 50)}) for i in range(1, 60)]
    for name, entry_id, data in expected:
        embedded.command("XADD", name, entry_id, "n", data[b"n"])
    noticed = 0
    with (
        Proxy(embedded.host, embedded.port, ssl_context=context) as inner,
        Proxy(inner.host, inner.port) as outer,
    ):
        options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": authority.certfile}
        for _ in range(25):
            outer.corrupt(random.randrange(6000), random.choice(["up", "down"]), b"", once=True)
            found: list[Any] = []
            with Streams(
                "127.0.0.1",
                outer.port,
                {"s": 0},
                **options,
                count=5,
                block=50,
                socket_timeout=1.5,
                raise_connection_exceptions=False,
            ) as streams:
                while len(found) < len(expected):
                    item = next_item(streams)
                    if isinstance(item, ConnectionError):
                        noticed += 1
                    else:
                        found.append(item)
            assert found == expected
            outer.heal()
    assert noticed >= 5
