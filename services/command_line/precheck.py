"""`tapeline precheck`: first contact with the exchanges, one symbol a channel, each endpoint once.

Nothing is recorded and no server is needed: it says whether what the exchanges send today is what the parsers read.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import msgspec
from rich.console import Console
from rich.table import Table

from schemas import records, subjects
from schemas.errors import BadFrame, Broken, Busy
from schemas.frames import Origin, RawFrame
from schemas.records import Instrument
from services.shared.exchanges.declaration import Ask, BookSnapshot, Channel, Listing, Market, Parser, Poll, Reply
from services.shared.exchanges.declaration import StreamName as DataOf
from services.shared.exchanges.registry import MARKETS
from services.shared.exchanges.server_time import FAR_US, Sample, best
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer, Http
from services.shared.runtime.ws import Socket, open_socket

OPEN_WITHIN_S = 10.0
ANSWER_WITHIN_S = 10.0
GAP_BETWEEN_REQUESTS_S = 0.1
TIMES_ASKED = 3
"""How often an exchange is asked for its time: the answer with the least round trip is believed."""


@dataclass(slots=True)
class Finding:
    """What one channel or endpoint gave. `verdict`: parsed, silent, or why not."""

    exchange: str
    market: str
    kind: str
    name: str
    verdict: str
    ok: bool
    first: str = ""
    age_ms: float | None = None
    """Our clock less the exchange's send time, of the first frame: the way here and the clocks' difference."""
    offset_ms: float | None = None
    """The exchange's clock less ours, of the endpoint that tells its time; wrong by half the round trip at most."""
    round_trip_ms: float | None = None


@dataclass
class Check:
    """One market under examination."""

    market: Market
    ws_url: str
    rest_url: str
    wait_s: float
    ca_file: Path | None
    listing: Listing = field(default_factory=Listing)
    symbol: str = subjects.ALL
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, name: str, verdict: str, ok: bool, first: str = "", age_ms: float | None = None) -> None:
        """Note a finding."""
        found = Finding(self.market.exchange, self.market.market, kind, name, verdict, ok, first, age_ms)
        self.findings.append(found)

    async def run(self, http: Http) -> None:
        """Ask for instruments, then for everything else about one of them."""
        chosen = await self._instruments(http)
        if chosen is None:
            return
        self.symbol = chosen.symbol
        routes: dict[str, dict[str, Channel]] = {}
        for channel in self.market.channels.values():
            symbol = chosen.exchange_symbol if channel.per_symbol else ""
            if channel.default and (name := channel.stream(symbol)):
                routes.setdefault(channel.route_of(symbol), {})[name] = channel
        await asyncio.gather(self._polls(http, chosen), *(self._route(route, some) for route, some in routes.items()))

    async def _instruments(self, http: Http) -> Instrument | None:
        poll = self.market.instruments
        found = await self._ask(http, poll, None)
        instruments = [item for item in found or () if isinstance(item, Instrument)]
        if not instruments:
            return None
        self.listing = Listing(instruments)
        trading = [item for item in instruments if item.status == "trading"]
        starter = [self.listing.by_symbol[name] for name in self.market.starter if name in self.listing.by_symbol]
        return next((item for item in (*starter, *trading)), None)

    async def _polls(self, http: Http, item: Instrument) -> None:
        others = [self.market.book_snapshot, *self.market.polls.values()]
        for poll in {poll.name: poll for poll in others if poll is not None}.values():
            if poll is self.market.time:
                await self._clock(http, poll)
            elif poll is not self.market.instruments:
                await self._ask(http, poll, item)
            await asyncio.sleep(GAP_BETWEEN_REQUESTS_S)

    async def _clock(self, http: Http, poll: Poll) -> None:
        """Ask for the time as often as it takes to know it well; that is one finding."""
        samples: list[Sample] = []
        for _ in range(TIMES_ASKED):
            answer = await self._answer(http, poll, poll.path)
            if answer is None:
                return
            frame = self._frame(poll.name, subjects.ALL, "rest", answer.body, answer.received_at, answer.requested_at)
            try:
                [told] = poll.parse(frame, self.listing)
            except BadFrame as error:
                self.add("REST", poll.name, f"not parsed: {error}", ok=False, first=_start(answer.body))
                return
            assert isinstance(told, records.ClockOffset)
            samples.append(Sample(told.received_at, told.offset_us, told.round_trip_us))
        believed = best(samples)
        offset_ms, round_trip_ms = believed.offset_us / 1_000, believed.round_trip_us / 1_000
        far = ": further than it should be" if abs(believed.offset_us) > FAR_US else ""
        verdict = f"parsed: clock {offset_ms:+,.0f} ms from ours, round trip {round_trip_ms:,.0f} ms{far}"
        self.add("REST", poll.name, verdict, ok=True)
        self.findings[-1].offset_ms, self.findings[-1].round_trip_ms = offset_ms, round_trip_ms

    async def _ask(
        self, http: Http, poll: Poll, item: Instrument | None
    ) -> Sequence[records.Record | BookSnapshot] | None:
        """Ask one endpoint once and parse its answer."""
        path = poll.filled(quote(item.exchange_symbol, safe="") if item else "", now_us() // 1_000)
        answer = await self._answer(http, poll, path)
        if answer is None:
            return None
        symbol = item.symbol if item and poll.per_symbol else subjects.ALL
        return self._parse("REST", poll.name, poll.parse, symbol, "rest", answer.body, answer.received_at)

    async def _answer(self, http: Http, poll: Poll, path: str) -> Answer | None:
        """Ask once; None, and a finding, when what comes is no data."""
        try:
            answer = await http.get(self.rest_url.rstrip("/") + path, self.market.headers)
        except Busy as failure:
            self.add("REST", poll.name, str(failure), ok=False)
            return None
        rules = self.market.rest
        error = rules.judge(answer.status, rules.said(answer.headers.items()), answer.body, now_us() / 1_000_000).error
        if error is not None:
            self.add("REST", poll.name, error, ok=False, first=_start(answer.body))
            return None
        return answer

    def _frame(
        self, name: str, symbol: str, origin: Origin, body: bytes, received_at: int, requested_at: int | None = None
    ) -> RawFrame:
        exchange, market = self.market.exchange, self.market.market
        return RawFrame(
            exchange,
            market,
            name,
            symbol,
            "precheck",
            "precheck",
            1,
            received_at,
            origin,
            body,
            requested_at=requested_at,
        )

    def _parse(
        self, kind: str, name: str, parse: Parser, symbol: str, origin: Origin, body: bytes, received_at: int
    ) -> Sequence[records.Record | BookSnapshot] | None:
        frame = self._frame(name, symbol, origin, body, received_at)
        first = _start(body)
        try:
            found = parse(frame, self.listing)
        except (BadFrame, RecursionError) as error:
            self.add(kind, name, f"not parsed: {error}", ok=False, first=first)
            return None
        kinds = sorted({getattr(type(item), "KIND", "book snapshot") for item in found}) or ["nothing"]
        sent = [item.sent_at for item in found if getattr(item, "sent_at", None) is not None]  # type: ignore[union-attr]
        age = (received_at - sent[0]) / 1000 if sent and sent[0] is not None else None
        self.add(kind, name, f"parsed: {len(found)} {', '.join(kinds)}", ok=True, first=first, age_ms=age)
        return found

    async def _route(self, route: str, streams: Mapping[str, Channel]) -> None:
        """Subscribe to every stream of a route on one connection, and parse the first frame of each."""
        missing = dict(streams)
        refused: dict[str, str] = {}
        url = self.ws_url.rstrip("/") + self.market.routes[route]
        try:
            socket = await open_socket(url, OPEN_WITHIN_S, self.market.headers, compression=True, ca_file=self.ca_file)
        except (Busy, Broken) as error:
            for channel in streams.values():
                self.add("WebSocket", channel.name, f"{url}: {error}", ok=False)
            return
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        asked: dict[int, list[str]] = {}

        def take(body: bytes, received_at: int) -> None:
            try:
                about = self.market.sort(body)
            except (BadFrame, RecursionError):
                return
            if isinstance(about, Ask):
                answers.put_nowait(about.answer)
            elif isinstance(about, Reply) and about.error is not None:
                for name in about.names or asked.get(about.request_id or 0, ()):
                    refused[name] = about.error
            elif isinstance(about, DataOf) and (channel := missing.pop(about.name, None)) is not None:
                symbol = self.symbol if channel.per_symbol else subjects.ALL
                self._parse("WebSocket", channel.name, channel.parse, symbol, "ws", body, received_at)

        reading = asyncio.ensure_future(socket.pump(take))
        talking = asyncio.ensure_future(self._talk(socket, list(streams), asked, answers))
        deadline = asyncio.get_running_loop().time() + self.wait_s
        while missing.keys() - refused.keys() and not reading.done() and asyncio.get_running_loop().time() < deadline:
            await asyncio.wait({reading}, timeout=0.1)
        talking.cancel()
        socket.abort()
        ended = await reading
        await asyncio.gather(talking, return_exceptions=True)
        for name, channel in missing.items():
            if name in refused:
                self.add("WebSocket", channel.name, f"refused: {refused[name]}", ok=False)
            elif asyncio.get_running_loop().time() < deadline:
                self.add("WebSocket", channel.name, f"connection ended: {ended}", ok=False)
            else:
                # A quiet channel (liquidations) is no failure: nothing happened, or nothing is said.
                self.add("WebSocket", channel.name, f"silent for {self.wait_s:.0f} s", ok=True)

    async def _talk(
        self, socket: Socket, names: list[str], asked: dict[int, list[str]], answers: asyncio.Queue[bytes]
    ) -> None:
        """Greet, subscribe within the exchange's limits, and answer what it asks until cancelled."""
        market = self.market
        pause = 1.5 / market.limits.messages_per_s
        for message in market.greeting:
            await socket.send(message)
            await asyncio.sleep(pause)
        numbers = itertools.count(1)
        most = market.limits.streams_per_message
        for start in range(0, len(names), most):
            number = next(numbers)
            asked[number] = names[start : start + most]
            message = market.subscribe(asked[number], number)
            await socket.send(market.stamp(message, now_us() // 1_000) if market.stamp else message)
            await asyncio.sleep(pause)
        keep = market.keep_alive
        while True:
            try:
                await socket.send(await asyncio.wait_for(answers.get(), keep.every_s if keep else None))
            except TimeoutError:
                assert keep is not None
                await socket.send(keep.message(next(numbers)))


def _start(body: bytes) -> str:
    return body[:200].decode(errors="replace")


async def precheck(
    exchanges: Sequence[str],
    ws_urls: Mapping[str, str],
    rest_urls: Mapping[str, str],
    wait_s: float,
    ca_file: Path | None = None,
) -> list[Finding]:
    """Examine every market of the exchanges (none named: of all). Raises Broken for a name that does not exist."""
    known = sorted({market.exchange for market in MARKETS.values() if not market.withdrawn})
    for name in exchanges:
        if name not in known:
            raise Broken(f"--exchanges names {name!r}; there are {', '.join(known)}")
    checks = [
        Check(
            market,
            ws_urls.get(f"{exchange}.{name}", market.ws_url),
            rest_urls.get(f"{exchange}.{name}", market.rest_url),
            wait_s,
            ca_file,
        )
        for (exchange, name), market in MARKETS.items()
        if (not exchanges or exchange in exchanges) and market.starter
    ]
    async with Http(ANSWER_WITHIN_S, ca_file) as http:
        await asyncio.gather(*(check.run(http) for check in checks))
    return [finding for check in checks for finding in check.findings]


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print a row a channel."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("exchange", "market", "by", "channel", "verdict", "clock"):
        table.add_column(name, overflow="fold", justify="right" if name == "clock" else "left")
    for found in findings:
        age = f"{found.age_ms:,.0f} ms" if found.age_ms is not None else ""
        verdict = found.verdict if found.ok else f"[bold red]{found.verdict}[/]"
        table.add_row(found.exchange, found.market, found.kind, found.name, verdict, age)
    console.print(table)
    bad = [found for found in findings if not found.ok]
    for found in bad:
        if found.first:
            console.print(f"{found.exchange} {found.market} {found.name}: {found.first}", markup=False)
    console.print(f"{len(findings) - len(bad)} well, {len(bad)} not.")


def as_json(findings: Sequence[Finding]) -> bytes:
    """Return the findings as a JSON array."""
    return msgspec.json.format(msgspec.json.encode(findings), indent=2) + b"\n"
