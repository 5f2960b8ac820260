"""Structured logs: one event per line with an `action`; ids, never contents or secrets (I22)."""

import logging
import sys
from typing import Any

import structlog


def configure_logging(level: str = "info", as_json: bool = False) -> None:
    """Sends structured logs to stderr, for people or as JSON lines."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def get_logger(service: str) -> Any:
    """A logger that names its service in every line."""
    return structlog.get_logger().bind(service=service)
