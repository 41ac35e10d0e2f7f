"""`make env`: .env for docker-compose, with random secrets. The standard library alone: no virtual environment yet.

What .env must hold is said once, in .env.example: every variable whose name ends in `_PASSWORD` and that is ours gets a
random value; the others are copied. What .env holds already is kept, so that running it again after an update adds what
is new and changes no password that a volume was made with.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

THEIRS = ("ALERT_SMTP_PASSWORD",)
"""Passwords of somebody else's server: to be filled in by hand, or left empty."""

SECRET_BYTES = 24


def secret() -> str:
    """Return a new password: letters and digits, the first a letter, since nats-server reads `12e4` as a number."""
    return f"s{secrets.token_hex(SECRET_BYTES)}"


def filled(example: str, present: dict[str, str]) -> tuple[str, list[str]]:
    """Return the text of .env after .env.example, and the names of the variables that were not `present` before."""
    lines: list[str] = []
    added: list[str] = []
    named: set[str] = set()
    for line in example.splitlines():
        name, equals, value = line.partition("=")
        if not equals or line.startswith("#"):
            lines.append(line)
            continue
        named.add(name)
        if name not in present:
            added.append(name)
            value = secret() if name.endswith("_PASSWORD") and name not in THEIRS else value
        lines.append(f"{name}={present.get(name, value)}")
    own = {name: value for name, value in present.items() if name not in named}
    if own:
        lines += ["", "# Set by hand.", *(f"{name}={value}" for name, value in own.items())]
    return "\n".join(lines) + "\n", added


def variables(text: str) -> dict[str, str]:
    """Return the variables that a .env file sets to something."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals and value.strip()}


def main(folder: Path) -> int:
    """Write `folder`/.env, readable by its owner alone, and say where it is."""
    path = folder / ".env"
    present = variables(path.read_text()) if path.exists() else {}
    text, added = filled((folder / ".env.example").read_text(), present)
    secret_names = [name for name in added if name.endswith("_PASSWORD") and name not in THEIRS]
    whole = path.with_suffix(".new")
    handle = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as output:
        output.write(text)
    whole.replace(path)
    said = f"{len(secret_names)} new secrets are in" if secret_names else "nothing was missing in"
    sys.stdout.write(f"{said} {path.resolve()}; keep a copy of it where the backups are\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
