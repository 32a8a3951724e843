"""Every log line is one JSON object on stdout (structlog), whoever wrote it.

The access log is ours: Hypercorn's prints what a client sent raw, so lines can be forged. It
names the method, the path, the status, the problem's code where it was refused or failed, and how
long it took; never a query string, a body or a header of the client's.
"""

import atexit
import logging
import os
import re
import sys
from typing import Any, BinaryIO, cast

import msgspec
import structlog
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.typing import ResponseSummary, WWWScope

from streamapi.telemetry.line_writer import LineWriter

NOISY = ("langchain_google_genai", "google_genai", "httpx", "asyncio", "alembic", "aiosqlite")
"""Loggers of which only errors are heard; some show what they were given."""

MAX_PATH = 200
"""Characters of a path that a log line shows."""

_STDOUT = sys.__stdout__.fileno() if sys.__stdout__ else os.open(os.devnull, os.O_WRONLY)

LINES = LineWriter(_STDOUT)
"""The lines of this process. Nothing else is written to stdout while it serves."""


def configure(level: str) -> None:
    """Send all logs of the process through structlog, and write what waits when it ends."""
    atexit.register(LINES.close)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _Queued()
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


class _Queued(logging.Handler):
    """Hands lines to the writer."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            LINES.write(self.format(record).encode() + b"\n")
        except Exception:
            self.handleError(record)


class AccessLog(Logger):
    """Hypercorn's logger, with an access line of our own, written without the detour through
    the standard library."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.error_logger = logging.getLogger("hypercorn")
        self._line = structlog.wrap_logger(
            structlog.BytesLogger(cast(BinaryIO, LINES)),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(serializer=_json),
            ],
            wrapper_class=structlog.BoundLogger,
        ).bind(logger="access")

    async def access(
        self, request: WWWScope, response: ResponseSummary | None, request_time: float
    ) -> None:
        if not logging.getLogger("access").isEnabledFor(logging.INFO):
            return
        client = request.get("client")
        # Set by api/headers.py: Hypercorn forgets the response when the client left before the
        # last byte, which is the one that one looks for.
        status, headers = cast(Any, request).get("streamapi.response", (None, {}))
        self._line.info(
            "request",
            method=request.get("method", "WEBSOCKET"),
            path=_path(request["path"]),
            status=status or (response["status"] if response else None),
            code=cast(Any, request).get("streamapi.code"),  # set by api/problems.py and api/sse.py
            client_left=response is None,
            milliseconds=round(request_time * 1000, 1),
            address=cast(Any, request).get("streamapi.address", client[0] if client else None),
            request_id=headers.get("X-Request-Id"),
            generation=headers.get("Generation-Id"),
        )


def _path(path: str) -> str:
    """What a line shows of a path. Someone will put a key into one."""
    if "sk-" in path:
        path = re.sub(r"sk-[\w-]{16,}", "sk-...", path)
    return path[:MAX_PATH]


def _json(line: dict[str, Any], **_: Any) -> bytes:
    return msgspec.json.encode(line)
