"""Certificates for tests of TLS: an authority of their own, and what it signs.

They are made by trustme, and live as long as the folder that they are in.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Certificate:
    """A certificate and its key, as files in PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certfile = str(folder / f"{name}.pem")
        self.keyfile = str(folder / f"{name}.key")

    def server_context(self, clients_from: str | None = None) -> ssl.SSLContext:
        """Make the context of a server that shows this certificate.

        Args:
            clients_from: The authority of the certificates that clients must show.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certfile, self.keyfile)
        if clients_from is not None:
            context.load_verify_locations(clients_from)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority(Certificate):
    """An authority that nobody trusts who was not told to.

    A second one in the same folder replaces the files of the first, as a renewal does.

    Args:
        folder: The folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "authority")
        self._folder = folder
        # It needs cryptography, which is not to be had as a wheel for each Python.
        trustme = pytest.importorskip("trustme", reason="trustme is not installed")
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.certfile)
        self._authority.private_key_pem.write_to_path(self.keyfile)

    def sign(self, name: str, names: str, *, expired: bool = False) -> Certificate:
        """Make a certificate; one of the same name is replaced, as a renewal does.

        Args:
            name: The name of its files.
            names: The names and addresses it is for: ``"DNS:localhost,IP:127.0.0.1"``.
            expired: Whether it was valid until yesterday only.
        """
        made = Certificate(self._folder, name)
        identities = [each.partition(":")[2] for each in names.split(",")]
        end = datetime.now(UTC) + timedelta(days=-1 if expired else 9)
        leaf = self._authority.issue_cert(*identities, common_name=name, not_after=end)
        leaf.private_key_pem.write_to_path(made.keyfile)
        leaf.cert_chain_pems[0].write_to_path(made.certfile)
        return made
