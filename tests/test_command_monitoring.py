"""Signs of life for operators: remarks on silent streams, figures, and the file for probes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from pystreamredis.command.clock import forget_zone
from pystreamredis.command.monitoring import Monitor, list_silent

GIVEN: dict[str, object] = {"quiet": None, "Sream0": None, "gone": "0", "old": "5-1", "busy": None}
BEGAN = {"quiet": "9-0", "Sream0": "0-0", "gone": "0-0", "old": "5-1", "busy": "9-1"}


def pick(*names: str) -> tuple[dict[str, str], dict[str, object], dict[str, str]]:
    began = {name: BEGAN[name] for name in names}
    now = {name: "10-0" if name == "busy" else began[name] for name in names}
    return began, GIVEN, now


def test_streams_without_a_message_are_waited_for() -> None:
    assert list_silent(*pick("quiet", "busy", "Sream0"), is_over=False) == [
        "waiting for 'quiet', from now on",
        "waiting for 'Sream0', from now on (empty, or misspelt)",
    ]
    assert list_silent(*pick("gone", "old"), is_over=False) == [
        "waiting for 'gone' (empty, or misspelt)",
        "waiting for 'old' after 5-1",
    ]


def test_streams_without_a_message_are_named_at_the_end() -> None:
    assert list_silent(*pick("quiet", "gone", "busy", "old"), is_over=True) == [
        "no messages in 'quiet' after 9-0",
        "no messages in 'gone' (empty, or misspelt)",
        "no messages in 'old' after 5-1",
    ]


def test_a_time_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()
    forget_zone()
    began = {"a": f"1530403199999-{2**64 - 1}"}
    assert list_silent(began, {"a": 1_530_403_200_000}, began, is_over=True) == [
        "no messages in 'a' since 2018-07-01 00:00:00.000"
    ]
    monkeypatch.undo()
    time.tzset()
    forget_zone()


def test_three_streams_are_named_and_the_others_counted() -> None:
    (*_, last) = list_silent(*pick(*GIVEN), is_over=False)
    assert last == "waiting for 1 more stream"
    positions = dict.fromkeys(map(str, range(9)), "0-0")
    remarks = list_silent(positions, dict.fromkeys(positions, "0"), positions, is_over=True)
    assert remarks[2:] == [
        "no messages in '2' (empty, or misspelt)",
        "no messages in 6 more streams",
    ]


def test_streams_with_messages_get_no_remark() -> None:
    assert list_silent(*pick("busy"), is_over=True) == []


# Figures.

NOW = 1_530_403_200.0


def stats(**figures: Any) -> dict[str, Any]:
    return {
        "connected": True,
        "answered": 0.5,
        "outages": 0,
        "gaps": 0,
        "streams": {"a": {"last": "1530403197000-3"}, "b": {"last": "0-0"}},
    } | figures


def line(count: int, positions: dict[str, str], **figures: Any) -> str:
    return Monitor(lambda: stats(**figures), None, NOW - 7).line(NOW, count, positions)


def test_the_figures_show_the_connection_and_where_streams_are() -> None:
    assert line(1234, {"a": "1530403197000-3", "b": "0-0"}, answered=1.5, outages=1) == (
        "connected, last answer 1 s ago, 1 outage, 0 gaps, 1,234 messages; "
        "'a' at 1530403197000-3 (3 s old), 'b' at 0-0"
    )
    assert line(1, {"a": "1530403190000-0"}, connected=False, outages=2, gaps=1) == (
        "not connected, last answer 0 s ago, 2 outages, 1 gap, 1 message; "
        "'a' at 1530403190000-0 (10 s old, 7 s behind)"
    )


def test_before_the_first_answer_it_is_the_connection_that_counts() -> None:
    assert line(0, {}, answered=None).startswith("connected, last answer 7 s ago, ")


def test_the_figures_name_three_streams() -> None:
    assert line(0, dict.fromkeys("abcde", "0-0")).endswith("'c' at 0-0, 2 more")


def test_what_was_received_and_not_printed_yet_is_known() -> None:
    """A stream whose messages come later in a history is not silent."""
    monitor = Monitor(stats, None, NOW)
    assert monitor.newest == {"a": "1530403197000-3", "b": "0-0"}
    silent = list_silent({"a": "0-0", "b": "0-0"}, {"a": 0, "b": 0}, monitor.newest, is_over=False)
    assert silent == ["waiting for 'b' (empty, or misspelt)"]


# The file for probes.


def age_it(path: Path) -> None:
    os.utime(path, (0, 0))


def is_touched(path: Path) -> bool:
    return path.stat().st_mtime > 0


def test_the_file_is_touched_after_answers_at_most_once_a_second(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    figures = stats()
    monitor = Monitor(lambda: figures, str(path), NOW)
    assert path.read_bytes() == b""
    age_it(path)
    for now, answered, is_due in (
        (NOW + 0.9, 0.0, False),
        (NOW + 1, 0.1, True),
        # An outage: no answer since the last touch.
        (NOW + 5, 4.1, False),
        (NOW + 6, 0.1, True),
    ):
        figures["answered"] = answered
        monitor.touch(now)
        assert is_touched(path) == is_due
        age_it(path)


def test_the_file_is_not_touched_before_there_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    monitor = Monitor(lambda: stats(answered=None), str(path), NOW)
    age_it(path)
    monitor.touch(NOW + 5)
    assert not is_touched(path)


def test_the_content_and_the_mode_of_the_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    path.write_text("mine")
    path.chmod(0o600)
    age_it(path)
    Monitor(stats, str(path), NOW)
    assert is_touched(path)
    assert path.read_text() == "mine"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_named_pipe_is_touched_without_a_wait(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    age_it(path)
    Monitor(stats, str(path), NOW)
    assert is_touched(path)


def test_a_file_that_cannot_be_touched_is_reported_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monitor = Monitor(stats, str(folder / "alive"), NOW)
    (folder / "alive").unlink()
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        monitor.touch(NOW + 2)
    monitor.touch(NOW + 4)
    with pytest.raises(FileNotFoundError):
        Monitor(stats, str(folder / "alive"), NOW)
