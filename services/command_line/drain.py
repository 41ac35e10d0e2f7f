"""When is a simulated session done? When all that was sent is in the tables, and nothing is on its way."""

from __future__ import annotations

import asyncio

from schemas.errors import Busy
from services.command_line.machine import ARBITRAGE, Machine

POLL_S = 0.25
CALM_POLLS = 3
"""So many looks in a row must find nothing on its way: what one service lets go of, the next may not show yet."""


async def until_drained(machine: Machine, stop: asyncio.Event) -> None:
    """Return when the simulator has sent all and every stage is empty, or when `stop` is set."""
    calm = 0
    before: tuple[object, ...] = ()
    while not stop.is_set() and calm < CALM_POLLS:
        try:
            now = await _look(machine)
        except Busy:
            now = None
        calm = calm + 1 if now is not None and now == before else 0
        before = now or ()
        try:
            await asyncio.wait_for(stop.wait(), POLL_S)
        except TimeoutError:
            continue


async def _look(machine: Machine) -> tuple[object, ...] | None:
    """Return the counts of a moment at which nothing was on its way, or None when something was."""
    simulator = await machine.get(f"{machine.simulator_url}/simulator/status")
    if not simulator["finished"]:
        return None
    collector = await machine.status("collector")
    if not collector["ready"] or collector["outbox"] or collector["spooled"] or collector["snapshots_pending"]:
        return None
    normaliser = await machine.status("normaliser")
    if normaliser["pending_messages"]:
        return None
    if (await machine.status("gap-backfill")).get("gaps_busy", 1):
        return None
    if ARBITRAGE in machine.services and (await machine.status(ARBITRAGE))["pending_messages"]:
        return None
    batcher = await machine.status("storage-batcher")
    if batcher["pending_messages"] or batcher["pending_rows"]:
        return None
    # Polls go on, and so do their rows: with many symbols one is always on its way.
    return (simulator["frames_sent"], collector["received"])
