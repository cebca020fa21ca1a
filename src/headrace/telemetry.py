"""One way to log: structlog, human-readable on a terminal and JSON lines everywhere else, always on stderr.

Standard output belongs to results. Nothing here may log a password or row data.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

Level = Literal["debug", "info", "warning", "error"]


def configure(level: Level = "info") -> None:
    """Set up logging for this process. Calling it again replaces the earlier set-up."""
    renderer: structlog.typing.Processor = (
        # The plain traceback: the usual one shows local variables, which is row data.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of one module; pass `__name__`."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return bound
