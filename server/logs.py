"""Structured logs on stderr: one JSON object a line, or text for people.

    log.info("document installed", project="shop/web", version=17)

becomes `{"event": "document installed", "project": "shop/web", "version": 17, "level": "info", "time": "…"}`.
Keys, contexts and bodies are never logged; a key is named by its selector.
"""

from __future__ import annotations

import logging
import sys

import structlog

from server.settings import LogFormat, LogLevel


def configure_logs(form: LogFormat, level: LogLevel) -> None:
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *([structlog.processors.format_exc_info] if form == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
