"""`pystreamredis.protocol.parser`: every type of RESP2 and RESP3, in any pieces, and nothing else.

As in the tests of h11, every vector comes in whole, byte by byte, in random pieces,
cut short, and with bytes behind it.

Source: https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import (
    NEED_DATA,
    Map,
    Parser,
    ProtocolError,
    Push,
    ServerError,
    Set,
    Typed,
    VerbatimString,
    encode,
    encode_command,
    strategies,
)
from pystreamredis.protocol.buffer import Buffer
from pystreamredis.protocol.parser import MAX_ASIDE, MAX_BULK, MAX_DEPTH, MAX_ITEMS
from tests.pythons import tracemalloc

from .wire import (
    Copies,
    Outcome,
    aggregate,
    array,
    bulk,
    bytewise,
    chunkings,
    drain,
    shown_at_once,
    typed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ERROR = ServerError("SYNTAX invalid syntax")

# The examples of the specification, then what they leave open, type by type.
SPECIFIED: list[tuple[bytes, Any]] = [
    (b"*1\r\n$1\r\nA\r\n", [b"A"]),
    (b"*2\r\n*2\r\n:1\r\n:2\r\n#t\r\n", [[1, 2], True]),
    (b"$11\r\nhello world\r\n", b"hello world"),
    (b"$0\r\n\r\n", b""),
    (b"+hello world\r\n", b"hello world"),
    (
        b"-ERR this is the error description\r\n",
        ServerError("ERR this is the error description"),
    ),
    (b":1234\r\n", 1234),
    (b"_\r\n", None),
    (b",1.23\r\n", 1.23),
    (b":10\r\n", 10),
    (b",10\r\n", 10.0),
    (b",inf\r\n", math.inf),
    (b",-inf\r\n", -math.inf),
    (b",nan\r\n", math.nan),
    (b",-nan\r\n", math.nan),  # "was also valid" before version 1.4
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b"!21\r\nSYNTAX invalid syntax\r\n", ERROR),
    (b"=15\r\ntxt:Some string\r\n", VerbatimString(b"Some string", "txt")),
    (
        b"(3492890328409238509324850943850943825024385\r\n",
        3492890328409238509324850943850943825024385,
    ),
    (b"*3\r\n:1\r\n:2\r\n:3\r\n", [1, 2, 3]),
    (b"*2\r\n*3\r\n:1\r\n$5\r\nhello\r\n:2\r\n#f\r\n", [[1, b"hello", 2], False]),
    (b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", Map([(b"first", 1), (b"second", 2)])),
    (
        b"~5\r\n+orange\r\n+apple\r\n#t\r\n:100\r\n:999\r\n",
        Set([b"orange", b"apple", True, 100, 999]),
    ),
    (
        b">3\r\n+message\r\n+somechannel\r\n+this is the message\r\n",
        Push([b"message", b"somechannel", b"this is the message"]),
    ),
    # Said there to be "Hello world", but its parts have no second "l".
    (b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n", b"Hello word"),
    (b"*?\r\n:1\r\n:2\r\n:3\r\n.\r\n", [1, 2, 3]),
    (b"%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n", Map([(b"a", 1), (b"b", 2)])),
    # Attributes inform "the part of the reply that immediately follows".
    (b"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n", [1, 2, 3]),
    # Version 2: the null string and the null array, also within an array.
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n$6\r\nfoobar\r\n", [1, 2, 3, 4, b"foobar"]),
    (
        b"*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Foo\r\n-Bar\r\n",
        [[1, 2, 3], [b"Foo", ServerError("Bar")]],
    ),
    (b"*3\r\n$3\r\nfoo\r\n$-1\r\n$3\r\nbar\r\n", [b"foo", None, b"bar"]),
]
DETAILS: list[tuple[bytes, Any]] = [
    # Strings of any bytes.
    (bulk(bytes(range(256))), bytes(range(256))),
    (bulk(b"\r\n"), b"\r\n"),
    (bulk(b"\r\n$1\r\nx\r\n"), b"\r\n$1\r\nx\r\n"),
    (bulk(b"x" * 10_000), b"x" * 10_000),
    (b"+\r\n", b""),
    (b"+ \xff:$*\r\n", b" \xff:$*"),
    (b"$?\r\n;0\r\n", b""),
    (b"$?\r\n;2\r\n\r\n\r\n;3\r\n;0\r\r\n;0\r\n", b"\r\n;0\r"),
    # Errors, bytes in them that are no text, and empty ones.
    (b"-\r\n", ServerError("")),
    (b"-ERR \xff\r\n", ServerError("ERR \udcff")),
    (b"!0\r\n\r\n", ServerError("")),
    (b"!8\r\nERR \xc3\xa4\r\n\r\n", ServerError("ERR ä\r\n")),
    # Integers.
    (b":0\r\n", 0),
    (b":-0\r\n", 0),
    (b":+5\r\n", 5),
    (b":-5\r\n", -5),
    (b":9223372036854775807\r\n", 2**63 - 1),
    (b":-9223372036854775808\r\n", -(2**63)),
    # Big numbers, which small ones may be too.
    (b"(0\r\n", 0),
    (b"(-1\r\n", -1),
    (b"(9223372036854775808\r\n", 2**63),
    (b"(-%d\r\n" % 10**1000, -(10**1000)),
    (b"(" + b"9" * 4300 + b"\r\n", 10**4300 - 1),
    # Doubles.
    (b",0\r\n", 0.0),
    (b",-0\r\n", -0.0),
    (b",-1.5\r\n", -1.5),
    (b",1e3\r\n", 1000.0),
    (b",1.5E-3\r\n", 0.0015),
    (b",1E+3\r\n", 1000.0),
    (b",+inf\r\n", math.inf),
    (b",1e999\r\n", math.inf),
    (b",3.141592653589793115997963\r\n", math.pi),
    # Verbatim strings: any format, text of any bytes.
    (b"=4\r\ntxt:\r\n", VerbatimString(b"", "txt")),
    (b"=10\r\nmkd:# a\r\n\xff\r\n", VerbatimString(b"# a\r\n\xff", "mkd")),
    (b"=5\r\n\xe4bc:x\r\n", VerbatimString(b"x", "äbc")),
    # Empty aggregates, at the top and within others.
    (b"%0\r\n", Map()),
    (b"~0\r\n", Set()),
    (b">0\r\n", Push()),
    (b"*?\r\n.\r\n", []),
    (b"%?\r\n.\r\n", Map()),
    (b"~?\r\n.\r\n", Set()),
    (b"*3\r\n*0\r\n%0\r\n*?\r\n.\r\n", [[], Map(), []]),
    (b"*1\r\n*1\r\n*1\r\n*0\r\n", [[[[]]]]),
    # Nulls of both versions, everywhere.
    (b"*3\r\n_\r\n$-1\r\n*-1\r\n", [None, None, None]),
    (b"%1\r\n_\r\n*-1\r\n", Map([(None, None)])),
    (b"~2\r\n_\r\n$-1\r\n", Set([None, None])),
    # Maps and sets with members that Python cannot hash, and that come twice.
    (b"%1\r\n*1\r\n:1\r\n%1\r\n+a\r\n*0\r\n", Map([([1], Map([(b"a", [])]))])),
    (b"~2\r\n*1\r\n:1\r\n~1\r\n%0\r\n", Set([[1], Set([Map()])])),
    (b"%2\r\n+a\r\n:1\r\n+a\r\n:2\r\n", Map([(b"a", 1), (b"a", 2)])),
    (b"~2\r\n#t\r\n:1\r\n", Set([True, 1])),
    # Errors are values that nest.
    (b"*2\r\n-ERR a\r\n!5\r\nERR b\r\n", [ServerError("ERR a"), ServerError("ERR b")]),
    # Streamed within streamed.
    (
        b"*?\r\n%?\r\n$?\r\n;1\r\nk\r\n;0\r\n~?\r\n:1\r\n.\r\n.\r\n:2\r\n.\r\n",
        [Map([(b"k", Set([1]))]), 2],
    ),
    (b"*2\r\n*?\r\n:1\r\n.\r\n*1\r\n:2\r\n", [[1], [2]]),
    # Attributes within values are dropped, wherever they are.
    (b"*1\r\n|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n*0\r\n:1\r\n", [1]),
    (b"*1\r\n|0\r\n:1\r\n", [1]),
    (b"%1\r\n|1\r\n+a\r\n+b\r\n+k\r\n|1\r\n+a\r\n+b\r\n+v\r\n", Map([(b"k", b"v")])),
    (b"*?\r\n|1\r\n+a\r\n$?\r\n;1\r\nb\r\n;0\r\n:1\r\n.\r\n", [1]),
    # What a push holds is like what an array holds.
    (b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", Push([b"invalidate", [b"k"]])),
]
VECTORS = SPECIFIED + DETAILS

ATTRIBUTES: list[tuple[bytes, Any, Any]] = [
    (  # the specification's reply to MGET a b
        b"|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n"
        b"*2\r\n:2039123\r\n:9543892\r\n",
        [2039123, 9543892],
        Map([(b"key-popularity", Map([(b"a", 0.1923), (b"b", 0.0012)]))]),
    ),
    (b"|1\r\n+ttl\r\n:3600\r\n:3\r\n", 3, Map([(b"ttl", 3600)])),
    (b"|1\r\n*0\r\n%0\r\n_\r\n", None, Map([([], Map())])),
    (b"|0\r\n$2\r\nok\r\n", b"ok", Map()),
    (b"|1\r\n+a\r\n:1\r\n>1\r\n+p\r\n", Push([b"p"]), Map([(b"a", 1)])),
    (b"|1\r\n+a\r\n*?\r\n:1\r\n.\r\n-ERR\r\n", ServerError("ERR"), Map([(b"a", [1])])),
    # An attribute of an attribute's part is nested, and so dropped.
    (b"|1\r\n|1\r\n+x\r\n+y\r\n+a\r\n:1\r\n:2\r\n", 2, Map([(b"a", 1)])),
    # Two before one value are both kept.
    (b"|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n:3\r\n", 3, Map([(b"a", 1), (b"b", 2)])),
    # Those within the value are not those before it.
    (b"|1\r\n+a\r\n:1\r\n*1\r\n|1\r\n+b\r\n:2\r\n:3\r\n", [3], Map([(b"a", 1)])),
]

LENGTH = "expected a length"
INTEGER = "expected an integer of 64 bits"
END = "end of a streamed aggregate, expected none here"
DEEP = "aggregates nested 65 deep, expected at most 64"
PUSH = "push within a value, expected it between two"

# Bytes, and what the error says of them.
MALFORMED: list[tuple[bytes, str]] = [
    # Lengths are digits and nothing else; int() would take most of these.
    (b"$1_0\r\n", rf"b'$1_0', {LENGTH}"),
    (b"$ 5\r\n", rf"b'$ 5', {LENGTH}"),
    (b"$5 \r\n", rf"b'$5 ', {LENGTH}"),
    (b"$+5\r\n", rf"b'$+5', {LENGTH}"),
    (b"$05\r\n", rf"b'$05', {LENGTH}"),
    (b"$00\r\n", rf"b'$00', {LENGTH}"),
    (b"$-5\r\n", rf"b'$-5', {LENGTH}"),
    (b"$-0\r\n", rf"b'$-0', {LENGTH}"),
    (b"$-01\r\n", rf"b'$-01', {LENGTH}"),
    (b"$\r\n", rf"b'$', {LENGTH}"),
    (b"$0x5\r\n", rf"b'$0x5', {LENGTH}"),
    (b"$5.0\r\n", rf"b'$5.0', {LENGTH}"),
    (b"$\xd9\xa5\r\n", rf"b'$\xd9\xa5', {LENGTH}"),  # a five, but not an ASCII one
    (b"$\xb2\r\n", rf"b'$\xb2', {LENGTH}"),
    (b"$5\r\r\nhello\r\n", rf"b'$5\r', {LENGTH}"),
    (b"$??\r\n", rf"b'$??', {LENGTH}"),
    (b"$EOF:0123456789012345678901234567890123456789\r\n",
     rf"b'$EOF:0123456789012345678901234567890123456789', {LENGTH}"),
    (b"*1_0\r\n", rf"b'*1_0', {LENGTH}"),
    (b"* 5\r\n", rf"b'* 5', {LENGTH}"),
    (b"*+5\r\n", rf"b'*+5', {LENGTH}"),
    (b"*05\r\n", rf"b'*05', {LENGTH}"),
    (b"*-2\r\n", rf"b'*-2', {LENGTH}"),
    (b"*\r\n", rf"b'*', {LENGTH}"),
    (b"*99999999999999999999\r\n", rf"b'*99999999999999999999', {LENGTH}"),
    (b"*" + b"1" * 50_000 + b"\r\n", rf"b'*{'1' * 99}'... (50001 bytes), {LENGTH}"),
    (b"%05\r\n", rf"b'%05', {LENGTH}"),
    (b"~+5\r\n", rf"b'~+5', {LENGTH}"),
    (b">1_0\r\n", rf"b'>1_0', {LENGTH}"),
    (b"|\r\n", rf"b'|', {LENGTH}"),
    (b"!05\r\n", rf"b'!05', {LENGTH}"),
    (b"= 5\r\n", rf"b'= 5', {LENGTH}"),
    (b"$?\r\n;05\r\n", rf"b';05', {LENGTH}"),
    (b"$?\r\n;00\r\n", rf"b';00', {LENGTH}"),
    # Only strings and arrays have a null of version 2 ...
    (b"%-1\r\n", rf"b'%-1', {LENGTH}"),
    (b"~-1\r\n", rf"b'~-1', {LENGTH}"),
    (b">-1\r\n", rf"b'>-1', {LENGTH}"),
    (b"|-1\r\n", rf"b'|-1', {LENGTH}"),
    (b"!-1\r\n", rf"b'!-1', {LENGTH}"),
    (b"=-1\r\n", rf"b'=-1', {LENGTH}"),
    (b"$?\r\n;-1\r\n", rf"b';-1', {LENGTH}"),
    # ... and only these, maps and sets may be streamed.
    (b">?\r\n", rf"b'>?', {LENGTH}"),
    (b"|?\r\n", rf"b'|?', {LENGTH}"),
    (b"!?\r\n", rf"b'!?', {LENGTH}"),
    (b"=?\r\n", rf"b'=?', {LENGTH}"),
    (b"$?\r\n;?\r\n", rf"b';?', {LENGTH}"),
    # Integers.
    (b":\r\n", rf"b'', {INTEGER}"),
    (b":1_0\r\n", rf"b'1_0', {INTEGER}"),
    (b": 5\r\n", rf"b' 5', {INTEGER}"),
    (b":5 \r\n", rf"b'5 ', {INTEGER}"),
    (b":05\r\n", rf"b'05', {INTEGER}"),
    (b":+\r\n", rf"b'+', {INTEGER}"),
    (b":--1\r\n", rf"b'--1', {INTEGER}"),
    (b":1.0\r\n", rf"b'1.0', {INTEGER}"),
    (b":1e3\r\n", rf"b'1e3', {INTEGER}"),
    (b":0x10\r\n", rf"b'0x10', {INTEGER}"),
    (b":5\r\r\n", rf"b'5\r', {INTEGER}"),
    (b":\xd9\xa5\r\n", rf"b'\xd9\xa5', {INTEGER}"),
    (b":9223372036854775808\r\n", f"9223372036854775808, {INTEGER}"),
    (b":-9223372036854775809\r\n", f"-9223372036854775809, {INTEGER}"),
    (b":100000000000000000000\r\n", rf"b'100000000000000000000', {INTEGER}"),
    (b":" + b"9" * 60_000 + b"\r\n", rf"b'{'9' * 100}'... (60000 bytes), {INTEGER}"),
    # Big numbers.
    (b"(\r\n", "b'', expected a big number"),
    (b"(1_0\r\n", "b'1_0', expected a big number"),
    (b"( 5\r\n", "b' 5', expected a big number"),
    (b"(05\r\n", "b'05', expected a big number"),
    (b"(1.5\r\n", "b'1.5', expected a big number"),
    (b"(-\r\n", "b'-', expected a big number"),
    (b"(" + b"9" * 4301 + b"\r\n", "big number of 4301 digits, expected at most 4300"),
    # Doubles.
    (b",\r\n", "b'', expected a double"),
    (b",.5\r\n", "b'.5', expected a double"),
    (b",1_0.0\r\n", "b'1_0.0', expected a double"),
    (b", 1\r\n", "b' 1', expected a double"),
    (b",1 \r\n", "b'1 ', expected a double"),
    (b",05\r\n", "b'05', expected a double"),
    (b",1e\r\n", "b'1e', expected a double"),
    (b",1e1.5\r\n", "b'1e1.5', expected a double"),
    (b",1,5\r\n", "b'1,5', expected a double"),
    (b",--1\r\n", "b'--1', expected a double"),
    (b",0x1p3\r\n", "b'0x1p3', expected a double"),
    (b",infinity\r\n", "b'infinity', expected a double"),
    (b",in\r\n", "b'in', expected a double"),
    # Booleans and nulls.
    (b"#\r\n", "b'', expected the boolean 't' or 'f'"),
    (b"#T\r\n", "b'T', expected the boolean 't' or 'f'"),
    (b"#true\r\n", "b'true', expected the boolean 't' or 'f'"),
    (b"#1\r\n", "b'1', expected the boolean 't' or 'f'"),
    (b"_x\r\n", "b'x' after a null, expected nothing"),
    (b"_-1\r\n", "b'-1' after a null, expected nothing"),
    # Bytes that open no value: other protocols, and places lost.
    (b"\r\n", "line b'', expected one of RESP's type bytes"),
    (b"hello\r\n", "line b'hello', expected one of RESP's type bytes"),
    (b"\x00\r\n", r"line b'\x00', expected one of RESP's type bytes"),
    (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
     "line b'HTTP/1.1 400 Bad Request', expected one of RESP's type bytes"),
    (b"*2\r\n$1\r\na\r\n\r\n", "line b'', expected one of RESP's type bytes"),
    # Lines.
    (b"+OK\n", "line b'+OK' ends in LF, expected CRLF"),
    (b"\n", "line b'' ends in LF, expected CRLF"),
    (b"$5\nhello\r\n", "line b'$5' ends in LF, expected CRLF"),
    (b"+a\nb\r\n", "line b'+a' ends in LF, expected CRLF"),
    (b"+a\rb\r\n", r"CR within the line b'a\rb', expected it at the end only"),
    (b"+a\r\r\n", r"CR within the line b'a\r', expected it at the end only"),
    (b"-ERR a\rb\r\n", r"CR within the line b'ERR a\rb', expected it at the end only"),
    # Strings without their CRLF.
    (b"$5\r\nhelloXX", "b'XX' after 5 bytes of a bulk string, expected CRLF"),
    (b"$5\r\nhello\n\r", r"b'\n\r' after 5 bytes of a bulk string, expected CRLF"),
    (b"$5\r\nhello!\r\n", r"b'!\r' after 5 bytes of a bulk string, expected CRLF"),
    (b"$5\r\nhell\r\n+", r"b'\n+' after 5 bytes of a bulk string, expected CRLF"),
    (b"$0\r\n$0", "b'$0' after 0 bytes of a bulk string, expected CRLF"),
    (b"!3\r\nERRXX", "b'XX' after 3 bytes of a bulk string, expected CRLF"),
    (b"=5\r\ntxt:aXX", "b'XX' after 5 bytes of a bulk string, expected CRLF"),
    (b"$?\r\n;2\r\nabXX", "b'XX' after 2 bytes of a bulk string, expected CRLF"),
    # Verbatim strings.
    (b"=0\r\n\r\n", "b'', expected a verbatim string as in 'txt:text'"),
    (b"=3\r\ntxt\r\n", "b'txt', expected a verbatim string as in 'txt:text'"),
    (b"=5\r\ntxt-a\r\n", "b'txt-a', expected a verbatim string as in 'txt:text'"),
    # Announced lengths.
    (b"$%d\r\n" % (MAX_BULK + 1), "string of 536870913 bytes, expected at most 536870912"),
    (b"$9999999999999999999\r\n",
     "string of 9999999999999999999 bytes, expected at most 536870912"),
    (b"!%d\r\n" % (MAX_BULK + 1), "string of 536870913 bytes, expected at most 536870912"),
    (b"=%d\r\n" % (MAX_BULK + 1), "string of 536870913 bytes, expected at most 536870912"),
    (b"$?\r\n;%d\r\n" % (MAX_BULK + 1),
     "streamed string of 536870913 bytes, expected at most 536870912"),
    (b"$?\r\n;1\r\na\r\n;%d\r\n" % MAX_BULK,
     "streamed string of 536870913 bytes, expected at most 536870912"),
    # Depth without end, through every aggregate.
    (b"*1\r\n" * 65, DEEP),
    (b"~1\r\n" * 65, DEEP),
    (b"*?\r\n" * 65, DEEP),
    (b"%1\r\n+k\r\n" * 65, DEEP),
    (b"%1\r\n" * 65, DEEP),
    (b"|1\r\n" * 65, DEEP),
    (b"*1\r\n|1\r\n" * 33, DEEP),
    (b">1\r\n" + b"*1\r\n" * 64, DEEP),
    (b"*1\r\n" * 64 + b"*0\r\n", DEEP),
    (b"*1\r\n" * 64 + b"$?\r\n", DEEP),
    # Pushes are between values, never within one.
    (b"*2\r\n:1\r\n>1\r\n+p\r\n", PUSH),
    (b"%1\r\n+k\r\n>0\r\n", PUSH),
    (b"|1\r\n>1\r\n+p\r\n", PUSH),
    (b"*?\r\n>1\r\n+p\r\n", PUSH),
    (b">2\r\n+a\r\n>1\r\n+b\r\n", PUSH),
    (b"$?\r\n>1\r\n", "b'>1' within a streamed string, expected ';'"),
    # Ends, and parts of strings, where there is nothing to end or to continue.
    (b".\r\n", END),
    (b"*1\r\n.\r\n", END),
    (b"*?\r\n*1\r\n.\r\n", END),
    (b"*?\r\n.x\r\n", END),
    (b"%?\r\n+a\r\n.\r\n", "end of a streamed map after a key, expected its value"),
    (b"%?\r\n+a\r\n:1\r\n+b\r\n.\r\n", "end of a streamed map after a key, expected its value"),
    (b"|1\r\n+a\r\n.\r\n", END),
    (b"*?\r\n|1\r\n+a\r\n+b\r\n.\r\n",
     "end of a streamed aggregate after an attribute, expected a value"),
    (b";1\r\na\r\n", "part of a streamed string outside of one, expected a value"),
    (b";0\r\n", "part of a streamed string outside of one, expected a value"),
    (b"*?\r\n;1\r\na\r\n", "part of a streamed string outside of one, expected a value"),
    (b"$?\r\n+a\r\n", "b'+a' within a streamed string, expected ';'"),
    (b"$?\r\n$1\r\na\r\n", "b'$1' within a streamed string, expected ';'"),
    (b"$?\r\n.\r\n", "b'.' within a streamed string, expected ';'"),
    (b"$?\r\n\r\n", "b'' within a streamed string, expected ';'"),
    (b"$?\r\n|1\r\n", "b'|1' within a streamed string, expected ';'"),
    (b"$?\r\n$?\r\n", "b'$?' within a streamed string, expected ';'"),
]  # fmt: skip


def _parsed(pieces: Iterable[bytes], parser: Parser | None = None) -> Outcome:
    parser = parser or Parser()
    return drain(parser.feed, parser.next_value, pieces)


def _id(case: object) -> str | None:
    return repr(case)[1:] if isinstance(case, bytes) and len(case) < 60 else None


@pytest.mark.parametrize(("data", "value"), VECTORS, ids=_id)
def test_a_value_is_read_in_any_pieces(data: bytes, value: Any) -> None:
    """Whole, byte by byte, and at random."""
    for pieces in chunkings(data):
        parser = Parser()
        outcome = _parsed(pieces, parser)
        assert typed(outcome) == typed(Outcome([value]))
        assert parser.expecting() is None
        assert not parser.is_within_value
        assert parser.attributes is None


@pytest.mark.parametrize(("data", "value"), VECTORS, ids=_id)
@pytest.mark.parametrize(("after", "rest"), [(b"+after\r\n", [b"after"]), (b"$5\r\nhel", [])])
def test_bytes_after_a_value_are_left_to_the_next(
    data: bytes, value: Any, after: bytes, rest: list[Any]
) -> None:
    for pieces in chunkings(data + after):
        parser = Parser()
        assert typed(_parsed(pieces, parser)) == typed(Outcome([value, *rest]))
        assert (parser.expecting() is None) is bool(rest)


@pytest.mark.parametrize(("data", "value"), VECTORS, ids=_id)
def test_a_value_that_is_cut_short_needs_data(data: bytes, value: Any) -> None:
    """No prefix passes for a value, nor for an error."""
    step = max(1, len(data) // 200)
    for end in range(1, len(data), step):
        parser = Parser()
        assert _parsed([data[:end]], parser) == Outcome([])
        assert parser.expecting() is not None
        assert typed(_parsed([data[end:]], parser)) == typed(Outcome([value]))


def test_values_follow_each_other_without_a_trace() -> None:
    """All vectors over one connection: no value changes how the next one is read."""
    stream = b"".join(data for data, _ in VECTORS)
    for pieces in chunkings(stream):
        assert typed(_parsed(pieces)) == typed(Outcome([value for _, value in VECTORS]))


@pytest.mark.parametrize(("data", "value", "attributes"), ATTRIBUTES, ids=_id)
def test_attributes_before_a_value_are_kept_beside_it(
    data: bytes, value: Any, attributes: Any
) -> None:
    """Contract 6.3: an attribute is no reply. It stays until the next value is returned."""
    for pieces in chunkings(data):
        parser = Parser()
        assert typed(_parsed(pieces, parser)) == typed(Outcome([value]))
        assert typed(parser.attributes) == typed(attributes)
        assert _parsed([b"*1\r\n"], parser) == Outcome([])
        assert typed(parser.attributes) == typed(attributes)
        assert _parsed([b":1\r\n"], parser) == Outcome([[1]])
        assert parser.attributes is None


def test_attributes_wait_for_the_value_that_they_inform() -> None:
    parser = Parser()
    assert _parsed([b"|1\r\n+a\r\n:1\r\n"], parser) == Outcome([])
    assert parser.attributes is None
    assert _parsed([b"+OK\r\n"], parser) == Outcome([b"OK"])
    assert parser.attributes == Map([(b"a", 1)])


@pytest.mark.parametrize("text", [b"NAN", b"-NAN", b"nan(0x8000000000000)", b"-nan(ind)"])
def test_every_old_spelling_of_nan_is_read(text: bytes) -> None:
    """RESP3.md: servers before 7.2 "may return any representation of NaN produced by libc,
    such as '-nan', 'NAN' or 'nan(char-sequence)'", and clients should handle it."""
    (value,) = _parsed([b"," + text + b"\r\n"]).values
    assert math.isnan(value)


@pytest.mark.parametrize(("data", "text"), MALFORMED, ids=_id)
def test_malformed_bytes_raise_what_was_seen_and_what_was_expected(data: bytes, text: str) -> None:
    """Contract 7: hostile replies end in a ProtocolError. In any pieces it is the same one."""
    for pieces in chunkings(data):
        assert _parsed(pieces) == Outcome([], shown_at_once(text))


@pytest.mark.parametrize(("data", "text"), MALFORMED, ids=_id)
def test_values_before_malformed_bytes_are_handed_out(data: bytes, text: str) -> None:
    """Contract 5.4: what was received comes before the failure; what follows it, never."""
    for pieces in chunkings(b"+before\r\n*1\r\n:1\r\n" + data + b"+after\r\n"):
        assert _parsed(pieces) == Outcome([b"before", [1]], shown_at_once(text))


def test_errors_are_lower_case_and_say_what_was_expected() -> None:
    for _, text in MALFORMED:
        assert "expected" in text
        assert not text[0].isupper() or text.startswith("CR ")
        assert len(text) < 200


@pytest.mark.parametrize("kind", [b"+", b"-", b":", b"(", b",", b"$", b"*"])
def test_a_line_without_end_is_refused(kind: bytes) -> None:
    """Contract 7: numbers that are none, and digits without end."""
    for pieces in ([kind + b"1" * 70_000], bytewise(kind + b"1" * 70_000)):
        outcome = _parsed(pieces)
        assert not outcome.values
        assert str(outcome.error).startswith("line of more than ")
        assert str(outcome.error).endswith(" bytes, expected at most 65536")


@pytest.mark.parametrize(
    "nesting", [b"*1\r\n", b"~1\r\n", b"*?\r\n", b"%1\r\n+k\r\n", b"*2\r\n:1\r\n", b"|1\r\n+k\r\n"]
)
def test_what_nests_as_deep_as_allowed_is_read(nesting: bytes) -> None:
    parser = Parser()
    assert _parsed([nesting * MAX_DEPTH], parser) == Outcome([])
    assert parser.is_within_value


def test_depth_counts_what_is_open_and_not_what_was() -> None:
    data = array(*[b"*1\r\n*0\r\n"] * 200)
    assert _parsed([data], Parser(max_depth=3)) == Outcome([[[[]]] * 200])


def test_the_limits_can_be_set() -> None:
    text = "string of 11 bytes, expected at most 10"
    assert _parsed([bulk(b"x" * 10)], Parser(max_bulk=10)) == Outcome([b"x" * 10])
    assert _parsed([bulk(b"x" * 11)], Parser(max_bulk=10)) == Outcome([], text)
    parts = b"$?\r\n;6\r\nabcdef\r\n;4\r\nghij\r\n"
    assert _parsed([parts + b";0\r\n"], Parser(max_bulk=10)) == Outcome([b"abcdefghij"])
    assert _parsed([parts + b";1\r\nk\r\n"], Parser(max_bulk=10)) == Outcome(
        [], "streamed string of 11 bytes, expected at most 10"
    )
    assert _parsed([b"*1\r\n*1\r\n"], Parser(max_depth=1)) == Outcome(
        [], "aggregates nested 2 deep, expected at most 1"
    )


def test_no_depth_uses_up_the_stack() -> None:
    """It never recurses: where the limit is lifted, memory is all that depth takes."""
    depth = 50_000
    (value,) = _parsed([b"*1\r\n" * depth + b":7\r\n"], Parser(max_depth=depth)).values
    for _ in range(depth):
        (inner,) = value
        value.clear()  # so that nothing is freed level by level either
        value = inner
    assert value == 7


@pytest.mark.parametrize(
    "announced",
    [
        b"$536870912\r\n",
        b"!536870912\r\n",
        b"=536870912\r\n",
        b"$?\r\n;536870912\r\n",
        b"*2000000\r\n",
        b"%1000000\r\n",
        b"~2000000\r\n",
        b">2000000\r\n",
        b"|1000000\r\n",
        b"*20000\r\n" * MAX_DEPTH,
    ],
    ids=_id,
)
def test_what_is_only_announced_takes_no_memory(announced: bytes) -> None:
    """Contract 7: no memory for what was only announced."""
    parser = Parser()
    tracemalloc.start()
    try:
        parser.feed(announced)
        assert parser.next_value() is NEED_DATA
        parser.feed(b"+x\r\n")
        assert parser.next_value() is NEED_DATA
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    ("item", "counts"),
    [(b"*0\r\n", 2), (b"%0\r\n", 2), (b"_\r\n", 1), (b"$2\r\nab\r\n", 1), (b"*1\r\n:1\r\n", 3)],
)
@pytest.mark.parametrize("header", [b"*5998\r\n", b"*?\r\n", b"%2999\r\n"], ids=_id)
def test_a_value_has_so_many_items_at_most(header: bytes, item: bytes, counts: int) -> None:
    """An item takes far more memory than its bytes; without a bound they would fill it."""
    parser = Parser(max_items=6000)
    parser.feed(header + item * (5990 // counts))
    assert parser.next_value() is NEED_DATA
    parser.feed(item * 20)
    if counts == 1 and header != b"*?\r\n":
        assert parser.next_value() is not NEED_DATA
        return
    with pytest.raises(ProtocolError, match=r"6000 items, expected fewer|at most 6000"):
        parser.next_value()


def test_more_items_than_a_value_may_have_are_refused_when_announced() -> None:
    parser = Parser()
    parser.feed(b"*%d\r\n" % (2 * MAX_ITEMS))
    with pytest.raises(ProtocolError, match=f"expected at most {MAX_ITEMS} in a value"):
        parser.next_value()


def test_items_are_counted_for_each_value_alone() -> None:
    parser = Parser(max_items=10)
    parser.feed(b"*8\r\n" + b":1\r\n" * 8 + b"*8\r\n" + b":1\r\n" * 8)
    assert parser.next_value() == [1] * 8
    assert parser.next_value() == [1] * 8


def test_consumed_is_the_position_after_the_last_value() -> None:
    parser = Parser()
    for size in (1, 3, 1000):
        before = parser.consumed
        parser.feed(b":1234567\r\n" * size + b":12")
        while parser.next_value() is not NEED_DATA:
            pass
        assert parser.consumed == before + 10 * size
        parser.feed(b"34567\r\n")
        assert parser.next_value() == 1234567
        assert parser.consumed == before + 10 * (size + 1)


def test_a_string_takes_memory_for_what_has_come() -> None:
    """Half of it is there: two copies at most, and none of the other half."""
    size = 4_000_000
    parser = Parser()
    piece = b"x" * 20_000
    tracemalloc.start()
    try:
        parser.feed(b"$%d\r\n" % size)
        for _ in range(size // len(piece) // 2):
            parser.feed(bytes(bytearray(piece)))
            assert parser.next_value() is NEED_DATA
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size + 100_000


ITEMS = b":1\r\n" * (MAX_ASIDE // 2 + 1)


@pytest.mark.parametrize(
    "begun",
    [
        b">999999\r\n" + ITEMS,
        b">1\r\n*999999\r\n" + ITEMS,
        b"|999999\r\n" + ITEMS,
        b"*1\r\n|1\r\n*?\r\n" + ITEMS,
        b">1\r\n$%d\r\n" % (MAX_ASIDE + 1),
        b"|1\r\n$?\r\n;%d\r\n" % (MAX_ASIDE + 1),
        b"|1\r\n:1\r\n:2\r\n" * (MAX_ASIDE // 8 + 1),
        b"*1\r\n" + b"|1\r\n:1\r\n:2\r\n" * (MAX_ASIDE // 8 + 1),
    ],
    ids=lambda begun: repr(begun[:20]),
)
def test_pushes_and_attributes_are_bounded(begun: bytes) -> None:
    """Nobody has asked for them, and they take memory until they are whole."""
    outcome = _parsed([begun])
    assert outcome.values == []
    assert "push or attribute" in str(outcome.error)


def test_what_was_asked_for_is_not_bounded_by_what_was_not() -> None:
    """Neither after a push or an attribute nor around one, nor are many of these."""
    size = MAX_ASIDE // 2
    aside = b">1\r\n$%d\r\n%b\r\n" % (size, b"x" * size)
    assert len(_parsed([aside * 5]).values) == 5
    large = b"*3\r\n%b|1\r\n+k\r\n+v\r\n%b:1\r\n"
    asked = b"$%d\r\n%b\r\n" % (2 * MAX_ASIDE, b"y" * 2 * MAX_ASIDE)
    assert _parsed([large % (asked, asked)]) == Outcome([[b"y" * 2 * MAX_ASIDE] * 2 + [1]])


def test_it_is_known_whether_a_push_or_a_reply_is_coming_in() -> None:
    for data, is_aside in [
        (b">2\r\n:1\r\n", True),
        (b"|1\r\n*1\r\n", True),
        (b"*1\r\n|1\r\n", False),
        (b"$9\r\n>", False),
        (b">0\r\n", False),
        (b"|1\r\n+k\r\n+v\r\n", True),
        (b"|1\r\n+k\r\n+v\r\n*", False),
    ]:
        parser = Parser()
        parser.feed(data)
        while parser.next_value() is not NEED_DATA:
            pass
        assert parser.is_aside is is_aside


def test_expecting_says_what_is_missing() -> None:
    """For "peer closed connection after ...": observed against expected."""
    parser = Parser()
    seen = []
    for piece in (b"", b"*3", b"\r\n", b":1\r\n", b"$40\r\n", b"x" * 12):
        parser.feed(piece)
        assert parser.next_value() is NEED_DATA
        seen.append(parser.expecting())
    assert seen == [
        None,
        "2 bytes of a value, expected a whole one",
        "0 items of an aggregate, expected 3 more",
        "1 items of an aggregate, expected 2 more",
        "0 bytes of a bulk string, expected 40 and CRLF",
        "12 bytes of a bulk string, expected 40 and CRLF",
    ]


def test_expecting_says_when_only_an_end_is_missing() -> None:
    parser = Parser()
    assert _parsed([b"*?\r\n:1\r\n"], parser) == Outcome([])
    assert parser.expecting() == "1 items of an aggregate, expected an end"


def test_parsers_may_share_a_buffer() -> None:
    """One reads the reply to one command, one that to the next."""
    buffer = Buffer()
    first, second = Parser(buffer), Parser(buffer)
    first.feed(b"+1\r\n+2\r\n+3\r\n")
    assert [first.next_value(), second.next_value(), first.next_value()] == [b"1", b"2", b"3"]


# Properties.


@settings(deadline=None, max_examples=200)
@given(values=st.lists(strategies.typed_values | strategies.pushes, max_size=4), data=st.data())
def test_every_value_comes_out_as_it_was_encoded(values: list[Any], data: st.DataObject) -> None:
    """Values of every type, in any pieces, with their types and without."""
    wire = b"".join(map(encode, values))
    parser = Parser(types=True)
    pieces = data.draw(strategies.pieces(wire))
    outcome = _parsed(pieces, parser)
    assert outcome.error is None
    assert b"".join(map(encode, outcome.values)) == wire
    assert outcome.values == [_with_types(value) for value in values]
    assert parser.expecting() is None
    assert parser.consumed == len(wire)
    assert typed(_parsed(pieces).values) == typed([_without_types(value) for value in values])


def _with_types(value: Any) -> Any:
    """A push, which is made without types, as it comes."""
    if isinstance(value, Typed):
        return value
    parser = Parser(types=True)
    parser.feed(encode(value))
    return parser.next_value()


def _without_types(value: Any) -> Any:
    if isinstance(value, Typed):
        return b"".join(value.value) if value.kind == b"$?" else _without_types(value.value)
    if isinstance(value, Map):
        return Map((_without_types(key), _without_types(item)) for key, item in value)
    return type(value)(map(_without_types, value)) if isinstance(value, list) else value


@settings(deadline=None, max_examples=400)
@given(data=strategies.nearly_valid() | st.binary(max_size=60), drawn=st.data())
def test_any_bytes_give_values_or_need_data_or_a_protocol_error(
    data: bytes, drawn: st.DataObject
) -> None:
    """And nothing else, and the same in any pieces, with the error at the same byte."""
    whole, cut = Parser(), Parser()
    expected = _parsed([data], whole)
    found = _parsed(drawn.draw(strategies.pieces(data)), cut)
    assert typed(found.values) == typed(expected.values)
    assert (found.error is None) is (expected.error is None)
    if found.error is not None:
        assert _offset_of(cut) == _offset_of(whole)


def _offset_of(parser: Parser) -> int | None:
    with pytest.raises(ProtocolError) as info:
        parser.next_value()
    return info.value.offset


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"x", 0),
        (b"+OK\r\n:1x\r\n", 5),
        (b"*2\r\n:1\r\n*05\r\n", 8),
        (b"$2\r\nabc\r\n", 6),
        (b"*1\r\n=3\r\ntxt\r\n", 8),
        (b":1\r\n+" + b"x" * 70_000, 4),
        (b"+a\nb\r\n", 0),
        (b"*1\r\n>1\r\n", 4),
        (b"$?\r\n;1\r\na\r\n:1\r\n", 11),
        (b"*?\r\n:1\r\n*1\r\n.\r\n", 12),
        (b"|1\r\n+a\r\n+b\r\n$536870913\r\n", 12),
    ],
    ids=_id,
)
def test_an_error_has_the_offset_of_what_is_wrong(data: bytes, offset: int) -> None:
    """In all bytes that were fed, in any pieces."""
    for before in (b"", b"+before\r\n"):
        for pieces in chunkings(before + data):
            parser = Parser()
            assert _parsed(pieces, parser).error is not None
            assert _offset_of(parser) == len(before) + offset


@pytest.mark.parametrize("data", [b"x", b"\r", b"\n", b"\xff", b"*1\r\nH", b"$?\r\n:", b"*2\r\n\r"])
def test_an_unknown_type_byte_is_refused_at_once(data: bytes) -> None:
    """A peer that speaks another protocol may never end its line."""
    for pieces in chunkings(data):
        assert _parsed(pieces).error is not None


def test_a_whole_value_has_so_many_bytes_at_most() -> None:
    limit = "or more, expected at most 20"
    for data, error in [
        (b"*3\r\n:1\r\n:2\r\n:345678\r\n", f"value of 21 bytes {limit}"),
        (b"|1\r\n:1\r\n:2\r\n:34567\r\n", None),
        (b"|1\r\n:1\r\n:2\r\n:345678\r\n", f"value of 21 bytes {limit}"),
        (b"*1\r\n$10\r\n", f"value of 21 bytes {limit}"),  # when it is announced
        (b"*?\r\n" + b":1\r\n" * 9, f"value of 24 bytes {limit}"),
        (b"$?\r\n;9\r\n123456789\r\n;0\r\n", f"value of 23 bytes {limit}"),
        (b":1\r\n" * 9, None),
    ]:
        for pieces in chunkings(data):
            assert _parsed(pieces, Parser(max_size=20)).error == error, data


# Requests of clients. Source: processInlineBuffer() and sdssplitargs() of Redis.

REQUESTS: list[tuple[bytes, list[list[bytes]]]] = [
    (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", [[b"GET", b"a"]]),
    (b"PING\r\n", [[b"PING"]]),
    (b"PING\n", [[b"PING"]]),
    (b" SET  a\tb \r\n", [[b"SET", b"a", b"b"]]),
    (b"\r\n\n*0\r\n*-1\r\nPING\r\n", [[], [], [], [], [b"PING"]]),
    (b'a "b c" "" \'d e\' x"y z"\r\n', [[b"a", b"b c", b"", b"d e", b"xy z"]]),
    (rb'"\x41\n\q\"\\" ' + rb"'\'\n'" + b"\r\n", [[b'A\nq"\\', b"'\\n"]]),
    (b"a\\b $1 :2\r\n", [[b"a\\b", b"$1", b":2"]]),
    (b"a b\0c d\r\n", [[b"a", b"b"]]),
    (b"a\r\n*1\r\n$1\r\nb\r\nc\r\n", [[b"a"], [b"b"], [b"c"]]),
]


@pytest.mark.parametrize(("data", "commands"), REQUESTS, ids=_id)
def test_requests_are_read_in_either_form(data: bytes, commands: list[list[bytes]]) -> None:
    for pieces in chunkings(data):
        assert _parsed(pieces, Parser(requests=True)) == Outcome(commands)
        assert _parsed(pieces, Parser(requests=True, types=True)) == Outcome(
            [Typed(b"*", [Typed(b"$", word) for word in words]) for words in commands]
        )


@pytest.mark.parametrize(
    "data",
    [
        *(b'"a\r\n', b"'a\\'\r\n", b'"a"b\r\n', b'a"\r\n', b"*1\r\n:1\r\n", b"*1\r\n*1\r\n"),
        *(b"*?\r\n", b"*x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$?\r\n", b"*1\r\nPING\r\n"),
        b"a" * 70_000,
    ],
    ids=_id,
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    for pieces in chunkings(data):
        parser = Parser(requests=True)
        outcome = _parsed(pieces, parser)
        assert outcome.values == []
        assert outcome.error is not None


@settings(deadline=None, max_examples=50)
@given(st.lists(strategies.commands, max_size=4), st.data())
def test_commands_are_read_back(wires: list[bytes], data: st.DataObject) -> None:
    pieces = data.draw(strategies.pieces(b"".join(wires)))
    outcome = _parsed(pieces, Parser(requests=True))
    assert [encode_command(*words) for words in outcome.values] == wires


# Linear work. What is counted is bytes and calls, since time is not the test's to know.

LARGE: dict[str, Callable[[int], bytes]] = {
    "one string": lambda n: bulk(b"\r\n" * (50 * n)),
    "short strings": lambda n: array(*[bulk(b"hello")] * (10 * n)),
    "a long line": lambda n: b"+" + b"x" * min(100 * n, 60_000) + b"\r\n",
    "empty aggregates": lambda n: array(*[b"*0\r\n"] * (20 * n)),
    "deep and wide": lambda n: array(*[b"*1\r\n" * 20 + b":1\r\n"] * n),
    "a map": lambda n: aggregate(b"%", [bulk(b"key"), b":1\r\n"] * (5 * n), per_length=2),
    "a streamed string": lambda n: encode(Typed(b"$?", [b"ab"] * (10 * n))),
    "a streamed array": lambda n: b"*?\r\n" + b":1\r\n" * (20 * n) + b".\r\n",
    "many values": lambda n: b"+OK\r\n" * (20 * n),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
@pytest.mark.parametrize("size", [1, 3, 4096])
def test_bytes_are_copied_a_bounded_number_of_times(
    make: Callable[[int], bytes], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the pieces are: each byte is joined at most twice."""
    copies = Copies(monkeypatch)
    data = make(500)
    outcome = _parsed(data[at : at + size] for at in range(0, len(data), size))
    assert outcome.error is None
    assert outcome.values
    assert copies.bytes <= 2 * len(data)


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
def test_twice_the_bytes_take_twice_the_calls(make: Callable[[int], bytes]) -> None:
    """Byte by byte, with a look after each: Python's and C's functions counted together."""
    calls = []
    for data in (make(100), make(200)):
        parser = Parser()
        pieces = bytewise(data)
        count = 0

        def counting(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(counting)
        try:
            for piece in pieces:
                parser.feed(piece)
                while parser.next_value() is not NEED_DATA:
                    pass
        finally:
            sys.setprofile(None)
        assert parser.expecting() is None
        calls.append(count / len(data))
    assert calls[1] < 1.1 * calls[0]
    assert max(calls) < 50


def test_the_same_error_is_raised_for_good() -> None:
    """The parser has lost its place: nothing that comes later may pass for a reply."""
    parser = Parser()
    parser.feed(b"hello\r\n+OK\r\n")
    errors = []
    for _ in range(3):
        with pytest.raises(ProtocolError) as info:
            parser.next_value()
        errors.append(info.value)
        parser.feed(b"+OK\r\n")
    assert errors[0] is errors[1] is errors[2]
