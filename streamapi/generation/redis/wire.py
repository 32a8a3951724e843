"""How entries and generations travel through Redis, and how long its keys live.

An entry travels as its type and the JSON that every reader gets, so readers on all processes get
the same bytes.
"""

from collections.abc import Sequence
from typing import get_args

import msgspec

from streamapi.errors import ProducerLost, StoreUnavailable
from streamapi.generation.event import EVENTS, Failed, encode
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Entry, Stopped
from streamapi.generation.log_bounds import LogBounds
from streamapi.generation.stored_log import SHARED

FORMAT = 1
"""The newest version of what processes share that this program knows (see `scripts.py`).
Raise it with each new type of event, and with each change of what an entry, a mark, a generation
or an inbox message means."""

_pack = msgspec.msgpack.Encoder()
_entries = msgspec.msgpack.Decoder(list[tuple[str, bytes]])
_generation = msgspec.msgpack.Decoder(Generation)
_events = {kind.type: msgspec.json.Decoder(kind) for kind in EVENTS}
_shared = {kind.type for kind in SHARED}


class Lives(msgspec.Struct, frozen=True):
    """For how many milliseconds keys live. A running log's keys are renewed while its writer
    lives; what a dead writer leaves is there for as long as if it had ended."""

    running: int
    ended: int
    generation: int
    lease: int

    @classmethod
    def of(cls, bounds: LogBounds, lease: float) -> "Lives":
        """The lives that go with the bounds of a log."""
        running = max(bounds.ttl, 60.0, 4 * lease)
        generation = running + bounds.expired_ttl
        return cls(*(max(1, round(s * 1000)) for s in (running, bounds.ttl, generation, lease)))

    @property
    def ended_generation(self) -> int:
        """Of a generation whose log has its ending."""
        return self.generation - self.running + self.ended


def pack(entries: Sequence[Entry]) -> bytes:
    """Entries that follow each other, for one entry of a stream."""
    return _pack.encode(
        [(entry.event.type, entry.data or encode(entry.event)) for entry in entries]
    )


def unpack(n: int, data: bytes) -> list[Entry]:
    """The entries, the first of them at `n`. Raises `StoreUnavailable` for what a newer version
    wrote."""
    try:
        return [
            Entry(at, _events[kind].decode(json), json if kind in _shared else b"")
            for at, (kind, json) in enumerate(_entries.decode(data), n)
        ]
    except (KeyError, msgspec.DecodeError) as error:
        raise newer() from error


def loss(log: str, lives: Lives) -> tuple[str, bytes, str, int, int, int]:
    """The arguments of the script that ends a log whose writer is gone."""
    ending = lost()
    packed = pack([ending])
    return log, packed, ending.event.type, ending.n, lives.ended, lives.ended_generation


def pack_generation(generation: Generation) -> bytes:
    """A generation, for its key."""
    return _pack.encode(generation)


def unpack_generation(data: bytes) -> Generation:
    """The generation of a key. Raises `StoreUnavailable` for what a newer version wrote."""
    try:
        return _generation.decode(data)
    except msgspec.DecodeError as error:
        raise newer() from error


def newer() -> StoreUnavailable:
    """The error for what was written by a version that this program does not know."""
    return StoreUnavailable(
        "Another version of the server has this answer. Try again in 2 seconds."
    )


def why_of(data: bytes) -> Stopped:
    """Why another process stops a log; `caller` for a reason that a newer version has."""
    for why in get_args(Stopped):
        if data == why.encode():
            return why  # type: ignore[no-any-return]
    return "caller"


def lost() -> Entry:
    """The ending of a log whose writer is gone."""
    gone = ProducerLost("The process that wrote this answer is gone.")
    return Entry(LOST_AT, Failed(gone.problem()), b"")
