"""Turns a folder of recordings into venues: which recorded session speaks for which exchange market."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.exchange_simulator import recordings
from services.exchange_simulator.recordings import Recording
from services.exchange_simulator.replay_binance import BinanceReplay
from services.exchange_simulator.replay_bybit_v2 import BybitV2Replay
from services.exchange_simulator.replay_deribit import DeribitReplay
from services.exchange_simulator.replay_gateio import GateioReplay
from services.exchange_simulator.replay_okx import OkxReplay
from services.exchange_simulator.venue import Venue

_Build = Callable[[Recording, float, float], Venue]


@dataclass(frozen=True, slots=True)
class _Speaker:
    exchange: str
    build: _Build
    more: tuple[_Build, ...] = ()
    """Of a session that holds several markets: one for each but the first."""


_SPEAKERS = {
    "BINANCE": _Speaker("binance", lambda recording, pace, patience: BinanceReplay(recording, "spot", pace, patience)),
    "BINANCE_FUTURES": _Speaker(
        "binance", lambda recording, pace, patience: BinanceReplay(recording, "perp", pace, patience)
    ),
    "GATEIO": _Speaker("gateio", lambda recording, pace, patience: GateioReplay(recording, "spot", pace, patience)),
    "GATEIO_FUTURES": _Speaker(
        "gateio", lambda recording, pace, patience: GateioReplay(recording, "perp", pace, patience)
    ),
    "OKX": _Speaker(
        "okx",
        lambda recording, pace, patience: OkxReplay(recording, "spot", pace, patience),
        (
            lambda recording, pace, patience: OkxReplay(recording, "perp", pace, patience),
            lambda recording, pace, patience: OkxReplay(recording, "future", pace, patience),
        ),
    ),
    "BYBIT": _Speaker("bybit_v2", BybitV2Replay),
    "DERIBIT": _Speaker(
        "deribit",
        lambda recording, pace, patience: DeribitReplay(recording, "option", pace, patience),
        (
            lambda recording, pace, patience: DeribitReplay(recording, "perp", pace, patience),
            lambda recording, pace, patience: DeribitReplay(recording, "future", pace, patience),
        ),
    ),
}
"""Session name -> who can speak it. Another exchange is one more module and one more line here."""


def build(
    folder: Path, exchanges: Sequence[str], pace: float, patience_s: float
) -> tuple[tuple[Venue, ...], tuple[str, ...]]:
    """Return the venues of a recordings folder, and the names of the sessions left out.

    `exchanges` limits what is served (empty: all); `pace` and `patience_s` as in `Timeline`. Raises BadRecording for a
    folder without a session that can be served, and for a served session that is not in the format.
    """
    found = recordings.sessions(folder)
    speakers = {
        name: speaker
        for name, speaker in _SPEAKERS.items()
        if name in found and (not exchanges or speaker.exchange in exchanges)
    }
    if not speakers:
        asked = f" of {', '.join(exchanges)}" if exchanges else ""
        raise recordings.BadRecording(
            f"{folder}: no session{asked} that can be replayed; it holds {', '.join(sorted(found))}, "
            f"and {', '.join(_SPEAKERS)} can be replayed"
        )
    venues: list[Venue] = []
    for name, speaker in speakers.items():
        recording = recordings.read(name, found[name])
        venues += [make(recording, pace, patience_s) for make in (speaker.build, *speaker.more)]
    return tuple(venues), tuple(sorted(found.keys() - speakers.keys()))
