"""README.rst: what it shows is typed in, and what it says of options is compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from embedded_server import embedded_server

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
CONTRIBUTING = (ROOT / "CONTRIBUTING.rst").read_text("utf-8")
BLOCKS = blocks_of(README)
PROGRAMS = [block for block in BLOCKS if block.language == "python"]
# What is typed in one after the other, with what is done at the server in between.
SESSION = [block for block in BLOCKS if block.language in ("pycon", "console")]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with embedded_server() as url, closing(Reader("README.rst", port_of(url), tmp_path)) as reader:
        yield reader


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody whose server has all that the README adds to one."""
    folder = tmp_path_factory.mktemp("readme")
    with embedded_server() as url, closing(Reader("README.rst", port_of(url), folder)) as reader:
        for block in SESSION:
            reader.do_at_the_server(block)
        yield reader


def test_the_readme_has_what_the_tests_below_look_for() -> None:
    assert len(PROGRAMS) >= 2
    assert sum(block.language == "pycon" for block in SESSION) >= 5
    # No code block escapes the expression that finds them.
    assert README.count("code-block::") == len(BLOCKS)
    assert {block.language for block in BLOCKS} == {"python", "pycon", "console", "text"}


def test_sessions_and_commands_print_what_the_readme_shows(reader: Reader) -> None:
    for block in SESSION:
        if wrong := reader.follow(block):
            pytest.fail(wrong, pytrace=False)


def test_commands_for_contributors_are_known(reader: Reader) -> None:
    blocks = blocks_of(CONTRIBUTING)
    assert CONTRIBUTING.count("code-block::") == len(blocks) > 0
    assert [wrong for block in blocks if (wrong := reader.follow(block))] == []


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"line {block.line}")
def test_programs_run(block: Block, filled: Reader) -> None:
    wrong, printed = filled.run_program(block)
    assert not wrong
    assert ("print(message)" in block.text) == bool(printed)


def test_the_first_program_prints_the_message_shown_after_it(filled: Reader) -> None:
    program = BLOCKS.index(PROGRAMS[0])
    _, printed = filled.run_program(PROGRAMS[0])
    assert printed.startswith(BLOCKS[program + 1].text)


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
    assert {"examples/resume.py", "tests/soak/faults.py"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []
