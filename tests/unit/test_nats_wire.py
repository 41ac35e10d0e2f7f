"""A batch's bytes are those that nats-py would send for the same messages one by one."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.client import Client

from services.shared.runtime.bus import Outgoing, _Client
from services.shared.runtime.wire import encode_batch

MESSAGES = [
    Outgoing("md.quote.binance.perp.BTC-USDT-PERP", b'{"a":1}'),
    Outgoing("md.trade.binance.spot.\u9f8d-USDT", b"", {"Tape-Connection": "\u9f8d", "Tape-Number": "7"}),
    Outgoing("checkpoint.normaliser.03", b"\r\nPUB x 0\r\n", {"Nats-Expected-Last-Subject-Sequence": "12"}),
    Outgoing("md.quote.binance.perp.BTC-USDT-PERP", b"the last one is not among them"),
]


class Recording(Client):
    """A client that keeps what it would send."""

    def __init__(self) -> None:
        super().__init__()
        self._status = Client.CONNECTED
        self.sent = b""

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        self.sent += cmd

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        return None


async def test_the_bytes_of_a_batch_are_the_clients_own() -> None:
    client = Recording()
    client._max_payload = 1 << 20
    for number, message in enumerate(MESSAGES[:-1], 1):
        headers = {"Nats-Batch-Id": "B1", "Nats-Batch-Sequence": str(number), **(message.headers or {})}
        await client.publish(message.subject, message.body, headers=headers)
    # Between subject and lengths nats-py leaves room for a reply subject.
    assert encode_batch(MESSAGES, "B1") == client.sent.replace(b"  ", b" ")


@pytest.mark.parametrize(
    "raw",
    [
        b"Nats-Batch-Id: B1\r\nNats-Batch-Sequence: 7\r\n\r\n",
        "Tape-Url:wss://x/\u9f8d?a=b:c \r\nEmpty:\r\n\r\n".encode(),
        b"no colon\r\nBroken: \xff\r\n",
        b"",
    ],
)
def test_headers_are_read_as_the_client_reads_them(raw: bytes) -> None:
    assert _Client._parse_header_lines(raw) == Client._parse_header_lines(raw)


def test_a_header_cannot_smuggle_another_one() -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_batch([Outgoing("a", b"", {"x": "1\r\nNats-Batch-Commit: 1"}), MESSAGES[0]], "B1")
