"""The follower of documents: what is not as a page shows it is found out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from embedded_server import embedded_server

from tests.documents import PORT, Compose, Reader, blocks_of, commands_of, files_named, port_of


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder: Path = tmp_path_factory.mktemp("page")
    with embedded_server() as url, closing(Reader("page.rst", port_of(url), folder)) as reader:
        yield reader


def follow(reader: Reader, page: str) -> str:
    return "".join(reader.follow(block) for block in blocks_of(page))


def block(language: str, *lines: str) -> str:
    return f".. code-block:: {language}\n\n" + "".join(f"    {line}\n" for line in lines) + "\n"


def test_blocks_are_found_with_captions_and_lines() -> None:
    page = "Text\n\n.. code-block:: python\n   :caption: a.py\n\n    a\n\n      b\n\nText\n"
    (found,) = blocks_of(page)
    assert (found.language, found.caption, found.text, found.line) == (
        "python",
        "a.py",
        "a\n\n  b\n",
        5,
    )


def test_commands_are_found_with_what_is_shown_below() -> None:
    page = block("console", "$ one \\", "  more", "shown", "^C", "then", "$ two")
    commands = commands_of(blocks_of(page)[0])
    assert [command.line for command in commands] == ["one   more", "two"]
    assert [command.shown for command in commands] == ["shown\n", ""]
    assert [command.interrupt for command in commands] == ["^C\n", ""]
    assert [command.shown_then for command in commands] == ["then\n", ""]


RIGHT = [
    block("pycon", ">>> 1 + 1", "2"),
    block("pycon", ">>> a = 1", ">>> a", "1"),
    block("console", "$ echo a b; echo c", "a ...", "c"),
    block("console", "$ echo a; sleep 60", "a", "^C"),
    block("console", "$ (echo a; sleep 60) & sleep 2; kill -KILL $!", "a"),
    block(
        "console",
        "$ (trap 'echo b; exit' TERM; echo a; while :; do sleep 0.1; done) & "
        "sleep 2; kill -TERM $!; wait",
        "a",
        "b",
    ),
    block("console", "$ make test"),
    block("console", "$ NAME=value make test ARGS=x"),
    block("console", "$ redis-cli XADD s 1-0 a b"),
    block("python", "print(1)"),
    block("text", "$ false"),
]
WRONG = [
    block("pycon", ">>> 1 + 1", "3"),
    block("pycon", ">>> unknown_name"),
    block("console", "$ echo a", "b"),
    block("console", "$ echo a"),
    block("console", "$ true", "a"),
    block("console", "$ echo a; false", "a"),
    block("console", "$ echo b", "a", "^C"),
    block("console", "$ trap 'echo Traceback; exit' INT; echo a; sleep 60", "a", "^C"),
    block("console", "$ make no-such-target"),
    block("python", "raise SystemExit(1)"),
    block("python", "import warnings; warnings.warn('x')"),
]


@pytest.mark.parametrize("page", RIGHT)
def test_what_is_so_passes(page: str, reader: Reader) -> None:
    assert follow(reader, page) == ""


@pytest.mark.parametrize("page", WRONG)
def test_what_is_not_so_is_reported(page: str, reader: Reader) -> None:
    assert "page.rst" in follow(reader, page)


def test_what_the_server_refuses_is_an_error(reader: Reader) -> None:
    with pytest.raises(OSError, match="refused"):
        follow(reader, block("console", "$ redis-cli XADD s 0-0 a b"))


def test_a_file_is_written_and_run_at_the_port_of_the_server(reader: Reader) -> None:
    file = ".. code-block:: python\n   :caption: port.py\n\n    print(6379 != 0, 6379)\n\n"
    assert follow(reader, file + block("console", "$ python port.py", "True 6379")) == ""


def test_what_runs_in_a_terminal_of_its_own_does_not_hold_up(reader: Reader) -> None:
    page = block("console", "$ echo up; sleep 60", "up").replace("\n\n", "\n   :caption: there\n\n")
    assert follow(reader, page + block("console", "$ echo down", "down")) == ""


def test_what_pip_cannot_install_is_reported(reader: Reader) -> None:
    assert "no-such-folder" in follow(reader, block("console", "$ pip install ./no-such-folder"))


def docker_that_says(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for Docker before any other; return where it notes what it is told."""
    (folder / "docker").write_text(f"#!/bin/sh\ncd {folder}\n{script}\n", "utf-8")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "log"


def test_compose_runs_under_a_name_of_its_own_and_is_put_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = 'echo "$COMPOSE_PROJECT_NAME $REDIS_PORT $*" >> log; [ "$2" != wrong ]'
    log = docker_that_says(tmp_path, note, monkeypatch)
    compose = Compose()
    assert compose.run("docker compose up --wait") == ""
    assert compose.run("docker compose wrong").startswith("docker compose wrong: ")
    compose.close()
    compose.close()
    told = [line.split(" ", 2) for line in log.read_text("utf-8").splitlines()]
    commands = [line for _, _, line in told if line != "compose ls"]
    assert commands == ["compose up --wait", "compose wrong", "compose down"]
    project, port, _ = told[1]
    assert project.startswith("pystreamredis-")
    assert port not in {"", PORT}
    assert compose.not_run == []


def test_without_an_engine_compose_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = docker_that_says(tmp_path, 'echo "$*" >> log; false', monkeypatch)
    compose = Compose()
    assert compose.run("docker compose up --wait") == ""
    compose.close()
    assert log.read_text("utf-8") == "compose ls\n"
    assert compose.not_run == ["docker compose up --wait"]


def test_files_are_found_in_text_but_not_in_links_to_elsewhere() -> None:
    text = "``examples/resume.py``, `docs <docs/index.rst>`__, https://docs.example/docs/x/y"
    assert files_named(text) == {"examples/resume.py", "docs/index.rst"}
