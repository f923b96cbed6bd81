"""`tools.house`: the figures of small trees that are made up, and those of this one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tools import house, live, tree
from tools.house import ROOT, Row, rows_of, table


def write(folder: Path, **modules: str) -> list[tree.Module]:
    """Write a tree of modules, and read it: a dot in a name stands for a folder."""
    for name, source in modules.items():
        path = folder / "pystreamredis" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), "utf-8")
    return tree.read({"pystreamredis": folder / "pystreamredis"})


def values(rows: Iterator[Row]) -> dict[str, float]:
    return {row.label: row.value for row in rows}


# The tree.


def test_modules_are_found_in_any_layout(tmp_path: Path) -> None:
    modules = write(tmp_path, a="", core__session="", core__deep__er="")
    (tmp_path / "pystreamredis" / "core" / "__init__.py").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.py").touch()
    (tmp_path / "pystreamredis" / "link").symlink_to(tmp_path / "elsewhere")
    assert {module.name for module in modules} == {
        "pystreamredis.a",
        "pystreamredis.core.session",
        "pystreamredis.core.deep.er",
    }
    again = {module.name for module in write(tmp_path)}
    assert again - {module.name for module in modules} == {"pystreamredis.core"}


# Classes.

FAT = """
    from typing import ClassVar, overload

    class Base:
        __slots__ = ("slot", "first")
        def __init__(self, first):
            self.first = first

    class Fat(Base[int]):
        field: int
        shared: ClassVar[int] = 0
        constant = 1
        def method(this):
            this.second, (this.third, _) = 1, (2, 3)
            this.third += 1
            for this.fourth in this.unset.values:
                other.not_own = this.first
        @overload
        def twice(self): ...
        @overload
        def twice(self, argument): ...
        @staticmethod
        def alone(): ...
        if TYPE_CHECKING:
            def unseen(self): ...

    class Thin: pass
"""


def test_attributes_and_methods_of_the_fattest_class(tmp_path: Path) -> None:
    """What is inherited counts, overloads count once, what is for type checkers does not."""
    fattest, base, thin = tree.sizes(write(tmp_path, a=FAT))
    # first, slot, field, second, third, fourth.
    assert fattest == ("Fat", 6, 4)
    assert base == ("Base", 2, 1)
    assert thin == ("Thin", 0, 0)


def test_no_class_hides_the_methods_of_another(tmp_path: Path) -> None:
    methods = "".join(f"    def f{number}(self): ...\n" for number in range(26))
    write(tmp_path, a=f"class Fat:\n    one: int\nclass Busy:\n{methods}")
    rows = {row.label: row for row in house.code_rows(house.read_packages(tmp_path))}
    assert rows["attributes of the fattest class"][1:] == (1, 18, "Fat")
    assert rows["methods of the class with the most"][1:] == (26, 25, "Busy")
    assert not rows["methods of the class with the most"].is_met


def test_a_class_with_the_name_of_its_base_is_no_endless_family(tmp_path: Path) -> None:
    source = "import a\nclass A(a.A):\n    def f(self): self.x = 1\n"
    assert tree.sizes(write(tmp_path, b=source)) == [("A", 1, 1)]


def test_bases_are_those_that_the_module_imports(tmp_path: Path) -> None:
    """Classes of several modules may have one name; each has its own base."""
    base = "class Base:\n    {0}: int\n    def {0}_method(self): ...\n"
    own = "class Same({}):\n    own: int\n"
    found = tree.sizes(
        write(
            tmp_path,
            one=base.format("one"),
            two=base.format("two"),
            a=f"from .one import Base\n{own.format('Base')}",
            b=f"from . import two as other\n{own.format('other.Base[int]')}",
            c=f"from .a import Same as Other\n{own.format('Other')}    more: int\n",
            d=f"from elsewhere import Base\n{own.format('Base')}",
        )
    )
    assert [size for size in found if size.name == "Same"] == [
        ("Same", 3, 1),
        ("Same", 2, 1),
        ("Same", 2, 1),
        ("Same", 1, 0),
    ]


def test_names_count_once_and_dunders_do_not(tmp_path: Path) -> None:
    source = """
        TYPE_CHECKING = False
        __all__ = []
        ONE, TWO = 1, 2
        three: int = 3
        try:
            FOUR = 4
        except ValueError:
            FOUR = 5
        if TYPE_CHECKING:
            Alias = int
        class Five:
            NINE = 9
            def __init__(self):
                self.six = local = 7
            def seven(self):
                def eight(): ...
        async def seven(): ...
    """
    modules = write(tmp_path, first=source, second="def first(): ...")
    assert tree.names_to_learn(modules) == {
        *("ONE", "TWO", "three", "FOUR", "Five", "six", "seven", "eight", "NINE", "first"),
        "second",
    }


# Imports.


def graph_of(folder: Path, **modules: str) -> dict[str, set[str]]:
    graph = tree.import_graph(write(folder, **modules))
    short = {name: {each.removeprefix("pystreamredis.") for each in graph[name]} for name in graph}
    return {name.removeprefix("pystreamredis."): short[name] for name in short}


def test_imports_that_run_are_found_in_every_form(tmp_path: Path) -> None:
    source = """
        import pystreamredis.one, os
        from . import two, nothing
        from .three import name
        from .deep.four import name
        from .deep import five
        from pystreamredis.six import name
        def late():
            from . import seven
        if TYPE_CHECKING:
            from . import unseen
        else:
            from . import eight
        if typing.TYPE_CHECKING:
            from . import unseen
    """
    others = ["one", "two", "three", "six", "seven", "eight", "unseen"]
    more = {"deep__four": "from ..one import x", "deep__five": "from . import four", "a": source}
    graph = graph_of(tmp_path, **dict.fromkeys(others, ""), **more)
    assert graph["a"] == {*others, "deep.four", "deep.five"} - {"unseen"}
    assert graph["deep.four"] == {"one"}
    assert graph["deep.five"] == {"deep.four"}


def test_the_longest_chain_of_imports_is_found() -> None:
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"d"}, "d": set(), "e": {"d"}}
    assert tree.floors(graph) == ["a", "b", "c", "d"]
    assert tree.cycles(graph) == []
    assert tree.floors({}) == []


def test_modules_that_import_each_other_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"e"}, "e": {"f"}, "f": {"d"}}
    assert tree.cycles(graph) == [["b", "c"], ["d", "e", "f"]]
    assert len(tree.floors(graph)) == 3


# Functions.


def test_the_longest_function_and_the_deepest_nesting_are_found(tmp_path: Path) -> None:
    short = """
        def deep():
            with a:
                for b in c:
                    if d: pass
                    elif e: pass
                    elif f:
                        try:
                            match g:
                                case 1: pass
                        finally: pass
                    else: pass
    """
    long = """
        class A:
            async def long(self):
                '''It has four lines.

                '''
                def inner():
                    if a:
                        while b: pass
    """
    modules = write(tmp_path, a=short, b=long)
    assert tree.deepest_nesting(modules) == (5, "pystreamredis.a.deep")
    assert tree.longest_function(modules) == (11, "pystreamredis.a.deep")
    assert tree.longest_function(modules[1:]) == (7, "pystreamredis.b.long")
    assert tree.deepest_nesting(modules[1:]) == (2, "pystreamredis.b.inner")


def test_a_chain_of_elif_is_no_nesting_but_an_if_within_else_is(tmp_path: Path) -> None:
    source = """
        def flat():
            if a: pass
            elif b: pass
            elif c: pass
        def nested():
            if a: pass
            else:
                b()
                if c: pass
    """
    assert tree.deepest_nesting(write(tmp_path, a=source)) == (2, "pystreamredis.a.nested")


# Prose.


def test_blocks_of_comments_are_found(tmp_path: Path) -> None:
    source = """\
        #!/usr/bin/env python
        # What it is for,
        # in two lines.
        a = "# no comment"  # of its own
        # another
        # noqa: E501

        # next

        # last
    """
    (module,) = write(tmp_path, a=source)
    found = ["What it is for, in two lines.", "of its own", "another", "next", "last"]
    assert list(module.comments()) == found
    assert tree.share_of_questions(module.comments()) == 40


def test_docstrings_are_found(tmp_path: Path) -> None:
    source = '''
        """Module."""
        class A:
            """Whether it is."""
            def f(self):
                """Return it."""
            async def g(self):
                """For how long."""
                "another text"
    '''
    (module,) = write(tmp_path, a=source)
    assert list(module.docstrings()) == ["Module.", "Whether it is.", "Return it.", "For how long."]
    assert tree.share_of_questions(module.docstrings()) == 50


@pytest.mark.parametrize("word", ["What", "how", "Whether", "WHO", "Where", "Of", "Those"])
def test_a_text_that_opens_with_such_a_word_is_a_question(word: str) -> None:
    assert tree.share_of_questions([f"{word} it is.", f"{word}ever it is.", f"It is {word}."]) == (
        pytest.approx(100 / 3)
    )


def test_no_text_is_no_question() -> None:
    assert tree.share_of_questions([]) == 0


def test_unwanted_words_are_counted_in_code_and_documents(tmp_path: Path) -> None:
    instead, again, repair = house.UNWANTED
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.rst").write_text(
        f"{again.title()} {instead}\n{instead.replace(' ', chr(10))} re{again} com{repair}\n"
    )
    (tmp_path / "setup.py").write_text(f"# {repair} {repair}ed {repair}ing a{repair} {repair}icant")
    (tmp_path / "notes.txt").write_text(again)
    for name in ("build", ".venv", "x.egg-info"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(again)
    rows = list(house.wording_rows(tmp_path))
    assert [row.value for row in rows] == [2, 1, 3]
    assert [row.detail for row in rows] == ["docs/a.rst 2", "docs/a.rst 1", "setup.py 3"]


def test_the_words_of_the_seed_may_be_quoted(tmp_path: Path) -> None:
    instead = next(iter(house.UNWANTED)).replace(" ", "\n   ")
    (tmp_path / "README.rst").write_text(f"is returned {instead} a message; {instead} a reply")
    assert next(iter(house.wording_rows(tmp_path))).value == 1


# The way of a message.

READER = """
from outside import elsewhere
from .two import step

def read():
    for number in range(100):
        elsewhere(step(number))
        yield number
"""


@pytest.mark.parametrize("measure", [live.passages_by_next, live.passages_by_for])
def test_calls_and_files_of_a_message_are_counted(
    measure: Callable[[Iterator[object], live.Calls], list[live.Passage]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / f"made_up_{measure.__name__}"
    package.mkdir()
    (package / "one.py").write_text(READER)
    (package / "two.py").write_text("def step(n):\n    return two(n)\ndef two(n):\n    return n\n")
    (tmp_path / "outside.py").write_text("def elsewhere(n):\n    return abs(n)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reader = importlib.import_module(f"{package.name}.one").read()
    # The generator goes on, then step() and two(); what is elsewhere does not count.
    assert measure(reader, live.Calls([package])) == [live.Passage(3, 2)] * live.MEASURED


def test_the_most_frequent_figures_are_the_typical_ones() -> None:
    low, high = live.Passage(3, 1), live.Passage(4, 2)
    assert live.typical([low, high, low]) == low
    assert live.typical([low, high]) == high


def test_the_way_of_a_live_message_is_measured() -> None:
    """Both ways of asking pass some files of this package, by at least a call each."""
    rows = values(house.live_rows(ROOT))
    assert len(rows) == 4
    for way in ("next()", "for"):
        calls = rows[f"calls of a lone live message, by {way}"]
        assert calls >= rows[f"files that it passes, by {way}"] >= 2


# The table.


def test_the_command_is_left_out_of_the_core(tmp_path: Path) -> None:
    write(tmp_path, core="x = 1\n", command__main="y = 2\n", commands="z = 3\n")
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "ids.py").write_text("w = 4\n\n")
    found = values(rows_of(tmp_path))
    assert found["lines of the core"] == 4
    assert found["names to learn in the core"] == 6


def test_a_tree_without_modules_misses_no_target(tmp_path: Path) -> None:
    assert all(row.is_met for row in rows_of(tmp_path))


def test_the_table_marks_what_is_missed() -> None:
    met, missed = table([Row("good", 2, 2, "here"), Row("bad", 2.5, 2, "there")]).splitlines()[1:]
    assert met.split() == ["good", "2", "2"]
    assert missed.split() == ["bad", "2.5", "2", "missed", "there"]


@pytest.mark.parametrize(("value", "status"), [(1, 0), (2, 1)])
def test_the_exit_status_says_whether_a_target_is_missed(
    value: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(house, "rows_of", lambda root: iter([Row("one", value, 1)]))
    monkeypatch.setattr(house, "live_rows", lambda root: iter([]))
    assert house.main() == status
    assert "one" in capsys.readouterr().out
