"""TLS with certificates in files, which are read again where they have changed."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext
    from typing import Any, TypeAlias

    File: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class CertificateFiles:
    """The names of certificate files, and the context that was last made from them.

    Args:
        ca_certs: A file of certificates to trust; None for the system's.
        certfile: A file with the client's certificate, or None.
        keyfile: A file with its key, or None if `certfile` has it.
        check_hostname: Require that the server's certificate is for the host's name.
    """

    __slots__ = ("_check_hostname", "_files", "_made")

    def __init__(
        self,
        ca_certs: File | None,
        certfile: File | None,
        keyfile: File | None,
        *,
        check_hostname: bool,
    ) -> None:
        self._files = (ca_certs, certfile, keyfile)
        self._check_hostname = check_hostname
        self._made: tuple[object, SSLContext] | None = None

    def make_context(self) -> SSLContext:
        """Make a context from the files as they are now; reuse the last one if none has changed.

        Raises:
            OSError: A file cannot be read, or is not a certificate or its key.
        """
        # Taken before the files are read: a change amid that is seen the next time.
        stamps = [_stamp(file) for file in self._files]
        if self._made is None or self._made[0] != stamps:
            self._made = stamps, self._read()
        return self._made[1]

    def _read(self) -> SSLContext:
        from ssl import create_default_context  # slow to import

        ca_certs, certfile, keyfile = self._files
        try:
            context = create_default_context(cafile=ca_certs)
        except OSError as error:  # ssl.SSLError is one
            raise OSError(f"ssl_ca_certs is {ca_certs!r}, but {_say(error)}") from error
        if certfile is not None:
            try:
                context.load_cert_chain(certfile, keyfile, _refuse_to_prompt)
            except OSError as error:
                names = f"ssl_certfile is {certfile!r}"
                if keyfile is not None:
                    names += f" and ssl_keyfile {keyfile!r}"
                raise OSError(f"{names}, but {_say(error)}") from error
        context.check_hostname = self._check_hostname
        return context


def prepare_tls(options: Mapping[str, Any]) -> CertificateFiles | SSLContext | None:
    """Make of the options by their names what contexts are made of; None without TLS.

    Raises:
        ValueError: Options contradict each other, or a file cannot be used: it is read now.
    """
    ssl = options["ssl"]
    if ssl and options["unix_socket_path"] is not None:
        raise ValueError("ssl and unix_socket_path are given; give one of them")
    files = {
        name: options[name] or None for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    }
    for name, file in files.items():
        if file and ssl is False:
            raise ValueError(f"{name} is given, but ssl is False; give ssl=True as well")
        if file and ssl is not True:
            raise ValueError(
                f"{name} is given, but ssl is a context; load the file into the context, "
                "or give ssl=True"
            )
    if files["ssl_keyfile"] and not files["ssl_certfile"]:
        raise ValueError("ssl_keyfile is given without ssl_certfile; give both")
    if ssl is not True:
        return ssl or None
    tls = CertificateFiles(*files.values(), check_hostname=options["ssl_check_hostname"])
    try:
        tls.make_context()
    except OSError as error:
        raise ValueError(str(error)) from error.__cause__
    return tls


def _stamp(file: File | None) -> tuple[int, ...] | None:
    """Return what tells whether a file has changed; None for a file that is not there."""
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _say(error: OSError) -> str:
    return f"it cannot be read: {error.strerror or error}"


def _refuse_to_prompt() -> str:
    # Without this, OpenSSL would ask on the terminal, at each connect.
    raise OSError("the key is encrypted; give ssl= an ssl.SSLContext that has loaded it")
