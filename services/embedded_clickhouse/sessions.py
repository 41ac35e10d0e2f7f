"""Sessions: what `SET` and `USE` changed, remembered by `session_id` and repeated for each request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from services.embedded_clickhouse.errors import NOT_ALLOWED, QueryError

_MOST_SESSIONS = 10_000
_MOST_STATEMENTS = 100


@dataclass(slots=True)
class _Session:
    expires_at: float
    statements: list[bytes] = field(default_factory=list)


class Sessions:
    """The sessions of all users; a session belongs to the user who began it. Used in the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[tuple[str, str], _Session] = {}

    def statements(self, user: str, session: str | None) -> tuple[bytes, ...]:
        """Return what must be done on a connection before a request of this session."""
        found = self._sessions.get((user, session)) if session is not None else None
        if found is None or found.expires_at < self._clock():
            return ()
        return tuple(found.statements)

    def remember(self, user: str, session: str | None, statement: bytes, timeout_s: int) -> None:
        """Keep a statement that changed the session for `timeout_s` seconds after its last change."""
        if session is None:
            return
        now = self._clock()
        key = (user, session)
        found = self._sessions.pop(key, None)
        if found is None or found.expires_at < now:
            found = _Session(now)
        if len(found.statements) >= _MOST_STATEMENTS:
            raise QueryError(NOT_ALLOWED, f"A session may change its settings {_MOST_STATEMENTS} times at most")
        found.statements.append(statement)
        found.expires_at = now + timeout_s
        self._sessions[key] = found
        while len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
