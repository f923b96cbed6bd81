"""Certificates for tests of TLS: an authority of one's own, and what it signs.

They are made by the `openssl` program, and live as long as the folder that they are in.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

_AUTHORITY = """\
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_LEAF = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""
# What `openssl ca` keeps of the certificates it has signed.
_REGISTER = """\
[ca]
default_ca = register
[register]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
unique_subject = no
default_md = sha256
policy = anyone
[anyone]
commonName = supplied
"""


class Certificate:
    """A certificate and its key, as files in PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certfile = str(folder / f"{name}.pem")
        self.keyfile = str(folder / f"{name}.key")

    def server_context(self, clients_from: str | None = None) -> ssl.SSLContext:
        """The context of a server that shows this certificate.

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
    """An authority that nobody trusts who is not told to.

    Args:
        folder: An empty folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "authority")
        self._folder = folder
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        self._write("register.cnf", _REGISTER.format(folder=folder))
        extensions = self._write("authority.ext", _AUTHORITY)
        request = self._request("authority")
        signed = ("-days", "3650", "-extfile", extensions, "-out", self.certfile)
        _openssl("x509", "-req", "-in", request, "-signkey", self.keyfile, *signed)

    def sign(self, name: str, names: str, *, expired: bool = False) -> Certificate:
        """Make a certificate.

        Args:
            name: The name of its files.
            names: Whom it is for: ``"DNS:localhost,IP:127.0.0.1"``.
            expired: Whether its time is over.
        """
        made = Certificate(self._folder, name)
        now = datetime.now(timezone.utc)
        dates = ("-startdate", _utc(now - timedelta(days=9)), "-enddate")
        end = _utc(now + timedelta(days=-1 if expired else 9))
        extensions = self._write(f"{name}.ext", _LEAF.format(names=names))
        signer = ("-cert", self.certfile, "-keyfile", self.keyfile)
        files = ("-in", self._request(name), "-extfile", extensions, "-out", made.certfile)
        config = str(self._folder / "register.cnf")
        _openssl("ca", "-batch", "-notext", "-config", config, *signer, *dates, end, *files)
        return made

    def _write(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text)
        return str(path)

    def _request(self, name: str) -> str:
        """Make a key, and the request to sign it."""
        request = str(self._folder / f"{name}.csr")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        keyfile = Certificate(self._folder, name).keyfile
        _openssl(
            "req", "-new", *new_key, "-subj", f"/CN={name}", "-keyout", keyfile, "-out", request
        )
        return request


def _utc(time: datetime) -> str:
    return time.strftime("%Y%m%d%H%M%SZ")


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the program openssl, to make certificates")
    done = subprocess.run(
        (program, *arguments), capture_output=True, check=False, text=True, timeout=30
    )
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")
