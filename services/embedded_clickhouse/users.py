"""Who may ask, and with which limits: users belong to this service, the embedded engine knows one only."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import SettingsError
from services.embedded_clickhouse.errors import AUTHENTICATION_FAILED, QueryError
from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class User:
    """One user. Limits are the engine's settings: memory in bytes, time in seconds; None: the engine's own."""

    name: str
    password: str
    readonly: bool = False
    ddl: bool = True
    max_memory_usage: int | None = None
    max_execution_time: int | None = None


def users_of(settings: EmbeddedClickhouseSettings) -> dict[str, User]:
    """Return the users by name: the services' own, and those of the setting `users`.

    Raises SettingsError when a password's variable is not set, or when a user without a password could be reached from
    another machine.
    """
    own = User(settings.clickhouse_user, settings.clickhouse_password.get_secret_value())
    users = {own.name: own}
    for name, given in settings.users.items():
        password = ""
        if given.password_env is not None:
            password = os.environ.get(given.password_env, "")
            if not password:
                raise SettingsError(f"the password of ClickHouse user {name!r} is in {given.password_env}, not set")
        users[name] = User(name, password, given.readonly, given.ddl, given.max_memory_usage, given.max_execution_time)
    for user in users.values():
        if not user.password and settings.host not in _LOOPBACK:
            raise SettingsError(
                f"ClickHouse user {user.name!r} has no password; that is allowed on {', '.join(_LOOPBACK)} only, "
                f"not on {settings.host}"
            )
    return users


def authenticate(users: Mapping[str, User], headers: Mapping[str, str], query: Mapping[str, str]) -> User:
    """Return the user of a request: `X-ClickHouse-User` and `-Key`, or HTTP Basic, or `user` and `password`.

    Raises QueryError 516 for an unknown name or a wrong password, in the same words for both.
    """
    name, password = _credentials(headers, query)
    user = users.get(name)
    expected = user.password if user is not None else ""
    matches = hmac.compare_digest(expected.encode(), password.encode())
    if user is None or not matches:
        raise QueryError(
            AUTHENTICATION_FAILED,
            f"{name}: Authentication failed: password is incorrect, or there is no user with such name",
        )
    return user


def _credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, str]:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise QueryError(AUTHENTICATION_FAILED, "Invalid HTTP Basic credentials") from error
        return name or "default", password
    if scheme:
        raise QueryError(AUTHENTICATION_FAILED, f"HTTP authentication scheme {scheme!r} is not supported, Basic is")
    return query.get("user", "default"), query.get("password", "")
