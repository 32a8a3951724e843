"""The generations that one socket follows. A task for each reads its log and sends its events."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from streamapi.api.socket.messages import Ref, event_frame, ping_frame
from streamapi.api.socket.writer import SocketWriter
from streamapi.errors import TooManyStreams
from streamapi.generation.generation import Generation
from streamapi.services import Services

FRAMES_PER_TURN = 16
"""Frames of a batch that are sent in one turn of the event loop. A frame costs ten times as much as
an event of Server-Sent Events."""


class Followers:
    """The tasks of one socket, by the id of their generation. `on_end` is called when one ends."""

    def __init__(self, parts: Services, writer: SocketWriter, on_end: Callable[[], None]) -> None:
        self._parts = parts
        self._writer = writer
        self._on_end = on_end
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def check_room(self) -> None:
        """Raise `TooManyStreams` unless the socket may follow one more generation."""
        most = self._parts.settings.max_generations_per_socket
        if len(self._tasks) >= most:
            raise TooManyStreams(
                f"A socket can follow {most} generations at once. Wait until one ends, or open "
                "another socket."
            )

    def follow(self, generation: Generation, after: int, ref: Ref | None, replays: int = 0) -> None:
        """Send the events behind number `after`, to the ending. Events up to number `replays` are
        a replay (see `Generations.read`). A task that follows the same generation is replaced.

        Raises `TooManyStreams`."""
        earlier = self._tasks.get(generation.id)
        if earlier is None:
            self.check_room()
        task = asyncio.create_task(self._send_events(generation, after, ref, replays))
        self._tasks[generation.id] = task
        task.add_done_callback(lambda done: self._ended(generation.id, done))
        if earlier is not None:
            # After the new task's first step, so that the generation always has a reader.
            asyncio.get_running_loop().call_soon(earlier.cancel)

    async def close(self) -> None:
        """Follow nothing more, and wait until all tasks have ended."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _ended(self, generation_id: str, task: "asyncio.Task[None]") -> None:
        self._on_end()
        if self._tasks.get(generation_id) is task:
            del self._tasks[generation_id]

    async def _send_events(
        self, generation: Generation, after: int, ref: Ref | None, replays: int
    ) -> None:
        writer, generations = self._writer, self._parts.generations
        try:
            silence = self._parts.settings.ping_interval
            batches = generations.read(generation, after, silence, replays=replays)
            async with aclosing(batches):
                async for batch in batches:
                    if not batch:
                        await writer.send(ping_frame(generation))
                    for place, entry in enumerate(batch, 1):
                        await writer.send(event_frame(generation, entry, writer.request_id, ref))
                        if place % FRAMES_PER_TURN == 0:
                            await generations.pacer.wait()
        except Exception as error:
            await writer.send_error(ref, error)
