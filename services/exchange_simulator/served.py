"""One served exchange market: its venue, its open connections, and the faults ordered for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from services.exchange_simulator import fault_orders as orders
from services.exchange_simulator.connection import Connection, now_us
from services.exchange_simulator.faults import Accountant, FaultySession, MarketFaults, Note
from services.exchange_simulator.venue import Answer, Closing, KeepAlive, Venue

_END_OF_LIFE = Closing(1001, "connection has reached the end of its life")


class Served:
    """A venue, with the connections of its clients in the order of their opening."""

    def __init__(self, venue: Venue, keep_alive: KeepAlive) -> None:
        self.venue = venue
        self.keep_alive = keep_alive
        self.faults = MarketFaults(venue.exchange, self._noted)
        self._connections: dict[Connection, FaultySession] = {}
        self._sent = 0
        self._delivered = 0
        self._asked: Counter[str] = Counter()
        self._over_the_limit = 0

    def answer(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET, unless a fault does, and count it by its path."""
        answer = self.faults.answering(path, now_us)
        if answer is None:
            answer = self.venue.get(path, query, now_us)
            self._over_the_limit += answer.over_the_limit
        self._asked[path] += 1
        return answer

    def _noted(self, note: Note) -> None:
        if isinstance(self.venue, Accountant):
            self.venue.noted(note)

    def opened(self, connection: Connection, session: FaultySession) -> None:
        """Count a connection among the open ones."""
        self._connections[connection] = session

    def ended(self, connection: Connection) -> None:
        """Take leave of a connection; what it sent stays counted."""
        del self._connections[connection]
        self._sent += connection.sent
        self._delivered += connection.confirmed
        connection.ended.set()

    def connections(self) -> list[Connection]:
        """Return the open connections, the oldest first."""
        return list(self._connections)

    def wake(self) -> None:
        """Have every session asked again what is due."""
        for connection in self._connections:
            connection.wake()

    def order(self, fault: orders.Fault) -> None:
        """Do now, or arm, what is ordered."""
        match fault:
            case orders.Close():
                for connection in self.connections()[: fault.count]:
                    self._cut(connection, None if fault.abort else Closing(fault.code, "simulated fault"))
            case orders.Expire():
                for connection in self.connections()[:1]:
                    self._cut(connection, _END_OF_LIFE)
            case orders.Enlist() | orders.Delist():
                self._relist(fault)
            case _:
                self.faults.add(fault, now_us())
        self.wake()

    def _cut(self, connection: Connection, closing: Closing | None) -> None:
        kind = "abort" if closing is None else "expire" if closing is _END_OF_LIFE else "close"
        detail = f"{connection.sent} frames sent, {connection.confirmed} of them known to be read"
        number = self._connections[connection].number
        self.faults.note(Note(kind, now_us(), number, connection.sent, detail=detail))
        if closing is None:
            connection.abort()
        else:
            connection.cut(closing)

    def _relist(self, fault: orders.Enlist | orders.Delist) -> None:
        if not isinstance(self.venue, Accountant):
            return
        now = now_us()
        kind = "list" if isinstance(fault, orders.Enlist) else "delist"
        name = self.venue.enlist(now) if isinstance(fault, orders.Enlist) else self.venue.delist(fault.symbol, now)
        if name is not None:
            self.faults.note(Note(kind, now, symbol=name, detail=name))

    def status(self, host: str, port: int) -> dict[str, Any]:
        """Return what the status says of this market."""
        name = f"{self.venue.exchange}/{self.venue.market}"
        through = self.venue.finished(now_us())
        return {
            "exchange": self.venue.exchange,
            "market": self.venue.market,
            "ws_url": f"ws://{host}:{port}/{name}",
            "rest_url": f"http://{host}:{port}/{name}",
            "symbols": list(self.venue.symbols()),
            "connections": len(self._connections),
            "frames_sent": self._sent + sum(connection.sent for connection in self._connections),
            "delivered": self._delivered + sum(connection.confirmed for connection in self._connections),
            "missed": self.venue.missed(),
            "finished": through and all(connection.confirmed == connection.sent for connection in self._connections),
            "faults": dict(self.faults.counts),
            "asked": dict(self._asked),
            "over_the_limit": self._over_the_limit,
        }
