"""Keys in use: a key that dies takes with it what it began.

A request is authenticated once, a stream or a socket then goes on for minutes. So each process
looks from time to time which keys are behind what runs in it, or could begin something without a
look-up, asks the database for all of them at once, and ends what belongs to the dead: generations
get their ending, readers are sent away.
Where the database does not answer, nothing is ended: not to know is not to have been told.
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

LOOKS = 3
"""In the time that a key may live on; so one that fails leaves another."""

AT_ONCE = 500
"""Keys in one question: engines bound the values of a statement."""

PARTING = 0.1
"""Seconds for readers to be told the ending before they are sent away."""


class RevocationWatcher:
    """What runs in this process under which key. `interval` is in seconds."""

    def __init__(self, key_cache: KeyCache, generations: Generations, interval: float) -> None:
        self._key_cache = key_cache
        self._generations = generations
        self._interval = interval
        self._readers: dict[str, set[Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def watching(self) -> bool:
        """Whether it has begun."""
        return self._task is not None

    def start(self) -> None:
        """Begin, on the loop that runs now."""
        self._task = background_tasks.start("keys in use", self._run)

    async def aclose(self) -> None:
        """End, and write down what is known of the keys' use."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        with suppress(StoreUnavailable):
            await self._key_cache.note()

    @contextmanager
    def reading(self, key: str | None, close_callback: Callable[[], None]) -> Iterator[None]:
        """While this lasts, `close_callback` is called should the key die."""
        if key is None:
            yield
            return
        readers = self._readers.setdefault(key, set())
        readers.add(close_callback)
        try:
            yield
        finally:
            readers.discard(close_callback)
            if not readers and self._readers.get(key) is readers:
                del self._readers[key]

    async def look(self) -> None:
        """End what belongs to dead keys. Raises `StoreUnavailable`."""
        in_use = self._generations.keys | self._readers.keys() | self._key_cache.trusted
        waiting = iter(in_use)
        living: set[str] = set()
        while some := list(islice(waiting, AT_ONCE)):
            living |= await rows.living(self._key_cache.database, some, time.time())
        await asyncio.gather(*map(self.end, in_use - living))

    async def end(self, key: str) -> None:
        """End what a dead key began and reads here. Whoever began something meanwhile is
        caught by the second pass."""
        self._key_cache.forget(key)
        await self._generations.dismiss(key)
        await asyncio.sleep(PARTING)
        for close_callback in tuple(self._readers.get(key, ())):
            close_callback()
        await self._generations.dismiss(key)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.look()
                await self._key_cache.note()
            except StoreUnavailable:
                pass  # it has been logged
