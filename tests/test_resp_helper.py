"""`tests.resp`: what the tests speak, compared with bytes written out by hand."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

import pytest

from tests.peer import CLOSE, Expect, Peer, closed_port
from tests.resp import (
    NULL,
    Attribute,
    Client,
    CommandError,
    CommandParser,
    Error,
    Push,
    Simple,
    encode,
    encode_command,
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (b"\r\n\xff", b"$3\r\n\r\n\xff\r\n"),
        ("\xe9", b"$2\r\n\xc3\xa9\r\n"),
        (-7, b":-7\r\n"),
        (True, b"#t\r\n"),
        (1.5, b",1.5\r\n"),
        (None, b"*-1\r\n"),
        (NULL, b"_\r\n"),
        (Error("ERR no"), b"-ERR no\r\n"),
        (Simple("OK"), b"+OK\r\n"),
        ([b"a", [1]], b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
        ((), b"*0\r\n"),
        ({b"a": 1}, b"%1\r\n$1\r\na\r\n:1\r\n"),
        ({2}, b"~1\r\n:2\r\n"),
        (Push([b"p", 1]), b">2\r\n$1\r\np\r\n:1\r\n"),
        (Attribute({b"ttl": 3}), b"|1\r\n$3\r\nttl\r\n:3\r\n"),
    ],
    ids=repr,
)
def test_values_are_encoded_as_replies(value: Any, encoded: bytes) -> None:
    assert encode(value) == encoded


def test_what_is_no_reply_cannot_be_encoded() -> None:
    with pytest.raises(TypeError, match="object, expected a value"):
        encode([object()])


def test_a_command_is_an_array_of_bulk_strings() -> None:
    assert encode_command("XADD", b"s", 1) == b"*3\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n1\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_commands_are_parsed_from_pieces_of_any_size(size: int) -> None:
    data = encode_command("PING") + encode_command("ECHO", b"\r\n*1\r\n", "")
    parser = CommandParser()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = [command for piece in pieces for command in parser.feed(piece)]
    assert found == [[b"PING"], [b"ECHO", b"\r\n*1\r\n", b""]]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"*1\r\n:1\r\n", b"*x\r\n"])
def test_what_is_no_command_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        CommandParser().feed(data)


def test_replies_of_all_kinds_are_read() -> None:
    replies = [Simple("OK"), 5, "\r\n", b"$-1\r\n", [None, [], Error("ERR inner"), b""]]
    with Peer([Expect("GO"), *replies]) as peer, Client(peer.host, peer.port) as client:
        assert client.command("GO") == b"OK"
        assert [client.receive() for _ in range(3)] == [5, b"\r\n", None]
        *others, inner, empty = client.receive()
        assert (others, str(inner), empty) == ([None, []], "ERR inner", b"")


def test_an_error_reply_is_raised() -> None:
    with (
        Peer([Expect("GO"), Error("ERR no"), Expect("GO"), 1]) as peer,
        Client(peer.host, peer.port) as client,
    ):
        with pytest.raises(CommandError, match=r"^ERR no$"):
            client.command("GO")
        assert client.command("GO") == 1


def test_a_pipeline_reads_all_replies_before_it_raises_an_error() -> None:
    with Peer([Expect("A"), Expect("B"), 1, Error("ERR b"), Expect("C"), 3]) as peer:
        with Client(peer.host, peer.port) as client:
            with pytest.raises(CommandError, match="ERR b"):
                client.pipeline([["A"], ["B"]])
            assert client.pipeline([["C"]]) == [3]
        assert peer.commands == [[b"A"], [b"B"], [b"C"]]


@pytest.mark.parametrize("reply", [b"", b":1", b"$5\r\nab", b"*2\r\n:1\r\n"])
def test_a_reply_that_is_cut_is_an_error(reply: bytes) -> None:
    with (
        Peer([Expect("GO"), reply, CLOSE]) as peer,
        Client(peer.host, peer.port) as client,
        pytest.raises(ConnectionError, match="closed the connection"),
    ):
        client.command("GO")


def test_a_client_goes_on_after_a_timeout() -> None:
    script = [Expect("GO"), b":1", Expect("ON"), b"2\r\n"]
    with Peer(script) as peer, Client(peer.host, peer.port, timeout=0.05) as client:
        with pytest.raises(TimeoutError):
            client.command("GO")
        client.sock.settimeout(10)  # a busy machine may take its time
        client.send("ON")
        assert client.receive() == 12


def test_a_connection_that_ended_is_stale() -> None:
    with Peer([Expect("GO"), 1], [Expect("GO"), 1, CLOSE]) as peer:
        with Client(peer.host, peer.port) as client:
            assert client.command("GO") == 1
            assert not client.is_stale()
        with Client(peer.host, peer.port) as client:
            assert client.command("GO") == 1
            with pytest.raises(ConnectionError):
                client.receive()
            assert client.is_stale()


def test_a_connection_with_a_reply_that_nobody_asked_for_is_stale() -> None:
    with Peer([Expect("GO"), b":1\r\n:2\r\n"]) as peer, Client(peer.host, peer.port) as client:
        assert client.command("GO") == 1
        assert client.is_stale()


def test_a_client_that_cannot_connect_leaves_no_socket_behind() -> None:
    # A socket that is not closed would be a warning, and so an error.
    with pytest.raises(ConnectionRefusedError):
        Client("127.0.0.1", closed_port())


def test_a_client_connects_to_a_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("u") / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(encode(1))

        thread = Thread(target=answer)
        thread.start()
        with Client(path) as client:
            assert client.receive() == 1
        thread.join()
