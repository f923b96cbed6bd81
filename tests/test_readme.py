"""README.rst: what it shows is typed in, and what it says of options is compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from embedded_server import embedded_server
from sensors import Client

from tests.documents import (
    ROOT,
    Block,
    Reader,
    blocks_of,
    defaults,
    files_named,
    make_targets,
    make_targets_named,
    port_of,
    table_rows,
)

README = (ROOT / "README.rst").read_text("utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.rst").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.rst").read_text("utf-8")
BLOCKS = blocks_of(README)
PROGRAMS = [block for block in BLOCKS if block.language == "python" and not block.caption]
# Blocks to type in, one after the other.
SESSION = [block for block in BLOCKS if block.language == "console" or block.caption]
LINES = 200


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with embedded_server() as url, closing(Reader("README.rst", port_of(url), tmp_path)) as reader:
        yield reader


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Reader]:
    """Somebody whose server has the message that the README shows."""
    with embedded_server() as url, closing(Reader("README.rst", port_of(url), tmp_path)) as reader:
        with closing(Client(url)) as client:
            client.add("Stream0", "1529416095111-4", {"index": 21})
        yield reader


def follow(reader: Reader, blocks: list[Block]) -> None:
    for block in blocks:
        if wrong := reader.follow(block):
            pytest.fail(wrong, pytrace=False)


def test_the_readme_has_what_the_tests_below_look_for() -> None:
    assert PROGRAMS
    assert [block.caption for block in SESSION if block.caption] == ["collect.py"]
    # No code block escapes the expression that finds them.
    assert README.count("code-block::") == len(BLOCKS)
    assert {block.language for block in BLOCKS} == {"python", "console", "text"}
    # GitHub and PyPI drop a block with an option that docutils does not know.
    assert ":caption:" not in README


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= LINES


def test_sessions_and_commands_print_what_the_readme_shows(reader: Reader) -> None:
    follow(reader, SESSION)


@pytest.mark.parametrize("first", ["README", "tutorial"])
def test_readme_and_tutorial_work_on_one_server(first: str, tmp_path: Path) -> None:
    """In either order, each with its own folder; the sensors are stopped in between."""
    pages = [("README", SESSION), ("tutorial", blocks_of(TUTORIAL))]
    with embedded_server() as url:
        for name, blocks in pages if first == "README" else pages[::-1]:
            folder = tmp_path / name
            folder.mkdir()
            with closing(Reader(name, port_of(url), folder)) as reader:
                follow(reader, blocks)


def test_commands_for_contributors_are_known(reader: Reader) -> None:
    blocks = blocks_of(CONTRIBUTING)
    assert CONTRIBUTING.count("code-block::") == len(blocks) > 0
    assert [wrong for block in blocks if (wrong := reader.follow(block))] == []


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"line {block.line}")
def test_programs_run(block: Block, filled: Reader) -> None:
    wrong, printed = filled.run_program(block)
    assert not wrong
    assert printed == BLOCKS[BLOCKS.index(block) + 1].text


def test_the_table_has_options_and_their_defaults() -> None:
    """Contract 1.2; the documentation has all of them."""
    rows = table_rows(README)
    assert {"count", "block", "stop_on_timeout", "raise_connection_exceptions"} <= set(rows)
    assert rows.items() <= defaults().items()


def test_every_option_is_named() -> None:
    assert [name for name in defaults() if name not in README] == []


def test_commands_of_make_exist() -> None:
    assert {"demo", "test", "docs"} <= make_targets_named(README) <= make_targets()
    assert {"soak", "fuzz", "bench", "dist"} <= make_targets_named(CONTRIBUTING) <= make_targets()


def test_files_that_are_named_exist() -> None:
    named = files_named(README) | files_named(CONTRIBUTING) - {"fuzz/found"}
    assert {"examples/sensors.py", "tests/soak/faults.py"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []
