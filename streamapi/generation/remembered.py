"""The generations that the memory of a process remembers, and which of them it may forget.

A generation that is forgotten loses its claims. A repeat of its `Idempotency-Key` would then be
paid for twice. So a generation with a running promise stays, and a new one is refused instead.
Generations without a promise give way: first those whose log is gone, the oldest first.

One owner may have as many promises as there is still room for: alone, half of the bound. So no
owner takes the room of all others.
"""

from collections.abc import Callable

import msgspec

from streamapi.errors import Overloaded
from streamapi.generation.generation import Generation


class Held(msgspec.Struct):
    """A generation, the names of the claims that point at it, whether its log has its ending, and
    when its log went."""

    generation: Generation
    names: tuple[str, ...] = ()
    ended: bool = False
    gone: float | None = None


class Remembered:
    """At most `most` generations, each for `ttl` seconds after its log is gone. `promises` says
    whether this is the only place that keeps the promise of an idempotency key; `forgotten` is
    called for each that is forgotten. Promises are taken to last equally long."""

    def __init__(
        self,
        most: int,
        ttl: float,
        clock: Callable[[], float],
        promises: bool,
        forgotten: Callable[[Held], None],
    ) -> None:
        self._most = most
        self._ttl = ttl
        self._clock = clock
        self._promises = promises
        self._forgotten = forgotten
        self._held: dict[str, Held] = {}
        self._promised: dict[str, float] = {}  # until when; the first to end comes first
        self._of_owner: dict[str, int] = {}  # how many promises
        self._ended: dict[str, None] = {}  # without a promise, and the log has its ending
        self._logless: dict[str, None] = {}  # without a promise, and the log is gone

    def get(self, generation: str) -> Held | None:
        """The generation of this id, if it is remembered."""
        return self._held.get(generation)

    def make_room(self) -> None:
        """Forget a generation when there are as many as may be. Raises `Overloaded`."""
        self.sweep()
        while len(self._held) >= self._most:
            if not self._logless and not self._ended:
                raise Overloaded(
                    "This server remembers as many generations as it can. Try again in 2 seconds."
                )
            self.forget(next(iter(self._logless or self._ended)))

    def add(self, generation: Generation, ended: bool) -> None:
        """Remember a generation, for which there is room. Raises `Overloaded` when its owner has
        too many promises."""
        if self._promises and generation.promise > 0:
            self._promise(generation)
        held = self._held[generation.id] = Held(generation, ended=ended)
        self._place(generation.id, held)

    def moved(self, held: Held, generation: Generation, ended: bool) -> None:
        """The generation holds another log now."""
        held.generation, held.ended, held.gone = generation, ended, None
        self._place(generation.id, held)

    def ended(self, generation: str) -> None:
        """The log of the generation has its ending."""
        held = self._held.get(generation)
        if held is not None:
            held.ended = True
            self._place(generation, held)

    def log_gone(self, generation: str, log: str) -> None:
        """The log is gone. What only a reader of the log needs goes with it."""
        held = self._held.get(generation)
        if held is not None and held.generation.log == log:
            if held.generation.metadata:
                held.generation = msgspec.structs.replace(held.generation, metadata={})
            held.gone = self._clock()
            self._place(generation, held)

    def unclaimed(self, generation: str, name: str) -> None:
        """The name points at another generation now; without a name there is no promise."""
        held = self._held.get(generation)
        if held is not None:
            held.names = tuple(it for it in held.names if it != name)
            if not held.names:
                self._release(generation, held)
                self._place(generation, held)

    def forget(self, generation: str) -> None:
        """Forget the generation."""
        held = self._held.pop(generation, None)
        if held is not None:
            self._release(generation, held)
            self._ended.pop(generation, None)
            self._logless.pop(generation, None)
            self._forgotten(held)

    def sweep(self) -> None:
        """End the promises and forget the generations whose time is over."""
        now = self._clock()
        while self._promised:
            generation, until = next(iter(self._promised.items()))
            if now < until:
                break
            held = self._held[generation]
            self._release(generation, held)
            self._place(generation, held)
        while self._logless:
            generation = next(iter(self._logless))
            gone = self._held[generation].gone
            if gone is None or now - gone < self._ttl:
                break
            self.forget(generation)

    def _promise(self, generation: Generation) -> None:
        mine = self._of_owner.get(generation.owner, 0)
        if mine >= self._most - len(self._promised):
            raise Overloaded(
                "This server remembers as many idempotency keys of yours as it can. "
                "Send the request without a key, or try again later.",
                retry_after=self._until_a_promise_ends(),
            )
        self._promised[generation.id] = self._clock() + generation.promise
        self._of_owner[generation.owner] = mine + 1

    def _release(self, generation: str, held: Held) -> None:
        if self._promised.pop(generation, None) is not None:
            owner = held.generation.owner
            self._of_owner[owner] -= 1
            if not self._of_owner[owner]:
                del self._of_owner[owner]

    def _place(self, generation: str, held: Held) -> None:
        """List the generation among those that may be forgotten, in the order of its state."""
        self._ended.pop(generation, None)
        self._logless.pop(generation, None)
        if generation in self._promised:
            return
        if held.gone is not None:
            self._logless[generation] = None
        elif held.ended:
            self._ended[generation] = None

    def _until_a_promise_ends(self) -> float:
        until = next(iter(self._promised.values()), 0.0)
        return max(1.0, until - self._clock())
