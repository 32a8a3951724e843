"""Every log line is one JSON object on stdout (structlog), whoever wrote it.

Each line has `timestamp`, `level`, `logger`, `pid` and `message`; some have fields of their own,
such as `request_id`. The access log replaces Hypercorn's, which prints what a client sent raw, so
that a client can forge lines. An access line never has a query string, a body or a header that
the client sent.
"""

import atexit
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import structlog
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.typing import ResponseSummary, WWWScope

from streamapi.telemetry.line_writer import LineWriter

NOISY = ("langchain_google_genai", "google_genai", "httpx", "asyncio", "alembic", "aiosqlite")
"""Loggers that write only errors: some of them would show keys and prompts."""

MAX_PATH = 200
"""Characters of a path that a log line shows."""

_STDOUT = sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY)

LINES = LineWriter(_STDOUT)
"""The lines of this process. Nothing else is written to stdout while it serves."""


def configure(level: str) -> None:
    """Send all logs of the process through structlog. At the end of the process the lines that
    still wait are written."""
    atexit.register(LINES.close)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_pid,
    ]
    handler = _LineHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)


class _LineHandler(logging.Handler):
    """Gives formatted lines to the writer."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            LINES.write(self.format(record).encode() + b"\n")
        except Exception:
            self.handleError(record)


class AccessLog(Logger):
    """Hypercorn's logger, with our own access line. The line passes neither through `logging` nor
    through structlog: they would cost more CPU time than the rest of it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.error_logger = logging.getLogger("hypercorn")
        self._logger = logging.getLogger("access")
        self._pid = os.getpid()

    async def access(
        self, request: WWWScope, response: ResponseSummary | None, request_time: float
    ) -> None:
        if not self._logger.isEnabledFor(logging.INFO):
            return
        extra = cast(dict[str, Any], request)
        client = request.get("client")
        # api/headers.py sets this: Hypercorn forgets the response when the client leaves before
        # the last byte, and such a line needs its status most.
        status, headers = extra.get("streamapi.response", (None, {}))
        line = {
            "logger": "access",
            "pid": self._pid,
            "method": request.get("method", "WEBSOCKET"),
            "path": _path(request["path"]),
            "status": status or (response["status"] if response else None),
            "code": extra.get("streamapi.code"),  # set by api/problems.py and api/sse.py
            "client_left": response is None,
            "milliseconds": round(request_time * 1000, 1),
            "address": extra.get("streamapi.address", client[0] if client else None),
            "request_id": headers.get("X-Request-Id"),
            "generation": headers.get("Generation-Id"),
            "level": "info",
            "timestamp": datetime.now(UTC),
            "message": "request",
        }
        LINES.write(msgspec.json.encode(line) + b"\n")


def _add_pid(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    line["pid"] = os.getpid()
    return line


def _path(path: str) -> str:
    """The path as a line shows it: shortened, and without the key that a client may put there."""
    if "sk-" in path:
        path = re.sub(r"sk-[\w-]{16,}", "sk-...", path)
    return path[:MAX_PATH]
