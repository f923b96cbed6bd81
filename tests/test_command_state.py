"""The file of positions: there as a whole or as it was, whatever happens."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pystreamredis.command.state import State, StateBusyError, StateError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_no_file_holds_no_positions(path: Path) -> None:
    assert State(str(path)).positions == {}
    assert not path.exists()


def test_stored_positions_are_loaded(path: Path) -> None:
    name = b"\xff".decode("utf-8", "surrogateescape")
    State(str(path)).store({"Zürich": "5-1", name: "0-0"})
    assert State(str(path)).positions == {"Zürich": "5-1", name: "0-0"}
    assert os.listdir(path.parent) == [path.name]


def test_streams_that_are_not_read_this_time_are_kept(path: Path) -> None:
    State(str(path)).store({"a": "1-0", "b": "1-0"})
    state = State(str(path))
    state.store({"b": "2-0"})
    state.store({"c": "3-0"})
    assert json.loads(path.read_text()) == {"a": "1-0", "b": "2-0", "c": "3-0"}


def test_commands_for_other_streams_leave_each_other_alone(path: Path) -> None:
    """Else each would put the other's streams back to where they were when it began."""
    first = State(str(path))
    first.store({"a": "1-0"})
    second = State(str(path))
    first.store({"a": "2-0"})
    second.store({"b": "1-0"})
    first.store({"a": "3-0"})
    assert json.loads(path.read_text()) == {"a": "3-0", "b": "1-0"}
    assert os.listdir(path.parent) == [path.name]


def test_a_command_for_the_same_stream_is_reported_and_the_file_left(path: Path) -> None:
    states = [State(str(path)) for _ in range(2)]
    states[0].store({"a": "1-0"})
    for number in range(2, 4):
        with pytest.raises(StateError, match="another command follows stream 'a', too"):
            states[1].store({"a": "0-1"})
        states[0].store({"a": f"{number}-0"})
    assert json.loads(path.read_text()) == {"a": "3-0"}
    path.unlink()  # to start over
    states[0].store({"a": "4-0"})
    assert json.loads(path.read_text()) == {"a": "4-0"}


def test_a_store_that_failed_for_some_time_succeeds_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(str(path))
    state.store({"a": "1-0"})
    with monkeypatch.context() as full:
        full.setattr("os.replace", Mock(side_effect=OSError(28, "No space left on device")))
        for number in range(2, 5):
            with pytest.raises(StateError, match="No space left"):
                state.store({"a": f"{number}-0"})
    state.store({"a": "5-0"})
    assert json.loads(path.read_text()) == {"a": "5-0"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interruption_is_not_taken_for_another_command(
    path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, replace = State(str(path)), os.replace
    state.store({"a": "1-0"})

    def interrupted(*paths: str) -> None:
        if when == "after":
            replace(*paths)
        raise KeyboardInterrupt

    with monkeypatch.context() as interruption:
        interruption.setattr("os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            state.store({"a": "2-0"})
    state.store({"a": "3-0"})
    assert State(str(path)).positions == {"a": "3-0"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"a": 5}',
        '{"a": null}',
        '{"a": "5"}',
        '{"a": "x-1"}',
        '{"a": "$"}',
        '{"a": "1-18446744073709551616"}',
        '{"a": "1-0"} {}',
        "\xff",
    ],
)
def test_a_file_without_positions_is_reported_and_left(path: Path, text: str) -> None:
    path.write_text(text, "latin-1")
    with pytest.raises(StateError, match=r"holds no positions .* fix the file") as caught:
        State(str(path))
    assert str(path) in str(caught.value)
    assert path.read_text("latin-1") == text


def test_a_missing_folder_is_reported_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"the folder .*/none does not exist"):
        State(str(tmp_path / "none" / "state"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="Is a directory"):
        State(str(tmp_path))


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    State(str(link)).store({"a": "1-0"})
    assert link.is_symlink()
    assert State(str(path)).positions == {"a": "1-0"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_store_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    state = State(str(path))
    state.store({"a": "1-0"})
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(StateError, match="No space left on device"):
            state.store({"a": "2-0"})
    assert State(str(path)).positions == {"a": "1-0"}
    state.store({"b": "1-0"})
    assert State(str(path)).positions == {"a": "1-0", "b": "1-0"}


def test_the_new_file_is_on_the_disk_before_it_has_the_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    State(str(path)).store({"a": "0-1"})

    def noted(step: str, work: Callable[..., None]) -> Callable[..., None]:
        def do(*args: object) -> None:
            steps.append(step)
            work(*args)

        return do

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(os, "replace", noted("name", os.replace))
    State(str(path)).store({"a": "1-0"})
    assert steps == ["sync", "name", "sync"]


# Planted links, modes, leftovers.


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_planted_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = [tmp_path / f"state.json{end}" for end in (".new", ".lock", ".tmp", "~")]
    for link in planted:
        link.symlink_to(victim)
    State(str(path)).store({"a": "1-0"})
    assert victim.read_text() == "precious"
    assert all(link.is_symlink() for link in planted)
    assert not path.is_symlink()


def test_a_link_under_the_very_name_of_the_temporary_file_is_not_followed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    numbers = [bytes(8), bytes(8), *(bytes([number] * 8) for number in range(1, 9))]
    monkeypatch.setattr(os, "urandom", lambda size: numbers.pop(0))
    (tmp_path / f"state.json.{bytes(8).hex()}.new").symlink_to(victim)
    State(str(path)).store({"a": "1-0"})
    assert victim.read_text() == "precious"
    assert State(str(path)).positions == {"a": "1-0"}
    assert len(numbers) < 8  # the planted name was tried


def test_names_of_temporary_files_cannot_be_foreseen(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    replace = os.replace

    def note(source: str, target: str) -> None:
        names.append(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    state = State(str(path))
    for number in range(4):
        state.store({"a": f"{number}-1"})
    assert len(set(names)) == 3  # after the first one, which needs no replacing


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400, 0o666])
def test_the_mode_of_the_file_is_kept(path: Path, mode: int) -> None:
    path.write_text("{}")
    path.chmod(mode)
    State(str(path)).store({"a": "1-0"})
    assert mode_of(path) == mode
    assert State(str(path)).positions == {"a": "1-0"}


def test_a_new_file_is_private(path: Path) -> None:
    umask = os.umask(0)
    try:
        state = State(str(path))
        state.store({"a": "1-0"})
        assert mode_of(path) == 0o600
        state.store({"a": "2-0"})
        assert mode_of(path) == 0o600
    finally:
        os.umask(umask)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_of_the_file_is_kept(path: Path) -> None:
    path.write_text("{}")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    State(str(path)).store({"a": "1-0"})
    found = path.stat()
    assert (found.st_uid, found.st_gid, mode_of(path)) == (12345, 23456, 0o640)


def test_a_group_that_cannot_be_kept_gets_no_access(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("{}")
    path.chmod(0o664)
    group = path.stat().st_gid
    fstat = os.fstat

    def fstat_of_another_group(handle: int) -> os.stat_result:
        fields = list(fstat(handle))
        fields[stat.ST_GID] = group + 1
        return os.stat_result(fields)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat_of_another_group)
        patch.setattr(os, "fchown", Mock(side_effect=PermissionError(1, "not permitted")))
        State(str(path)).store({"a": "1-0"})
    assert mode_of(path) == 0o604


def test_leftovers_of_killed_commands_are_removed(path: Path, tmp_path: Path) -> None:
    old = [tmp_path / f"state.json.{'0a' * 8}.new", tmp_path / f"state.json.{'1b' * 8}.new"]
    others = [
        tmp_path / f"state.json.{'2c' * 8}.new",  # of a command that runs now
        tmp_path / "state.json.new",
        tmp_path / f"other.json.{'0a' * 8}.new",
        tmp_path / f"state.json.{'zz' * 8}.new",
    ]
    for leftover in old + others:
        leftover.touch()
        os.utime(leftover, (1, 1))
    os.utime(others[0])
    State(str(path))
    assert {Path(name) for name in map(str, tmp_path.iterdir())} == set(others)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_store_that_fails_leaves_no_temporary_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    state = State(str(path))
    state.store({"a": "1-0"})
    monkeypatch.setattr(os, step, Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        state.store({"a": "2-0"})
    assert os.listdir(path.parent) == [path.name]


def test_a_link_is_written_through_to_the_place_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "state"
    link.symlink_to(Path("../real/state"))  # which is not there yet
    State(str(link)).store({"a": "1-0"})
    State(str(link)).store({"a": "2-0"})
    assert os.readlink(link) == "../real/state"
    assert os.listdir(tmp_path / "real") == ["state"]
    assert os.listdir(tmp_path / "links") == ["state"]


def test_a_read_only_folder_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the folder's mode is of no use here.
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != str(path.parent))
    with pytest.raises(StateError, match=r"the folder .* is not writable; it must be, because"):
        State(str(path))


def test_a_pipe_is_no_file(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StateError, match="is not a regular file"):
        State(str(path))


def test_the_folder_may_be_one_that_cannot_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def open_no_folder(name: str, flags: int, mode: int = 0o777) -> int:
        if os.path.isdir(name):
            raise PermissionError(13, "Permission denied")
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", open_no_folder)
    monkeypatch.setattr(os, "listdir", Mock(side_effect=PermissionError(13, "Permission denied")))
    state = State(str(path))
    state.store({"a": "1-0"})
    state.store({"a": "2-0"})
    assert State(str(path)).positions == {"a": "2-0"}


# Commands that share a file.

# Stores many positions of one stream; without what is named first, as on other systems.
_STORE_MANY = """
import os, sys
for name in sys.argv[4:]:
    if name == "link":
        del os.link
    else:
        sys.modules[name] = None
from pystreamredis.command.state import State
os.fsync = lambda handle: None
path, stream, count = sys.argv[1:4]
state = State(path)
sys.stdin.read(1)
for number in range(1, int(count) + 1):
    state.store({stream: f"{number}-0"})
"""


@pytest.mark.parametrize("missing", [[], ["fcntl"], ["link"], ["fcntl", "link"]])
def test_commands_that_share_a_file_lose_nothing(path: Path, missing: list[str]) -> None:
    names = [f"s{number}" for number in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _STORE_MANY, str(path), name, "100", *missing],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    assert json.loads(path.read_text()) == dict.fromkeys(names, "100-0")
    assert os.listdir(path.parent) == [path.name]


def without_fcntl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystreamredis.command.locking.fcntl", None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by sleeping only; the list has the pauses."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + sum(pauses))
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def test_the_lock_file_of_a_killed_command_is_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    without_fcntl(monkeypatch)
    lock = path.parent / f"{path.name}.lock"
    lock.touch()
    path.write_text("{}")
    State(str(path)).store({"a": "1-0"})
    assert sum(clock) > 5  # it might have been of a command that was at work
    assert os.listdir(path.parent) == [path.name]


def test_lock_files_that_change_are_of_commands_at_work(
    path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    without_fcntl(monkeypatch)
    lock = path.parent / f"{path.name}.lock"
    lock.touch()
    path.write_text("{}")
    sleep = clock.append

    def replace_lock(seconds: float) -> None:
        sleep(seconds)
        os.utime(lock, (1, len(clock)))

    monkeypatch.setattr(time, "sleep", replace_lock)
    with pytest.raises(StateError, match="another program does not release its lock"):
        State(str(path)).store({"a": "1-0"})
    assert lock.exists()


def test_a_lock_that_is_never_released_is_reported(path: Path, clock: list[float]) -> None:
    state = State(str(path))
    state.store({"a": "1-0"})
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StateBusyError, match="another program does not release its lock"):
            state.store({"a": "2-0"})
    state.store({"a": "3-0"})
    assert State(str(path)).positions == {"a": "3-0"}


@pytest.mark.parametrize("lacks", ["fcntl", "link", "both", "nothing"])
def test_a_new_file_never_lacks_its_content(
    path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """A command that is killed at any moment leaves positions, or no file."""
    seen: list[str] = []
    for name in ("fsync", "link", "replace", "unlink", "open"):
        step = getattr(os, name)

        def look(*arguments: Any, step: Callable[..., Any] = step, **options: Any) -> Any:
            if path.exists():
                seen.append(path.read_text())
            done = step(*arguments, **options)
            if path.exists():
                seen.append(path.read_text())
            return done

        monkeypatch.setattr(os, name, look)
    if lacks in ("fcntl", "both"):
        without_fcntl(monkeypatch)
    if lacks in ("link", "both"):
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EPERM, "no links here")))
    State(str(path)).store({"a": "1-0"})
    assert seen
    assert {tuple(json.loads(text).items()) for text in seen} == {(("a", "1-0"),)}
    assert os.listdir(path.parent) == [path.name]


def test_a_link_that_was_planted_since_is_not_followed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(str(path))
    victim = path.parent / "victim"
    victim.write_text('{"a": "9-9"}')
    path.symlink_to(victim)
    with pytest.raises(StateError, match="Too many levels of symbolic links"):
        state.store({"a": "1-0"})
    assert victim.read_text() == '{"a": "9-9"}'
    path.unlink()
    path.symlink_to(path.parent / "missing")
    with pytest.raises(StateError):
        state.store({"a": "1-0"})
    without_fcntl(monkeypatch)
    state.store({"a": "1-0"})
    assert not (path.parent / "missing").exists()
    assert not path.is_symlink()


def test_a_file_that_is_removed_meanwhile_is_created(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(str(path))
    state.store({"a": "1-0"})
    flock = fcntl.flock

    def remove_first(handle: int, operation: int) -> None:
        path.unlink(missing_ok=True)
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    state.store({"a": "2-0"})
    assert json.loads(path.read_text()) == {"a": "2-0"}


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_another_command_creates_meanwhile_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    link = os.link

    def come_second(source: str, target: str) -> None:
        monkeypatch.setattr(os, "link", link)
        State(str(path)).store({"b": "1-0"})
        if not has_links:
            raise OSError(errno.EPERM, "no links here")
        link(source, target)

    monkeypatch.setattr(os, "link", come_second)
    State(str(path)).store({"a": "1-0"})
    assert json.loads(path.read_text()) == {"a": "1-0", "b": "1-0"}


def test_a_file_is_created_under_a_lock_where_there_are_no_links(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = note_lock_files(path, monkeypatch)
    monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EPERM, "no links here")))
    State(str(path)).store({"a": "1-0"})
    assert held == [["state.json.lock"]]
    assert os.listdir(path.parent) == [path.name]


def test_the_lock_is_on_the_file_that_is_there_by_then(
    path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """Another command replaces the file between its opening and the lock."""
    path.write_text("{}")
    flock, replace = fcntl.flock, os.replace

    def come_late(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        State(str(path)).store({"b": "1-0"})
        monkeypatch.setattr(os, "replace", expect_the_lock)
        flock(handle, operation)

    def expect_the_lock(source: str, target: str) -> None:
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(StateBusyError):
            State(str(path)).store({"c": "1-0"})
        replace(source, target)

    monkeypatch.setattr(fcntl, "flock", come_late)
    State(str(path)).store({"a": "1-0"})
    assert json.loads(path.read_text()) == {"a": "1-0", "b": "1-0"}


def test_a_file_that_comes_and_goes_ends_no_command_for_good(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", Mock(side_effect=FileExistsError(errno.EEXIST, "exists")))
    with pytest.raises(StateBusyError, match="other programs remove and create it"):
        State(str(path)).store({"a": "1-0"})


def note_lock_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list that will have the lock files that are there at each replacement."""
    held: list[list[str]] = []
    replace = os.replace

    def note(source: str, target: str) -> None:
        held.append([name for name in os.listdir(path.parent) if name.endswith(".lock")])
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    return held


def test_a_file_system_without_locks_has_a_lock_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = note_lock_files(path, monkeypatch)
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks")))
    path.write_text("{}")
    State(str(path)).store({"a": "1-0"})
    assert held == [["state.json.lock"]]
    assert os.listdir(path.parent) == [path.name]


def test_no_descriptor_is_left_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(str(path))
    state.store({"a": "1-0"})
    before = os.listdir("/proc/self/fd")
    for number in range(2, 5):
        state.store({"a": f"{number}-0"})
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", Mock(side_effect=OSError(28, "No space left on device")))
            with pytest.raises(StateError):
                state.store({"a": "9-0"})
    assert len(os.listdir("/proc/self/fd")) == len(before)
