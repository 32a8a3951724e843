"""The history of the emulator: its calls, their counts, and the queued faults.

A call is recorded from its first line on. Times are `time.monotonic()`, which on
Linux all processes of a machine share, so a test in another process can compare
them with its own clock. The history is bounded: it keeps the last calls, the
beginning of each prompt, and the number of requests of the latest prompts.
"""

import hashlib
import itertools
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Any, Literal

from .faults import WantedFault
from .markers import Markers

__all__ = ["MAX_PROMPT", "Call", "History", "Outcome"]

#: Calls that are kept.
MAX_CALLS = 1_000
#: Characters of a prompt that are kept, for `/control?prompt=`.
MAX_PROMPT = 2_000
#: Characters of a prompt that a report shows.
EXCERPT = 80
#: Prompts whose number of requests is kept, for the `times` of a marker.
MAX_SEEN = 10_000
#: Faults in the queue of `/control/faults`.
MAX_QUEUED = 10_000

Outcome = Literal["finished", "fault", "client_left", "closed"]


@dataclass(slots=True)
class Call:
    """One model call, filled in while it runs. `tokens` is the last usage sent to the client."""

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

    def answering(self) -> None:
        """Note the time of the first byte of the response."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()

    def report(self) -> dict[str, Any]:
        """The call as `/control` shows it."""
        names = ("id", "model", "method", "key_sha256_8", "fault", "tokens")
        times = ("started", "first_byte", "ended", "outcome")
        entry = {name: getattr(self, name) for name in names + times}
        return {**entry, "prompt_excerpt": self.prompt[:EXCERPT]}


class History:
    """The calls, their counts, and the faults that are queued for the next calls."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Forget the calls, the counts and the faults. Running calls go on, without a record."""
        self.requests = 0
        self.left = 0
        self._running: set[int] = set()
        self._calls: deque[Call] = deque(maxlen=MAX_CALLS)
        self._queued: deque[WantedFault] = deque()
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    @property
    def open(self) -> int:
        """How many calls are running."""
        return len(self._running)

    def begin(self, model: str, method: str, key: str) -> Call:
        """Record a new call."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        call = Call(next(self._ids), model[:100], method, digest, time.monotonic())
        self.requests += 1
        self._running.add(call.id)
        self._calls.append(call)
        return call

    def end(self, call: Call, outcome: Outcome) -> None:
        """Record the end of a call. Only the first end of a call counts."""
        if call.outcome is not None:
            return
        call.ended = time.monotonic()
        call.outcome = outcome
        if call.id in self._running:
            self._running.discard(call.id)
            self.left += outcome == "client_left"

    def queue(self, wanted: WantedFault) -> None:
        """Queue a fault for the next `times` calls, or for one. Raises `ValueError` when the
        queue is full."""
        if len(self._queued) >= MAX_QUEUED:
            raise ValueError(f"There are already {MAX_QUEUED} faults in the queue.")
        times = 1 if wanted.times is None else wanted.times
        if times:
            self._queued.append(replace(wanted, times=times))

    def fault(self, prompt: str, markers: Markers, model: str) -> WantedFault | None:
        """The fault for this call: from its own markers, else from the queue."""
        if markers.faults:
            apart = any(wanted.model for wanted in markers.faults)
            seen = self._count(f"{model} {prompt}" if apart else prompt)
            return markers.fault(seen, model) or self._next(model)
        return self._next(model)

    def report(self, prompt: str = "") -> dict[str, Any]:
        """The counts, and the calls whose prompt contains this text."""
        calls = [call.report() for call in self._calls if prompt in call.prompt]
        return {
            "requests": self.requests,
            "open": self.open,
            "left": self.left,
            "faults": [{"fault": it.fault.name, "times": it.times} for it in self._queued],
            "calls": calls,
        }

    def _next(self, model: str) -> WantedFault | None:
        if not self._queued or not self._queued[0].applies_to(model):
            return None
        wanted = self._queued.popleft()
        if wanted.times is not None and wanted.times > 1:
            self._queued.appendleft(replace(wanted, times=wanted.times - 1))
        return wanted

    def _count(self, prompt: str) -> int:
        """How many calls had exactly this prompt before."""
        name = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
        before = self._seen.pop(name, 0)
        self._seen[name] = before + 1
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return before
