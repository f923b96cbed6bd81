"""`tests.peer`: scripts are followed, and one that fails cannot go unnoticed."""

from __future__ import annotations

import socket

import pytest

from tests.peer import CLOSE, RESET, SILENT, Conversation, Expect, Peer, closed_port, deaf_port
from tests.resp import Client, Error, encode_command
from tests.servers import wait_until


def test_steps_are_followed_one_by_one() -> None:
    script = [Expect("HELLO", "3"), Error("ERR unknown command"), Expect(), b"+O", b"K\r\n", CLOSE]
    with Peer(script) as peer:
        with Client(peer.host, peer.port) as client:
            client.send("HELLO", 3, "AUTH", "u", "p")
            with pytest.raises(Exception, match="ERR unknown command"):
                client.receive()
            assert client.command("ANYTHING") == b"OK"
            assert client.sock.recv(1) == b""
        wait_until(lambda: peer.completed == 1)
    assert peer.commands == [[b"HELLO", b"3", b"AUTH", b"u", b"p"], [b"ANYTHING"]]
    assert peer.connections == 1


def test_each_connection_takes_the_next_script() -> None:
    with Peer([Expect(), 1], [Expect(), 2]) as peer:
        found = []
        for _ in range(3):
            with Client(peer.host, peer.port) as client:
                found.append(client.command("GO"))
    assert found == [1, 2, 2]
    assert peer.connections == 3


def test_a_function_can_be_a_script() -> None:
    def script(conversation: Conversation) -> None:
        command = conversation.expect("ECHO")
        conversation.pause(0.01)
        conversation.reply([conversation.number, command[1]])
        conversation.close()

    with Peer(script) as peer:
        for number in range(2):
            with Client(peer.host, peer.port) as client:
                assert client.command("ECHO", "me") == [number, b"me"]
                assert client.sock.recv(1) == b""
        wait_until(lambda: peer.completed == 2)


@pytest.mark.parametrize("script", [[], [SILENT]], ids=repr)
def test_after_its_last_step_a_peer_stays_silent_and_goes_on_recording(
    script: list[object],
) -> None:
    with Peer(script) as peer:
        with Client(peer.host, peer.port, timeout=0.1) as client:
            client.send("A")
            client.send("B")
            with pytest.raises(TimeoutError):
                client.receive()
        wait_until(lambda: len(peer.commands) == 2)


def test_a_silent_peer_takes_no_offence_at_what_is_no_command() -> None:
    """As the beginning of TLS, which may have the end of a line in it."""
    with Peer([SILENT]) as peer, socket.create_connection((peer.host, peer.port)) as sock:
        sock.sendall(b"\x16\x03\r\n")
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_a_connection_can_be_reset() -> None:
    with (
        Peer([Expect(), RESET]) as peer,
        Client(peer.host, peer.port) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.command("GO")


def test_a_connection_is_closed_and_not_reset_while_commands_are_unread() -> None:
    with Peer([Expect(), 1, CLOSE]) as peer, Client(peer.host, peer.port) as client:
        client.sock.sendall(encode_command("GO") * 1000)
        assert client.receive() == 1
        assert client.sock.recv(1) == b""


def test_an_unexpected_command_fails_the_test() -> None:
    def surprise() -> None:
        with Peer([Expect("XREAD")]) as peer, Client(peer.host, peer.port) as client:
            client.send("PING")
            assert client.sock.recv(1) == b""

    with pytest.raises(AssertionError, match=r"PING.*expected.*XREAD"):
        surprise()


def test_a_client_that_leaves_is_no_failure_but_the_script_is_not_completed() -> None:
    with Peer([Expect("XREAD"), 1]) as peer:
        Client(peer.host, peer.port).close()
        wait_until(lambda: peer.connections == 1)
    assert peer.completed == 0


def test_a_peer_ends_while_its_script_waits() -> None:
    with Peer(lambda conversation: conversation.pause(1000)) as peer:
        client = Client(peer.host, peer.port)
        wait_until(lambda: peer.connections == 1)
    with client, pytest.raises(ConnectionError):
        client.receive()


def test_nobody_listens_at_a_closed_port() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed_port()))


def test_a_deaf_port_takes_connections_and_never_answers() -> None:
    with (
        deaf_port() as port,
        Client("127.0.0.1", port, timeout=0.1) as client,
        pytest.raises(TimeoutError),
    ):
        client.command("PING")


def test_connecting_to_a_full_deaf_port_hangs() -> None:
    with deaf_port(full=True) as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.1)
