"""The campaign in short; `make soak` is the long one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.soak.campaign import Report, Setup, run
from tests.soak.faults import RIGHTS
from tests.soak.stopwatch import Figure
from tests.soak.tables import put_into, sections

# What has to be among what readers did, for the rest to count.
WAYS = {
    "failures raised",
    "failures handed over",
    "a server without '+'",
    "a stream from now, empty",
    "TLS",
    "TCP",
    "RESP2",
    "RESP3",
    "blocking",
    "asyncio",
}


def test_nothing_is_lost_repeated_or_out_of_order_whatever_happens() -> None:
    """Contract 2.3, 2.4, 3, 5: over faults of every kind, on every kind of server."""
    report = run(Setup(seconds=15, seed="short", readers=2, rate=2000))
    assert report.is_good, str(report)
    assert report.faults.total() >= 60, str(report)
    assert report.handed > 10_000, str(report)
    assert set(report.ways) >= WAYS, str(report)


def test_readers_log_in_with_no_more_rights_than_the_readme_gives() -> None:
    """Contract 6.1: XREAD on the keys, and so that is enough for all that the campaign does."""
    text = Path(__file__).parent.parent.joinpath("README.rst").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if "ACL SETUSER" in line]
    rules = shlex.split(line)[5:]
    assert rules[:3] == ["on", ">secret", "resetkeys"]
    assert [rule for rule in rules[3:] if rule[0] != "~"] == ["+xread"]
    assert [rule for rule in RIGHTS if rule[0] != "~"] == ["on", "+xread"]


TEXT = """\
before

.. soak: {name}

old
.. soak: end

after
"""


@pytest.mark.parametrize("name", ["summary", "tables"])
def test_the_figures_go_into_the_documentation(name: str, tmp_path: Path) -> None:
    """Between the comments, in the place of those from before, as often as one likes."""
    report = Report("a seed", 5.0, written=1234567)
    report.faults["server: kill -9"] = 42
    texts = sections(report, [Figure("a wait", "7 ms", "9 ms", True)])
    path = tmp_path / "README.rst"
    path.write_text(TEXT.format(name=name), "utf-8")
    put_into(path, texts)
    written = path.read_text("utf-8")
    assert written.startswith(f"before\n\n.. soak: {name}\n\n")
    assert written.endswith("\n.. soak: end\n\nafter\n")
    assert "\nold\n" not in written
    assert all(text in written for text in ("1,234,567", "42", "kill -9"))
    put_into(path, texts)
    assert path.read_text("utf-8") == written
    path.write_text("nothing", "utf-8")
    with pytest.raises(ValueError, match="no section"):
        put_into(path, texts)
