"""Bytes that TLS has decrypted already do not wait for more to come (contract 5.5, 6.3).

No wait for the socket tells of them: they have left it. So records of many sizes are sent in
one go, and then nothing until the reader, which waits for no message then, asks again.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest

from pystreamredis import Streams
from tests.certificates import Authority
from tests.resp import encode
from tests.servers import LONG
from tests.shells import SHELLS

RECORD = 16_384  # what one holds at most
SIZES = {
    "full": [RECORD],
    "full and small": [RECORD, RECORD, RECORD, 100],
    "small and full": [100, RECORD],
    "a byte less": [RECORD - 1],
    "of all sizes": [1, 5, 1000, RECORD, 7, 12_000, RECORD, 3],
    "half": [RECORD // 2, RECORD],
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    return authority.sign("server", "IP:127.0.0.1").server_context(), authority.certfile


def records(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut into pieces of these sizes, again and again."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


def encrypted(context: ssl.SSLContext, sock: socket.socket, replies: list[list[bytes]]) -> None:
    """Shake hands, and answer each request by the records of a reply, sent all at once."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)

    def receive() -> None:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("the client has gone")
        incoming.write(data)

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            receive()
    sock.sendall(outgoing.read())
    for reply in replies:
        while True:
            try:
                tls.read(65536)
                break
            except ssl.SSLWantReadError:
                receive()
        for piece in reply:
            tls.write(piece)
        sock.sendall(outgoing.read())
    while True:  # until the client closes
        receive()


@pytest.mark.parametrize("facade", SHELLS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_what_was_decrypted_is_taken_in_at_once(
    context: tuple[ssl.SSLContext, str], sizes: list[int], facade: str
) -> None:
    """Contract 5.5: else it would come with the next bytes, or be taken for silence."""
    messages = [[f"{i}-0", ["f", b"v" * 3001]] for i in range(1, 201)]
    replies = [records(encode([["s", messages[i : i + 100]]]), sizes) for i in (0, 100)]
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(LONG)

    def serve() -> None:
        with listener, suppress(OSError):
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(LONG)
                encrypted(context[0], sock, replies)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    make = SHELLS[facade].get("Streams", Streams)
    port = listener.getsockname()[1]
    options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": context[1], "socket_timeout": 5}
    with make("127.0.0.1", port, **options, s=0, block=0) as streams:
        found = [next(streams)[1] for _ in messages]
    assert found == [f"{i}-0".encode() for i in range(1, 201)]
    thread.join(LONG)
