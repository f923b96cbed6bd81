"""docs/: each page is followed from top to bottom, on a server of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from embedded_server import embedded_server

import pystreamredis
from pystreamredis import exceptions, protocol
from pystreamredis.core.merge import next_batch, release
from pystreamredis.core.stream import StreamState
from tests.certificates import Authority
from tests.documents import (
    ROOT,
    TLS_PORT,
    Reader,
    blocks_of,
    defaults,
    files_named,
    make_targets,
    make_targets_named,
    port_of,
    table_rows,
    tls_in_front_of,
)

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.rst"))}
TEXTS = {name: path.read_text("utf-8") for name, path in PAGES.items()}
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture
def reader(page: str, tmp_path: Path) -> Iterator[Reader]:
    with embedded_server() as url:
        port = port_of(url)
        has_tls = TLS_PORT in TEXTS[page]
        with (
            tls_in_front_of(port, Authority(tmp_path)) if has_tls else nullcontext(0) as tls_port,
            closing(Reader(page, port, tmp_path, tls_port)) as reader,
        ):
            yield reader


@pytest.fixture(autouse=True)
def unchanged_logger() -> Iterator[None]:
    logger = logging.getLogger("pystreamredis")
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize("page", [page for page in PAGES if "code-block::" in TEXTS[page]])
def test_what_a_page_shows_is_so(page: str, reader: Reader) -> None:
    for block in blocks_of(TEXTS[page]):
        if wrong := reader.follow(block):
            pytest.fail(wrong, pytrace=False)
    if reader.not_run:
        pytest.skip(f"no Docker engine for these alone: {reader.not_run}")


@each_page
def test_no_code_block_escapes_the_expression_that_finds_them(page: str) -> None:
    text = TEXTS[page]
    blocks = blocks_of(text)
    assert text.count("code-block::") == len(blocks)
    consoles = [block.text for block in blocks if block.language == "console"]
    assert [console for console in consoles if not console.startswith("$ ")] == []
    assert "::\n\n    " not in re.sub(r"^\.\. .*::.*\n", "", text, flags=re.MULTILINE)


@each_page
def test_there_is_no_code_of_a_kind_that_no_test_knows(page: str) -> None:
    text = TEXTS[page]
    languages = {block.language for block in blocks_of(text)}
    assert languages <= {"pycon", "python", "console", "text", "ini", "yaml", "dockerfile"}
    # Nor is there another way to show code.
    assert not re.search(
        r"^ *\.\. (code|sourcecode|doctest|testcode|parsed-literal)::", text, re.MULTILINE
    )
    assert not re.search(r"^(?!\.\. )(?! {3,}:).*::\n\n +\S", text, re.MULTILINE)
    outside = text
    for block in blocks_of(text):
        for line in block.text.splitlines():
            outside = outside.replace(f"    {line}\n", "\n", 1)
    assert not re.search(r"^ *(>>>|\$) ", outside, re.MULTILINE)


@each_page
def test_every_file_that_a_page_writes_is_run(page: str) -> None:
    blocks = blocks_of(TEXTS[page])
    commands = "".join(block.text for block in blocks if block.language == "console")
    files = [block.caption for block in blocks if block.language == "python" and block.caption]
    texts = "".join(block.text for block in blocks)
    runs = [file.removesuffix("/__main__.py") for file in files]
    if "$ python -m pytest" in commands:
        runs = [
            run
            for run in runs
            if not run.startswith("test_") and f"from {Path(run).stem} import" not in texts
        ]
    assert [run for run in runs if f"python {run}" not in commands.replace("-S -m ", "")] == []


@each_page
def test_commands_of_make_and_files_that_are_named_exist(page: str) -> None:
    assert make_targets_named(TEXTS[page]) <= make_targets()
    assert [name for name in files_named(TEXTS[page]) if not (ROOT / name).exists()] == []


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"``(test_\w+)``", TEXTS["explanation/testing.rst"]))
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    assert len(named) > 20
    assert named <= set(re.findall(r"\bdef (test_\w+)", tests))


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"^   ([\w/-]+)$", TEXTS["index.rst"], flags=re.MULTILINE))
    assert listed == {name.removesuffix(".rst") for name in PAGES} - {"index"}


def test_the_index_says_what_each_page_is_for() -> None:
    said = re.findall(r"^:doc:`([\w/-]+)`\n    [A-Z].*\.$", TEXTS["index.rst"], re.MULTILINE)
    assert set(said) == {name.removesuffix(".rst") for name in PAGES} - {"index"}


def test_the_tables_have_every_option_with_its_default() -> None:
    """Contract 1.2: the options, and what they are by default."""
    assert table_rows(TEXTS["reference/options.rst"]) == defaults()


@pytest.mark.parametrize(
    ("module", "page"),
    [(pystreamredis, "reference/api.rst"), (protocol, "reference/protocol.rst")],
    ids=["pystreamredis", "protocol"],
)
def test_the_reference_has_every_public_name(module: ModuleType, page: str) -> None:
    text = TEXTS[page]
    documented = set(re.findall(r"^\.\. (?:auto)?[a-z]+:: (\w+)$", text, flags=re.MULTILINE))
    if "automodule:: pystreamredis.exceptions" in text:
        documented |= {name for name in vars(exceptions) if name.endswith("Error")}
    assert set(module.__all__) <= documented


def test_ports_of_the_compose_file_are_the_ones_named() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    ports = re.findall(r"127\.0\.0\.1:(?:\$\{\w+:-)?(\d+)", compose)
    assert ports
    page = TEXTS["howto/docker-compose.rst"]
    assert [port for port in ports if f"make demo URL=redis://localhost:{port}" not in page] == []


def test_the_figure_of_the_watermark_shows_what_the_library_does() -> None:
    """Contract 3.2: what is handed over, in which order, and what waits."""
    figure = ElementTree.parse(DOCS / "explanation" / "watermark.svg")
    streams, numbered, waits = [], {}, []
    for group in figure.iterfind(".//{*}g[@data-stream]"):
        name = group.attrib["data-stream"]
        drawn = {
            kind: [
                b"%s-0" % circle.attrib["cx"].encode()
                for circle in group.findall(f"{{*}}circle[@class='{kind}']")
            ]
            for kind in ("handed", "waits", "unread")
        }
        for entry_id, number in zip(drawn["handed"], group.findall("{*}text"), strict=True):
            assert entry_id == b"%s-0" % number.attrib["x"].encode()
            numbered[int(number.text or "")] = name, entry_id
        waits += [(name, entry_id) for entry_id in drawn["waits"]]
        streams.append(stream_at(name, drawn["handed"] + drawn["waits"]))
        assert streams[-1].caught_up == (not drawn["unread"])
    released = [message[:2] for message in next_batch(release(streams)).iterator]
    assert [numbered[number + 1] for number in range(len(numbered))] == released
    assert [message[:2] for stream in streams for message in stream.pending] == waits


def stream_at(name: str, entry_ids: list[bytes]) -> StreamState:
    """A stream of which these entries have come, where three were asked for."""
    stream = StreamState(name, name.encode(), b"0-0")
    stream.pending = [(name, entry_id, {}) for entry_id in entry_ids]
    stream.last_id = entry_ids[-1]
    stream.caught_up = len(entry_ids) < 3
    return stream
