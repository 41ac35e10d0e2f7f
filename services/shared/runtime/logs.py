"""Log lines: a constant event name with its data in keys; JSON for machines, coloured text when a person watches."""

from __future__ import annotations

import logging
import sys

import structlog

from services.shared.runtime.settings import Settings

KEYS = frozenset(
    (
        "attempt bytes channel code connection count elapsed_s error event_type exchange frames kind market missing "
        "name partition path pid port reason rows service stage status stream_seq subject symbol table url value"
    ).split(" ")
)
"""The keys that log lines use; a new one is added here first, so that searches can rely on them. A test holds this."""


def configure(settings: Settings, service: str) -> structlog.stdlib.BoundLogger:
    """Set up logging for this process and return its logger. Lines go to standard error."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    level = getattr(logging, settings.log_level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    chain: list[structlog.typing.Processor]
    if console:
        chain = [*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)]
    else:
        chain = [*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Line and line end in one write: several processes may share the file that this goes to.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    return get_logger(service)


def get_logger(service: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines name the service."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger().bind(service=service)
    return logger
