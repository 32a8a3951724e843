"""Several processes on one address: the parent binds and watches, its children serve.

Each child is today's single process on the parent's listening socket; which of them gets a
connection is the kernel's choice. A child that ends is replaced. The parent holds one end of a
pipe: should it be killed, the other end tells its children, and they drain.

Hypercorn has workers of its own, but the first that ends takes the others with it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress

from streamapi import server
from streamapi.settings import Settings
from streamapi.telemetry import logs

logger = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that wait for a child to take them, also while there is none."""

DEATHS, WITHIN = 5, 10.0
"""A child that cannot live must not spin: with so many deaths in so many seconds it is over."""

BACKOFF = 0.25
"""Seconds before a second death's replacement; the third waits twice as long, and so on."""

AFTER_DRAIN = 2.0
"""Seconds that a child has to end once its drain is over, before it is killed."""


def run(settings: Settings) -> int:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; returns the exit code."""
    server.check(settings)
    logs.configure(settings.log_level)
    listener = server.listen(settings)
    listener.listen(BACKLOG)
    return asyncio.run(_run(settings, listener))


async def _run(settings: Settings, listener: socket.socket) -> int:
    async with server.emulating(settings) as emulator:
        return await Supervisor(settings, listener, emulator).run()


class Supervisor:
    """The parent: one slot for each process that serves. It hears signals from the first moment,
    and says that it serves as soon as a child does."""

    def __init__(self, settings: Settings, listener: socket.socket, emulator: str) -> None:
        self._settings = settings
        self._bound = settings.drain_delay + settings.drain_timeout + AFTER_DRAIN
        self._listener = listener
        # Only the parent has the end that is written to, so only its death closes the other.
        self._lifeline, self._held = os.pipe()
        self._ready, self._reports = os.pipe()
        self._fds = (listener.fileno(), self._lifeline, self._reports)
        child = server.Child(*self._fds, emulator)
        self._command = (
            *(sys.executable, "-m", "streamapi", "serve", "--child", child.told()),
            # A child reads the environment itself; what the command line said must reach it too.
            *("--bind", settings.bind, "--workers", str(settings.workers)),
        )
        self._emulated = bool(emulator)
        self._announced = False
        self._children: set[asyncio.subprocess.Process] = set()
        self._ending = asyncio.Event()
        self._interrupted = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_reader(self._ready, self._is_ready)

    async def run(self) -> int:
        """Keep every slot filled until a signal, then drain; returns the exit code."""
        slots = [asyncio.create_task(self._keep()) for _ in range(self._settings.workers)]
        await self._ending.wait()
        asyncio.get_running_loop().remove_reader(self._ready)
        self._listener.close()  # else the port would stay open behind the last child
        self._tell(signal.SIGTERM)
        _, late = await asyncio.wait(slots, timeout=self._bound)
        if late:
            logger.warning("%d processes did not end in time, and are killed", len(late))
            self._tell(signal.SIGKILL)
        codes = await asyncio.gather(*slots)
        for end in (self._held, self._lifeline, self._ready, self._reports):
            os.close(end)
        return server.INTERRUPTED if self._interrupted else max(codes)

    def _is_ready(self) -> None:
        os.read(self._ready, 1024)  # a byte of each child
        if not self._announced:
            self._announced = True
            server.banner(self._settings, self._listener, emulated=self._emulated)

    def _interrupt(self) -> None:
        """The first SIGINT drains; who sends another does not want to wait."""
        if self._ending.is_set():
            self._interrupted = True
            self._tell(signal.SIGKILL)
        self._ending.set()

    def _tell(self, number: signal.Signals) -> None:
        for child in self._children:
            with suppress(ProcessLookupError):
                # Not `send_signal`: it looks whether the child has ended, and so takes its exit
                # code away from asyncio on 3.11, which then reports 255.
                os.kill(child.pid, number)

    async def _keep(self) -> int:
        """Have one child after another in a slot. Returns 0 when the last one drained."""
        deaths: deque[float] = deque(maxlen=DEATHS)
        while True:
            code = await self._live()
            if self._ending.is_set():
                # Who was told before it served anything had nothing to drain.
                return 0 if code in (0, -signal.SIGTERM) else 1
            now = time.monotonic()
            deaths.append(now)
            recent = sum(now - death < WITHIN for death in deaths)
            if code == server.REFUSED or recent == DEATHS:
                self._give_up(code)
                return server.REFUSED if code == server.REFUSED else 1
            logger.warning("a process ended with %d; another takes its place", code)
            with suppress(TimeoutError):
                async with asyncio.timeout(BACKOFF * (recent - 1)):
                    await self._ending.wait()
            if self._ending.is_set():
                return 0

    def _give_up(self, code: int) -> None:
        if code != server.REFUSED:  # else the child has said why
            sentence = f"a process ended {DEATHS} times within {WITHIN:g} s; its log says why."
            print(f"streamapi: {sentence}", file=sys.stderr, flush=True)
        self._ending.set()

    async def _live(self) -> int:
        """One child, from its start to its end; its exit code."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=self._fds,
                start_new_session=True,  # a terminal's SIGINT is for the parent alone
            )
        except OSError as error:
            logger.error("a process cannot be started: %s", error.strerror)
            return 1
        self._children.add(child)
        if self._ending.is_set():  # the signal came while it was being started
            self._tell(signal.SIGKILL if self._interrupted else signal.SIGTERM)
        try:
            return await child.wait()
        finally:
            self._children.discard(child)
