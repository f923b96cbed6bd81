"""Real Sentinels for tests, and the servers that they watch: a master and its replica.

The embedded server's executable has that mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers import Server, Started, wait_until

if TYPE_CHECKING:
    from pathlib import Path

MASTER = "mymaster"
_SENTINELS = 3
_CONFIG = """\
sentinel monitor {name} 127.0.0.1 {port} 2
sentinel down-after-milliseconds {name} 3000
sentinel failover-timeout {name} 5000
"""


class Sentinel(Server):
    """One of them."""

    def __init__(self, binary: Path, master: Server) -> None:
        super().__init__(binary, kind="sentinel")
        config = _CONFIG.format(name=MASTER, port=master.port)
        (self.folder / "sentinel.conf").write_text(config, "utf-8")

    def _command(self, port: int) -> list[str]:
        binary, *options = super()._command(port)
        return [binary, str(self.folder / "sentinel.conf"), "--sentinel", *options]


class Watched(Started):
    """A master and its replica, and three Sentinels that watch them.

    ``with Watched(binary) as watched: watched.master.kill()``
    """

    def __init__(self, binary: Path) -> None:
        self.master = Server(binary, kind="master")
        self.replica = Server(binary, "--repl-diskless-sync-delay", "0", kind="replica")
        self._binary = binary
        self.sentinels: list[Sentinel] = []

    def start(self) -> None:
        """Start them, and wait until they know each other."""
        self.master.start()
        self.replica.start()
        self.replica.command("REPLICAOF", "127.0.0.1", self.master.port)
        self.sentinels = [Sentinel(self._binary, self.master) for _ in range(_SENTINELS)]
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(lambda: all(map(self._knows_all, self.sentinels)))

    def close(self) -> None:
        """End all of them."""
        for server in (*self.sentinels, self.replica, self.master):
            server.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where the Sentinels are."""
        return [(sentinel.host, sentinel.port) for sentinel in self.sentinels]

    def wait_until_master(self, server: Server) -> None:
        """Wait until all Sentinels name this one, and it takes messages."""
        address = [server.host.encode(), str(server.port).encode()]
        wait_until(
            lambda: (
                all(
                    sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER) == address
                    for sentinel in self.sentinels
                )
                and server.command("ROLE")[0] == b"master"
            )
        )

    def _knows_all(self, sentinel: Sentinel) -> bool:
        ask = sentinel.command
        return (
            self.master.command("WAIT", 1, 1) == 1
            and len(ask("SENTINEL", "REPLICAS", MASTER)) == 1
            and len(ask("SENTINEL", "SENTINELS", MASTER)) == _SENTINELS - 1
        )
