"""Ask an address once, for a container's health check: exit status 0 when it answers 200, else 1.

    python -IS services/shared/runtime/probe.py http://127.0.0.1:8080/health

The standard library alone, and little of it: this is started every few seconds in every container.
"""

from __future__ import annotations

import http.client
import sys

TIMEOUT_S = 4.0


def answers(url: str) -> bool:
    """Return whether `url` (http only) answers 200 within `TIMEOUT_S`."""
    host, slash, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
    try:
        connection.request("GET", slash + path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)
