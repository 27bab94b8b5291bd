"""Structured logs on stderr: one JSON object a line, or text for people.

    log.info("document installed", project="shop/web", version=17)

becomes `{"event": "document installed", "project": "shop/web", "version": 17, "process": "agent", "pid": 1720,
"level": "info", "time": "…"}`. Keys, contexts and bodies are never logged; a key is named by its selector.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys

import structlog

from server.settings import LogFormat, LogLevel

_process = "supervisor"


def call_process(name: str) -> None:
    """What the log calls this process from now on."""
    global _process
    _process = name


def _add_process(
    logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.setdefault("process", _process)
    event.setdefault("pid", os.getpid())  # the supervisor's lines about another process have that one's
    return event


def configure_logs(form: LogFormat, level: LogLevel) -> None:
    # A traceback has no values of variables in it, as rich would print them: some are keys.
    plain = structlog.dev.plain_traceback
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_process,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *([structlog.processors.format_exc_info] if form == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=_Lines,
    )


class _Lines:
    """Each event a line on stderr, written at once. A log that cannot be written is lost; the server is not."""

    def __init__(self, *_: object) -> None:
        self._file = sys.stderr

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(line + "\n")
            self._file.flush()

    debug = info = warning = error = critical = exception = msg
