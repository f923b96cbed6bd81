"""`Streams` and `Redis`: what callers see."""

from __future__ import annotations

import sys
from time import sleep

from . import construction
from .core.delivery import EMPTY
from .core.failures import no_descriptors
from .core.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from .core.delivery import Batch
    from .io.blocking import Driver
    from .starts import Start, StreamsArgument


class Batches(construction.Batches):
    """The lists of messages of `Streams.batches`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        streams: Streams = self._streams
        for messages in streams._reader.batch.take(self._n):
            return messages
        for messages in streams._next_batch().take(self._n):
            return messages
        raise StopIteration


class Streams(construction.Streams):
    """An iterator over the messages of many streams, merged and sorted by ID.

    A message is ``(name, id, data)``: ``('Stream0', b'1529416095111-4', {b'index': b'21'})``.

    Any keyword that is not an option names a stream, and its value says from where to
    follow it: None or ``"$"`` is now (the first message after this object was made),
    an int is an epoch time in ms (messages of that very ms included, 0 is all there
    are), an aware datetime likewise, and ``"<ms>-<sequence>"`` is the ID of the last
    message that is *not* wanted, as in `positions`. ``"+"`` is the last message that is
    there, included, and ``Last(n)`` the n-th from the end. Options of redis-py that do not exist
    here are refused; streams of these names go into `streams`.

    One thread iterates; `close` may be called from any.

    Args:
        host: The server's name or address; or a callable without arguments, asked at each
            connect, that returns a tuple of host and port. An exception of the callable
            is a failed connection. Nothing cuts the callable short: it must end in time.
        port: The server's port, unless a callable returns it.
        streams: Streams whose names are not keywords: a dict of names to start values,
            or a list, a tuple, a set or one name, which start now.
        count: Entries of each stream that one read asks for. Changes round trips
            and memory, never what is delivered: at most twice as many of each are held.
        block: Time to wait for a message, in ms, from when the caller asked; 0 is
            for ever, None not at all.
        stop_on_timeout: End or go on after that wait. The name reads the other
            way round: False ends the iteration (`StopIteration`; a later one goes
            on), True returns `timeout_response` and goes on.
        timeout_response: The value to return instead of a message after that wait, where
            `stop_on_timeout` is True.
        raise_connection_exceptions: Raise a `ConnectionError`; otherwise it is returned
            instead of a message. Iterating further connects again in either case, in
            the latter `retry_delay` ms later.
        retry_delay: Time before another try to connect, in ms, or a callable that returns an
            iterator of such times for one outage, the last of which is repeated; None is as
            `block` (1000 where that is 0). A random part of up to half is added.
        fields: A callable that makes the data of a message of its ``(field, value)`` pairs;
            `list` keeps them all where a field comes twice.
        hold: Time to keep each message back, in ms, so that a message of another
            stream that comes later with a smaller ID is sorted in. ``"exact"`` keeps it until
            no smaller ID can come any more, where one server makes the IDs by its clock.
        on_rewind: Treatment of a stream that seems to have begun again with smaller
            IDs: ``"keep"`` the position, so that nothing is repeated, or ``"restart"``
            from its beginning. Either is logged as a warning.
        connections: Largest number of connections over which the streams are spread, 1 to
            1,000; None for one for each hundred of them, and at most a hundred.
        max_bytes: Memory for messages that were read and not yet delivered, in bytes,
            about; at least 1,024. Where entries are large, reads ask for fewer than `count`.
        username: The user to log in as, with `password`. Empty is none, here and below.
        password: The password, or a callable that returns it, or a tuple of user name and
            password; it is asked at each connect. For asyncio and trio it may be async; another
            one is called in a thread of its own. An exception of the callable is a failed
            connection.
        credentials_max_age: Time after which a connection logs in again before its next read,
            in seconds, with what the callable returns then; None for never.
        db: The number of the database.
        protocol: The version of RESP to ask for, 2 or 3. Replies in either are read, and
            a server that does not know 3 is spoken to in 2.
        client_name: A name for the connection in ``CLIENT LIST``.
        unix_socket_path: The path of a unix socket, instead of `host` and `port`.
        address_remap: A callable that is given the address that a node of a cluster names
            for another one, a tuple of host and port, and returns the one to connect to; for
            clusters behind NAT, tunnels and port forwards. It must not block.
        ssl: True for TLS, or an `ssl.SSLContext` to use as it is.
        ssl_ca_certs: A file of certificates to trust, instead of the system's; read at each
            connect.
        ssl_certfile: A file with the client's certificate; read at each connect.
        ssl_keyfile: A file with its key; read at each connect.
        ssl_check_hostname: Require that the server's certificate is for `host`.
        socket_timeout: Time that a reply may be late, in seconds, before the server counts
            as gone; None for ever. It counts on top of `block` and never cuts a wait short.
        socket_connect_timeout: Time that connecting may take to each of the host's
            addresses, in seconds; None is like `socket_timeout`.
        socket_keepalive: Have TCP probe a connection on which nothing happens.
        decode_responses: Make IDs, fields and values text instead of bytes.
        encoding: The encoding of that text, and of the names of streams.
        encoding_errors: Treatment of bytes that are not text, as for `bytes.decode`. The
            default keeps them, and never stops a reader.
        named_streams: Streams and their start values.

    Raises:
        ValueError, TypeError: A bad option or start value.
        ConnectionError: The server cannot be reached, unless
            `raise_connection_exceptions` is False.
        ResponseError: The server refuses, and would refuse again.

    Source: https://redis.io/docs/latest/commands/xread/
    """

    _reader_class = Reader
    _batches_class = Batches
    _driver: Driver | None = None
    # True if no descriptor was left to load the driver's module.
    _is_late = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        for message in self._reader.batch.iterator:
            return message
        # Not by a call of next(), after whose return a signal can come.
        for message in self._next_batch().iterator:
            return message
        raise StopIteration

    def _next_batch(self) -> Batch:
        """Wait for the batch after the one that is used up; it is empty at the end."""
        if self._is_late:
            sleep(self._reader.pause)
            self._begin()
            if self._is_late:
                return self._reader.batch
        driver = self._driver
        if driver is None:
            return EMPTY
        batch = driver.run(driver.next_batch)
        if self._driver is None:
            batch.take_back()
        return batch

    @property
    def _is_closed(self) -> bool:
        return self._driver is None and not self._is_late

    def _begin(self) -> None:
        # Sockets take a third of the time of an import, which programs that only may connect, or
        # do so by asyncio, need not spend.
        try:
            from .io.blocking import Driver
        except OSError as error:
            self._is_late = True
            self._reader.report(no_descriptors(error))
            return
        self._is_late = False
        self._driver = driver = Driver(self._reader)
        try:
            driver.run(driver.establish)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def add(self, /, streams: StreamsArgument | None = None, **named_streams: Start) -> None:
        """Follow more streams, from any thread; "now" is the moment of the call.

        After `close` it does nothing but to list them in `positions`.

        Args:
            streams: Names, or names and start values, as the constructor takes them.
            named_streams: The same as keywords.

        Raises:
            ValueError, TypeError: A bad name or start value, a stream that is followed
                already, or an option, which belongs into the constructor.
            RedisError: The server could not be asked; none of them was added.
            RuntimeError: It is called amid the work of this very thread or task, by `fields`, say.
        """
        self._check_added(streams, named_streams)
        if self._driver is None:
            self._reader.add(streams, named_streams)
        else:
            self._driver.change(self._driver.add(streams, named_streams))

    def close(self) -> None:
        """End the iteration, also one that waits in another thread, and disconnect.

        `positions` stay readable.
        """
        driver, self._driver = self._driver, None
        self._is_late = False
        if driver is not None:
            driver.close()
            self._reader.batch.take_back()


def _one_at_a_time(advance: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Refuse a second thread, for interpreters without a global lock.

    There two threads that share an iterator of a list may both get the same message.
    """
    from threading import Lock

    def advance_alone(self: Any) -> Any:
        turn = _turns.setdefault(getattr(self, "_streams", self), Lock())
        if not turn.acquire(blocking=False):
            raise RuntimeError("another thread is iterating, expected one at a time")
        try:
            return advance(self)
        finally:
            turn.release()

    return advance_alone


if not getattr(sys, "_is_gil_enabled", lambda: True)():
    from weakref import WeakKeyDictionary

    _turns: WeakKeyDictionary[Streams, Any] = WeakKeyDictionary()
    Streams.__next__ = _one_at_a_time(Streams.__next__)  # type: ignore[assignment,method-assign]  # pyright: ignore
    Batches.__next__ = _one_at_a_time(Batches.__next__)  # type: ignore[assignment,method-assign]  # pyright: ignore


class Redis(construction.Redis):
    """A server's address and credentials; not a general client.

    It connects to nothing by itself: each `streams` makes connections of its own. It can be
    pickled, with the password in clear, unless that is a callable or `ssl` is a context.

    Args:
        host: Like the other arguments, a connection option of `Streams`.
    """

    _streams_class = Streams


StrictRedis = Redis
