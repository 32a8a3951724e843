"""The ledger: who called, what was played, when the client left.

Every model call is an entry from its first line to its end. Times are
`time.monotonic()`, which one machine's processes share on Linux, so a test in
another process can subtract its own clock from them. What is kept is bounded:
the last calls, the first part of each prompt, the most recently seen prompts.
"""

import hashlib
import itertools
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Any, Literal

from .faults import Order
from .markers import Markers

__all__ = ["MAX_PROMPT", "Call", "Ledger", "Outcome"]

MAX_CALLS = 1_000
MAX_PROMPT = 2_000
EXCERPT = 80
#: Prompts whose number of requests is remembered, for a marker's `times`.
MAX_SEEN = 10_000
#: Orders in the queue of the control endpoint.
MAX_ORDERS = 10_000

Outcome = Literal["finished", "fault", "client_left", "closed"]


@dataclass(slots=True)
class Call:
    """One model call, filled in as it goes. `tokens` is the usage that was told last."""

    id: int
    model: str
    method: str
    key_sha256_8: str
    started: float
    prompt: str = ""
    fault: str | None = None
    first_byte: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    tokens: int = 0

    def begun(self) -> None:
        """The first byte of the answer goes out."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()

    def told(self) -> dict[str, Any]:
        """The call as the control endpoint tells it."""
        names = ("id", "model", "method", "key_sha256_8", "fault", "tokens")
        times = ("started", "first_byte", "ended", "outcome")
        entry = {name: getattr(self, name) for name in names + times}
        return {**entry, "prompt_excerpt": self.prompt[:EXCERPT]}


class Ledger:
    """Calls, their counts, and the faults that wait for the next of them."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Forget calls, counts and faults. Calls that run go on, unrecorded."""
        self.requests = 0
        self.left = 0
        self._running: set[int] = set()
        self._calls: deque[Call] = deque(maxlen=MAX_CALLS)
        self._orders: deque[Order] = deque()
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    @property
    def open(self) -> int:
        """How many calls are running."""
        return len(self._running)

    def begin(self, model: str, method: str, key: str) -> Call:
        """A new call."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        call = Call(next(self._ids), model[:100], method, digest, time.monotonic())
        self.requests += 1
        self._running.add(call.id)
        self._calls.append(call)
        return call

    def end(self, call: Call, outcome: Outcome) -> None:
        """The call is over; only its first end counts."""
        if call.outcome is not None:
            return
        call.ended = time.monotonic()
        call.outcome = outcome
        if call.id in self._running:
            self._running.discard(call.id)
            self.left += outcome == "client_left"

    def queue(self, wanted: Order) -> None:
        """A fault for the next `times` calls (1 unless it says otherwise)."""
        if len(self._orders) >= MAX_ORDERS:
            raise ValueError(f"There are already {MAX_ORDERS} faults in the queue.")
        times = 1 if wanted.times is None else wanted.times
        if times:
            self._orders.append(replace(wanted, times=times))

    def fault(self, prompt: str, markers: Markers, model: str) -> Order | None:
        """The fault for this call: of its own markers first, then of the queue."""
        if markers.faults:
            apart = any(wanted.model for wanted in markers.faults)
            seen = self._count(f"{model} {prompt}" if apart else prompt)
            return markers.fault(seen, model) or self._next(model)
        return self._next(model)

    def told(self, prompt: str = "") -> dict[str, Any]:
        """Counts, and the calls whose prompt contains a text."""
        calls = [call.told() for call in self._calls if prompt in call.prompt]
        return {
            "requests": self.requests,
            "open": self.open,
            "left": self.left,
            "faults": [{"fault": o.fault.name, "times": o.times} for o in self._orders],
            "calls": calls,
        }

    def _next(self, model: str) -> Order | None:
        if not self._orders or not self._orders[0].strikes(model):
            return None
        wanted = self._orders.popleft()
        if wanted.times is not None and wanted.times > 1:
            self._orders.appendleft(replace(wanted, times=wanted.times - 1))
        return wanted

    def _count(self, prompt: str) -> int:
        """How often this very prompt was seen before."""
        name = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
        before = self._seen.pop(name, 0)
        self._seen[name] = before + 1
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return before
