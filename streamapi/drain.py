"""How a process ends: it takes no new work, running answers get their bound, then their ending, and
each part is closed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from streamapi.generation import background_tasks
from streamapi.services import Services

logger = logging.getLogger(__name__)

LATE = 0.1
"""Seconds between two looks for readers that came after the others were asked to reconnect."""

ENDINGS = 1.0
"""Seconds for the endings of what still runs at the end of the drain to be written."""

CLOSE_SECONDS = 0.5
"""Seconds for the parts to close; a process that ends must not hang on that."""


async def close(parts: Services, within: float, delay: float = 0.0) -> None:
    """Serve for `delay` seconds more, so that a balancer notices; then refuse new work, let streams
    finish `within` seconds, end the rest, and close their readers. Where another process can serve
    them, readers are asked to reconnect at once, and their answers are written to the end here.

    Each part is closed within `CLOSE_SECONDS`, whatever the others raise."""
    if parts.closed:
        return
    parts.draining = True
    await asyncio.sleep(delay)
    told: set[Callable[[], None]] = set()
    sending: asyncio.Task[None] | None = None
    if parts.settings.redis_url:
        parts.leaving = True
        parts.generations.outlast_readers()
        sending = background_tasks.start(
            "requests to reconnect", partial(_ask_to_reconnect, parts, told)
        )
    await _let_go("the generations", parts.generations.close(within), within + ENDINGS)
    if sending is not None:
        sending.cancel()
        _call_each(parts.streams, told)
    _call_each(parts.sockets, told)
    await asyncio.gather(
        _let_go("the providers", parts.providers.aclose()),
        *([_let_go("the records", parts.key_auth.aclose())] if parts.key_auth else []),
        _let_go("the logs", parts.logs.aclose()),
        _let_go("the limits", parts.limits.aclose()),
        _let_go("the syntax checks", parts.syntax.aclose()),
    )
    parts.closed = True


async def _ask_to_reconnect(parts: Services, told: set[Callable[[], None]]) -> None:
    while True:  # some come late: a stream that was about to open, a socket that resumes
        _call_each(parts.streams | parts.sockets, told)
        await asyncio.sleep(LATE)


def _call_each(readers: set[Callable[[], None]], told: set[Callable[[], None]]) -> None:
    for close_callback in readers - told:
        told.add(close_callback)
        try:
            close_callback()
        except Exception:
            logger.exception("a reader could not be closed")


async def _let_go(
    what: str, closing: Coroutine[None, None, None], seconds: float = CLOSE_SECONDS
) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing
    except Exception as error:
        # Leases end by themselves, and the next request notes a key's use.
        logger.warning("%s could not be closed: %r", what, error)
