"""The way of a lone live message (contract 6.4, 6.5): its calls, files and system calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis
from pystreamredis import ProtocolError, Streams
from tests.peer import Peer
from tests.scripted import at, entries
from tests.servers import LONG
from tools import live

if TYPE_CHECKING:
    from tests.peer import Conversation

FOLDERS = [Path(pystreamredis.__file__).parent, Path(pystreamredis.protocol.__file__).parent]
Measure = Callable[[Iterator[object], live.Calls], list[live.Passage]]


@pytest.mark.parametrize("measure", [live.passages_by_next, live.passages_by_for])
@pytest.mark.parametrize(
    "options", [{"block": 0}, {}, {"decode_responses": True}, {"fields": list}], ids=str
)
def test_a_lone_message_passes_few_calls_and_files(
    measure: Measure, options: dict[str, Any]
) -> None:
    calls = live.Calls(FOLDERS)
    with (
        live.Server() as server,
        Streams("127.0.0.1", server.port, live="0-0", **options) as streams,
    ):
        passage = live.typical(measure(streams, calls))
    assert passage.calls <= 45
    assert passage.files <= 12


def system_calls(streams: Iterator[object], known: list[str]) -> list[str]:
    """Take one message, and list the system calls for it: those of a kind that is known."""
    found: list[str] = []

    def note(_: FrameType, event: str, function: Any) -> None:
        is_generator = isinstance(getattr(function, "__self__", None), GeneratorType)
        if event == "c_call" and function.__name__ in known and not is_generator:
            found.append(function.__name__)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        next(streams)
    finally:
        sys.setprofile(before)
    return found


def test_a_lone_message_takes_four_system_calls() -> None:
    """Contract 6.5: one of them makes sure that nothing has come before the read is sent."""
    known = ["poll", "send", "recv", "sendall", "recv_into", "select", "ioctl"]
    with (
        live.Server() as server,
        Streams("127.0.0.1", server.port, live="0-0", block=0) as streams,
    ):
        found = [system_calls(streams, known) for _ in range(live.WARM_UP + live.MEASURED)]
    # More polls where a machine is so busy that the message is late.
    assert min(found[live.WARM_UP :], key=len) == ["poll", "send", "poll", "recv"]


@pytest.mark.parametrize("surplus", [entries("s", "9-0"), None, []])
def test_a_reply_before_its_request_is_refused_while_live(surplus: Any) -> None:
    """Contract 6.5: the bytes had arrived before the read was sent, so they do not answer it."""
    may_send, is_sent = Event(), Event()

    def answer(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply(entries("s", "1-0"))
        if not is_sent.is_set():
            assert may_send.wait(LONG)
            conversation.reply(surplus)
            is_sent.set()
        conversation.expect("XREAD")
        conversation.reply(entries("s", "2-0"))

    with Peer(answer) as peer, Streams(**at(peer), s="0-0", block=0) as streams:
        assert next(streams)[1] == b"1-0"
        may_send.set()
        assert is_sent.wait(LONG)
        with pytest.raises(ProtocolError, match="a reply that nobody asked for"):
            next(streams)
        assert streams.positions == {"s": b"1-0"}
