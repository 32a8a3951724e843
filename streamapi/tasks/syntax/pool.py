"""The child processes that check syntax: started when needed, bounded, replaced when they crash.

A caller waits for a free process, and can stop waiting at any moment. A check that has begun goes
on in a task of the pool, whoever still waits for it: its reply would else be taken for the next
one's. Nothing raises here: what goes wrong costs the verdict, a log line and a count.
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
"""Of a piece of code; a longer one has no verdict. No grammar parses more in `PARSE_SECONDS`."""

CHECK_SECONDS = 2.0
"""For a check, with the wait for a free process and its start. The kernel ends a process before
that (`child.CPU_SECONDS`), unless the machine is too busy to run it."""

IDLE_SECONDS = 60.0
"""A process that nobody needs for so long ends, and gives its memory back."""

STARTS, WITHIN = 10, 10.0
"""Starts in so many seconds: code that crashes each process costs at most a start a second on
average (40 ms of CPU). Beyond it there is no verdict while no process is left."""


class SyntaxPool:
    """Checks syntax in up to `most` processes; with 0 it never has a verdict. `checked` is told
    the language and the outcome of each check: `valid`, `invalid`, `gave_up` or `crashed`."""

    def __init__(self, most: int, checked: Callable[[str, str], None] = lambda *_: None) -> None:
        self._open = most > 0
        self._checked = checked
        self._free = asyncio.Semaphore(max(1, most))
        self._idle: list[Process] = []
        self._living: set[Process] = set()
        self._checks: set[asyncio.Task[Syntax | None]] = set()
        self._starts: deque[float] = deque(maxlen=STARTS)

    async def check(self, code: str, language: str | None) -> Syntax | None:
        """The verdict; None without a grammar, or when there is none within the bounds."""
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
        """The processes that live now."""
        return [process.pid for process in self._living]

    async def aclose(self) -> None:
        """End every process; there are no verdicts any more."""
        self._open = False
        self._idle.clear()
        for process in self._living:
            process.needed()
            process.kill()
        ends = [process.ended for process in self._living]
        await asyncio.gather(*ends, *self._checks, return_exceptions=True)

    async def _check(self, name: str, source: bytes, deadline: float) -> Syntax | None:
        outcome, verdict, process = "gave_up", None, None
        try:
            async with asyncio.timeout_at(deadline):
                process = await self._take()
                if process is not None:
                    verdict = await process.ask(f"{name} {GRAMMARS[name]}", source)
                    self._keep(process)
        except Exception as error:
            outcome = "crashed"
            await self._bury(process, name, error)
        finally:
            self._free.release()
        if verdict is not None:
            outcome = "valid" if verdict.valid else "invalid"
        self._checked(name, outcome)
        return verdict

    async def _take(self) -> Process | None:
        """A process that lives; None when too many were started of late."""
        while self._idle:
            process = self._idle.pop()  # the last one, so that the others can end
            process.needed()
            if process.lives:
                return process
        now = time.monotonic()
        if len(self._starts) == STARTS and now - self._starts[0] < WITHIN:
            return None
        self._starts.append(now)
        process = await Process.start()
        self._living.add(process)
        process.ended.add_done_callback(lambda _: self._living.discard(process))
        if not self._open:
            process.kill()
        return process

    def _keep(self, process: Process) -> None:
        if self._open:
            self._idle.append(process)
            process.not_needed(IDLE_SECONDS, self._idle.remove)

    async def _bury(self, process: Process | None, name: str, error: Exception) -> None:
        """Say how a check lost its process. No line shows the code: it is the caller's."""
        if process is None:
            how = f"it could not be started: {error!r}"
        else:
            process.kill()
            code = await process.ended
            how = "it took too long" if isinstance(error, TimeoutError) else _ending(code)
        if self._open:
            logger.warning("a process that checked the syntax of %s is lost: %s", name, how)


def _ending(code: int) -> str:
    return Signals(-code).name if code < 0 else f"exit code {code}"
