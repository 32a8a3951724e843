"""The child processes that check syntax: started when needed, bounded, replaced when they crash.

A caller waits for a free process, and can stop waiting at any moment. A check that has begun goes
on in a task of the pool even if its caller has left: otherwise its reply would be taken for that
of the next check. No method raises: a failure costs the verdict, and is logged and counted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from signal import Signals

from streamapi.tasks.syntax import GRAMMARS, Syntax, language_name
from streamapi.tasks.syntax.process import Process

logger = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
"""Bytes of code; longer code has no verdict. No grammar parses more in `child.PARSE_SECONDS`."""

CHECK_SECONDS = 2.0
"""Seconds for a check, with the wait for a free process and its start. The kernel ends a process
earlier (`child.CPU_SECONDS`), unless the machine is too busy to run it."""

IDLE_SECONDS = 60.0
"""Seconds after which an unused process ends, and frees its memory."""

MOST_STARTS, WITHIN = 10, 10.0
"""Starts within so many seconds. So code that crashes every process costs one start a second on
average (40 ms of CPU). Beyond it there is no verdict while no process runs."""


class SyntaxPool:
    """Checks syntax in up to `most` processes; with 0 it never has a verdict. It calls `checked`
    with the language and the outcome of each check: `valid`, `invalid`, `gave_up` or `crashed`."""

    def __init__(self, most: int, checked: Callable[[str, str], None] = lambda *_: None) -> None:
        self._open = most > 0
        self._checked = checked
        self._free = asyncio.Semaphore(max(1, most))
        self._idle: list[Process] = []
        self._running: set[Process] = set()
        self._checks: set[asyncio.Task[Syntax | None]] = set()
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)

    async def check(self, code: str, language: str | None) -> Syntax | None:
        """The verdict, or None without a grammar or without a verdict in time."""
        name = language_name(language or "")
        if name not in GRAMMARS or not self._open:
            return None
        source = code.encode(errors="replace")
        deadline = asyncio.get_running_loop().time() + CHECK_SECONDS
        try:
            if len(source) > MAX_BYTES:
                raise TimeoutError
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except TimeoutError:
            self._checked(name, "gave_up")
            return None
        check = asyncio.create_task(self._check(name, source, deadline))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
        return await asyncio.shield(check)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [process.pid for process in self._running]

    async def aclose(self) -> None:
        """End every process. Later checks have no verdict."""
        self._open = False
        self._idle.clear()
        for process in self._running:
            process.cancel_idle_end()
            process.kill()
        ends = [process.ended for process in self._running]
        await asyncio.gather(*ends, *self._checks, return_exceptions=True)

    async def _check(self, name: str, source: bytes, deadline: float) -> Syntax | None:
        outcome, verdict, process = "gave_up", None, None
        try:
            async with asyncio.timeout_at(deadline):
                process = await self._acquire()
                if process is not None:
                    verdict = await process.check(f"{name} {GRAMMARS[name]}", source)
                    self._release(process)
        except Exception as error:
            outcome = "crashed"
            await self._discard(process, name, error)
        finally:
            self._free.release()
        if verdict is not None:
            outcome = "valid" if verdict.valid else "invalid"
        self._checked(name, outcome)
        return verdict

    async def _acquire(self) -> Process | None:
        """A process that runs, or None when too many were started lately."""
        while self._idle:
            process = self._idle.pop()  # the last one used, so that the others can end
            process.cancel_idle_end()
            if process.alive:
                return process
        now = time.monotonic()
        if len(self._starts) == MOST_STARTS and now - self._starts[0] < WITHIN:
            return None
        self._starts.append(now)
        process = await Process.start()
        self._running.add(process)
        process.ended.add_done_callback(lambda _: self._running.discard(process))
        if not self._open:
            process.kill()
        return process

    def _release(self, process: Process) -> None:
        if self._open:
            self._idle.append(process)
            process.end_when_idle(IDLE_SECONDS, self._idle.remove)

    async def _discard(self, process: Process | None, name: str, error: Exception) -> None:
        """Log how a check lost its process. The line must not show the caller's code."""
        if process is None:
            reason = f"it could not be started: {error!r}"
        else:
            process.kill()
            code = await process.ended
            reason = "it took too long" if isinstance(error, TimeoutError) else _exit_reason(code)
        if self._open:
            logger.warning(
                "a process that checked the syntax of %s is lost: %s; one answer has no verdict",
                name,
                reason,
            )


def _exit_reason(code: int) -> str:
    return Signals(-code).name if code < 0 else f"exit code {code}"
