"""Several processes on one address: the parent binds it, and its children serve.

Each child runs `server.run_child` on the parent's listening socket; the kernel chooses which child
gets a connection. A child that ends is replaced. The parent holds the writing end of a pipe. When
the parent is killed, that end closes, so its children notice and drain.

Hypercorn has workers of its own, but when one of them ends, it ends the others too.
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

from streamapi import server, startup
from streamapi.settings import Settings
from streamapi.telemetry import logs

logger = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that wait for a child to accept them, also while no child runs."""

MOST_DEATHS, WITHIN = 5, 10.0
"""Deaths of a child within so many seconds after which the server gives up: a child that cannot
start would be replaced for ever."""

BACKOFF = 0.25
"""Seconds before the replacement after a second death; the third waits twice as long, and so on."""

EXIT_SECONDS = 2.0
"""Seconds for a child to exit after its drain. Then it is killed."""


def run(settings: Settings) -> int:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT. Returns the exit code.
    Raises `UnsafeSettings`."""
    startup.check(settings)
    logs.configure(settings.log_level)
    listener = startup.listen(settings)
    listener.listen(BACKLOG)
    return asyncio.run(_run(settings, listener))


async def _run(settings: Settings, listener: socket.socket) -> int:
    async with startup.emulator_if_needed(settings) as emulator:
        return await Supervisor(settings, listener, emulator).run()


class Supervisor:
    """The parent, with one slot for each child. It handles signals from the moment it is made, and
    prints the banner when the first child is ready."""

    def __init__(self, settings: Settings, listener: socket.socket, emulator: str) -> None:
        self._settings = settings
        self._end_seconds = settings.drain_delay + settings.drain_timeout + EXIT_SECONDS
        self._listener = listener
        # Only the parent has the writing end of the lifeline, so only its end closes the pipe.
        self._lifeline, self._lifeline_writer = os.pipe()
        self._ready, self._ready_writer = os.pipe()
        self._fds = (listener.fileno(), self._lifeline, self._ready_writer)
        child = server.Child(*self._fds, emulator)
        self._command = (
            *(sys.executable, "-m", "streamapi", "serve", "--child", child.to_argument()),
            # A child reads the environment itself, but not the options of the parent's command.
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
        loop.add_reader(self._ready, self._child_is_ready)

    async def run(self) -> int:
        """Keep every slot filled until a signal, then drain. Returns the exit code."""
        slots = [asyncio.create_task(self._fill_slot()) for _ in range(self._settings.workers)]
        await self._ending.wait()
        asyncio.get_running_loop().remove_reader(self._ready)
        self._listener.close()  # else the port would stay open after the last child
        self._signal_children(signal.SIGTERM)
        _, late = await asyncio.wait(slots, timeout=self._end_seconds)
        if late:
            logger.warning(
                "%d processes did not end within %g s and are killed: their answers end as "
                "`producer_lost`",
                len(late),
                self._end_seconds,
            )
            self._signal_children(signal.SIGKILL)
        codes = await asyncio.gather(*slots)
        for end in (self._lifeline_writer, self._lifeline, self._ready, self._ready_writer):
            os.close(end)
        return startup.EXIT_INTERRUPTED if self._interrupted else max(codes)

    def _child_is_ready(self) -> None:
        os.read(self._ready, 1024)  # each child has written one byte
        if not self._announced:
            self._announced = True
            startup.print_banner(self._settings, self._listener, emulated=self._emulated)

    def _interrupt(self) -> None:
        """Drain at the first SIGINT. Kill the children at the second."""
        if self._ending.is_set():
            self._interrupted = True
            self._signal_children(signal.SIGKILL)
        self._ending.set()

    def _signal_children(self, number: signal.Signals) -> None:
        for child in self._children:
            with suppress(ProcessLookupError):
                # Not `send_signal`: on Python 3.11 it polls the child, and so takes the exit code
                # away from asyncio, which then reports 255.
                os.kill(child.pid, number)

    async def _fill_slot(self) -> int:
        """Run one child after another. Returns 0 if the last one drained, else an exit code."""
        deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        while True:
            code = await self._run_child()
            if self._ending.is_set():
                # A child that SIGTERM ended had not started to serve, so it had nothing to drain.
                return 0 if code in (0, -signal.SIGTERM) else 1
            now = time.monotonic()
            deaths.append(now)
            recent = sum(now - death < WITHIN for death in deaths)
            if code == startup.EXIT_UNSAFE or recent == MOST_DEATHS:
                self._give_up(code)
                return startup.EXIT_UNSAFE if code == startup.EXIT_UNSAFE else 1
            logger.warning("a process ended with exit code %d; another takes its place", code)
            with suppress(TimeoutError):
                async with asyncio.timeout(BACKOFF * (recent - 1)):
                    await self._ending.wait()
            if self._ending.is_set():
                return 0

    def _give_up(self, code: int) -> None:
        if code != startup.EXIT_UNSAFE:  # such a child has printed the reason
            print(
                f"streamapi: a process ended {MOST_DEATHS} times within {WITHIN:g} s, so the "
                "server stops; its last log lines say why.",
                file=sys.stderr,
                flush=True,
            )
        self._ending.set()

    async def _run_child(self) -> int:
        """Run one child to its end. Returns its exit code, negative for a signal."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=self._fds,
                start_new_session=True,  # a terminal's SIGINT must reach the parent alone
            )
        except OSError as error:
            logger.error("a process could not be started: %s", error.strerror)
            return 1
        self._children.add(child)
        if self._ending.is_set():  # the signal came while the child was being started
            self._signal_children(signal.SIGKILL if self._interrupted else signal.SIGTERM)
        try:
            return await child.wait()
        finally:
            self._children.discard(child)
