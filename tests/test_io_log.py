"""`pystreamredis.io.log`: the records, and their cost for programs that do not use logging."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

import pystreamredis
from pystreamredis import ConnectionError, ProtocolError, Streams
from pystreamredis.io.log import write
from tests.peer import Conversation, Peer, closed_port
from tests.resp import encode
from tests.scripted import at, entries, ids_of, next_item, read, serve, take
from tests.servers import wait_until

HOUSE = Path(pystreamredis.__file__).parent.parent
LOGGER = "pystreamredis"
HISTORY = {"s": [f"{i}-0" for i in range(1, 1001)]}


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, LOGGER)
    return caplog


def logged(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Take out levels and texts, without what differs between runs."""
    found = [
        (record.levelname, re.sub(r":\d+", ":PORT", record.getMessage()))
        for record in log.records
        if record.name == LOGGER
    ]
    log.clear()
    return found


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run some lines in a Python of their own that has nothing but the package."""
    start = f"import sys; sys.path.insert(0, {str(HOUSE)!r})\n"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", start + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_lines_are_logged_at_their_levels(log: pytest.LogCaptureFixture) -> None:
    write([(10, "one"), (30, "100 %s of two")])
    assert logged(log) == [("DEBUG", "one"), ("WARNING", "100 %s of two")]


def test_a_lost_and_a_new_connection_are_logged(log: pytest.LogCaptureFixture) -> None:
    """Connected, lost, reconnected with the length of the outage; tries amid it are details."""
    connections = count(1)

    def handle(conversation: Conversation) -> None:
        number = next(connections)
        if number == 4:
            serve(conversation, {"s": ["1-0", "2-0", "3-0"]})
        command = conversation.expect("XREAD")
        if number == 1:
            conversation.reply(read(command, {"s": ["1-0", "2-0"]}))
            conversation.expect("XREAD")
        else:
            conversation.send(b"-LOADING data is loaded\r\n")
        conversation.close()

    with (
        Peer(handle) as peer,
        Streams(**at(peer), block=50, raise_connection_exceptions=False, s=0) as streams,
    ):
        assert logged(log) == []  # nothing was asked, and so nothing answered
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
        assert logged(log) == [("INFO", "connected to 127.0.0.1:PORT")]
        assert isinstance(next(streams), ConnectionError)
        assert logged(log) == [("WARNING", "127.0.0.1:PORT closed the connection")]
        for _ in range(2):
            assert isinstance(next(streams), ConnectionError)
            ((level, text),) = logged(log)
            assert level == "DEBUG"
            assert re.fullmatch(
                r"127.0.0.1:PORT refused XREAD: LOADING data is loaded \(for \d+\.\d s now\)", text
            )
        assert next(streams)[1] == b"3-0"
        ((level, text),) = logged(log)
        assert level == "INFO"
        assert re.fullmatch(r"connected to 127.0.0.1:PORT after an outage of \d+\.\d s", text)


@pytest.mark.parametrize("raising", [True, False])
def test_a_failure_is_logged_once_as_soon_as_it_is_noticed(
    raising: bool, log: pytest.LogCaptureFixture
) -> None:
    """Also where messages that came before it are delivered first."""

    def handle(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply(entries("s", "1-0"))
        conversation.expect("XREAD")
        conversation.send(encode(entries("s", "2-0")) + b"what is that?\r\n")
        conversation.expect("XREAD")
        conversation.stay_silent()

    options = {"raise_connection_exceptions": raising, "block": None, "count": 1}
    with Peer(handle) as peer, Streams(**at(peer) | options, s=0) as streams:
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
        failure = next_item(streams)
        assert isinstance(failure, ProtocolError)
        assert logged(log) == [
            ("INFO", "connected to 127.0.0.1:PORT"),
            ("WARNING", re.sub(r":\d+", ":PORT", str(failure))),
        ]


def test_a_missing_server_is_logged_by_the_constructor(
    log: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConnectionError):
        Streams("127.0.0.1", closed_port(), s=0)
    ((level, text),) = logged(log)
    assert level == "WARNING"
    assert text.startswith("cannot connect to 127.0.0.1:PORT: ")


def test_nothing_is_logged_of_messages(log: pytest.LogCaptureFixture) -> None:
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), block=None, s=0, count=10) as streams,
    ):
        assert len(list(streams)) == 1000
    assert logged(log) == [("INFO", "connected to 127.0.0.1:PORT")]


TROUBLE = """
from pystreamredis import Streams, ConnectionError
failures = 0
with Streams("127.0.0.1", int(sys.argv[1]), raise_connection_exceptions=False, s=0) as streams:
    assert isinstance(next(streams), ConnectionError)
"""


def test_logging_is_not_imported_for_a_program_that_does_not_use_it() -> None:
    """Nobody can listen there, and the import takes longer than that of this library."""
    done = run(f"{TROUBLE}\nprint('logging' in sys.modules)", closed_port())
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_program_that_has_not_set_up_logging_prints_nothing() -> None:
    """Without a NullHandler, warnings would go to its stderr."""
    done = run(f"import logging\n{TROUBLE}\nlogging.warning('its own')", closed_port())
    assert done.stderr == "WARNING:root:its own\n"


def test_a_handler_of_the_programs_own_is_left_as_it_is() -> None:
    logger = logging.getLogger(LOGGER)
    before, mine = list(logger.handlers), logging.NullHandler()
    logger.handlers[:] = [mine]
    try:
        write([(20, "something")])
        assert logger.handlers == [mine]
        logger.handlers.clear()
        write([(20, "something")])
        assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    finally:
        logger.handlers[:] = before


def test_events_are_logged_while_a_call_goes_on(log: pytest.LogCaptureFixture) -> None:
    """A wait may be endless, and must not keep the log waiting."""

    def handle(conversation: Conversation) -> None:
        conversation.reply(read(conversation.expect("XREAD"), {}))
        conversation.expect("XREAD")
        wait_until(lambda: bool(log.records))
        conversation.reply(entries("s", "1-0"))

    with Peer(handle) as peer, Streams(**at(peer), block=0, s=0) as streams:
        assert next(streams)[1] == b"1-0"
    assert logged(log) == [("INFO", "connected to 127.0.0.1:PORT")]
