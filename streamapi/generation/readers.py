"""Who reads which generation in this process, and what follows when its last reader leaves.

`on_disconnect` decides: `cancel` releases the generation at once, `grace` releases it unless a
reader comes back in time, `continue` lets its log run on.
"""

import asyncio

from streamapi.generation.generation import Generation
from streamapi.generation.log import Logs


class Readers:
    """Counts the readers of each generation. `grace` is how many seconds a generation without a
    reader waits for one."""

    def __init__(self, logs: Logs, grace: float) -> None:
        self._logs = logs
        self._grace = grace
        self._readers: dict[str, int] = {}
        self._graces: dict[str, asyncio.TimerHandle] = {}
        self._releases: set[asyncio.Future[None]] = set()
        self._outlasting = False

    @property
    def idle(self) -> bool:
        """Whether nobody reads, and no generation waits for a reader or is being released."""
        return not (self._readers or self._graces or self._releases)

    def arrive(self, generation: Generation) -> None:
        """A reader has come."""
        readers = self._readers[generation.id] = self._readers.get(generation.id, 0) + 1
        if readers == 1:
            self._logs.arrive(generation)
        if generation.id in self._graces:
            self._graces.pop(generation.id).cancel()

    def leave(self, generation: Generation, ended: bool) -> None:
        """A reader has gone: after the ending (`ended`), or before it."""
        left = self._readers.pop(generation.id) - 1
        if left:
            self._readers[generation.id] = left
        elif ended or self._outlasting:
            return
        elif generation.on_disconnect == "cancel":
            self._release(generation)
        elif generation.on_disconnect == "grace":
            self._graces[generation.id] = asyncio.get_running_loop().call_later(
                self._grace, self._release, generation
            )

    def outlast(self) -> None:
        """From now on, a log goes on without readers: they are being sent to another process."""
        self._outlasting = True
        while self._graces:
            self._graces.popitem()[1].cancel()

    def _release(self, generation: Generation) -> None:
        self._graces.pop(generation.id, None)
        task = asyncio.ensure_future(self._logs.release(generation, "disconnect"))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
