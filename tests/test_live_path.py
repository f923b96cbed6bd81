"""The way of a lone live message (contract 6.4, 6.5): its calls, files and system calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, GeneratorType
from typing import Any

import pytest

import pystreamredis
from pystreamredis import Streams
from tools import live

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
