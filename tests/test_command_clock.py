"""Times of IDs, in the zone of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.command import clock
from pystreamredis.command.clock import format_time, iso_time, local_time, ms_of

MS = 1_529_416_095_111  # 2018-06-19 13:48:15.111 UTC


@pytest.fixture(autouse=True, scope="module")
def zone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        clock.forget_zone()
        yield
    time.tzset()
    clock.forget_zone()


def test_the_time_is_the_first_part_of_an_id() -> None:
    assert ms_of("1529416095111-4") == MS


def test_times_are_local() -> None:
    assert local_time(MS) == "2018-06-19 15:48:15.111"
    assert iso_time(MS) == "2018-06-19T15:48:15.111+02:00"
    assert format_time(MS, "%H:%M:%S.%f %z") == "15:48:15.111000 +0200"


def test_winter_is_known_from_summer() -> None:
    change = 1_540_688_400_000  # 2018-10-28 01:00 UTC
    assert iso_time(change - 1) == "2018-10-28T02:59:59.999+02:00"
    assert iso_time(change) == "2018-10-28T02:00:00.000+01:00"


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_those_of_datetime(ms: int) -> None:
    moment = datetime.fromtimestamp(ms // 1000).astimezone()
    expected = moment.replace(microsecond=ms % 1000 * 1000).isoformat(timespec="milliseconds")
    assert iso_time(ms) == expected
    assert local_time(ms) == expected[:23].replace("T", " ")


@pytest.mark.parametrize("ms", [2**64 - 1, 10**16])
def test_ids_that_are_no_times_are_shown_as_numbers(ms: int) -> None:
    assert local_time(ms) == iso_time(ms) == format_time(ms, "%Y") == str(ms)
