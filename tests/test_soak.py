"""The campaign in short; `make soak` is the long one."""

from __future__ import annotations

from tests.soak.campaign import Setup, run


def test_nothing_is_lost_repeated_or_out_of_order_whatever_happens() -> None:
    """Contract 2.3, 2.4, 3, 5: over faults of every kind, on every kind of server."""
    report = run(Setup(seconds=15, seed="short", readers=2, rate=2000))
    assert report.is_good, str(report)
    assert report.faults.total() >= 60, str(report)
    assert report.handed > 10_000, str(report)
