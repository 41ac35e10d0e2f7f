"""Whose certificates are believed: the system's authorities, and one of our own where a setting names it."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=8)
def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what a client checks a server's name and certificate with; `ca_file` holds authorities in PEM.

    Raises ValueError naming a file that cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one
            why = error.strerror if type(error) is not ssl.SSLError else "it holds no certificate in PEM"
            raise ValueError(f"{ca_file} cannot be used as a certificate authority: {why}") from None
    return context
