"""Remarks on stderr, and a line of progress that is erased before anything else."""

from __future__ import annotations

import logging

import pytest

from pystreamredis.command.diagnostics import Diagnostics
from pystreamredis.escaping import escape


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("pystreamredis", level, "", 0, "%s", (text,), None)


def test_a_remark_is_a_line_that_no_terminal_obeys(capfd: pytest.CaptureFixture[str]) -> None:
    Diagnostics().report("refused: \x1b[2J\nha")
    assert capfd.readouterr().err == "pystreamredis: refused: \\x1b[2J\\nha\n"


@pytest.mark.parametrize("unsafe", ["\u200f", "\u061c", "\u200b", "\U000e0041", "\udcff", "\u202e"])
def test_a_remark_shows_characters_that_would_not_be_seen(
    unsafe: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Diagnostics().report(f"refused: {unsafe}ha")
    assert capfd.readouterr().err == f"pystreamredis: refused: {escape(unsafe)}ha\n"


def test_a_remark_erases_the_line_of_progress(capfd: pytest.CaptureFixture[str]) -> None:
    diagnostics = Diagnostics()
    diagnostics.show(lambda width: "x" * min(width, 5))
    diagnostics.report("lost")
    diagnostics.erase()
    assert capfd.readouterr().err == "\r\x1b[Kxxxxx\r\x1b[Kpystreamredis: lost\n"


def test_the_line_leaves_the_last_column_free(capfd: pytest.CaptureFixture[str]) -> None:
    widths: list[int] = []

    def line(width: int) -> str:
        widths.append(width)
        return ""

    Diagnostics().show(line)
    assert widths == [79]  # stderr is not a terminal here


def test_failures_are_reported_after_the_first_connection(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before that a failure ends the command, and is reported as its end."""
    diagnostics = Diagnostics()
    diagnostics.emit(record(logging.WARNING, "cannot connect"))
    diagnostics.emit(record(logging.INFO, "connected"))
    assert capfd.readouterr().err == ""
    assert diagnostics.has_connected
    diagnostics.emit(record(logging.WARNING, "lost"))
    diagnostics.emit(record(logging.INFO, "connected after an outage"))
    assert capfd.readouterr().err == (
        "pystreamredis: lost\npystreamredis: connected after an outage\n"
    )


def test_a_missing_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    Diagnostics().report("lost")
