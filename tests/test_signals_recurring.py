"""Contract 4.4, 5.5: they hold whatever signals come, in the main thread of a process of its own.

A timer sends a signal every some ms, whose handler raises nothing: each interrupts what waits.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.live import LiveServer
from tests.peer import Conversation, Peer
from tests.scripted import entries
from tests.servers import LONG

PROGRAM = """
import signal, sys, threading
from time import monotonic
from pystreamredis import ConnectionError, Streams

NAME, PERIOD, PORT = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
counted = []
signal.signal(signal.SIGALRM, lambda *_: counted.append(1))
if NAME == "timer":
    signal.setitimer(signal.ITIMER_REAL, PERIOD, PERIOD)
else:
    # By somebody else: the process has no timer to look at.
    def send():
        while not over.wait(PERIOD):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
    over = threading.Event()
    threading.Thread(target=send, daemon=True).start()
BODY
assert counted, "no signal has come"
print("good")
"""
CLOSE = """
streams = Streams("127.0.0.1", PORT, s=0, block=BLOCK)
assert next(streams)[1] == b"1-0"
closed = []
def close():
    closed.append(monotonic())
    streams.close()
threading.Timer(0.3, close).start()
assert next(streams, "over") == "over"
assert closed, "the wait was over before"
late = monotonic() - closed[0]
assert late < 2, late
"""
SILENCE = """
streams = Streams("127.0.0.1", PORT, s=0, block=BLOCK, socket_timeout=0.5, stop_on_timeout=True)
assert next(streams)[1] == b"1-0"
begun, failure = monotonic(), None
while failure is None and monotonic() < begun + 30:
    try:
        next(streams)
    except ConnectionError as error:
        failure = error
assert isinstance(failure, TimeoutError), failure
late = monotonic() - begun - 0.5 - BLOCK / 1000
assert late < 2, late
"""
REFUSED = """
streams = Streams("127.0.0.1", 1, s=0, block=60_000, raise_connection_exceptions=False)
assert isinstance(next(streams), ConnectionError)
closed = []
def close():
    closed.append(monotonic())
    streams.close()
threading.Timer(0.3, close).start()
assert next(streams, "over") == "over"
late = monotonic() - closed[0]
assert late < 2, late
"""
MESSAGES = """
with Streams("127.0.0.1", PORT, s=0, block=2000) as streams:
    found = [message[1] for message in streams]
    assert found == [b"%d-0" % number for number in range(1, 31)], found
"""

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timers that send signals"
)


def run(body: str, how: str, period: float, port: int) -> None:
    """Run one of the above, with a signal every `period` seconds."""
    program = PROGRAM.replace("BODY", body)
    command = [sys.executable, "-c", program, how, str(period), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.stdout, done.stderr) == ("good\n", "")


def answer_once(conversation: Conversation) -> None:
    conversation.expect("XREAD")
    conversation.reply(entries("s", "1-0"))
    conversation.stay_silent()


each_period = pytest.mark.parametrize("period", [0.01, 0.02, 0.04])
each_way = pytest.mark.parametrize("how", ["timer", "thread"])


@each_way
@each_period
@pytest.mark.parametrize("block", ["20000", "0"])
def test_close_ends_a_wait_amid_signals(block: str, period: float, how: str) -> None:
    """Contract 4.4: from another thread."""
    with Peer(LiveServer(s=["1-0"])) as peer:
        run(CLOSE.replace("BLOCK", block), how, period, peer.port)


@each_way
@each_period
def test_close_ends_a_pause_amid_signals(period: float, how: str) -> None:
    """Contract 4.4, 5.3: the one before another try to connect."""
    run(REFUSED, how, period, 1)


@each_way
@each_period
@pytest.mark.parametrize("block", ["100", "1000"])
def test_a_silent_server_is_noticed_amid_signals(block: str, period: float, how: str) -> None:
    """Contract 5.5: some time after `block` and `socket_timeout`, not when signals pause."""
    with Peer(answer_once) as peer:
        run(SILENCE.replace("BLOCK", block), how, period, peer.port)


@each_way
@each_period
def test_messages_come_amid_signals(period: float, how: str) -> None:
    """Contract 3.1: each once, and a wait ends in time."""
    with Peer(LiveServer(s=[f"{number}-0" for number in range(1, 31)])) as peer:
        run(MESSAGES, how, period, peer.port)
