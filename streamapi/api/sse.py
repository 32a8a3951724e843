"""A log as Server-Sent Events (WHATWG HTML, section 9.2).

Each event has its type, its data on one line, and the id `{generation}.{n}`, from which any
reconnection resumes. All events that have come since the last write go out in one write.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from quart import Response, request

from streamapi.api.answer import GenerationFailed, event_data, headers, own_problem
from streamapi.api.patches import http1
from streamapi.errors import InvalidHeader, InvalidRequest
from streamapi.generation.event import CONTENT, ENDINGS, EVENTS, Failed
from streamapi.generation.generation import Generation
from streamapi.generation.log import LOST_AT, Entry
from streamapi.generation.timers import SendTimer
from streamapi.services import Services

RETRY = b"retry: 2000\n\n"
COMMENT = b": ping\n\n"
PING = b"event: ping\ndata: {}\n\n"
"""What breaks a silence: a comment, or an event without id where comments cannot be seen."""

COME_AGAIN = (0.2, 1.5)
"""Seconds after which those who are refused for a while reconnect, beside what they must wait."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
_HEADS = {kind.type: f"event: {kind.type}\nid: ".encode() for kind in EVENTS}
_CURSOR = re.compile(r"(?:(gen_[A-Za-z0-9_-]{1,64})\.)?(0|[1-9][0-9]{0,9})")


def frames(generation: Generation, entries: Sequence[Entry], request_id: str) -> bytes:
    """The entries as the bytes of a stream."""
    own = generation.id.encode() + b"."
    pieces: list[bytes] = []
    for entry in entries:
        data = entry.data or event_data(generation, entry, request_id)
        pieces += (
            _HEADS[entry.event.type],
            own,
            b"%d\ndata: " % entry.n,
            data,
            b"\n\n",
        )
    return b"".join(pieces)


async def stream(
    parts: Services,
    generation: Generation,
    request_id: str,
    *,
    after: int = 0,
    ping: bytes = COMMENT,
    open_after: float = 0.0,
    replays: int = 0,
) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream behind `after`, to its ending, but for those that were written
    directly: once it is open, and while its peer keeps up, events go out in the writer's turn.
    What is there up to `replays` is read again (see `Generations.read`).

    The first step waits up to `open_after` seconds for content, and raises `GenerationFailed`
    when a failure comes first: before the status line, a failure has its true status."""
    scope: Any = request.scope
    write, opened = http1.direct(scope), False

    def shown(entries: Sequence[Entry]) -> bytes:
        last = entries[-1].event
        if isinstance(last, Failed):
            scope["streamapi.code"] = last.problem.code  # for the access line
        return frames(generation, entries, request_id)

    def eager(entries: Sequence[Entry]) -> bool:
        return opened and write(lambda: shown(entries))

    stall = SendTimer(parts.settings.send_timeout)
    silence = parts.settings.ping_interval
    batches = parts.generations.read(generation, after, silence, eager, replays)
    pull: asyncio.Future[Sequence[Entry]] | None = None
    try:
        if after:
            yield RETRY  # a resumption may wait long for its next event; its status must not
        else:
            entries, pull = await _opening(batches, open_after)
            failure = entries[-1].event if open_after else None
            if isinstance(failure, Failed) and not _content(entries):
                raise GenerationFailed(own_problem(failure.problem, generation, request_id))
            stall.sending()
            yield RETRY + shown(entries)
            stall.sent()
        opened = True
        if pull is not None:
            late = await pull
            yield shown(late) if late else ping
        async for batch in batches:
            stall.sending()
            yield shown(batch) if batch else ping
            stall.sent()
    finally:
        stall.stop()
        if pull is not None and not pull.done():
            pull.cancel()
            await asyncio.wait({pull})
        await batches.aclose()


async def respond(generation: Generation, frames: AsyncGenerator[bytes, None]) -> Response:
    """The stream as a response, once its first step is taken."""
    response = Response(_Primed(await anext(frames), frames), headers=HEADERS)
    response.headers.update(headers(generation))
    response.timeout = None  # Quart would cut the stream after a minute, without a word
    return response


def come_again(wait: float | None = None) -> Response:
    """What refuses a reconnection for a while: an `EventSource` takes every status but 200 as
    final. `wait` is in seconds. It says nothing of what was asked for, so anybody may have it."""
    return Response(when(wait), headers=HEADERS)


def when(wait: float | None = None) -> bytes:
    """When an `EventSource` comes back: not all of them in one moment."""
    return b"retry: %d\n\n" % (((wait or 0.0) + random.uniform(*COME_AGAIN)) * 1000)


def resumes(view: object) -> bool:
    """Whether the current request is a reconnection to this view, by what it says of itself."""
    try:
        named, _ = cursor() or (None, None)
    except (InvalidHeader, InvalidRequest):
        return False
    if getattr(view, "only_resumes", False):
        return named is not None or "after" in request.args
    return getattr(view, "resumes", False) and named is not None


def cursor() -> tuple[str | None, int] | None:
    """Where the current request wants to resume: a generation, where it names one, and the
    number of the last event seen. None when it resumes nothing.

    Raises `InvalidHeader` and `InvalidRequest` for what was never an id of ours."""
    header = request.headers.get("Last-Event-ID")
    value = header if header else request.args.get("after")
    if value is None:
        return None
    found = _CURSOR.fullmatch(value)
    if found is None or (header and found[1] is None) or int(found[2]) > LOST_AT:
        text = "Send the id of the last event that you saw, such as gen_....12, or leave it out."
        raise InvalidHeader(text) if header else InvalidRequest(text)
    return found[1], int(found[2])


async def _opening(
    batches: AsyncGenerator[Sequence[Entry], None], seconds: float
) -> tuple[list[Entry], "asyncio.Future[Sequence[Entry]] | None"]:
    """What came within `seconds`, up to the first content or the ending, and the pull that is
    still waiting. A generator cannot be asked with a time-out: its pull would be lost."""
    now = asyncio.get_running_loop().time
    until = now() + seconds
    entries: list[Entry] = list(await _next(batches))
    while now() < until and not _content(entries) and not isinstance(entries[-1].event, ENDINGS):
        pull = asyncio.ensure_future(_next(batches))
        try:
            done, _ = await asyncio.wait({pull}, timeout=until - now())
        except asyncio.CancelledError:
            pull.cancel()
            await asyncio.wait({pull})
            raise
        if not done:
            return entries, pull
        entries += pull.result()
    return entries, None


def _content(entries: Sequence[Entry]) -> bool:
    return any(isinstance(entry.event, CONTENT) for entry in entries)


async def _next(batches: AsyncGenerator[Sequence[Entry], None]) -> Sequence[Entry]:
    return await anext(batches, ())


class _Primed:
    """An iterator whose first step was taken already. Closing it closes the stream."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __aiter__(self) -> "_Primed":
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()
