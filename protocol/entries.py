"""Bulk strings, sliced out of the bytes that hold them."""

from __future__ import annotations

import re

_is_bulk = re.compile(rb"\$([1-9][0-9]{0,9})\r\n").fullmatch
_SIZES = {b"$%d\r\n" % size: size for size in range(128)}


def slice_strings(data: bytes, pos: int, count: int) -> tuple[list[bytes], int]:
    """Take up to `count` bulk strings at `pos`; return them and the position after them."""
    strings = []
    for _ in range(count):
        start = data.find(b"\n", pos, pos + 12) + 1
        stated = data[pos:start]
        size = _SIZES.get(stated)
        if size is None:
            size = _size(stated)
        end = start + size
        if size < 0 or data[end : end + 2] != b"\r\n":
            break
        strings.append(data[start:end])
        pos = end + 2
    return strings, pos


def _size(header: bytes) -> int:
    """Read the size that the header of a bulk string states; -1 if it is not one."""
    found = _is_bulk(header)
    return int(found[1]) if found else -1
