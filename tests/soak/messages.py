"""What the campaign writes, how a reader knows it again, and what a server holds of it."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

from tests.resp import Client, encode_command

if TYPE_CHECKING:
    from tests.servers import Server

# The proxy spoils the head of an entry's fields, so no payload imitates just that:
# whatever it hits is structure, and has to be noticed.
HEAD = b"*4\r\n$1\r\nn\r\n"
# Some are short, some long, some no text; some look like the end of an entry and more.
PAYLOADS = [
    b"",
    b"x" * 7,
    b"\xff\xfe no text \x80",
    b"\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n",
    b"v" * 40,
    b"\r\n",
    b"w" * 41,
    b"-ERR no error\r\n",
    b"long " * 100,
    b"\r\n$5\r\nbase0\r\n*100\r\n*2\r\n$20\r\n",
    "žluťoučký".encode(),
    b"y" * 7,
    b"$-1\r\n*-1\r\n_\r\n",
]

# The stream that is deleted, turned into something else and forbidden now and then.
FRAGILE = "fragile"

_PAGE = 5000
_entries = re.compile(rb"\*2\r\n\$\d+\r\n(\d+-\d+)\r\n" + re.escape(HEAD) + rb"\$\d+\r\n(\d+)\r\n")


def payload(number: int) -> bytes:
    """What goes with a number."""
    return PAYLOADS[number % len(PAYLOADS)]


def add(stream: str, number: int) -> tuple[Any, ...]:
    """Make the command that writes a message."""
    return "XADD", stream, "*", "n", number, "p", payload(number)


def number_of(entry_id: str) -> int:
    """An ID as one number: the naive way, apart from the library."""
    ms, sequence = entry_id.split("-")
    return int(ms) * 2**64 + int(sequence)


def ids_on(server: Server, stream: str) -> dict[int, str]:
    """What XRANGE finds: the number and the ID of each message, in their order.

    Raises:
        AssertionError: The numbers do not follow on each other from 0, or wherever
            `FRAGILE` has begun for the last time: the writer is to blame.
    """
    ids: dict[int, str] = {}
    start, expected = "-", 0
    while page := _page(server, stream, start):
        if stream == FRAGILE and not ids:
            expected = int(page[0][1])
        for entry_id, number in page:
            assert int(number) == expected, f"{stream}: {number!r} at {entry_id!r}, not {expected}"
            ids[expected] = entry_id.decode()
            expected += 1
        start = f"({ids[expected - 1]}"
    return ids


def _page(server: Server, stream: str, start: str) -> list[tuple[bytes, bytes]]:
    """Read some entries; a client that makes values of all of them would take minutes."""
    with Client(server.unix_socket, timeout=60) as client:
        client.sock.sendall(
            encode_command("XRANGE", stream, start, "+", "COUNT", _PAGE)
            + encode_command("PING", "that is all")
        )
        return _entries.findall(_receive_until(client.sock, b"$11\r\nthat is all\r\n"))


def _receive_until(sock: socket.socket, end: bytes) -> bytes:
    data = bytearray()
    while not data.endswith(end):
        received = sock.recv(1 << 20)
        if not received:
            raise ConnectionError("the server closed the connection")
        data += received
    return bytes(data)


def last_on(client: Client, stream: str) -> tuple[int, str]:
    """The number and the ID of a stream's last message; -1 and 0-0 if there is none."""
    found = client.command("XREVRANGE", stream, "+", "-", "COUNT", 1)
    if not found:
        return -1, "0-0"
    entry_id, (_, number, *_) = found[0]
    return int(number), entry_id.decode()
