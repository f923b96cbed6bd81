"""`pystreamredis.core.gaps`: streams that were trimmed, or that have begun again."""

from __future__ import annotations

from typing import Any

import pytest

from pystreamredis.core.exchanges import Refused
from pystreamredis.core.gaps import Gap, describe, look_back
from pystreamredis.core.stream import StreamState
from pystreamredis.protocol import ServerError, encode_xread
from tests.exchanges import Rounds, run_with, serving

ZERO = b"0-0"


def _entry(entry_id: bytes) -> list[Any]:
    return [entry_id, [b"f", b"v"]]


class TestLookBack:
    """The check whether streams still hold the entries that were read last."""

    def test_one_read_asks_for_the_oldest_entry_and_the_last_one_read(self) -> None:
        driven = Rounds(serving({b"a": {5 << 64}, b"b": {7}}))
        assert driven.run(look_back({b"a": b"5-0", b"b": b"0-7"}, 1000)) == {}
        ((command,),) = driven.sent
        assert command[:4] == [b"XREAD", b"COUNT", b"1", b"STREAMS"]
        before = b"4-18446744073709551615"
        assert command[4:] == [b"a", b"b", b"a", b"b", ZERO, ZERO, before, b"0-6"]

    @pytest.mark.parametrize(
        ("seen", "kind", "oldest"),
        [
            # The oldest entry, and the first from the position on.
            ([b"1-0", b"5-0"], None, None),
            ([b"5-0", b"5-0"], None, None),
            ([b"1-0", b"9-0"], None, None),  # it was deleted: by itself that is no gap
            ([b"1-0"], "rewound", b"1-0"),
            ([b"4-18446744073709551615"], "rewound", b"4-18446744073709551615"),
            ([b"5-1", b"5-1"], "trimmed", b"5-1"),
            ([b"9-0", b"10-0"], "trimmed", b"9-0"),
            ([b"10-0", b"9-0"], "trimmed", b"9-0"),  # in whichever order they come
            ([b"9-0"], "trimmed", b"9-0"),
            ([b"5-0"], None, None),
            ([], None, None),  # empty, or not there: it is not known that anything was missed
        ],
    )
    def test_the_entries_found_say_what_may_have_happened(
        self, seen: list[bytes], kind: str | None, oldest: bytes | None
    ) -> None:
        blocks: list[Any] = [[b"a", [_entry(entry_id)]] for entry_id in seen]
        gaps = run_with(look_back({b"a": b"5-0"}, 1000), [blocks or None])
        assert {key: (gap.kind, gap.oldest) for key, gap in gaps.items()} == (
            {} if kind is None else {b"a": (kind, oldest)}
        )

    def test_each_stream_is_checked_by_itself(self) -> None:
        reply = [
            [b"a", [_entry(b"1-0")]],
            [b"b", [_entry(b"1-0")]],
            [b"c", [_entry(b"8-0")]],
            [b"b", [_entry(b"5-0")]],
            [b"c", [_entry(b"8-0")]],
        ]
        gaps = run_with(look_back(dict.fromkeys([b"a", b"b", b"c", b"d"], b"5-0"), 1000), [reply])
        assert {key: gap.kind for key, gap in gaps.items()} == {b"a": "rewound", b"c": "trimmed"}

    def test_no_reply_holds_more_entries_than_allowed(self) -> None:
        exchange = look_back({b"a": b"5-0", b"b": b"5-0"}, 3)
        assert next(exchange) == [
            encode_xread([b"a", b"b", b"a"], [b"0-0", b"0-0", b"4-18446744073709551615"], count=1),
            encode_xread([b"b"], [b"4-18446744073709551615"], count=1),
        ]
        with pytest.raises(StopIteration) as ended:
            exchange.send(
                [[[b"a", [_entry(b"1-0")]], [b"b", [_entry(b"1-0")]]], [[b"b", [_entry(b"5-0")]]]]
            )
        assert {key: gap.kind for key, gap in ended.value.value.items()} == {b"a": "rewound"}

    def test_only_a_temporary_refusal_is_raised(self) -> None:
        error = ServerError("LOADING wait")
        exchange = look_back({b"a": b"5-0"}, 1000)
        next(exchange)
        with pytest.raises(Refused) as caught:
            exchange.send([error])
        assert caught.value.error is error
        assert run_with(look_back({b"a": b"5-0"}, 1000), [ServerError("WRONGTYPE no")]) == {}


class TestDescribe:
    """The line for the log: all that is known, and no more."""

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (
                "trimmed",
                "stream 'a\\nb' at here:1: the oldest entry is 8-0 now, newer than the position "
                "5-1: it was most likely trimmed, and messages may have been missed",
            ),
            (
                "rewound",
                "stream 'a\\nb' at here:1: there are entries from 8-0 on, but none at the position "
                "5-1 or after it: it may have begun again, and messages may be missed until its "
                "IDs pass the position",
            ),
        ],
    )
    def test_it_names_the_stream_the_position_and_the_oldest_entry(
        self, kind: str, text: str
    ) -> None:
        stream = StreamState("a\nb", b"a\nb", b"5-1")
        assert describe(stream, Gap(kind, b"8-0"), "here:1") == text
