"""`pystreamredis.redis_py`: every keyword of redis-py's constructors is an option or refused."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from pystreamredis.options import OPTIONS
from pystreamredis.redis_py import ADVICE

CLASSES = {
    "redis": ["Redis", "RedisCluster"],
    "redis.asyncio": ["Redis", "RedisCluster"],
    "redis.connection": [
        "BlockingConnectionPool",
        "Connection",
        "ConnectionPool",
        "SSLConnection",
        "UnixDomainSocketConnection",
    ],
    "redis.asyncio.connection": [
        "BlockingConnectionPool",
        "Connection",
        "ConnectionPool",
        "SSLConnection",
        "UnixDomainSocketConnection",
    ],
    "redis.sentinel": ["Sentinel", "SentinelConnectionPool", "SentinelManagedConnection"],
    "redis.asyncio.sentinel": ["Sentinel", "SentinelConnectionPool"],
}


def keywords_of(kind: type[Any]) -> set[str]:
    """The keywords of a constructor, and of those that it passes the rest to."""
    found: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            found |= {p.name for p in parameters if p.kind in named} - {"self"}
    return found


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in CLASSES.items() for name in names]
)
def test_each_keyword_of_redis_py_is_an_option_or_refused(module: str, name: str) -> None:
    """Contract 2.1: any constructor keyword of redis-py."""
    pytest.importorskip("redis")
    # What a connection hands to itself, and nobody else to it.
    inner = {"parser"}
    # A stream may have this name: contract 2.1's tests follow one.
    inner.add("url")
    found = keywords_of(getattr(importlib.import_module(module), name)) - inner
    assert found
    assert sorted(found - OPTIONS.keys() - ADVICE.keys()) == []


def test_nothing_is_an_option_and_refused() -> None:
    assert OPTIONS.keys() & ADVICE.keys() == set()
