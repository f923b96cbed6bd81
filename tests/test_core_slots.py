"""Tests of `core.slots`: the slot of a key, and what redirections say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pystreamredis.core.slots import (
    SLOTS,
    by_slot,
    is_cluster_error,
    is_slot_error,
    moved_to,
    slot_of,
)
from pystreamredis.core.stream import StreamState
from pystreamredis.protocol import ServerError

if TYPE_CHECKING:
    from tests.cluster import Cluster


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        # The check value of CRC16/XMODEM is 0x31C3.
        (b"123456789", 0x31C3),
        (b"", 0),
        (b"foo", 12182),
        (b"somekey", 11058),
        (b"foo{hash_tag}", 2515),
    ],
)
def test_slots_are_as_specified(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"a{user1000}", b"user1000"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"}a{b}", b"b"),
    ],
)
def test_only_the_hash_tag_is_hashed(key: bytes, hashed: bytes) -> None:
    assert slot_of(key) == slot_of(hashed) != slot_of(key.replace(b"{", b"("))


KEYS = st.binary(max_size=30) | st.text("{}ab", max_size=8).map(str.encode)


def crc16(data: bytes) -> int:
    """CRC16/XMODEM, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


@given(KEYS.filter(lambda key: b"{" not in key or b"}" not in key))
@example(b"foo{bar")
@example(b"foo}bar")
def test_a_key_without_braces_is_hashed_whole(key: bytes) -> None:
    assert slot_of(key) == crc16(key) % SLOTS


@pytest.mark.parametrize("key", [b"foo{}{bar}", b"{}", b"}x{", b"a{}"])
def test_a_key_with_an_empty_or_open_tag_is_hashed_whole(key: bytes) -> None:
    assert slot_of(key) == crc16(key) % SLOTS


def test_a_real_cluster_agrees(cluster: Cluster) -> None:
    keys = [b"x", b"a{b}c", b"{}{a}", b"{{a}}", b"a}{b}", b"{a", b"\0\xff\r\n", b"{" * 3 + b"}"]
    node = cluster.masters[0]
    assert [slot_of(key) for key in keys] == [
        node.command("CLUSTER", "KEYSLOT", key) for key in keys
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MOVED 3999 127.0.0.1:6381", (3999, "127.0.0.1", 6381)),
        ("MOVED 0 node-2.example:6379", (0, "node-2.example", 6379)),
        ("MOVED 3999 :6381", (3999, "here", 6381)),
        ("MOVED 3999 ?:6381", (3999, "here", 6381)),
        ("MOVED 3999 []:6381", (3999, "here", 6381)),
        ("MOVED 5 2001:db8::1:7000", (5, "2001:db8::1", 7000)),
        ("MOVED 5 [2001:db8::1]:7000", (5, "2001:db8::1", 7000)),
        ("MOVED 16383 h:65535", (16383, "h", 65535)),
        ("MOVED 00001 h:00001", (1, "h", 1)),
    ],
)
def test_moved_names_the_owner_of_a_slot(text: str, expected: tuple[int, str, int]) -> None:
    assert moved_to(ServerError(text), "here") == expected


@pytest.mark.parametrize(
    "text",
    [
        "ASK 3999 127.0.0.1:6381",
        "MOVED",
        "MOVED 3999 redis://host:6381",
        "MOVED 3999 host:6380:6381",
        "MOVED 000001 h:6381",
        "MOVED 1 h:006381",
        "MOVED 3999",
        "MOVED 3999 6381",
        "MOVED 3999 h:6381 more",
        "MOVED 16384 h:6381",
        "MOVED -1 h:6381",
        "MOVED x h:6381",
        "MOVED 1 h:0",
        "MOVED 1 h:65536",
        "MOVED 1 h:\u0661",
        "MOVED 1 h:" + "9" * 5000,
        "ERR MOVED 1 h:1",
    ],
)
def test_other_replies_name_no_owner(text: str) -> None:
    assert moved_to(ServerError(text), "here") is None


@pytest.mark.parametrize(
    ("text", "is_of_cluster", "is_of_slot"),
    [
        ("CROSSSLOT Keys in request don't hash to the same slot", True, False),
        ("MOVED 1 h:1", True, True),
        ("MOVED 1", False, False),
        ("ASK 1 h:1", True, True),
        ("TRYAGAIN later", False, True),
        ("UNBLOCKED instance state changed", False, True),
        ("ERR unknown", False, False),
    ],
)
def test_errors_tell_a_cluster_from_one_server(
    text: str, is_of_cluster: bool, is_of_slot: bool
) -> None:
    """A single server says TRYAGAIN or UNBLOCKED for reasons of its own."""
    error = ServerError(text)
    assert (is_cluster_error(error), is_slot_error(error)) == (is_of_cluster, is_of_slot)


def test_streams_are_grouped_in_the_order_of_first_streams() -> None:
    streams = [StreamState(key, key, b"0-0") for key in (b"b", b"{a}1", b"c", b"a", b"{b}1")]
    b, a1, c, a, b1 = streams
    assert list(by_slot(streams).items()) == [
        (slot_of(b"b"), [b, b1]),
        (slot_of(b"a"), [a1, a]),
        (slot_of(b"c"), [c]),
    ]
    assert [stream.slot for stream in streams] == [slot_of(stream.key) for stream in streams]
