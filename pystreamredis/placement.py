"""Which streams of a cluster are read at which node, and over which connection.

XREAD takes streams of one hash slot only, at the node that has it, and it says where else
a slot lives only when asked at the wrong place. So what is known is learnt from replies:

- an answer shows that the slot is at home there;
- ``MOVED`` tells its new home; ``ASK`` and ``TRYAGAIN`` that it is about to have one, and
  the old one is asked again, since the new one answers nobody yet that does not say ASKING;
- where a node does not answer, others that are known are asked, whatever they know.

Moving is only reading on elsewhere from the same ID. Redirections are followed without a
word, ever slower while one follows the other, until they have gone on for too long.

A slot gets a connection of its own, over which it is waited for; those beyond the limit
share one at each node, and are read there in turns.
"""

from __future__ import annotations

from .exceptions import ConnectionError
from .slots import by_slot, moved_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from .cursors import Cursor
    from .options import ConnectionOptions
    from .protocol import ServerError

    Key: TypeAlias = tuple[int | None, str]

# How many slots get a connection of their own. Many systems let a process open 1,024 files,
# some 256.
_OWN_CONNECTIONS = 128
# After how many redirections and failures in a row, without an answer, to say so.
_TRIES = 12
# For how many seconds a slot may be on the move before others wait no longer for what it may
# hold, and before that is told.
_HOLDS_BACK = 1.0
_PATIENCE = 10.0
# How long to wait before a slot that is on the move is asked for again, in seconds.
_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


class Share:
    """What is read over one connection.

    Attributes:
        key: What makes it the same as an earlier one: the slot, or None where several
            share it, and the address.
        not_before: When to connect or to read there again at the earliest.
        away: Those of slots for which others are not to wait any longer.
    """

    def __init__(self, key: Key, options: ConnectionOptions) -> None:
        self.key = key
        self.options = options
        self.cursors: list[Cursor] = []
        self.not_before = 0.0
        self.away: list[list[Cursor]] = []


class _Home:
    """Where a slot is read, and how that goes.

    Attributes:
        is_known: Whether it has answered for the slot, or was named by another.
        tries: How many redirections and failures there were since the last answer.
        not_before: When to ask again at the earliest.
        moves_since: Since when it is on the move; None if it is not.
        is_out: Whether others are not to wait any longer for what it may hold: its failure
            was told, or it is on the move for long, and there was no answer since.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self.settle()
        self.is_known = False

    def settle(self) -> None:
        """It has answered."""
        self.is_known = True
        self.tries = 0
        self.not_before = 0.0
        self.moves_since: float | None = None
        self.is_out = False

    def put_off(self, now: float) -> None:
        """Count one more try without an answer; the next one has to wait, the longer the more."""
        self.tries += 1
        if self.tries > 2:
            self.not_before = now + min(_LONGEST_PAUSE, _PAUSE * self.tries)


class Placement:
    """The slots of a cluster, as far as redirections and answers tell.

    `seed` is the server that the caller has named.
    """

    def __init__(self, seed: ConnectionOptions, own_connections: int | None) -> None:
        self._seed = seed
        self._limit = _OWN_CONNECTIONS if own_connections is None else own_connections
        self._homes: dict[int, _Home] = {}
        self._own: set[int] = set()
        # Those that have answered, or were named by others.
        self._nodes: dict[str, ConnectionOptions] = {}
        # Until when another failure at an address is no news.
        self._told: dict[str, float] = {}

    def shares(self, cursors: Iterable[Cursor]) -> list[Share]:
        """Say over which connections these streams are to be read."""
        slots = by_slot(cursors)
        self._homes = {slot: self._homes.get(slot) or _Home(self._seed) for slot in slots}
        self._own &= slots.keys()
        shares: dict[Key, Share] = {}
        for slot, of_slot in slots.items():
            home = self._homes[slot]
            if home.is_known and len(self._own) < self._limit:
                self._own.add(slot)
            key = slot if slot in self._own else None, home.options.address
            share = shares.setdefault(key, Share(key, home.options))
            share.cursors += of_slot
            share.not_before = max(share.not_before, home.not_before)
            if home.is_out:
                share.away.append(of_slot)
        return list(shares.values())

    def answered(self, cursors: Iterable[Cursor], at: ConnectionOptions) -> bool:
        """A node has answered a read of these streams; return whether that is news."""
        is_news = False
        for slot in by_slot(cursors):
            home = self._homes.get(slot)
            if home and (home.tries or not home.is_known or home.moves_since is not None):
                home.settle()
                self._remember(at)
                is_news = True
        return is_news

    def redirected(
        self, error: ServerError, cursors: Iterable[Cursor], at: ConnectionOptions, now: float
    ) -> list[ConnectionError]:
        """A node has refused to read these streams by a redirection.

        Returns:
            What is to be told: of slots for which that has gone on for too long.
        """
        at = at.elsewhere(at.host, at.port)
        failures = []
        for slot in by_slot(cursors):
            home = self._homes.setdefault(slot, _Home(at))
            if error.code == "CROSSSLOT":
                # Nothing is known yet but that each is to be asked for by itself.
                home.options = at
            elif (moved := moved_to(error, at.host)) is not None:
                home.options = at.elsewhere(*moved[1:])
                home.is_known = True
                home.put_off(now)
                self._remember(home.options)
            else:
                home.not_before = now + _PAUSE
                home.moves_since = now if home.moves_since is None else home.moves_since
                home.is_out = home.is_out or now - home.moves_since >= _HOLDS_BACK
            if (failure := _too_long(home, slot, error, at, now)) is not None:
                home.is_out = True
                failures.append(failure)
        return failures

    def failed(
        self, cursors: Iterable[Cursor], at: ConnectionOptions, now: float, quiet: float
    ) -> bool:
        """The connection to a node failed, over which these streams were read.

        Returns:
            Whether it is news, which more failures there are not for `quiet` seconds.
        """
        for slot in by_slot(cursors):
            home = self._homes.setdefault(slot, _Home(at))
            home.put_off(now)
            home.is_out = True
            # Once more at the same, since connections break; then others are asked.
            if home.tries > 1:
                home.options = self._next(at)
                home.is_known = False
        is_news = now >= self._told.get(at.address, now)
        if is_news:
            self._told = {to: until for to, until in self._told.items() if until > now}
            self._told[at.address] = now + quiet
        return is_news

    def _next(self, at: ConnectionOptions) -> ConnectionOptions:
        """The node after this one, so that all have their turn; the seed is always one."""
        nodes = {self._seed.address: self._seed, **self._nodes}
        addresses = list(nodes)
        turn = addresses.index(at.address) + 1 if at.address in nodes else 0
        return nodes[addresses[turn % len(addresses)]]

    def _remember(self, node: ConnectionOptions) -> None:
        # No more of them than a cluster has that is large.
        self._nodes = dict([*self._nodes.items(), (node.address, node)][-64:])


def _too_long(
    home: _Home, slot: int, error: ServerError, at: ConnectionOptions, now: float
) -> ConnectionError | None:
    """What is to be told if redirections have gone on for too long."""
    if home.moves_since is not None and now - home.moves_since >= _PATIENCE:
        home.moves_since = now
    elif not home.tries or home.tries % _TRIES:
        return None
    return ConnectionError(f"{at.address} refused XREAD of slot {slot} for long: {error.text}")
