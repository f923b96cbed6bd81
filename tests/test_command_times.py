"""START and TIME: points in time as people type them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pystreamredis.command.times import is_ago, parse_start, parse_time

NOW = 1_530_403_200.0  # 2018-07-01 00:00 UTC
MS = 1_530_403_200_000


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Far from UTC, and with a summer time."""
    monkeypatch.setenv("TZ", "NZST-12NZDT,M9.5.0,M4.1.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "1530403200000",
        "1529416095111-4",
        "0-0",
        "+",
        "2018-7",
        "2018-13",
        "1899-12",
        "20181301",
        "20180701-0",
        "2018",
    ],
)
def test_starts_of_the_contract_stay_as_they_are(text: str) -> None:
    """Contract 2.2: digits are ms, and two numbers an ID."""
    assert parse_start(text, NOW) == text


@pytest.mark.parametrize("text", ["$", "now"])
def test_a_start_from_now_on_is_left_to_the_server(text: str) -> None:
    """Contract 2.2."""
    assert parse_start(text, NOW) is None


def test_the_end_may_be_now() -> None:
    assert parse_time("now", NOW) == MS


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("-15m", MS - 15 * 60_000),
        ("-2h", MS - 2 * 3_600_000),
        ("-7d", MS - 7 * 86_400_000),
        ("-1d12h", MS - 36 * 3_600_000),
        ("-2w", MS - 14 * 86_400_000),
        ("-1w", MS - 7 * 86_400_000),
        ("-0s", MS),
        # Midnight in the local zone.
        ("today", MS - 12 * 3_600_000),
        ("yesterday", MS - 36 * 3_600_000),
        ("-99999w", 0),
        ("2018-07-01T00:00Z", MS),
        ("2018-07-01T00:00:00z", MS),
        ("2018-07-01T02:00+02:00", MS),
        ("2018-07-01 02:00:00.250+02:00", MS + 250),
        ("2018-07", MS - 12 * 3_600_000),
        ("20180701", MS - 12 * 3_600_000),
        ("20180701T1200", MS),
        # In the local zone, in winter and in summer.
        ("2018-07-01T12:00", MS),
        ("2018-07-01", MS - 12 * 3_600_000),
        ("2018-01-01T13:00", 1_514_764_800_000),
        ("1530403200000", MS),
    ],
)
def test_times_are_read(text: str, ms: int) -> None:
    assert parse_time(text, NOW) == ms
    assert parse_start(text, NOW) in (ms, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "Today",
        "tomorrow",
        "15m",
        "-15",
        "-m",
        "-1.5h",
        "- 1h",
        "2018-13-01",
        "20180231",
        "18:00",
        "²",
        "1969-12-31",
        "+1",
    ],
)
def test_other_text_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match="expected <ms>, an ISO date"):
        parse_time(text, NOW)
    with pytest.raises(ValueError, match="expected <ms>, an ISO date"):
        parse_start(text, NOW)


def test_an_error_lists_the_kinds_of_starts() -> None:
    with pytest.raises(ValueError, match=r"yesterday, or \$, \+ or <ms>-<sequence>$"):
        parse_start("5-1-1", NOW)


def test_an_id_is_no_end() -> None:
    with pytest.raises(ValueError, match=r"'5-1', expected <ms>.*or yesterday$"):
        parse_time("5-1", NOW)


@pytest.mark.parametrize("text", [str(2**64), f"{2**64}-0", f"0-{2**64}", "1" * 5000])
def test_numbers_of_more_than_64_bits_are_reported(text: str) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match=r"2\*\*64 - 1|neither '<ms>' nor"):
        parse_start(text, NOW)


@pytest.mark.parametrize("year", ["0001-01-01", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar_raise_nothing_else(year: str) -> None:
    try:
        assert parse_time(year, NOW) > MS
    except ValueError as error:
        assert year in str(error)  # noqa: PT017


def test_a_time_ago_is_distinguished_from_an_option() -> None:
    assert is_ago("-15m")
    assert not is_ago("--until")
    assert not is_ago("-e")
