"""`pystreamredis.protocol.columns`: what is matched is what its length says, or nothing is.

Each test lets a column learn, and reads strings with what that makes of it, as a
pattern does: match, ask whether it is wrong, take the value.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import NEED_DATA, Parser
from pystreamredis.protocol.columns import Column, Fixed, Ids, Known, Varied

from .wire import bulk

# Whatever comes behind a string, some of it like a string.
BEHIND = [b"", b"\r\n", b"$1\r\nx\r\n", b"*2\r\n$3\r\n1-0\r\n", b"x" * 2000 + b"\r\n"]
VALUES = st.binary(max_size=40) | st.builds(
    b"".join, st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"$1", b"*2", b"5", b"ab"]))
)
# Of values of one length it takes some to make a column certain of it.
LEARNED = st.lists(VALUES, min_size=1) | VALUES.map(lambda value: [value] * 40)


def read(part: Fixed | Known | Varied | None, data: bytes) -> tuple[bytes, int] | None:
    """Read a string as patterns do: the value, and where what follows begins."""
    assert part is not None
    match = re.compile(part.expression, re.DOTALL).match(data)
    if match is None:
        return None
    scope = dict(zip(part.targets("0"), match.groups(), strict=True))
    scope |= {"table": part.stated, "state": b"%d".__mod__, "LF": b"\n"}
    wrong = part.wrong("0", "table")
    if wrong and eval(wrong, scope):
        return None
    return eval(part.value("0"), scope), match.end()


def column_of(values: list[bytes]) -> Column:
    """Make a column that has learned of these."""
    column = Column()
    for value in values:
        column.learn(value)
    return column


def ids_of(entry_ids: list[bytes]) -> Ids:
    """Make what has learned of these IDs."""
    ids = Ids()
    for entry_id in entry_ids:
        ids.learn(entry_id)
    return ids


@settings(deadline=None)
@given(learned=LEARNED)
@example(learned=[b"x" * size for size in range(300)])
@example(learned=[b"\r" * size for size in range(200)])
@example(learned=[b"", b"x" * 5000])
def test_what_was_learned_is_read(learned: list[bytes]) -> None:
    part = column_of(learned).part()
    assert part is not None
    for value in learned:
        for behind in BEHIND:
            assert read(part, bulk(value) + behind) == (value, len(bulk(value)))


@settings(deadline=None)
@given(
    learned=LEARNED,
    stated=st.integers(0, 60) | st.sampled_from([b"05", b"", b"-1", b"+5", b" 5", b"1000000000"]),
    value=VALUES,
    behind=st.sampled_from(BEHIND),
)
@example(learned=[b"abc", b"abcd"], stated=3, value=b"abcd", behind=b"")
@example(learned=[b"abc"] * 40, stated=4, value=b"abc", behind=b"")
@example(learned=[b"abc"] * 40, stated=3, value=b"abcd", behind=b"")
@example(learned=[b"abc", b"abcd"], stated=9, value=b"abcd\r\n$1\r", behind=b"\r\n")
@example(learned=[b"\r", b"ab"], stated=2, value=b"\r", behind=b"\r\n")
def test_a_length_that_lies_is_not_believed(
    learned: list[bytes], stated: int | bytes, value: bytes, behind: bytes
) -> None:
    """Whatever is read is what the parser of values reads there."""
    part = column_of(learned).part()
    assert part is not None
    length = b"%d" % stated if isinstance(stated, int) else stated
    data = b"$" + length + b"\r\n" + value + b"\r\n" + behind
    found = read(part, data)
    if found is None:
        return
    parser = Parser()
    parser.feed(data[: found[1]])
    assert parser.next_value() == found[0]
    assert parser.next_value() is NEED_DATA
    assert not len(parser.buffer)


def test_some_values_of_one_length_do_not_make_certain_that_all_have_it() -> None:
    other = bulk(b"four")
    assert read(column_of([b"three"] * 10).part(), other) == (b"four", len(other))
    certain = column_of([b"three"] * 40).part()
    assert isinstance(certain, Fixed)
    assert read(certain, other) is None


@pytest.mark.parametrize("size", [0, 9, 10, 99, 100, 1000, 1022, 1023, 1024, 5000])
def test_lengths_around_those_that_a_list_tells(size: int) -> None:
    part = column_of([b"x" * size, b"x" * (size + 1), b"x" * max(0, size - 1)]).part()
    assert part is not None
    for length in range(max(0, size - 1), size + 2):
        value = b"y" * length
        assert read(part, bulk(value)) == (value, len(bulk(value)))
        for lie in (length - 1, length + 1, length + 10):
            assert read(part, b"$%d\r\n%b\r\n" % (lie, value)) is None


def test_too_many_lengths_of_what_holds_line_ends_are_not_matched() -> None:
    assert column_of([b"\r" * size for size in range(257)]).part() is None
    assert column_of([b"x" * size for size in range(257)]).part() is not None


@pytest.mark.parametrize(
    "learned",
    [
        [b"1-0"],
        [b"1700000000000-0", b"1700000000001-9"],
        [b"1700000000000-9", b"1700000000000-10"],
        [b"9-1", b"10-1", b"1700000000000-100"],
        [b"1234567890123456789-0", b"1-1234567890123456789"],
    ],
)
def test_ids_are_read(learned: list[bytes]) -> None:
    part = ids_of(learned).part()
    assert part is not None
    for entry_id in learned:
        assert read(part, bulk(entry_id) + b"*2\r\n") == (entry_id, len(bulk(entry_id)))
        for lie in (len(entry_id) - 1, len(entry_id) + 1):
            assert read(part, b"$%d\r\n%b\r\n*2\r\n" % (lie, entry_id)) is None


@pytest.mark.parametrize("entry_id", [b"12345678901234567890-0", b"1-12345678901234567890"])
def test_numbers_that_may_be_too_large_are_not_matched(entry_id: bytes) -> None:
    """Twenty digits may be more than 64 bits: these are looked at one by one."""
    part = ids_of([b"1-1", entry_id]).part()
    assert part is None or read(part, bulk(entry_id)) is None
