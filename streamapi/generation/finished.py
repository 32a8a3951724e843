"""Which finished log gives way when memory is full: the oldest of the owner who has most.

An owner who fills the memory loses its own logs, not those of others. Logs without a hold in this
process (a followed log of another process, for example) go first. Of one owner, the logs that an
idempotency key stands for go last. Pure: no await, no clock, no I/O.
"""

import heapq
from typing import Literal

import msgspec

By = Literal["logs", "bytes"]


class FinishedLogs:
    """The logs that have their ending."""

    def __init__(self) -> None:
        self._logs: dict[str, _Finished] = {}  # the oldest ending first
        self._shares: dict[str, _Share] = {}
        self._most: dict[By, _Largest] = {"logs": _Largest(), "bytes": _Largest()}

    def __contains__(self, log: str) -> bool:
        return log in self._logs

    def add(self, log: str, now: float, size: int, owner: str = "", promised: bool = False) -> None:
        """Add a log that has its ending. `owner` is empty when nobody holds it here; `promised`
        says that an idempotency key stands for it."""
        self._logs[log] = finished = _Finished(now, size, owner, promised)
        self._put(log, finished)

    def update(self, log: str, size: int, owner: str, promised: bool) -> None:
        """Another generation holds the log too, and it takes more memory than before."""
        finished = self._logs[log]
        self._take(log, finished)
        finished.size, finished.owner, finished.promised = size, owner, promised
        self._put(log, finished)

    def remove(self, log: str) -> None:
        """Remove a log that is dropped; it may not be here."""
        finished = self._logs.pop(log, None)
        if finished is not None:
            self._take(log, finished)

    def expired(self, before: float) -> str | None:
        """The oldest log, if it ended before this moment."""
        for log, finished in self._logs.items():
            return log if finished.ended <= before else None
        return None

    def gives_way(self, by: By) -> str | None:
        """The log to drop next when there are too many logs, or too many bytes."""
        share = self._shares.get("") or self._shares.get(self._most[by].owner or "")
        return None if share is None else next(iter(share.plain or share.promised))

    def _put(self, log: str, finished: "_Finished") -> None:
        share = self._shares.setdefault(finished.owner, _Share({}, {}))
        (share.promised if finished.promised else share.plain)[log] = None
        share.bytes += finished.size
        self._changed(finished.owner, share)

    def _take(self, log: str, finished: "_Finished") -> None:
        share = self._shares[finished.owner]
        del (share.promised if finished.promised else share.plain)[log]
        share.bytes -= finished.size
        self._changed(finished.owner, share)

    def _changed(self, owner: str, share: "_Share") -> None:
        logs = len(share.plain) + len(share.promised)
        if not logs:
            del self._shares[owner]
        self._most["logs"].set(owner, logs)
        self._most["bytes"].set(owner, share.bytes)


class _Finished(msgspec.Struct, gc=False):
    ended: float
    size: int
    owner: str
    promised: bool


class _Share(msgspec.Struct):
    """What one owner has; the oldest first."""

    plain: dict[str, None]
    promised: dict[str, None]
    bytes: int = 0


class _Largest:
    """Which owner has most; of equals, the one whose amount changed the longest ago.

    Entries of the heap can be out of date. They are skipped when they come up, and dropped when
    they outnumber the others."""

    def __init__(self) -> None:
        self._now: dict[str, tuple[int, int, str]] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._changes = 0

    def set(self, owner: str, amount: int) -> None:
        if amount == 0:
            self._now.pop(owner, None)
            return
        self._changes += 1
        entry = self._now[owner] = (-amount, self._changes, owner)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._now) + 100:
            self._heap = sorted(self._now.values())

    @property
    def owner(self) -> str | None:
        """The owner who has most, or None when there is no owner."""
        while self._heap:
            entry = self._heap[0]
            if self._now.get(entry[2]) == entry:
                return entry[2]
            heapq.heappop(self._heap)
        return None
