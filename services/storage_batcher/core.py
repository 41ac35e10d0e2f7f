"""Messages in, batches out: which table a message belongs to, when a batch is due, and how far everything has come.

Pure: time comes in, nothing waits. A `Slice` is what one owner writes to one table; a `Batcher` feeds all slices of a
process from one ordered reader and keeps what they hold together within one bound.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas import subjects, tables
from services.storage_batcher.entry import Entry

ROW_OVERHEAD = 256
"""Bytes that a waiting message takes beside its body: objects, subject, place in the list."""

_CHECKPOINTS = subjects.CHECKPOINT_ALL.removesuffix(">")
"""What the subjects begin with that are no records."""

ALL = "all"
"""The slice that is a whole table."""


class Message(Protocol):
    """A message as it was read: one JSON object in `body`."""

    @property
    def sequence(self) -> int:
        """Its MD sequence."""

    @property
    def subject(self) -> str:
        """Where it was published."""

    @property
    def body(self) -> bytes:
        """One JSON object."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that go into a table together, in order. `repeats` is the entry of a batch that was begun before."""

    first: int
    last: int
    rows: Sequence[Message]
    repeats: Entry | None = None


class Slice:
    """What one owner writes to one table: rows that wait, the batch on its way, and the position behind them.

    `received`: every message up to this MD sequence was handed in. A slice that is not `owned` takes no messages;
    another process writes it.
    """

    def __init__(self, table: tables.Table, policy: tables.Batch, spacing_s: float, name: str = ALL) -> None:
        self.table = table
        self.policy = policy
        self.name = name
        self.owned = False
        self.received = 0
        self.waiting: list[Message] = []
        self.waiting_bytes = 0
        self.flying: Batch | None = None
        self._flying_bytes = 0
        self._spacing_s = spacing_s
        self._repeats: Entry | None = None
        self._position = 0
        self._cut_at = float("-inf")
        self._arrivals: deque[tuple[int, float]] = deque()

    @property
    def prefix(self) -> str:
        """What the subjects of the slice's messages begin with."""
        return self.table.subject.removesuffix(">")

    @property
    def position(self) -> int:
        """The MD sequence up to which every message of the slice is in the table."""
        if not self.owned:
            return self._position
        if self.flying is not None:
            return self.flying.first - 1
        if self._repeats is not None:
            return self._repeats.first - 1
        return self.waiting[0].sequence - 1 if self.waiting else self.received

    @property
    def rows(self) -> int:
        """Rows in memory."""
        return len(self.waiting) + (len(self.flying.rows) if self.flying else 0)

    @property
    def bytes(self) -> int:
        """Bytes in memory, about."""
        return self.waiting_bytes + self._flying_bytes

    @property
    def idle(self) -> bool:
        """Whether everything that was handed in is in the table."""
        return self.owned and not self.waiting and self.flying is None and self._repeats is None

    def own(self, entry: Entry) -> None:
        """Go on where `entry` stands: a batch that was begun is taken again, with exactly its bounds."""
        self._forget()
        self.owned = True
        self.received = entry.position
        self._repeats = entry if entry.state == "writing" else None

    def lose(self, position: int) -> None:
        """Leave the slice to another owner, who has come to `position` at least."""
        self._forget()
        self.owned = False
        self._position = position

    def _forget(self) -> None:
        self.waiting = []
        self.waiting_bytes = 0
        self.flying = None
        self._flying_bytes = 0
        self._repeats = None
        self._arrivals.clear()

    def add(self, message: Message, now: float) -> None:
        """Take a message that was read at `now`; one that was handed in before is passed over."""
        if message.sequence <= self.received:
            return
        self.received = message.sequence
        if not self._arrivals or self._arrivals[-1][1] != now:
            self._arrivals.append((message.sequence, now))
        self.waiting.append(message)
        self.waiting_bytes += len(message.body) + ROW_OVERHEAD

    def due(self, now: float, *, pressed: bool = False) -> bool:
        """Tell whether a batch is to be taken now; `pressed`: as soon as there is anything in it."""
        if not self.owned or self.flying is not None:
            return False
        if self._repeats is not None:
            return self.received >= self._repeats.last
        count = len(self.waiting)
        if not count:
            return False
        if pressed or count >= self.policy.max_rows or self.waiting_bytes >= self.policy.max_bytes:
            return True
        if now - self._arrivals[0][1] >= self.policy.age_s:
            return True
        return count >= self.policy.rows and now - self._cut_at >= self._spacing_s

    def oldest(self) -> float:
        """When the oldest waiting row came; for choosing among slices that are due."""
        return self._arrivals[0][1] if self._arrivals else float("-inf")

    def take(self, now: float) -> Batch:
        """Cut the batch that is due; it is on its way until `stored`."""
        count = self._count()
        rows, self.waiting = self.waiting[:count], self.waiting[count:]
        self._flying_bytes = sum(len(row.body) for row in rows) + ROW_OVERHEAD * count
        self.waiting_bytes -= self._flying_bytes
        self._cut_at = now
        if not self.waiting:
            self._arrivals.clear()
        while len(self._arrivals) > 1 and self._arrivals[1][0] <= self.waiting[0].sequence:
            self._arrivals.popleft()
        if self._repeats is not None:
            self.flying = Batch(self._repeats.first, self._repeats.last, rows, self._repeats)
            self._repeats = None
        else:
            self.flying = Batch(rows[0].sequence, rows[-1].sequence, rows)
        return self.flying

    def _count(self) -> int:
        if self._repeats is not None:
            last = self._repeats.last
            return sum(1 for row in self.waiting if row.sequence <= last)
        most = min(len(self.waiting), self.policy.max_rows)
        if self.waiting_bytes <= self.policy.max_bytes:
            return most
        size = 0
        for count, row in enumerate(self.waiting[:most]):
            size += len(row.body) + ROW_OVERHEAD
            if size > self.policy.max_bytes:
                return max(count, 1)
        return most

    def stored(self) -> None:
        """The batch on its way is in the table."""
        self.flying = None
        self._flying_bytes = 0

    def caught_up(self, sequence: int) -> None:
        """Every message up to `sequence` was handed in, although the last of them was not for this slice."""
        if self.owned:
            self.received = max(self.received, sequence)


class Batcher:
    """All slices of a process, fed from one ordered reader, within one bound of memory."""

    def __init__(self, slices: Sequence[Slice], most_rows: int, most_bytes: int) -> None:
        self.slices = slices
        self.unknown: Counter[str] = Counter()
        """Messages that belong to no table, by the first two elements of their subject."""
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._routes: dict[str, Slice | None] = {}

    @property
    def rows(self) -> int:
        """Rows in memory."""
        return sum(one.rows for one in self.slices)

    @property
    def position(self) -> int:
        """The MD sequence up to which everything is in the tables."""
        return min(one.position for one in self.slices)

    @property
    def owned(self) -> list[Slice]:
        """The slices that this process writes."""
        return [one for one in self.slices if one.owned]

    def read_after(self) -> int:
        """Return the MD sequence after which reading begins."""
        return min(one.received for one in self.owned)

    def add(self, messages: Sequence[Message], now: float) -> None:
        """Hand out messages, in their order, to the slices they belong to."""
        routes = self._routes
        for message in messages:
            try:
                target = routes[message.subject]
            except KeyError:
                target = self._route(message.subject)
            if target is None:
                if not message.subject.startswith(_CHECKPOINTS):
                    self.unknown[".".join(message.subject.split(".", 2)[:2])] += 1
            elif target.owned:
                target.add(message, now)
        self.caught_up(messages[-1].sequence)

    def _route(self, subject: str) -> Slice | None:
        if len(self._routes) >= 100_000:  # subjects come and go with dated instruments
            self._routes.clear()
        found = next((one for one in self.slices if subject.startswith(one.prefix)), None)
        self._routes[subject] = found
        return found

    def caught_up(self, sequence: int) -> None:
        """Every message up to `sequence` was handed in."""
        for one in self.slices:
            one.caught_up(sequence)

    def pressed(self) -> bool:
        """Tell whether memory is full."""
        return self.rows >= self._most_rows or sum(one.bytes for one in self.slices) >= self._most_bytes

    def full(self) -> bool:
        """Tell whether reading has to wait for rows to be stored.

        Where nothing is on its way and nothing could be, it goes on instead: a batch that is being repeated needs all
        of its rows, however small the bound has become since.
        """
        return self.pressed() and any(one.flying is not None or one.due(0.0, pressed=True) for one in self.slices)

    def due(self, now: float, *, draining: bool = False) -> list[Slice]:
        """Return the slices whose batch is to be taken now, the longest waiting first."""
        pressed = draining or self.pressed()
        return sorted((one for one in self.slices if one.due(now, pressed=pressed)), key=Slice.oldest)
