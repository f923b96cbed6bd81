"""`pystreamredis.io.tasks`: look-ups in threads; its driver is tested with each shell."""

from __future__ import annotations

import threading

import pytest

from pystreamredis.io.tasks import LookUp
from tests.servers import LONG, wait_until


@pytest.mark.parametrize("raises", [True, False])
def test_a_look_up_ends_in_a_thread_of_its_own(raises: bool) -> None:
    def look_up() -> str:
        if raises:
            raise LookupError("nobody")
        return threading.current_thread().name

    done = threading.Event()
    outcome = LookUp(look_up, done.set)
    assert done.wait(LONG)
    assert outcome.done()
    if raises:
        with pytest.raises(LookupError):
            outcome.result()
    else:
        assert outcome.result() == "pystreamredis look-up"


def test_a_look_up_may_end_after_its_event_loop() -> None:
    def fail() -> None:
        raise RuntimeError("the event loop is closed")

    over = threading.Event()
    outcome = LookUp(lambda: over.wait(LONG), fail)
    assert not outcome.done()
    over.set()
    wait_until(outcome.done)


def test_without_a_thread_a_look_up_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(OSError, match="no thread for a look-up"):
        LookUp(list, list)
