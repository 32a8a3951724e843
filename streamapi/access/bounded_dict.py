"""A dict that keeps a bounded number of entries: the oldest makes room for the newest."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def put(entries: dict[K, V], key: K, value: V, most: int) -> None:
    """Set an entry, as the newest one. Beyond `most` entries, drop the oldest."""
    entries.pop(key, None)  # an entry that is there would keep its old place
    entries[key] = value
    if len(entries) > most:
        del entries[next(iter(entries))]
