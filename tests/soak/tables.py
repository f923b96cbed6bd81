"""What came of a campaign, in reStructuredText for the documentation.

It goes between ``.. soak: summary`` or ``.. soak: tables`` and ``.. soak: end``.
"""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING

from tests.soak.campaign import PROMISES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.soak.campaign import Report
    from tests.soak.stopwatch import Figure

_section = re.compile(r"(?<=^\.\. soak: )(\w+)\n.*?(?=^\.\. soak: end$)", re.DOTALL | re.MULTILINE)


def sections(report: Report, figures: Iterable[Figure]) -> dict[str, str]:
    """Make the sections of the documentation that are about the campaign."""
    return {
        "summary": "\n".join(_summary(report)),
        "tables": "\n".join(_tables(report, figures)),
    }


def put_into(path: Path, texts: Mapping[str, str]) -> None:
    """Put sections in the place of those of a file that are marked so.

    Raises:
        ValueError: It has none.
    """
    text, count = _section.subn(
        lambda found: f"{found[1]}\n\n{texts[found[1]]}\n", path.read_text("utf-8")
    )
    if not count:
        raise ValueError(f"{path}: found no section between '.. soak: tables' and '.. soak: end'")
    path.write_text(text, "utf-8")


def _summary(report: Report) -> list[str]:
    """Say in a sentence what came of the campaign; the tables have all the rest."""
    disordered = report.disordered + report.disordered_across
    sentence = (
        f"{report.faults.total():,} faults in {report.seconds:.0f} s on {_when_and_where()}, and "
        f"{report.ended.total():,} waits interrupted or cancelled: {report.written:,} messages "
        f"written, {report.handed:,} delivered in {report.sessions:,} sessions; {report.lost:,} "
        f"lost, {report.repeated:,} repeated, {disordered:,} out of order."
    )
    return [*wrap(sentence, 100), ""]


def _tables(report: Report, figures: Iterable[Figure]) -> list[str]:
    counts = [
        ("faults", report.faults.total()),
        ("waits interrupted or cancelled besides", report.ended.total()),
        ("messages written", report.written),
        ("messages delivered", report.handed),
        *((text, getattr(report, name)) for name, text in PROMISES.items()),
    ]
    times = [(figure.what, figure.seen, figure.limit or "none") for figure in figures]
    return [
        f"``make soak DURATION={report.seconds:.0f} SEED={report.seed}`` on {_when_and_where()}:",
        "",
        *_list_table(["what was counted", "number"], _numbers(counts)),
        *_list_table(["what was done", "times"], _numbers(sorted(report.faults.items()))),
        *_list_table(["waits that were ended besides", "times"], _numbers(report.ended.items())),
        *_list_table(["what readers reported", "times"], _numbers(report.failures.most_common())),
        *_list_table(["sessions of readers", "number"], _numbers(sorted(report.ways.items()))),
        *_list_table(["what was measured", "result", "limit"], times),
    ]


def _when_and_where() -> str:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{day} ({os.cpu_count()} cores, Python {platform.python_version()})"


def _numbers(counts: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    return [(what, f"{count:,}") for what, count in counts]


def _list_table(head: list[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for first, *others in [tuple(head), *rows]:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]
