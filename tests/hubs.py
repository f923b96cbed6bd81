"""Hubs with one follower, which look like `Streams`: two more shells for the contract's tests."""

from __future__ import annotations

import inspect
from typing import Any

import pystreamredis
import pystreamredis.asyncio
import pystreamredis.asyncio.hub
import pystreamredis.hub
from pystreamredis.options import CONNECTION
from pystreamredis.url import parse_url
from tests.shells import AsyncStreams, wait_for


def _of_hub(
    host: Any = "localhost", port: int = 6379, streams: Any = None, **options: Any
) -> tuple[Any, dict[str, Any], Any, dict[str, Any]]:
    """Divide the arguments of `Streams` into those of a hub, and those of a follower."""
    of_hub = {
        name: options.pop(name)
        for name in list(options)
        if name in ("connections", "max_bytes") or name in CONNECTION
    }
    return (host, port), of_hub, streams, options


class HubStreams:
    """A stand-in for `Streams` that makes the only follower of a hub."""

    __signature__ = inspect.signature(pystreamredis.Streams)

    def __new__(cls, /, *args: Any, **options: Any) -> Any:
        place, of_hub, streams, rest = _of_hub(*args, **options)
        return pystreamredis.hub.Hub(*place, **of_hub).follow(streams, **rest)

    @classmethod
    def from_url(cls, url: str, /, streams: Any = None, **options: Any) -> Any:
        return cls(streams=streams, **parse_url(url) | options)

    @classmethod
    def from_sources(cls, sources: Any, /, streams: Any = None, **options: Any) -> Any:
        _, of_hub, _, rest = _of_hub(**options)
        return pystreamredis.hub.Hub.from_sources(sources, **of_hub).follow(streams, **rest)


class AsyncHubStreams(AsyncStreams):
    """The same for asyncio."""

    def __init__(self, /, *args: Any, **options: Any) -> None:
        place, of_hub, streams, rest = _of_hub(*args, **options)
        hub = pystreamredis.asyncio.hub.Hub(*place, **of_hub)
        self._inner = wait_for(hub.follow(streams, **rest).__aenter__())

    @classmethod
    def from_url(cls, url: str, /, streams: Any = None, **options: Any) -> Any:
        return cls(streams=streams, **parse_url(url) | options)

    @classmethod
    def from_sources(cls, sources: Any, /, streams: Any = None, **options: Any) -> Any:
        _, of_hub, _, rest = _of_hub(**options)
        if isinstance(sources, dict):
            sources = {name: getattr(redis, "_inner", redis) for name, redis in sources.items()}
        hub = pystreamredis.asyncio.hub.Hub.from_sources(sources, **of_hub)
        return cls.of(hub.follow(streams, **rest))


HUBS: dict[str, dict[str, Any]] = {
    "hub": {"Streams": HubStreams},
    "asyncio hub": {"Streams": AsyncHubStreams},
}
# The hubs that the tests of a module run over: those that are about what a follower does.
OVER_HUBS = {
    "test_contract_failures": ["hub", "asyncio hub"],
    "test_contract_order": ["asyncio hub"],
    "test_contract_stream_faults": ["asyncio hub"],
    "test_contract_waiting": ["hub", "asyncio hub"],
}
# Tests there whose peers act by the order of commands over one connection, or that count those,
# and one about what a single answer has of several streams.
NOT_OF_HUBS = {
    "test_a_blocking_read_may_last_longer_than_socket_timeout",
    # The hub reads at once, so its constructor may be the first to hear of the refusal.
    "test_a_cluster_that_is_not_complete",
    "test_a_for_loop_can_be_taken_up_again_after_a_raised_failure",
    "test_a_half_open_connection_is_found_out",
    "test_a_raised_failure_is_followed_by_an_attempt_at_once",
    "test_a_raised_failure_is_raised_once_and_the_next_call_goes_on",
    "test_a_refusal_at_a_later_connection_tells_its_cause_too",
    "test_a_returned_failure_is_returned_once_and_the_next_call_goes_on",
    "test_a_stream_that_turns_into_something_else_does_not_hide_messages",
    "test_messages_that_came_are_handed_over_before_the_failure",
    "test_what_one_writer_writes_in_order_comes_in_order",
    "test_waiting_for_ever_is_done_in_slices_on_the_wire",
}
