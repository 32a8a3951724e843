"""Tasks that run beside the requests for as long as the process lives.

An unexpected exception would end such a task for good, and nobody would notice. So each task runs
under `start`, which logs the exception and runs the task again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""Seconds before a task runs again; they double with each failure in a row. The longest wait is
shorter than a lease: a process that renews late is taken for dead."""


def start(name: str, run: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
    """Run `run` until the task is cancelled. When it ends or fails, run it again after a wait."""
    return asyncio.create_task(_run(name, run), name=name)


async def _run(name: str, run: Callable[[], Awaitable[None]]) -> None:
    now, wait = asyncio.get_running_loop().time, FIRST_WAIT
    while True:
        began = now()
        try:
            await run()
            logger.error("the task %r ended; it runs again", name)
        except Exception:
            logger.exception("the task %r failed; it runs again", name)
        if now() - began > LONGEST_WAIT:
            wait = FIRST_WAIT
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
