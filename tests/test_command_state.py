"""The file of positions: there as a whole or as it was, whatever happens."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from pystreamredis.command.state import State, StateError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_no_file_holds_no_positions(path: Path) -> None:
    assert State(str(path)).positions == {}
    assert not path.exists()


def test_what_was_stored_is_loaded(path: Path) -> None:
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


def test_a_command_for_the_same_stream_is_told_of_and_the_file_is_left(path: Path) -> None:
    states = [State(str(path)) for _ in range(2)]
    states[0].store({"a": "1-0"})
    for number in range(2, 4):
        with pytest.raises(StateError, match="another command follows stream 'a', too"):
            states[1].store({"a": "0-1"})
        states[0].store({"a": f"{number}-0"})
    assert json.loads(path.read_text()) == {"a": "3-0"}
    path.unlink()  # as one does who wants to begin anew
    states[0].store({"a": "4-0"})
    assert json.loads(path.read_text()) == {"a": "4-0"}


def test_what_could_not_be_stored_for_some_time_is_stored(
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
def test_a_file_that_holds_none_is_told_and_left(path: Path, text: str) -> None:
    path.write_text(text, "latin-1")
    with pytest.raises(StateError, match=r"holds no positions .* mend it, or remove it") as caught:
        State(str(path))
    assert str(path) in str(caught.value)
    assert path.read_text("latin-1") == text


def test_a_folder_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="its folder is not there"):
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

    def told(step: str, work: Callable[..., None]) -> Callable[..., None]:
        def do(*args: object) -> None:
            steps.append(step)
            work(*args)

        return do

    monkeypatch.setattr(os, "fsync", told("sync", os.fsync))
    monkeypatch.setattr(os, "replace", told("name", os.replace))
    State(str(path)).store({"a": "1-0"})
    assert steps == ["sync", "name", "sync"]
