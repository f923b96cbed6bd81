"""Contract 6.7: credentials that are empty are none, and are not sent."""

from __future__ import annotations

from typing import Any

import pytest

from pystreamredis import Redis, Streams
from tests.peer import Conversation, Peer
from tests.resp import Simple
from tests.scripted import at, read, serve, take

EMPTY: dict[str, dict[str, Any]] = {
    "password": {"password": ""},
    "password in bytes": {"password": b""},
    "password that is called": {"password": lambda: ""},
    "password that is called and gives bytes": {"password": lambda: b""},
    "password that is called and gives none": {"password": lambda: None},
    "user": {"username": ""},
    "user in bytes": {"username": b""},
    "user and password": {"username": "", "password": ""},
    "user with no password": {"username": "", "password": None},
    "client name": {"client_name": ""},
    "client name in bytes": {"client_name": b""},
    "everything": {"username": "", "password": "", "client_name": ""},
}
# What stands between the scheme and the host, and the query.
EMPTY_IN_URL = {
    "password": (":@", ""),
    "user": ("@", ""),
    "user in the query": ("", "?username="),
    "password in the query": ("", "?password="),
    "client name": ("", "?client_name="),
    "everything": (":@", "?client_name="),
}


def server(conversation: Conversation) -> None:
    serve(conversation, {"s": ["1-0"]})


@pytest.mark.parametrize("options", EMPTY.values(), ids=EMPTY)
def test_empty_credentials_are_not_sent(options: dict[str, Any]) -> None:
    """Contract 6.7: a server without passwords refuses every AUTH."""
    with Peer(server) as peer:
        with Streams(**at(peer), **options, s=0) as streams:
            assert next(streams)[1] == b"1-0"
        with Redis(**at(peer), **options).streams(s=0) as streams:
            assert next(streams)[1] == b"1-0"
        assert {command[0] for command in peer.commands} == {b"XREAD"}


@pytest.mark.parametrize(("user", "query"), EMPTY_IN_URL.values(), ids=EMPTY_IN_URL)
def test_empty_credentials_in_a_url_are_not_sent(user: str, query: str) -> None:
    """Contract 1.1, 6.7: as in the URL of an empty variable of the environment."""
    with Peer(server) as peer:
        url = f"redis://{user}{peer.host}:{peer.port}/0{query}"
        with Streams.from_url(url, s=0) as streams:
            assert next(streams)[1] == b"1-0"
        with Redis.from_url(url).streams(s=0) as streams:
            assert next(streams)[1] == b"1-0"
        assert {command[0] for command in peer.commands} == {b"XREAD"}


@pytest.mark.parametrize("which", ["password", "user", "password that is called"])
def test_hello_carries_no_empty_credentials(which: str) -> None:
    """Contract 6.7: what HELLO would carry is left out of it as well."""

    def modern(conversation: Conversation) -> None:
        assert conversation.expect("HELLO") == [b"HELLO", b"3"]
        conversation.reply({"proto": 3})
        server(conversation)

    with Peer(modern) as peer, Streams(**at(peer), **EMPTY[which], protocol=3, s=0) as streams:
        assert next(streams)[1] == b"1-0"


def test_hello_carries_no_empty_client_name() -> None:
    """Contract 6.7: with protocol=3, where HELLO is said anyway."""

    def modern(conversation: Conversation) -> None:
        assert conversation.expect("HELLO") == [b"HELLO", b"3", b"AUTH", b"default", b"p"]
        conversation.reply({"proto": 3})
        server(conversation)

    options: dict[str, Any] = {"client_name": "", "password": "p", "protocol": 3}
    with Peer(modern) as peer, Streams(**at(peer), **options, s=0) as streams:
        assert next(streams)[1] == b"1-0"


def test_a_password_goes_without_the_user_that_is_empty() -> None:
    """Contract 6.7: AUTH with one argument, which every version knows."""

    def old(conversation: Conversation) -> None:
        assert conversation.expect("AUTH") == [b"AUTH", b"p"]
        conversation.reply(Simple("OK"))
        server(conversation)

    with Peer(old) as peer, Streams(**at(peer), username="", password="p", s=0) as streams:
        assert next(streams)[1] == b"1-0"


def test_a_password_that_becomes_empty_is_none_from_then_on() -> None:
    """Contract 1.2, 6.7: the callable is asked again at each connect."""
    passwords = ["p", "", "q"]
    logins: list[list[list[bytes]]] = []

    def one_more(conversation: Conversation) -> None:
        logins.append([])
        if passwords[conversation.number]:
            logins[-1].append(conversation.expect("AUTH"))
            conversation.reply(Simple("OK"))
        ids = ["1-0", "2-0", "3-0"][: conversation.number + 1]
        while True:
            reply = read(conversation.expect("XREAD"), {"s": ids})
            conversation.reply(reply)
            if ids[-1] in repr(reply):
                return conversation.close()

    options: dict[str, Any] = {"raise_connection_exceptions": False, "block": 10}
    asked = iter(passwords)
    with (
        Peer(one_more) as peer,
        Streams(**at(peer), **options, password=lambda: next(asked), s=0) as streams,
    ):
        items = take(streams, 5)
    assert [item[1] for item in items if isinstance(item, tuple)] == [b"1-0", b"2-0", b"3-0"]
    assert logins == [[[b"AUTH", b"p"]], [], [[b"AUTH", b"q"]]]
