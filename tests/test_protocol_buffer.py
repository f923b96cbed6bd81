"""`pystreamredis.protocol.buffer`: bytes come out in order, at a cost linear in their number."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import ProtocolError
from pystreamredis.protocol.buffer import MAX_LINE, Buffer, excerpt

from .wire import Copies, bytewise, chunkings, random_pieces


def _buffer(*pieces: bytes) -> Buffer:
    buffer = Buffer()
    for piece in pieces:
        buffer.feed(piece)
    return buffer


def test_a_new_buffer_holds_nothing() -> None:
    buffer = Buffer()
    assert len(buffer) == 0
    assert buffer.peek() == b""
    assert buffer.line() is None
    assert buffer.block(0) is None
    assert not buffer.join()


def test_what_the_caller_may_change_is_copied() -> None:
    """Who receives into one piece of memory again and again feeds that."""
    room = bytearray(b"+ab\r\n$2\r\ncd\r\n")
    buffer = _buffer(room)  # type: ignore[arg-type]
    room[:] = b"x" * len(room)
    assert (buffer.line(), type(buffer.data)) == (b"+ab", bytes)
    assert _buffer(memoryview(b"+ef\r\n")).line() == b"+ef"  # type: ignore[arg-type]


def test_len_counts_what_was_fed_and_not_taken() -> None:
    buffer = _buffer(b"+a\r\n", b"", b"+bc\r\n")
    assert len(buffer) == 9
    assert buffer.line() == b"+a"
    assert len(buffer) == 5
    buffer.feed(b"xyz")
    assert len(buffer) == 8


def test_it_forgets_what_was_taken_once_that_is_all() -> None:
    buffer = _buffer(b"+a\r\n")
    assert not buffer.forget()
    assert buffer.line() == b"+a"
    buffer.feed(b"+b")
    assert not buffer.forget()
    assert buffer.line() is None
    buffer.feed(b"\r\n")
    assert buffer.line() == b"+b"
    assert buffer.forget()
    assert buffer.data == b""


def test_feeding_nothing_is_no_reason_to_look_again() -> None:
    """An empty piece is not kept, so that it does not pass for news."""
    buffer = _buffer(b"", b"")
    assert not buffer.join()


@pytest.mark.parametrize(
    ("lines", "data"),
    [
        ([b"+OK"], b"+OK\r\n"),
        ([b""], b"\r\n"),
        ([b"a", b"", b"bb"], b"a\r\n\r\nbb\r\n"),
        ([b"a\rb"], b"a\rb\r\n"),  # what may be within a line is its reader's to say
        ([b"x" * 5000, b"y"], b"x" * 5000 + b"\r\ny\r\n"),
    ],
)
def test_lines_come_without_their_crlf(lines: list[bytes], data: bytes) -> None:
    for pieces in chunkings(data):
        buffer = Buffer()
        seen = []
        for piece in pieces:
            buffer.feed(piece)
            while (line := buffer.line()) is not None:
                seen.append(line)
        assert seen == lines
        assert len(buffer) == 0


def test_a_line_that_ends_in_lf_alone_is_refused() -> None:
    with pytest.raises(ProtocolError) as info:
        _buffer(b"+OK\n").line()
    assert str(info.value) == r"line b'+OK' ends in LF, expected CRLF"


def test_a_line_of_lf_alone_is_refused() -> None:
    with pytest.raises(ProtocolError) as info:
        _buffer(b"\n").line()
    assert str(info.value) == "line b'' ends in LF, expected CRLF"


def test_cr_alone_ends_no_line() -> None:
    assert _buffer(b"+OK\r").line() is None


def test_a_line_may_have_max_line_bytes_with_its_cr() -> None:
    text = b"x" * (MAX_LINE - 1)
    assert _buffer(text + b"\r\n").line() == text
    assert _buffer(*bytewise(text + b"\r\n")).line() == text


def test_a_whole_line_of_more_is_refused() -> None:
    with pytest.raises(ProtocolError) as info:
        _buffer(b"x" * MAX_LINE + b"\r\n").line()
    assert str(info.value) == "line of 65537 bytes, expected at most 65536"


def test_a_line_without_end_is_refused_as_soon_as_it_is_too_long() -> None:
    """Contract 7: digits without end do not fill the memory."""
    buffer = Buffer()
    for _ in range(MAX_LINE):
        buffer.feed(b"1")
        assert buffer.line() is None
    buffer.feed(b"1")
    with pytest.raises(ProtocolError) as info:
        buffer.line()
    assert str(info.value) == "line of more than 65537 bytes, expected at most 65536"


def test_a_line_without_end_is_refused_in_one_piece_too() -> None:
    with pytest.raises(ProtocolError) as info:
        _buffer(b"1" * 70_000).line()
    assert str(info.value) == "line of more than 70000 bytes, expected at most 65536"


@pytest.mark.parametrize("block", [b"", b"x", b"\r\n", b"a\r\nb\nc\rd", bytes(range(256)) * 40])
def test_blocks_hold_any_bytes_and_come_without_their_crlf(block: bytes) -> None:
    for pieces in chunkings(block + b"\r\n+after"):
        buffer = Buffer()
        seen = None
        for piece in pieces:
            buffer.feed(piece)
            if seen is None:
                seen = buffer.block(len(block))
        assert seen == block
        assert len(buffer) == len(b"+after")


@pytest.mark.parametrize(
    ("data", "size", "seen"),
    [
        (b"helloworld", 5, "b'wo'"),
        (b"hello\n\r", 5, r"b'\n\r'"),
        (b"hello\r\n", 4, r"b'o\r'"),
        (b"xx", 0, "b'xx'"),
    ],
)
def test_a_block_without_its_crlf_is_refused(data: bytes, size: int, seen: str) -> None:
    for pieces in chunkings(data):
        with pytest.raises(ProtocolError) as info:
            _buffer(*pieces).block(size)
        expected = f"{seen} after {size} bytes of a bulk string, expected CRLF"
        assert str(info.value) == expected


def test_peek_shows_the_next_byte_and_takes_nothing() -> None:
    buffer = _buffer(b"+", b"a\r\n")
    assert buffer.peek() == b"+"
    assert buffer.peek() == b"+"
    assert buffer.line() == b"+a"
    assert buffer.peek() == b""
    buffer.feed(b"-")
    assert buffer.peek() == b"-"


def test_what_a_block_waits_for_is_not_joined_before_it_is_there() -> None:
    buffer = _buffer(b"12345")
    assert buffer.block(100) is None
    for piece in bytewise(b"x" * 95 + b"\r"):
        buffer.feed(piece)
        assert not buffer.join()
        assert buffer.block(100) is None
    buffer.feed(b"\n")
    assert buffer.block(100) == b"12345" + b"x" * 95


def test_what_a_line_waits_for_is_not_joined_before_its_end_comes() -> None:
    buffer = _buffer(b"+O")
    assert buffer.line() is None
    buffer.feed(b"K\r")
    assert not buffer.join()
    assert buffer.line() is None
    buffer.feed(b"\n")
    assert buffer.line() == b"+OK"


@pytest.mark.parametrize("cuts", [(2, 5), (2, 8), (2, 9), (2, 10), (2, 5, 9), (1, 3, 8, 11), (7,)])
def test_a_block_in_pieces_is_taken_where_it_ends(cuts: tuple[int, ...]) -> None:
    """Wherever the pieces end, also more of them than it needs, all fed before a look."""
    data = b"12345678\r\n$3\r\nabc\r\n"
    buffer = _buffer(*[data[i:j] for i, j in zip((0, *cuts), (*cuts, None), strict=True)])
    assert buffer.block(8) == b"12345678"
    assert len(buffer) == 9
    assert buffer.line() == b"$3"
    assert buffer.block(3) == b"abc"
    assert not len(buffer)


def test_what_a_block_is_in_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = Copies(monkeypatch)
    buffer = _buffer(b"x" * 1000)
    assert buffer.block(3000) is None
    buffer.feed(b"x" * 1000)
    buffer.feed(b"x" * 1000 + b"\r\n" + b"y" * 50_000)
    assert buffer.block(3000) == b"x" * 3000
    assert copies.bytes == 3000


def test_asking_twice_does_not_forget_what_came_between() -> None:
    """The wait for a block counts from its first look at the buffer, not from the last."""
    buffer = Buffer()
    assert buffer.block(4) is None
    for piece in bytewise(b"abcd\r"):
        buffer.feed(piece)
        assert buffer.block(4) is None
    buffer.feed(b"\n")
    assert buffer.block(4) == b"abcd"


def test_a_lf_within_a_block_does_not_pass_for_its_end() -> None:
    buffer = Buffer()
    assert buffer.block(4) is None
    buffer.feed(b"a\n")
    assert not buffer.join()
    assert buffer.block(4) is None
    buffer.feed(b"\nb\r\n")
    assert buffer.block(4) == b"a\n\nb"


@settings(deadline=None, max_examples=100)
@given(
    parts=st.lists(st.binary(max_size=30) | st.binary(min_size=200, max_size=300), max_size=12),
    by_line=st.lists(st.booleans(), min_size=12, max_size=12),
    seed=st.integers(0, 2**32),
)
def test_what_comes_out_is_what_was_fed(parts: list[bytes], by_line: list[bool], seed: int) -> None:
    """Lines and blocks in any order, and the bytes in any pieces."""
    plan = [
        (part.translate(None, b"\n"), True) if is_line else (part, False)
        for part, is_line in zip(parts, by_line, strict=False)
    ]
    data = b"".join(part + b"\r\n" for part, _ in plan)
    pieces = iter(random_pieces(data, Random(seed)))
    buffer = Buffer()
    for part, is_line in plan:
        while (seen := buffer.line() if is_line else buffer.block(len(part))) is None:
            buffer.feed(next(pieces))  # a lack of pieces is a failure
        assert seen == part
    assert len(buffer) == sum(map(len, pieces))


def test_bytes_are_copied_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear work: a thousand lines and blocks, byte by byte, with a look after each byte."""
    copies = Copies(monkeypatch)
    buffer = Buffer()
    sizes = [0, 1, 10, 200] * 250
    for size in sizes:
        taken: list[bytes] = []
        for piece in bytewise(b"$%d\r\n%b\r\n" % (size, b"\n" * size)):
            buffer.feed(piece)
            taken += filter(None, [buffer.block(size) if taken else buffer.line()])
        assert taken[0] == b"$%d" % size
    total = sum(len(b"$%d\r\n\r\n" % size) + size for size in sizes)
    assert 0 < copies.bytes <= 2 * total


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", "b''"),
        (b"x" * 100, repr(b"x" * 100)),
        (b"x" * 101, repr(b"x" * 100) + "... (101 bytes)"),
        (b"\xff\r\n", r"b'\xff\r\n'"),
    ],
)
def test_an_excerpt_shows_enough_and_never_all(data: bytes, shown: str) -> None:
    assert excerpt(data) == shown
