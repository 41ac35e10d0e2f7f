"""The error tree, and what happens next.

PipelineError
|-- BadFrame        a frame that will never parse          -> dead letter, and on
|   `-- UnknownSymbol   the frame names no known instrument -> dead letter, and on
|-- BadRecord       a record or row that is refused        -> dead letter, and on
|-- Busy            a server is away or overloaded         -> the same again, with backoff
|-- Overtaken       another owner has moved on             -> give up ownership, read where it stands
`-- Broken          settings, schema or credentials        -> exit non-zero, leave the stream alone
    `-- SettingsError   a setting is wrong                  -> exit 2 before anything starts
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Then(Enum):
    """What the caller does after an error."""

    DEAD_LETTER = "dead letter"
    RETRY = "retry"
    STEP_BACK = "step back"
    STOP = "stop"


class PipelineError(Exception):
    """Root of tapeline's own errors. `fields` go into the log line beside the event's name."""

    then: ClassVar[Then] = Then.STOP

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.fields = fields


class BadFrame(PipelineError):
    """A frame that cannot be turned into records, now or ever."""

    then = Then.DEAD_LETTER


class UnknownSymbol(BadFrame):
    """A frame about an instrument that no instrument list has named."""


class BadRecord(PipelineError):
    """A record or row that its table refuses."""

    then = Then.DEAD_LETTER


class Busy(PipelineError):
    """A server is away, slow or overloaded: the same request may succeed later."""

    then = Then.RETRY


class Overtaken(PipelineError):
    """Another process owns what we were about to write; nothing was written."""

    then = Then.STEP_BACK


class Broken(PipelineError):
    """Going on cannot help: schema mismatch, credentials, a directory that cannot be written."""

    then = Then.STOP


class SettingsError(Broken):
    """A setting is wrong; the message names it, its value and what is allowed."""
