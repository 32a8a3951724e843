"""Ends what runs under a key once the key is revoked or expires.

A request is authenticated once, but a stream or a socket then runs for minutes. So each process
checks at an interval all keys that run something in it, and all that could start something without
a look-up. One query asks the database which of them are active. For the others the generations
get an ending, and the readers are closed. Where the database does not answer, nothing is ended: an
unreachable database does not mean that a key was revoked.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from streamapi.access.key_cache import KeyCache
from streamapi.errors import StoreUnavailable
from streamapi.generation import background_tasks
from streamapi.generation.generations import Generations
from streamapi.records import keys as rows

CHECKS_PER_TTL = 3
"""Checks within `STREAMAPI_KEY_TTL`: a revocation is noticed in time even if one check fails."""

KEYS_PER_QUERY = 500
"""Keys in one query: databases bound the values of a statement."""

CLOSE_DELAY = 0.1
"""Seconds in which readers can receive the ending before they are closed."""


class RevocationWatcher:
    """The keys in use in this process. It checks them every `interval` seconds."""

    def __init__(self, key_cache: KeyCache, generations: Generations, interval: float) -> None:
        self._key_cache = key_cache
        self._generations = generations
        self._interval = interval
        self._readers: dict[str, set[Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def watching(self) -> bool:
        """Whether `start` was called."""
        return self._task is not None

    def start(self) -> None:
        """Start to check, on the running loop."""
        self._task = background_tasks.start("revocation watcher", self._run)

    async def aclose(self) -> None:
        """Stop to check, and write when keys were last used."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with suppress(StoreUnavailable):
            await self._key_cache.write_last_used()

    @contextmanager
    def reading(self, key_id: str | None, close_callback: Callable[[], None]) -> Iterator[None]:
        """Within this context, call `close_callback` when the key is revoked or expires. A caller
        without a key has None."""
        if key_id is None:
            yield
            return
        readers = self._readers.setdefault(key_id, set())
        readers.add(close_callback)
        try:
            yield
        finally:
            readers.discard(close_callback)
            if not readers and self._readers.get(key_id) is readers:
                del self._readers[key_id]

    async def check(self) -> None:
        """End what runs under keys that are no longer active. Raises `StoreUnavailable`."""
        in_use = self._generations.keys | self._readers.keys() | self._key_cache.trusted
        unchecked = iter(in_use)
        active: set[str] = set()
        while some := list(islice(unchecked, KEYS_PER_QUERY)):
            active |= await rows.active(self._key_cache.database, some, time.time())
        await asyncio.gather(*map(self.end, in_use - active))

    async def end(self, key_id: str) -> None:
        """End the generations and close the readers of a key in this process. The second pass
        ends what was started while the readers received their ending."""
        self._key_cache.forget(key_id)
        await self._generations.dismiss(key_id)
        await asyncio.sleep(CLOSE_DELAY)
        for close_callback in tuple(self._readers.get(key_id, ())):
            close_callback()
        await self._generations.dismiss(key_id)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.check()
                await self._key_cache.write_last_used()
            except StoreUnavailable:
                pass  # `Database` has logged it
