"""Messages of an atomic batch as the bytes that a NATS client sends, all at once.

nats-py's `publish` takes 3 us a message, its dictionary of headers another: of a batch of 300 that is a millisecond for
what takes a seventh of it here. Source: https://docs.nats.io/reference/reference-protocols/nats-protocol (HPUB), read
2026-11; batch headers: ADR-50 of https://github.com/nats-io/nats-architecture-and-design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Message(Protocol):
    """What is published. A subject is made by `schemas.subjects`, which lets no white space into one."""

    @property
    def subject(self) -> str:
        """Where to."""

    @property
    def body(self) -> bytes:
        """Any bytes."""

    @property
    def headers(self) -> Mapping[str, str] | None:
        """Headers besides the batch's."""


def encode_batch(messages: Sequence[Message], batch_id: str) -> bytes:
    """Return the commands that publish all but the last message of a batch, whose answer must be waited for.

    Raises ValueError for a header with a line break in it.
    """
    parts: list[bytes] = []
    begin = f"NATS/1.0\r\nNats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: "
    for number, (subject, body, more) in enumerate(
        ((message.subject, message.body, message.headers) for message in messages[:-1]), 1
    ):
        headers = f"{begin}{number}\r\n{_lines(more) if more else ''}\r\n".encode()
        size = len(headers)
        parts += (f"HPUB {subject} {size} {size + len(body)}\r\n".encode(), headers, body, b"\r\n")
    return b"".join(parts)


def _lines(headers: Mapping[str, str]) -> str:
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError(f"a header must be one line: {dict(headers)!r}")
    return text
