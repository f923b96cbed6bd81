"""One iterator over Redis streams in one file, for MicroPython and any Python 3.

The options, the order and the positions are those of pystreamredis. docs/howto/micro.rst shows how
it is used, and lists what is left out.
"""

import socket

try:
    from time import sleep_ms, ticks_diff, ticks_ms
except ImportError:
    import time

    def ticks_ms():
        return int(time.monotonic() * 1000)

    def ticks_diff(end, start):
        return end - start

    def sleep_ms(ms):
        time.sleep(ms / 1000)


class RedisError(Exception):
    """The root of all errors of servers and connections."""


try:

    class ConnectionError(RedisError, ConnectionError):
        """The connection failed; another try may help."""

except (NameError, TypeError):  # MicroPython has no built-in one

    class ConnectionError(RedisError):
        """The connection failed; another try may help."""


class ProtocolError(ConnectionError):
    """The bytes received are not a reply to the request."""


class ResponseError(RedisError):
    """The server refused for good."""

    @property
    def code(self):
        """The first word of the refusal."""
        return self.args[0].split(" ")[0]


class AuthenticationError(ResponseError):
    """The server does not accept the user or the password."""


_PASSING = "LOADING MASTERDOWN CLUSTERDOWN TRYAGAIN BUSY UNBLOCKED".split()
_LOGIN = "NOAUTH", "WRONGPASS"
_MAX_ID = 2**128 - 1
# The longest blocking read, in ms, so that a dead server is noticed with block=0.
_SLICE = 10000
# The wait after a blocking read that was answered early with nothing, in ms.
_PAUSE = 50
# The longest line, in bytes. MicroPython allocates the size of a part at once.
_MAX_LINE = 1024
_PART = 48


def encode(arguments):
    """Encode one command of bytes, text and numbers."""
    words = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
    parts = [b"$%d\r\n" % len(word) + word + b"\r\n" for word in words]
    return b"*%d\r\n" % len(words) + b"".join(parts)


def number_of(entry_id):
    """Return the number by which an ID is compared; -1 if it is not an ID."""
    halves = entry_id.split(b"-")
    if len(halves) != 2 or not all(half.isdigit() and len(half) < 21 for half in halves):
        return -1
    ms, sequence = int(halves[0]), int(halves[1])
    return ms << 64 | sequence if max(ms, sequence) < 2**64 else -1


def id_of(number):
    """Return the ID of a number."""
    return b"%d-%d" % (number >> 64, number & (2**64 - 1))


def parse_start(start):
    """Return the number of the ID to read after; None for now."""
    if start in (None, "$", b"$"):
        return None
    if isinstance(start, bool) or not isinstance(start, (int, str, bytes)):
        raise TypeError("start %r, expected None, '$', an int or an ID" % (start,))
    text = start if isinstance(start, bytes) else str(start).encode()
    number = number_of(text if b"-" in text else text + b"-0")
    if number < 0:
        raise ValueError("start %r, expected None, '$', an int or an ID" % (start,))
    return number if b"-" in text else max(0, number - 1)


class _Stream:
    """One followed stream: `pending` has (number, ID, strings), the next one at the end."""

    def __init__(self, name, key, last):
        self.name = name
        self.key = key
        self.last = last  # the number of the last ID received; None for now
        self.pending = []
        self.caught_up = False  # whether the last read left nothing on the server


class Streams:
    """Iterator over messages ``(name, ID, data)``, in the order of their IDs.

    The options are those of pystreamredis. `socket_timeout` is in seconds, `max_size` the most
    bytes of an entry's strings. `positions` maps each stream to the ID delivered last.
    """

    def __init__(
        self, host="localhost", port=6379, streams=None, *, count=10, block=1000,
        stop_on_timeout=False, timeout_response=None, raise_connection_exceptions=True,
        username=None, password=None, db=0, socket_timeout=5, fields=dict, max_size=32768,
        **named
    ):  # fmt: skip
        if count < 1 or (block or 0) < 0:
            raise ValueError("count %r and block %r, expected 1 and 0 or more" % (count, block))
        self._address = host, port
        self._count = count
        self._block = block
        self._goes_on = stop_on_timeout
        self._response = timeout_response
        self._raises = raise_connection_exceptions
        self._login = username, password, db
        self._timeout = socket_timeout
        self._fields = fields
        self._max = max_size
        self._sock = self._file = self._failure = None
        self._must_pause = False
        self._is_open = True
        self.positions = {}
        self._streams = []
        if isinstance(streams, (str, bytes)):
            streams = (streams,)
        is_dict = isinstance(streams, dict)
        pairs = streams.items() if is_dict else [(name, None) for name in streams or ()]
        for name, start in list(pairs) + list(named.items()):
            key = name if isinstance(name, bytes) else name.encode()
            if any(each.key == key for each in self._streams):
                raise ValueError("stream %r is given twice" % (name,))
            last = parse_start(start)
            self._streams.append(_Stream(name, key, last))
            self.positions[name] = None if last is None else id_of(last)
        if not self._streams:
            raise ValueError("no streams, expected at least one")
        self._try(self._connect)
        if self._failure is not None and self._raises:
            failure, self._failure = self._failure, None
            raise failure

    def __iter__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the connection, and end the iteration; `positions` stay."""
        self._is_open = False
        self._hang_up()

    def __next__(self):
        started = ticks_ms()
        if self._must_pause and self._failure is None:
            self._must_pause = False
            sleep_ms(1000 if self._block == 0 else self._block or 0)
            started = ticks_ms()
        while self._is_open:
            stream = self._find_next()
            if stream is not None:
                _, entry_id, strings = stream.pending[-1]
                self.positions[stream.name] = entry_id
                del stream.pending[-1]
                half = iter(strings)
                return stream.name, entry_id, self._fields(zip(half, half))
            if self._failure is not None:
                failure, self._failure = self._failure, None
                if self._raises:
                    raise failure
                self._must_pause = True
                return failure
            left = None
            if self._block is not None and self._is_caught_up():
                left = _SLICE
                if self._block:
                    left = min(left, self._block - ticks_diff(ticks_ms(), started))
            if left is None or left > 0:
                self._try(self._read, left)
                if self._block is not None or not self._is_caught_up() or self._find_next():
                    continue
            if self._goes_on:
                return self._response
            break
        raise StopIteration

    def _is_caught_up(self):
        return self._sock is not None and all(each.caught_up for each in self._streams)

    def _find_next(self):
        """Return the stream with the smallest ID pending, if no read can find a smaller one."""
        best, bound = None, _MAX_ID
        for stream in self._streams:
            if stream.pending and (best is None or stream.pending[-1][0] < best.pending[-1][0]):
                best = stream
            if not stream.caught_up:
                bound = min(bound, stream.last or 0)
        return best if best and best.pending[-1][0] <= bound else None

    # Reading. Whatever fails in it closes the connection, so no reply can be out of step.

    def _try(self, function, *arguments):
        """Call a function; keep a failure of the connection until what is pending is delivered."""
        try:
            function(*arguments)
        except BaseException as error:
            self._hang_up()
            if not isinstance(error, (OSError, ConnectionError)):
                raise
            self._failure = error
            if not isinstance(error, RedisError):
                self._failure = ConnectionError("%s:%s: %s" % (self._address + (error,)))
                self._failure.__cause__ = error

    def _read(self, block):
        """Read once, for `block` ms at most."""
        if self._sock is None:
            self._connect()
            return
        asked = {each.key: each for each in self._streams if len(each.pending) < self._count}
        started = ticks_ms()
        request = [b"XREAD", b"COUNT", self._count]
        if block:
            request += [b"BLOCK", block]
        request += [b"STREAMS"] + list(asked) + [id_of(each.last) for each in asked.values()]
        self._send(request, block or 0)
        found = self._take_reply(asked)
        for stream in self._streams:
            stream.caught_up = stream.key in asked and found.get(stream.key, 0) < self._count
        if block and not found:
            sleep_ms(max(0, min(_PAUSE, block - ticks_diff(ticks_ms(), started))))

    def _take_reply(self, asked):
        """Take each entry as soon as it is whole; return the number of each stream."""
        found = {}
        streams = self._header(b"*")
        if streams > len(asked):
            raise ProtocolError("%d streams, expected at most %d" % (streams, len(asked)))
        for _ in range(streams):
            self._expect(2)
            key = self._string(max(map(len, asked)))
            if key not in asked or key in found:
                raise ProtocolError("stream %r, expected one that was asked for" % key[:40])
            entries = self._header(b"*")
            if entries > self._count:
                raise ProtocolError("%d entries, expected at most %d" % (entries, self._count))
            for _ in range(entries):
                self._take_entry(asked[key])
            found[key] = entries
        return found

    def _take_entry(self, stream):
        number, entry_id, strings = self._entry()
        if number <= stream.last:
            raise ProtocolError("ID %r, expected one after %r" % (entry_id, id_of(stream.last)))
        pending = [(number, entry_id, strings)] + stream.pending
        stream.last = number
        stream.pending = pending

    def _entry(self):
        self._expect(2)
        entry_id, left = self._string(41), self._max
        strings = []
        size = self._header(b"*")
        if size < 0 or size % 2 or number_of(entry_id) < 0:
            raise ProtocolError("ID %r with %d strings, expected an entry" % (entry_id, size))
        for _ in range(size):
            strings.append(self._string(left))
            left -= len(strings[-1]) + 1
        return number_of(entry_id), entry_id, strings

    def _expect(self, size):
        found = self._header(b"*")
        if found != size:
            raise ProtocolError("array of %d, expected %d" % (found, size))

    def _string(self, most):
        size = self._header(b"$")
        if not 0 <= size <= most:
            raise ProtocolError("string of %d bytes, expected at most %d" % (size, max(0, most)))
        data = self._file.read(size + 2)
        if data is None or len(data) < size + 2:
            raise ConnectionError("%s:%s closed the connection" % self._address)
        if data[size:] != b"\r\n":
            raise ProtocolError("%r after a string, expected CRLF" % data[size:])
        return data[:size]

    def _header(self, kind):
        """Read the line of an array, a string or a status; return its number, -1 for nil."""
        line = b""
        while line[-1:] != b"\n" and len(line) < _MAX_LINE:
            part = self._file.readline(_PART)
            if not part:
                raise ConnectionError("%s:%s closed the connection" % self._address)
            line += part
        digits = line[1:-2]
        if line[-2:] == b"\r\n":
            if line[:1] == b"-":
                raise self._refusal(digits)
            if line[:1] == kind == b"+":
                return 0
            if digits == b"-1" and line[:1] in b"$*":
                return -1
            if line[:1] == kind and digits.isdigit() and len(digits) < 11:
                return int(digits)
        raise ProtocolError("line %r, expected %r" % (line[:40], kind))

    def _refusal(self, text):
        try:
            text = text.decode()
        except ValueError:
            text = repr(text)
        code = text.split(" ")[0]
        if code in _PASSING or "max number of clients" in text:
            return ConnectionError("%s:%s: %s" % (self._address + (text,)))
        return (AuthenticationError if code in _LOGIN else ResponseError)(text)

    def _connect(self):
        host, port = self._address
        address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        self._sock = sock = socket.socket(address[0], socket.SOCK_STREAM)
        sock.settimeout(self._timeout)
        sock.connect(address[-1])
        self._file = sock.makefile("rb") if hasattr(sock, "makefile") else sock
        user, password, db = self._login
        if password:
            self._send([b"AUTH"] + ([user] if user else []) + [password])
            self._header(b"+")
        if db:
            self._send([b"SELECT", db])
            self._header(b"+")
        for stream in self._streams:
            if stream.last is None:
                stream.last = self._find_last(stream.key)
                self.positions[stream.name] = id_of(stream.last)

    def _find_last(self, key):
        """Return the number of the last ID of a stream."""
        try:
            return self._first_after(key, b"+")
        except ResponseError as error:  # before Redis 7.4 there is no "+"
            if error.code != "ERR":
                raise
        low, high = 0, _MAX_ID
        while low < high:
            middle = (low + high) // 2
            found = self._first_after(key, id_of(middle))
            if found:
                low = found
            else:
                high = middle
        return low

    def _first_after(self, key, entry_id):
        self._send([b"XREAD", b"COUNT", 1, b"STREAMS", key, entry_id])
        if self._header(b"*") < 1:
            return 0
        self._expect(2)
        self._string(len(key))
        self._expect(1)
        return self._entry()[0]

    def _send(self, request, block=0):
        self._sock.settimeout(self._timeout + block / 1000)
        send = self._sock.sendall if hasattr(self._sock, "sendall") else self._sock.write
        send(encode(request))

    def _hang_up(self):
        for each in (self._file, self._sock):
            if each is not None:
                try:
                    each.close()
                except OSError:
                    pass
        self._sock = self._file = None
        for stream in self._streams:
            stream.caught_up = False
