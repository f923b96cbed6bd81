"""Passwords stay out of all that is printed, logged, or found by looking into objects.

That texts of errors about bad input have none either is shown in `test_contract_input`,
`test_url` and `test_options`.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import (
    AuthenticationError,
    ConnectionError,
    Redis,
    RedisError,
    Streams,
    TimeoutError,
)
from tests.peer import CLOSE, SILENT, Expect, Peer, closed_port
from tests.resp import Error, Simple
from tests.scripted import at, serve
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import Server

# Made at run time, so that no line of this file that a traceback quotes has it.
SECRET = "-".join(["hunter", "2"])


def dump(*roots: object) -> str:
    """Collect all that is found from objects through `vars()`, `__slots__` and containers."""
    texts: list[str] = []
    todo: list[Any] = list(roots)
    seen: dict[int, object] = {}
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found  # kept, so that nothing else gets its id
        if isinstance(found, (str, bytes)):
            texts.append(found if isinstance(found, str) else found.decode("latin-1"))
            continue
        texts.append(repr(found))
        if isinstance(found, dict):
            todo += [*found, *found.values()]
        elif isinstance(found, (list, tuple, set, frozenset)):
            todo += found
        todo += _attributes(found)
    return "\n".join(texts)


def _attributes(found: object) -> Iterator[object]:
    if isinstance(found, type):
        return
    yield getattr(found, "__dict__", None)
    for base in type(found).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            yield getattr(found, name, None)


def next_failure(streams: Streams) -> RedisError:
    """Return what next() raises or returns. Its frame with its locals is in the traceback."""
    for _ in range(10):
        try:
            item = next(streams, None)
        except RedisError as error:
            return error
        if isinstance(item, RedisError):
            return item
    raise AssertionError("no failure in ten tries")


def text_of(error: BaseException) -> str:
    """Return all that can be printed of an error and its causes, the locals of each frame too."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(report.format()) + repr(error) + repr(vars(error))


class Kept:
    """Something with an attribute in a dict and one in a slot."""

    __slots__ = ("__dict__", "slot")

    def __init__(self, slot: object = None) -> None:
        self.slot = slot


def test_a_dump_finds_all_there_is() -> None:
    """So that what it does not find is not there."""
    kept = Kept([{"a": SECRET.encode()}])
    assert SECRET in dump(kept)
    other = Kept()
    other.attribute = (kept,)  # type: ignore[attr-defined]
    assert SECRET in dump(other)
    assert SECRET not in dump(Kept())


# Each way to give one.
GIVEN: dict[str, Callable[[dict[str, Any]], Redis]] = {
    "text": lambda where: Redis(**where, password=SECRET),
    "bytes": lambda where: Redis(**where, password=SECRET.encode()),
    "with a user": lambda where: Redis(**where, username="user", password=SECRET),
    "called": lambda where: Redis(**where, password=lambda: SECRET),
    "HELLO": lambda where: Redis(**where, password=SECRET, protocol=3),
    "URL": lambda where: Redis.from_url(
        "redis://me:{}@{host}:{port}?socket_timeout={socket_timeout}".format(SECRET, **where)
    ),
    "query": lambda where: Redis.from_url(
        "redis://{host}:{port}?password={}&socket_timeout={socket_timeout}".format(SECRET, **where)
    ),
}
# What the peer does with it, and which error comes of that, if any.
WELCOMES: dict[str, tuple[list[Any], type[RedisError] | None]] = {
    "let in": ([Expect(), Simple("OK")], None),
    "refused": ([Expect(), Error("WRONGPASS invalid username-password pair")], AuthenticationError),
    "refused with what was sent": (
        [Expect(), Error(f"NOAUTH unknown user {SECRET}")],
        AuthenticationError,
    ),
    "an unknown command": (
        [Expect(), Error(f"ERR unknown command, with args beginning with: '{SECRET}'")] * 2,
        AuthenticationError,
    ),
    "closed": ([Expect(), CLOSE], ConnectionError),
    "silent": ([Expect(), SILENT], TimeoutError),
    "no RESP": ([Expect(), f"{SECRET}\r\n".encode()], ConnectionError),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("welcome", WELCOMES.values(), ids=WELCOMES)
def test_a_password_is_found_in_no_object_failure_or_log(
    given: Callable[[dict[str, Any]], Redis],
    welcome: tuple[list[Any], type[RedisError] | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Contract 7: also not in locals of the library's frames, which some loggers print."""
    caplog.set_level(logging.DEBUG)
    script, kind = welcome

    # So that the login that counts is left to next().
    first_refuse = [Expect(), Error("LOADING for a while"), CLOSE]

    def then_welcome(conversation: Any) -> None:
        for step in script:
            if isinstance(step, Expect):
                conversation.expect(*step.words)
            elif step is CLOSE:
                conversation.close()
                return
            elif step is SILENT:
                conversation.stay_silent()
            elif isinstance(step, bytes):
                conversation.send(step)
            else:
                conversation.reply(step)
        serve(conversation, {"s": ["1-0"]})

    with Peer(first_refuse, then_welcome) as peer:
        r = given({**at(peer), "socket_timeout": 0.5 if SILENT in script else LONG})
        with r.streams(s=0, block=1, raise_connection_exceptions=False) as streams:
            failures = [next_failure(streams)]
            assert isinstance(failures[0], ConnectionError)
            if kind is None:
                message = next(streams)
                assert isinstance(message, tuple)
                assert message[1] == b"1-0"
            else:
                failures.append(next_failure(streams))
                assert isinstance(failures[1], kind)
            assert SECRET not in dump(r, streams, failures)
        assert SECRET not in dump(r, streams)
        assert [SECRET in text_of(failure) for failure in failures] == [False] * len(failures)
    assert SECRET not in caplog.text


def test_a_failed_connection_shows_no_password() -> None:
    """Contract 7, 5.1."""
    r = Redis("127.0.0.1", closed_port(), username="user", password=SECRET)
    with r.streams(s=0, block=1, raise_connection_exceptions=False) as streams:
        for _ in range(2):
            assert SECRET not in text_of(next_failure(streams))
        assert SECRET not in dump(r, streams)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_password_changed_on_a_real_server_is_not_shown(
    embedded: Server, caplog: pytest.LogCaptureFixture, protocol: Any
) -> None:
    """Contract 5.6, 7: hours after it was let in, say."""
    caplog.set_level(logging.DEBUG)
    embedded.command("ACL", "SETUSER", "someone", "on", f">{SECRET}", "~*", "+xread")
    try:
        embedded.command("XADD", "s", "1-0", "f", "v")
        r = Redis(
            embedded.host, embedded.port, username="someone", password=SECRET, protocol=protocol
        )
        with r.streams(s=0, block=30) as streams:
            assert next(streams)[1] == b"1-0"
            assert SECRET not in dump(r, streams)
            embedded.command("ACL", "SETUSER", "someone", "resetpass", ">another")
            embedded.command("CLIENT", "KILL", "USER", "someone")
            failures = [next_failure(streams), next_failure(streams)]
            assert [type(failure) for failure in failures] == [ConnectionError, AuthenticationError]
            assert SECRET not in dump(r, streams, failures) + "".join(map(text_of, failures))
    finally:
        embedded.command("ACL", "DELUSER", "someone")
    assert SECRET not in caplog.text
