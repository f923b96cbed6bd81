"""Signs of life for operators: remarks on silent streams."""

from __future__ import annotations

from pystreamredis.command.monitoring import list_silent

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
