"""One child process that checks syntax, at the other end of a socket pair.

`subprocess` starts it, not the event loop: with uvloop a child inherits every inheritable
descriptor, such as the socket that the server listens on.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from streamapi.tasks.syntax import Syntax, child

MEMORY = 400_000_000
"""Bytes of address space of a process. With every grammar and the worst parse known it takes
160 MB. Beyond the limit tree-sitter aborts, which costs one check."""

LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Environment variables without which an interpreter may not find its own library."""


class Process(asyncio.Protocol):
    """A child process. `ended` gets its exit code, negative for a signal."""

    def __init__(self, running: "subprocess.Popen[bytes]") -> None:
        self.alive = True
        self.pid = running.pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._running = running
        self._transport: Any = None
        self._received = b""
        self._reply: asyncio.Future[bytes] | None = None
        self._idle_end: asyncio.TimerHandle | None = None
        self._reaping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls) -> "Process":
        """Start a process. Raises `OSError`."""
        ours, running = _start()
        loop = asyncio.get_running_loop()
        try:
            _, process = await loop.create_unix_connection(lambda: cls(running), sock=ours)
        except BaseException:
            ours.close()
            running.kill()
            running.wait()
            raise
        return process

    async def check(self, grammar: str, source: bytes) -> Syntax | None:
        """The verdict on the code, or None when the process gave up. Raises `EOFError` when the
        process ends during the check."""
        if not self.alive:
            raise EOFError
        self._reply = asyncio.get_running_loop().create_future()
        head = child.REQUEST.pack(len(grammar), len(source))
        self._transport.write(head + grammar.encode() + source)
        try:
            verdict, line, column = child.REPLY.unpack(await self._reply)
        finally:
            self._reply = None
        if verdict == child.GAVE_UP:
            return None
        return Syntax(True) if verdict == child.VALID else Syntax(False, line, column)

    def end_when_idle(self, seconds: float, before_end: "Callable[[Process], None]") -> None:
        """End the process after so many seconds, unless `cancel_idle_end` is called before."""

        def end() -> None:
            before_end(self)
            self.kill()

        self._idle_end = asyncio.get_running_loop().call_later(seconds, end)

    def cancel_idle_end(self) -> None:
        """Keep the process: it is used again."""
        if self._idle_end is not None:
            self._idle_end.cancel()

    def kill(self) -> None:
        """End the process now; `ended` is set when it has ended. A crashed process stays so."""
        self._running.kill()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < child.REPLY.size:
            return
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(self._received)
        self._received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(EOFError())
        self._reaping = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        self.kill()  # it has closed its end of the socket, but a broken process may still run
        self.ended.set_result(await asyncio.to_thread(self._running.wait))


def _start() -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    """Our end of the socket pair, and the process. The process gets none of our environment, which
    holds keys, and of our descriptors only stderr. It has a session of its own, so a terminal's
    SIGINT does not reach it. It finds packages in our `sys.path`, because `-S` ignores `.pth`
    files."""
    paths = [os.path.abspath(path) for path in sys.path if path]
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            running = subprocess.Popen(  # noqa: S603  # no part of the command comes from a caller
                [sys.executable, "-I", "-S", child.__file__, str(MEMORY), *paths],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={name: os.environ[name] for name in LOADER if name in os.environ},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    ours.setblocking(False)
    return ours, running
