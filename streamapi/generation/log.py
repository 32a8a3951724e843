"""A log: an append-only list of events with one writer, any number of readers, and exactly one
ending. These are the verbs of a backend, and its laws.

1. Positions are 1..n without a gap. An append succeeds only at tail + 1, and only while there is
   no ending; anything else is a `Conflict`. One ending stands apart: a log that is ended for its
   writer, who is gone, is ended at `LOST_AT`.
2. There is exactly one ending, and it is last.
3. `read(after=k)` yields k+1, k+2, ... in order, waits for what has not come yet, and ends by
   itself after the ending. Past and live are one verb, so there is no seam in which an event
   could be lost or repeated. A cursor beyond the tail of a log that will not grow any more gets
   `failed producer_lost` at `LOST_AT`: never silence, never a clean end. Behind `LOST_AT` nothing
   comes.
4. A claimed name points at a generation whose log has its `start`. A claim can be replaced by
   compare-and-set: whose log ended in `failed` or `cancelled` must not be an error cache.
5. Everything ends: logs, claims and holds have a time to live, logs have bounds of bytes and
   events, and the backend has a bound of logs.

Every backend passes `tests/generation/test_log_contract.py`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal, Protocol

import msgspec

from streamapi.generation.event import Event
from streamapi.generation.generation import Generation

Stopped = Literal["caller", "disconnect", "revoked", "shutdown"]

LOST_AT = 1_000_000_000
"""The position of the ending that a writer did not write itself: `failed producer_lost`.

A writer shows events before others can know of them, so nobody else can tell which positions its
readers have seen. Whoever ends the log in its place therefore needs a position that no writer
uses. All writers stay far below this one (`STREAMAPI_LOG_MAX_EVENTS` has an upper bound), and it
fits into 32 bits, for clients that keep the number in an `int`."""


class Conflict(Exception):
    """An append that breaks law 1: there is another writer, or the log has its ending."""


class LogGone(Exception):
    """The log has expired, or never was."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event at its position `n`. `data` is its JSON, encoded once for all readers; it is empty
    for events that every reader writes for itself (`start` and the endings)."""

    n: int
    event: Event
    data: bytes


class Tail(msgspec.Struct, frozen=True):
    """How far a log has come."""

    n: int
    ended: bool


Eager = Callable[[Sequence[Entry]], bool]
"""Takes entries in the task of the writer, while the reader waits for more: so the reader's task
need not wake up. False leaves them to the reader, which wakes up and takes all that has come.
Endings are always left to the reader."""


class Logs(Protocol):
    """The verbs of a log backend. Times are in seconds."""

    async def append(self, log: str, position: int, events: Sequence[Event]) -> None:
        """Add events at `position` (1 opens the log).

        Raises `Conflict`; `Overloaded` when no further log fits; `OutputTooLarge` when content
        would pass the bounds of a log (an ending always fits)."""

    def read(
        self,
        log: str,
        after: int = 0,
        silence: float | None = None,
        hold: str | None = None,
        eager: Eager | None = None,
    ) -> AsyncGenerator[Sequence[Entry], None]:
        """All entries behind `after` that `eager` does not take, in batches of what has come since
        the last one. A batch is empty when `silence` seconds passed without an event. For the
        generation `hold`, the log ends as `cancelled` where that generation was released. Raises
        `LogGone`, also to a reader that waits when the log is dropped without an ending."""

    async def tail(self, log: str, hold: str | None = None) -> Tail:
        """How far the log has come, for the generation `hold`. Raises `LogGone`."""

    def weigh(self, log: str, after: int) -> int | None:
        """The bytes of the log behind `after`, roughly, as far as it is in this process; None
        where it is not."""

    async def claim(
        self, name: str, generation: str, ttl: float, replaces: str | None = None
    ) -> str:
        """Point `name` at a held generation for `ttl` seconds, unless it points at another one
        that is not `replaces`. Returns the generation that it points at now. The log of that one
        may be gone; the name still stands for it."""

    async def claimed(self, name: str) -> str | None:
        """The generation that `name` points at, without claiming it."""

    async def hold(self, generation: Generation) -> None:
        """Hold the generation's log, and remember the generation for a while after the log. A
        generation that holds another log moves, with its claims; a log that loses its last hold
        by that is dropped. Raises `Conflict` for a log that is being stopped, `LogGone`, and
        `Overloaded` when no further generation can be remembered."""

    async def find(self, generation: str) -> Generation | None:
        """The generation of this id, or None when it never was or has been forgotten."""

    def arrive(self, generation: Generation) -> None:
        """Someone reads the generation here. Where logs are shared, a generation is not released
        for `disconnect` while another process reads it."""

    async def release(self, generation: Generation, why: Stopped) -> None:
        """End the generation's hold. A log without a hold is stopped; otherwise it goes on for the
        other generations."""

    async def forget(self, generation: Generation) -> None:
        """Drop the generation, and its log when no other generation holds it."""

    async def stop(self, log: str, why: Stopped) -> None:
        """Ask the writer to end the log now."""

    @property
    def available(self) -> bool:
        """Whether the shared store can be reached. Local logs go on without it."""

    async def start(self) -> None:
        """Begin, on the event loop that runs now."""

    async def aclose(self) -> None:
        """Release what this process has outside of it, and end."""

    def on_stop(self, log: str, stop: Callable[[Stopped], None]) -> None:
        """The writer of `log` is in this process; `stop` makes it end the log."""

    def on_lost(self, report: Callable[[Generation], None]) -> None:
        """Call `report` when this process has ended a log whose writer is gone, with the
        generation that began the log, or another holder when that one was forgotten."""
