"""The log of a generation that begins one, until its producer starts."""

from contextlib import suppress

from streamapi.errors import IdempotencyKeyReused, ProducerLost, StoreUnavailable, StreamapiError
from streamapi.generation.event import Failed, Start
from streamapi.generation.generation import Generation
from streamapi.generation.log import Conflict, Logs


class PendingLog:
    """Opens the log once and holds it once, as early as a step of the start needs it.

    A claim must point at a generation that is held. A request without a claim asks the model
    first, and holds the log while the model thinks: a shared store takes a while to answer."""

    def __init__(self, logs: Logs, generation: Generation) -> None:
        self._logs = logs
        self._generation = generation
        self._held = False
        self.opened = False

    async def open(self) -> None:
        """Append the start. Raises `Overloaded`."""
        if not self.opened:
            start = Start(self._generation.task, self._generation.created)
            await self._logs.append(self._generation.log, 1, [start])
            self.opened = True

    async def hold(self) -> None:
        """Open the log, and hold it."""
        await self.open()
        if not self._held:
            await self._logs.hold(self._generation)
            self._held = True

    async def give_up(self, error: BaseException) -> None:
        """End a log that no producer will write. Those who joined it meanwhile learn why; so do
        those who repeat its idempotency key, for which it stays."""
        lost = ProducerLost("The request that began this answer was broken off.")
        ending = Failed((error if isinstance(error, StreamapiError) else lost).problem())
        with suppress(StoreUnavailable, Conflict):
            await self._logs.append(self._generation.log, 2, [ending])
        if self._generation.promise == 0 or isinstance(error, IdempotencyKeyReused):
            with suppress(StoreUnavailable):
                await self._logs.forget(self._generation)

    async def forget(self) -> None:
        """Drop the log, which another one replaces."""
        if self.opened:
            await self._logs.forget(self._generation)
