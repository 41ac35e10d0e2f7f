"""A service's flags: one for each setting, named like it, with its description as help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from services.shared.runtime.settings import Settings

_SECRETS = (SecretStr, SecretStr | None)


def default_text(value: Any) -> str:
    """Return a default as a person would write it in a variable."""
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, tuple | list):
        return ",".join(str(part) for part in value) or "none"
    if hasattr(value, "get_secret_value"):
        return "none"
    return str(value)


def parse(settings_class: type[Settings], program: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the settings given as flags. Ends the process with status 2 on an unknown flag, 0 after `--help`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=(settings_class.__doc__ or "").strip(),
        epilog="Each setting may also stand in tapeline.yaml or in the environment variable named with it.",
        allow_abbrev=False,
    )
    for name, field in settings_class.model_fields.items():
        if field.annotation in _SECRETS:
            continue  # a process list shows flags to everybody: secrets come from the environment alone
        text = f"{field.description} [{settings_class.variable(name)}, default {default_text(field.default)}]"
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=text.replace("%", "%%"))
    given = vars(parser.parse_args(list(arguments)))
    return {name: value for name, value in given.items() if value is not None}
