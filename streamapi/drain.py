"""How a process ends: it refuses new work, gives running answers time to end, and closes its
parts.

Without Redis the readers of this process can be served by no other one, so their streams go on
until the time is over. With Redis another process serves the same logs: the readers are asked to
reconnect at once, and this process only writes the answers to their end.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from streamapi.generation import background_tasks
from streamapi.services import Services

logger = logging.getLogger(__name__)

LATE_READERS_EVERY = 0.1
"""Seconds between two looks for readers that came after the others were asked to reconnect."""

ENDING_SECONDS = 1.0
"""Seconds to write the endings of the answers that still run when the time of the drain is over."""

CLOSE_SECONDS = 0.5
"""Seconds for one part to close. The process then ends without it."""


async def close(parts: Services, within: float, delay: float = 0.0) -> None:
    """End the work of this process, and close its parts. A call after that does nothing.

    For `delay` seconds it still serves while `/readyz` says that it is draining, so that a load
    balancer notices. Then new work is refused, and running answers have `within` seconds to end.
    Each part has `CLOSE_SECONDS` to close, whatever the other parts raise."""
    if parts.closed:
        return
    parts.draining = True
    await asyncio.sleep(delay)
    asked: set[Callable[[], None]] = set()
    if parts.settings.redis_url:
        async with _asking_to_reconnect(parts, asked):
            await _end_generations(parts, within)
        _ask_to_reconnect(parts.streams, asked)
    else:
        await _end_generations(parts, within)
    _ask_to_reconnect(parts.sockets, asked)
    await _close_parts(parts)
    parts.closed = True


@asynccontextmanager
async def _asking_to_reconnect(
    parts: Services, asked: set[Callable[[], None]]
) -> AsyncIterator[None]:
    """Within this context, readers are asked to reconnect, also those that come late: a stream
    that was about to open, or a socket that resumes."""
    parts.leaving = True
    parts.generations.outlast_readers()

    async def ask_readers() -> None:
        while True:
            _ask_to_reconnect(parts.streams | parts.sockets, asked)
            await asyncio.sleep(LATE_READERS_EVERY)

    task = background_tasks.start("requests to reconnect", ask_readers)
    try:
        yield
    finally:
        task.cancel()


def _ask_to_reconnect(readers: set[Callable[[], None]], asked: set[Callable[[], None]]) -> None:
    """Call the close callbacks of readers, each once: those in `asked` were called before."""
    for close_callback in readers - asked:
        asked.add(close_callback)
        try:
            close_callback()
        except Exception:
            logger.exception("a reader could not be closed; the others are")


async def _end_generations(parts: Services, within: float) -> None:
    seconds = within + ENDING_SECONDS
    late = f"answers still ran after {seconds:g} s"
    await _bounded("the generations", parts.generations.close(within), seconds, late)


async def _close_parts(parts: Services) -> None:
    await asyncio.gather(
        _bounded("the providers", parts.providers.aclose()),
        *([_bounded("the database", parts.key_auth.aclose())] if parts.key_auth else []),
        _bounded("the logs", parts.logs.aclose()),
        _bounded("the limits", parts.limits.aclose()),
        _bounded("the syntax checks", parts.syntax.aclose()),
    )


async def _bounded(
    part: str,
    closing: Coroutine[None, None, None],
    seconds: float = CLOSE_SECONDS,
    late: str = "",
) -> None:
    """Wait for a part to close. A failure is logged only, as `late` when the time is over: what
    the part has in Redis expires, and the next request writes the last use of its key again."""
    try:
        async with asyncio.timeout(seconds):
            await closing
    except Exception as error:
        if late and isinstance(error, TimeoutError):
            logger.warning(late)
        else:
            logger.warning("%s could not be closed: %r", part, error)
