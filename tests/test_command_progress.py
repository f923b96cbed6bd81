"""The line of progress: what it says of how far the history is read."""

from __future__ import annotations

import pytest

from pystreamredis.command.progress import Progress, duration

NOW = 1_600_000_000.0
DAY = 86_400_000
MS = int(NOW * 1000)


def test_the_line_has_count_speed_distance_and_time_left() -> None:
    progress = Progress(NOW, until=MS)
    progress.add_sample(1000, MS - 10 * DAY, NOW + 1)
    progress.add_sample(85_000, MS - 3 * DAY, NOW + 2)
    line = progress.line(NOW + 2, 80)
    # Seven days of messages a second, and three to go.
    assert line == "85,000 messages, 84,000/s, 3 d behind, 0 s left"


def test_time_left_follows_the_speed_of_late() -> None:
    progress = Progress(NOW, until=MS)
    for second in range(30):
        # It slows down: from a day a second to an hour a second.
        pace = DAY if second < 15 else DAY // 24
        progress.add_sample(second * 100, MS - 10 * DAY + second * pace, NOW + second)
    left = MS - (MS - 10 * DAY + 29 * (DAY // 24))
    assert f"{duration(left / (DAY / 24))} left" in progress.line(NOW + 29, 80)


def test_a_limit_may_be_nearer_than_now() -> None:
    progress = Progress(NOW, until=MS, limit=3000)
    progress.add_sample(0, MS - 100 * DAY, NOW)
    progress.add_sample(1000, MS - 99 * DAY, NOW + 10)
    assert progress.line(NOW + 10, 80).endswith(", 20 s left")


def test_ids_given_by_hand_tell_no_time() -> None:
    progress = Progress(NOW, until=MS)
    progress.add_sample(10, 5, NOW + 1)
    progress.add_sample(20, 15, NOW + 2)
    assert progress.line(NOW + 2, 80) == "20 messages, 10/s"


def test_the_first_line_knows_no_time_left() -> None:
    progress = Progress(NOW, until=MS)
    progress.add_sample(500, MS - DAY, NOW + 0.5)
    assert progress.line(NOW + 0.5, 80) == "500 messages, 1,000/s, 1 d behind"


@pytest.mark.parametrize("width", range(60))
def test_the_line_fits(width: int) -> None:
    progress = Progress(NOW, until=MS)
    progress.add_sample(1000, MS - 10 * DAY, NOW + 1)
    progress.add_sample(1_234_567, MS - 9 * DAY, NOW + 2)
    line = progress.line(NOW + 2, width)
    assert len(line) <= width
    assert line.startswith("1,234,567 messages"[:width])


def test_it_is_over_once_messages_are_as_late_as_its_end() -> None:
    progress = Progress(NOW, until=MS)
    assert not progress.is_over
    progress.add_sample(1, MS - 1, NOW)
    assert not progress.is_over
    progress.add_sample(2, MS, NOW)
    assert progress.is_over


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3725, "1 h 2 min"),
        (3600 * 26 + 59, "1 d 2 h"),
        (86_400 + 59, "1 d"),
        (86_400 * 400, "400 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
