"""One child process that checks syntax, at the other end of a socket pair.

It is started by `subprocess`, not by the event loop: uvloop lets a child inherit what is
inheritable, such as the socket that the server listens on.
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
"""Bytes of address space of a process: with every grammar and the worst parse that was found it
takes 160 MB. Beyond it tree-sitter aborts, which costs the one check."""

LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables without which an interpreter may not find its own library."""


class Process(asyncio.Protocol):
    """A child process. `ended` is its exit code, once it has ended; below 0 it is a signal's."""

    def __init__(self, running: "subprocess.Popen[bytes]") -> None:
        self.lives = True
        self.pid = running.pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._running = running
        self._transport: Any = None
        self._received = b""
        self._reply: asyncio.Future[bytes] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._reaping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls) -> "Process":
        """Start one. Raises `OSError`."""
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

    async def ask(self, grammar: str, source: bytes) -> Syntax | None:
        """Its verdict; None when it gave up. Raises `EOFError` when it ends over it."""
        if not self.lives:
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

    def not_needed(self, seconds: float, leave: "Callable[[Process], None]") -> None:
        """End by itself after so many seconds, unless it is needed before."""

        def end() -> None:
            leave(self)
            self.kill()

        self._idle = asyncio.get_running_loop().call_later(seconds, end)

    def needed(self) -> None:
        """Stay alive."""
        if self._idle is not None:
            self._idle.cancel()

    def kill(self) -> None:
        """End now; `ended` says when it has. It changes nothing for one that has crashed."""
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
        self.lives = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(EOFError())
        self._reaping = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        self.kill()  # it has closed its end, so it is about to end; unless it is out of its mind
        self.ended.set_result(await asyncio.to_thread(self._running.wait))


def _start() -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    """A process, and our end of its connection. It has no variable of our environment, which holds
    keys, none of our descriptors but stderr, and a session of its own: a terminal's SIGINT is not
    for it. Its Python finds packages where ours does, whatever variables and `.pth` files say."""
    paths = [os.path.abspath(path) for path in sys.path if path]
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            running = subprocess.Popen(  # noqa: S603  # all of it is ours
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
