"""Output: what is out as a whole, whenever a write comes to its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystreamredis.command.output import Output
from pystreamredis.command.signals import can_write

LONG = 60.0


class Pipe:
    """A pipe that is read by `take` only."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def take(self) -> bytes:
        """Take all that is in it."""
        os.set_blocking(self.reading, False)
        taken = b""
        try:
            while data := os.read(self.reading, 65536):
                taken += data
        except BlockingIOError:
            pass
        os.set_blocking(self.reading, True)
        return taken

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            try:
                os.close(fd)
            except OSError:
                pass  # the test has closed it


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def until_full(fd: int) -> bool:
    """Stands for a signal that comes as soon as a write would block."""
    return can_write(fd, 0.001)


def lines_of(size: int, count: int) -> list[str]:
    """Lines of that many bytes, no two alike."""
    return [f"{index:0{size - 1}}\n" for index in range(count)]


def test_lines_come_out_as_they_are(pipe: Pipe) -> None:
    output = Output(pipe.writing, until_full)
    lines = ["a\n", "Zürich\n", "\udcff\n", ""]
    assert output.write(lines) == 4
    assert pipe.take() == b"a\nZ\xc3\xbcrich\n\xff\n"
    assert not output.has_ended


@pytest.mark.parametrize("size", [2, 100, 1000, 4096])
def test_a_full_pipe_ends_between_two_lines(pipe: Pipe, size: int) -> None:
    output = Output(pipe.writing, until_full)
    lines = lines_of(size, 200_000 // size)
    sent = output.write(lines)
    assert 0 < sent < len(lines)
    assert pipe.take().decode() == "".join(lines[:sent])
    assert not output.has_ended


@pytest.mark.parametrize("size", [5000, 50_000, 1_000_000])
def test_a_line_that_fits_nowhere_is_not_counted(
    pipe: Pipe, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pystreamredis.command.output.LINE_GRACE", 0.05)
    output = Output(pipe.writing, until_full)
    lines = lines_of(size, 1 + 200_000 // size)
    sent = output.write(lines)
    taken = pipe.take().decode()
    assert "".join(lines).startswith(taken)
    assert sent == taken.count("\n") < len(lines)


def test_a_line_that_is_begun_is_ended_where_somebody_reads(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal comes amid a line, and the reader goes on."""
    monkeypatch.setattr("pystreamredis.command.output.LINE_GRACE", LONG)
    waits: list[int] = []

    def twice(fd: int) -> bool:
        waits.append(fd)
        return len(waits) <= 2

    taken: list[bytes] = []
    lines = ["a" * 300_000 + "\n", "b\n"]
    reader = threading.Thread(target=lambda: taken.append(read_all(pipe.reading)))
    reader.start()
    sent = Output(pipe.writing, twice).write(lines)
    os.close(pipe.writing)
    reader.join(LONG)
    assert sent == 1
    assert taken[0].decode() == lines[0]


def read_all(fd: int) -> bytes:
    taken = b""
    while data := os.read(fd, 65536):
        taken += data
    return taken


def test_all_gets_through_a_pipe_that_is_read(pipe: Pipe) -> None:
    taken: list[bytes] = []
    lines = [*lines_of(70, 5000), *lines_of(9000, 50), "\n", "x" * 100_000 + "\n"]
    reader = threading.Thread(target=lambda: taken.append(read_all(pipe.reading)))
    reader.start()
    assert Output(pipe.writing, lambda fd: can_write(fd, LONG)).write(lines) == len(lines)
    os.close(pipe.writing)
    reader.join(LONG)
    assert taken[0].decode() == "".join(lines)


def test_a_reader_that_goes_is_noticed_without_writing(pipe: Pipe) -> None:
    output = Output(pipe.writing, until_full)
    assert not output.has_ended
    os.close(pipe.reading)
    assert output.has_ended
    assert output.failure is None


def test_a_reader_that_is_gone_is_no_failure(pipe: Pipe) -> None:
    output = Output(pipe.writing, until_full)
    os.close(pipe.reading)
    assert output.write(["a\n"]) == 0
    assert output.is_gone
    assert output.has_ended
    assert output.failure is None


def test_a_full_disk_is_a_failure() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    output = Output(fd, until_full)
    assert output.write(["a\n"]) == 0
    assert output.failure is not None
    assert output.failure.strerror == "No space left on device"
    os.close(fd)


def test_files_are_written_whatever_signals_say(tmp_path: Path) -> None:
    """They never block; what was formatted may as well be there."""
    path = tmp_path / "out"
    with open(path, "wb") as file:
        output = Output(file.fileno(), never)
        assert output.is_empty
        assert output.write(lines_of(100, 1000)) == 1000
        assert not output.is_empty
        output.sync()
    assert path.stat().st_size == 100_000


def never(fd: int) -> bool:
    return False


def test_part_of_a_file_counts_for_what_is_there_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    lines = ["ab\n", "Zü\n", "cd\n"]
    monkeypatch.setattr(os, "write", full_after(6, os.write))
    with open(path, "wb") as file:
        output = Output(file.fileno(), never)
        assert output.write(lines) == 1
    assert output.failure is not None
    assert path.read_bytes() == "".join(lines).encode()[:6]


def full_after(
    size: int, write: Callable[[int, memoryview], int]
) -> Callable[[int, memoryview], int]:
    left = size

    def limited(fd: int, data: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        written = write(fd, data[:left])
        left -= written
        return written

    return limited


def test_what_kind_of_file_it_is(pipe: Pipe, tmp_path: Path) -> None:
    assert Output(pipe.writing, never).is_pipe
    assert Output(pipe.writing, never).is_empty
    terminal, end = os.openpty()
    assert Output(end, never).is_terminal
    os.close(terminal)
    os.close(end)
    null = os.open(os.devnull, os.O_WRONLY)
    output = Output(null, never)
    assert [output.is_pipe, output.is_terminal, output.is_file] == [False] * 3
    assert output.write(["a\n"]) == 1
    output.sync()
    os.close(null)
