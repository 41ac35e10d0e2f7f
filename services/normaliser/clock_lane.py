"""How far an exchange's clock is from a collector's: of the recent answers the one with the least round trip."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas import records
from services.normaliser.desk import Desk
from services.normaliser.poll_lane import PollLane
from services.shared.exchanges.server_time import TIME, Sample, best, with_recent

_REMEMBERED = 16
"""Collectors of one market whose recent answers are kept: each has a clock of its own."""


class ClockLane(PollLane):
    """Answers to "what time is it": one record each, which says what is believed by then."""

    def __init__(self, desk: Desk, symbol: str) -> None:
        super().__init__(desk, symbol)
        self.recent: dict[str, list[Sample]] = {}
        """Collector -> its recent answers, oldest first."""

    def deliver(self, found: Sequence[records.Record]) -> None:
        """Put out what is believed after each answer."""
        for record in found:
            assert isinstance(record, records.ClockOffset)
            new = Sample(record.received_at, record.offset_us, record.round_trip_us)
            recent = with_recent(self.recent.pop(record.collector, []), new)
            self.recent[record.collector] = recent
            if len(self.recent) > _REMEMBERED:
                del self.recent[next(iter(self.recent))]
            believed = best(recent)
            self.desk.emit(
                msgspec.structs.replace(
                    record,
                    offset_us=believed.offset_us,
                    round_trip_us=believed.round_trip_us,
                    measured_at=believed.received_at,
                    samples=len(recent),
                )
            )


def make_poll_lane(desk: Desk, symbol: str, poll: str) -> PollLane:
    """Return a new lane for the answers of a polled endpoint."""
    return ClockLane(desk, symbol) if poll == TIME else PollLane(desk, symbol)
