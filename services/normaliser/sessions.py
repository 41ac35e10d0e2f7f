"""What session events say to the lanes of a connection."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.frames import SessionEvent
from services.normaliser.counts_told import Told
from services.normaliser.lane import Lane


def tell(lane: Lane, event: SessionEvent, name: str, now: int) -> None:
    """Let a lane know what happened to the connection `name` at `now`, our clock."""
    concerned = lane.channel.name in event.channels.get(lane.symbol, ())
    if event.event == "alive":
        lane.alive(name, now)
    elif event.event == "closed":
        lane.leave(name, now, f"connection {name} closed: {event.reason or 'no reason given'}")
    elif event.event == "unsubscribed" and concerned:
        lane.leave(name, now, f"connection {name} gave it up: {event.reason or 'no reason given'}", meant=True)
    elif event.event == "dropped" and concerned and name in lane.links:
        lane.dropped(lane.links[name], now, f"frames {event.first_number} to {event.last_number} found no room")


def counts_of(event: SessionEvent) -> Iterator[tuple[str, str, Told]]:
    """Return what a `counted` event says, by symbol and channel, in their order."""
    for symbol, channels in sorted(event.counts.items()):
        for channel, count in sorted(channels.items()):
            yield symbol, channel, Told(count.frames, count.total, event.since, event.until)
