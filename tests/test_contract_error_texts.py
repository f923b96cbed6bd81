"""Contract 5.1, 5.6, 7: what peers say is escaped, and the texts of errors point the right way."""

from __future__ import annotations

import io
import logging
import re
import socket
import traceback
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, ProtocolError, RedisError, Streams
from tests.certificates import Authority
from tests.peer import CLOSE, RESET, SILENT, Conversation, Expect, Peer
from tests.proxy import Proxy
from tests.resp import Push, Simple, encode
from tests.scripted import at, entries, next_item
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "s3cr3t-of-this-test"
# Terminals and log files act on these: escape sequences, a bell, NUL, DEL, C1 controls and the
# other ends of lines. The last bytes are not valid UTF-8, one of them a lone surrogate's.
ODD = b"odd\x1b[2J\x1b]0;owned\x07\x00\x7f" + "\x85\x9b\u2028\u2029".encode() + b"\xe4\xed\xa0\x80"
ODD_LINES = b"odd\r\nFORGED line\n\rFORGED too" + ODD
ANSWER = encode(entries("s", "1-0"))


def simple(text: bytes) -> bytes:
    return b"-%b\r\n" % text


def blob(text: bytes) -> bytes:
    return b"!%d\r\n%b\r\n" % (len(text), text)


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def script(command: str, reply: bytes) -> list[Any]:
    """A server that answers so, and no more."""
    return [Expect(command), reply, SILENT]


SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "simple": lambda code: simple(code + ODD),
    "blob": lambda code: blob(code + ODD_LINES),
}
# Options, and what every connection is met with.
PLACES: dict[str, tuple[dict[str, Any], list[Any]]] = {}
for shape, made in SHAPES.items():
    PLACES |= {
        f"XREAD that fails for now, {shape}": ({"s": 0}, script("XREAD", made(b"LOADING "))),
        f"XREAD that is refused, {shape}": ({"s": 0}, script("XREAD", made(b"DENIED "))),
        f"XREAD of a wrong type, {shape}": (
            {"s": 0},
            [step for _ in range(3) for step in (Expect("XREAD"), made(b"WRONGTYPE "))],
        ),
        f"XREAD that finds now, {shape}": ({"s": None}, script("XREAD", made(b"DENIED "))),
        f"a code without a text, {shape}": ({"s": 0}, script("XREAD", made(b""))),
        f"AUTH, {shape}": ({"s": 0, "password": "p"}, script("AUTH", made(b"WRONGPASS "))),
        f"AUTH for now, {shape}": ({"s": 0, "password": "p"}, script("AUTH", made(b"LOADING "))),
        f"SELECT, {shape}": ({"s": 0, "db": 3}, script("SELECT", made(b"ERR "))),
        f"HELLO, {shape}": ({"s": 0, "protocol": 3}, script("HELLO", made(b"NOAUTH "))),
        f"HELLO for now, {shape}": ({"s": 0, "protocol": 3}, script("HELLO", made(b"BUSY "))),
        f"MOVED that is none, {shape}": ({"s": 0}, script("XREAD", made(b"MOVED "))),
        f"a reply too many, {shape}": ({"s": 0}, script("XREAD", ANSWER + made(b"ERR "))),
    }
PLACES |= {
    "a text too many": ({"s": 0}, script("XREAD", ANSWER + b"+" + ODD + b"\r\n")),
    "a value too many": ({"s": 0}, script("XREAD", ANSWER + bulk(ODD_LINES))),
    "what is not RESP": ({"s": 0}, script("XREAD", b"?" + ODD + b"\r\n")),
    "what is not RESP after HELLO": (
        {"s": 0, "protocol": 3},
        script("HELLO", b"?" + ODD + b"\r\n"),
    ),
    "a length that is none": ({"s": 0}, script("XREAD", b"*" + ODD + b"\r\n")),
    "a text as a reply": ({"s": 0}, script("XREAD", b"+" + ODD + b"\r\n")),
    "a bulk as a reply": ({"s": 0}, script("XREAD", bulk(ODD_LINES))),
    "a stream nobody asked for": (
        {"s": 0},
        script("XREAD", encode([[ODD_LINES, [["1-0", ["f", "v"]]]]])),
    ),
    "an ID that is none": ({"s": 0}, script("XREAD", encode([["s", [[ODD_LINES, ["f", "v"]]]]]))),
    "an error within a reply": (
        {"s": 0},
        script("XREAD", b"*1\r\n*2\r\n" + bulk(b"s") + blob(ODD_LINES)),
    ),
}


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """All that is logged meanwhile, as a file has it: each record begins with LOG.

    pytest does not get to see it: a report with lone surrogates ends its worker.
    """
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("LOG %(message)s"))
    logger = logging.getLogger("pystreamredis")
    level = logger.level

    def divert(record: logging.LogRecord) -> bool:
        handler.handle(record)
        return False

    logger.addFilter(divert)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeFilter(divert)
    logger.setLevel(level)


def failure_of(options: dict[str, Any]) -> RedisError:
    """The first failure of a reader, wherever it comes."""
    try:
        with Streams(**options, socket_timeout=LONG, block=10) as streams:
            for _ in range(3):
                next(streams, None)
    except RedisError as error:
        return error
    raise AssertionError("there was no failure")


def check_text(text: str, *, lines: bool = False) -> None:
    """Nothing in it that cannot be encoded, or that a terminal or a log file acts on."""
    allowed = "\n" if lines else ""
    categories = [unicodedata.category(c) for c in text if c not in allowed]
    # Lone surrogates (Cs) are what cannot be encoded as UTF-8.
    odd = {"Cc", "Cs", "Zl", "Zp"}.intersection(categories)
    assert not odd, ascii(text)


def check_failure(failure: RedisError, log: io.StringIO) -> None:
    assert not hasattr(failure, "__notes__")
    check_text(str(failure))
    report = "".join(traceback.format_exception(failure))
    check_text(report, lines=True)
    logged = log.getvalue()
    check_text(logged, lines=True)
    assert [line for line in logged.splitlines() if not line.startswith("LOG ")] == []
    assert [line for line in report.splitlines() if line.startswith("FORGED")] == []


@pytest.mark.parametrize(("options", "steps"), PLACES.values(), ids=PLACES)
def test_what_a_peer_says_is_escaped(
    options: dict[str, Any], steps: list[Any], log: io.StringIO
) -> None:
    """Contract 5.1, 5.6: an error can be printed and logged anywhere, and forges nothing."""
    with Peer(steps) as peer:
        check_failure(failure_of(at(peer) | options), log)


@pytest.mark.parametrize("code", ["LOADING", "DENIED"])
def test_what_can_be_read_of_a_refusal_is_shown(code: str) -> None:
    """Contract 5.1, 5.6: escaping leaves letters of every script as they are."""
    text = "Données: wait, ждать, 待つ 'x' \"y\" 100%"
    with Peer([Expect("XREAD"), simple(f"{code} {text}".encode())]) as peer:
        assert f"{code} {text}" in str(failure_of(at(peer) | {"s": 0}))


@pytest.mark.parametrize("text", [b"DENIED\xe4 no", b"\x1b[2J no", b"\xed\xa0\x80"])
def test_the_code_of_a_refusal_can_be_printed(text: bytes) -> None:
    """Contract 5.6: `code` is what users print and compare."""
    with Peer([Expect("XREAD"), simple(text)]) as peer:
        check_text(str(getattr(failure_of(at(peer) | {"s": 0}), "code", "")))


@pytest.mark.parametrize(
    "host", [b"\x1b[2J", b"h\xe4st", b"\xed\xa0\x80", b"a\x00b", "h\u2028\x9b".encode(), b"\x7f"]
)
def test_the_host_that_a_redirection_names_is_escaped(
    host: bytes, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.1: in the text, as the address that cannot be reached."""
    look_up = socket.getaddrinfo

    def look_up_here(name: Any, *args: Any, **more: Any) -> Any:
        if name not in ("127.0.0.1", b"127.0.0.1"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(name, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    with Peer([Expect("XREAD"), simple(b"MOVED 15495 %b:6380" % host)]) as peer:
        check_failure(failure_of(at(peer) | {"a": 0}), log)


# What comes unasked, or is not RESP.


def asked_nobody(extra: bytes, **options: Any) -> ProtocolError:
    """The failure after a reply too many."""
    steps = [Expect("AUTH"), Simple("OK")] if "password" in options else []
    with Peer([*steps, Expect("XREAD"), ANSWER + extra]) as peer:
        failure = failure_of(at(peer) | options | {"s": 0})
    assert isinstance(failure, ProtocolError)
    return failure


@pytest.mark.parametrize(
    ("extra", "shown"),
    [
        (b"-ERR unknown command 'PROXY'\r\n", "error \"ERR unknown command 'PROXY'\""),
        (b"+OK\r\n", "OK"),
        (b"*-1\r\n", "nil"),
        (b":42\r\n", "42"),
        (b"$5\r\nhello\r\n", "hello"),
    ],
)
def test_a_reply_that_nobody_asked_for_is_shown(extra: bytes, shown: str) -> None:
    """Contract 5.1, 6.5: with it the cause is plain."""
    failure = asked_nobody(extra)
    assert shown in str(failure)
    check_text(str(failure))


def test_no_more_than_100_bytes_of_it_are_shown() -> None:
    """Contract 5.1: enough to know it by."""
    shown = str(asked_nobody(b"+" + b"x" * 5000 + b"\r\n")).count("x" * 10) * 10
    assert 50 <= shown <= 100


def test_nothing_of_it_is_shown_where_a_secret_was_sent() -> None:
    """Contract 7: some peers repeat what they were sent."""
    failure = asked_nobody(f"-ERR no command {SECRET}\r\n".encode(), password=SECRET)
    assert SECRET not in "".join(traceback.format_exception(failure))
    assert "no command" not in str(failure)


@pytest.mark.parametrize("options", [{"protocol": 3}, {"db": 3}, {"client_name": "me"}], ids=str)
def test_what_is_not_resp_is_shown_where_no_secret_was_sent(options: dict[str, Any]) -> None:
    """Contract 5.1: HELLO without a password and SELECT have nothing to hide."""
    page = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
    with Peer([Expect(), page]) as peer:
        assert "HTTP/1.1 400" in str(failure_of(at(peer) | options | {"s": 0}))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("command", ["login", "XREAD"])
def test_what_is_not_resp_is_not_shown_where_a_secret_was_sent(command: str, protocol: int) -> None:
    """Contract 7: also where it comes after the login, over the same connection."""
    login = "HELLO" if protocol == 3 else "AUTH"
    steps = [Expect(login), Simple("OK") if protocol == 2 else {"proto": 3}, Expect("XREAD")]
    steps = [Expect(login)] if command == "login" else steps
    with Peer([*steps, f"HTTP/1.1 400 Bad Request {SECRET}\r\n".encode()]) as peer:
        options = at(peer) | {"s": 0, "password": SECRET, "protocol": protocol}
        failure = failure_of(options)
    assert isinstance(failure, ProtocolError)
    told = "".join(traceback.format_exception(failure))
    assert SECRET not in told
    assert "HTTP" not in told


# Hints.

TLS_HINT = re.compile(r"(?i)\btls\b|rediss")
PROXY_HINT = "is there a server behind it, and does it pass XREAD on?"
ENDINGS = [CLOSE, RESET]


@pytest.mark.parametrize(
    "steps",
    [
        [Expect("XREAD"), simple(b"LOADING wait")],
        [Expect("XREAD"), simple(b"DENIED no")],
        [Expect("XREAD"), b"*1\r\n*2\r\n$1\r\ns\r\n"],
        [Expect("XREAD"), encode(Push(["invalidate"])), CLOSE],
        [Expect("XREAD"), encode(None), CLOSE],
        [Expect("XREAD"), ANSWER, CLOSE],
    ],
    ids=["an error", "a refusal", "a part", "a push", "nothing new", "an answer"],
)
def test_the_hint_at_tls_does_not_follow_what_was_understood(steps: list[Any]) -> None:
    """Contract 5.1: whoever speaks RESP in the clear does not wait for TLS."""
    texts = []
    with Peer([*steps, CLOSE], [Expect(), CLOSE]) as peer, Streams(**at(peer), s=0) as streams:
        while peer.connections < 3:
            try:
                next_item(streams)
            except RedisError:
                continue
        for _ in range(3):
            failure = next_item(streams)
            if isinstance(failure, ConnectionError):
                texts.append(str(failure))
    assert texts
    assert [text for text in texts if TLS_HINT.search(text)] == []


def test_a_part_of_a_reply_is_no_reason_for_the_hint_at_tls() -> None:
    """Contract 5.1: at the very connection that it came over."""
    with Peer([Expect("XREAD"), b"*1\r\n*2\r\n$1\r\ns\r\n", CLOSE]) as peer:
        text = str(failure_of(at(peer) | {"s": 0}))
    assert not TLS_HINT.search(text)


@pytest.mark.parametrize("start", [0, None])
@pytest.mark.parametrize("first", [[], [Expect("XREAD")]], ids=["at once", "after XREAD"])
def test_a_connection_closed_before_any_answer_hints_at_tls_and_proxies(
    first: list[Any], start: int | None
) -> None:
    """Contract 5.1: proxies accept what they cannot pass on."""
    with Peer([*first, CLOSE]) as peer:
        text = str(failure_of(at(peer) | {"s": start}))
    assert PROXY_HINT in text
    assert TLS_HINT.search(text)


def test_over_tls_the_hint_is_at_proxies_alone(tmp_path_factory: Any) -> None:
    """Contract 5.1: what has TLS already needs no hint at it."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    context = authority.sign("proxy", "IP:127.0.0.1").server_context()
    with (
        Peer([Expect("XREAD"), CLOSE]) as peer,
        Proxy(peer.host, peer.port, ssl_context=context) as proxy,
    ):
        options = at(proxy) | {"ssl": True, "ssl_ca_certs": authority.certfile, "s": 0}
        text = str(failure_of(options))
    assert PROXY_HINT in text
    assert "rediss" not in text


def test_a_connection_closed_after_an_answer_has_no_hint() -> None:
    """Contract 5.1: there is a server, and it takes XREAD."""

    def answer_and_close(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.send(ANSWER)
        conversation.expect("XREAD")
        conversation.close()

    with Peer(answer_and_close) as peer:
        text = str(failure_of(at(peer) | {"s": 0}))
    assert "closed the connection" in text
    assert "XREAD on" not in text
    assert not TLS_HINT.search(text)
