"""`pystreamredis.outages`: what is told of connections, and when it is told."""

from __future__ import annotations

import logging

from pystreamredis.exceptions import ConnectionError
from pystreamredis.outages import DEBUG, INFO, WARNING, Outages


def test_a_connection_is_told_of_once_the_server_has_answered() -> None:
    outages = Outages()
    outages.opened("host:1", 5.0)
    assert outages.notices == []
    outages.answered()
    assert outages.notices == [(INFO, "connected to host:1")]


def test_an_outage_lasts_from_its_first_failure_to_the_connection_that_is_answered() -> None:
    outages = Outages()
    outages.opened("host:1", 5.0)
    outages.answered()
    outages.failed(ConnectionError("host:1 closed the connection"), 6.0)
    outages.failed(ConnectionError("cannot connect to host:1: refused"), 7.25)
    # One that was accepted, and on which nothing was answered, ends no outage.
    outages.opened("host:1", 8.0)
    outages.failed(ConnectionError("host:1 refused XREAD: LOADING"), 8.5)
    outages.opened("host:1", 9.5)
    outages.answered()
    assert outages.notices[1:] == [
        (WARNING, "host:1 closed the connection"),
        (DEBUG, "cannot connect to host:1: refused (for 1.2 s now)"),
        (DEBUG, "host:1 refused XREAD: LOADING (for 2.5 s now)"),
        (INFO, "connected to host:1 after an outage of 3.5 s"),
    ]


def test_each_outage_is_told_of_by_itself() -> None:
    outages = Outages()
    for lost, back in ((1.0, 3.0), (10.0, 10.5)):
        outages.failed(ConnectionError("gone"), lost)
        outages.opened("host:1", back)
        outages.answered()
    assert outages.notices == [
        (WARNING, "gone"),
        (INFO, "connected to host:1 after an outage of 2.0 s"),
        (WARNING, "gone"),
        (INFO, "connected to host:1 after an outage of 0.5 s"),
    ]


def test_a_server_that_was_never_there_is_an_outage_too() -> None:
    outages = Outages()
    outages.failed(ConnectionError("cannot connect to host:1: refused"), 1.0)
    outages.opened("host:1", 61.0)
    outages.answered()
    assert outages.notices == [
        (WARNING, "cannot connect to host:1: refused"),
        (INFO, "connected to host:1 after an outage of 60.0 s"),
    ]


def test_each_connection_is_told_with_its_own_address() -> None:
    outages = Outages()
    for address, opened in (("host:1", 1.0), ("host:2", 3.0)):
        outages.opened(address, opened)
        outages.answered()
        outages.failed(ConnectionError("gone"), opened + 1)
    assert [text for _, text in outages.notices] == [
        "connected to host:1",
        "gone",
        "connected to host:2 after an outage of 1.0 s",
        "gone",
    ]


def test_the_levels_are_those_of_logging() -> None:
    assert (DEBUG, INFO, WARNING) == (logging.DEBUG, logging.INFO, logging.WARNING)
