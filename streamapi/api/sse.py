"""The events of a log as a stream of Server-Sent Events (WHATWG HTML, section 9.2).

Each event has its type, its data on one line, and the id `{generation}.{n}`, from which a client
can resume. All events that came since the last write go out in one write.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from quart import Response, request

from streamapi.api.answer import GenerationFailed, event_data, headers, own_problem
from streamapi.api.patches import http1
from streamapi.generation.event import CONTENT, ENDINGS, EVENTS, Failed
from streamapi.generation.generation import Generation
from streamapi.generation.log import Entry
from streamapi.generation.timers import SendTimer
from streamapi.services import Services

RETRY = b"retry: 2000\n\n"
COMMENT = b": ping\n\n"
PING = b"event: ping\ndata: {}\n\n"
"""What breaks a silence: a comment, or for a client that cannot see comments, an event without an
id."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
_HEADS = {kind.type: f"event: {kind.type}\nid: ".encode() for kind in EVENTS}


def frames(generation: Generation, entries: Sequence[Entry], request_id: str) -> bytes:
    """The bytes of the stream for these entries."""
    id_prefix = generation.id.encode() + b"."
    pieces: list[bytes] = []
    for entry in entries:
        data = entry.data or event_data(generation, entry, request_id)
        pieces += (
            _HEADS[entry.event.type],
            id_prefix,
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
    """The bytes of the events behind number `after`, to the ending. Events up to number `replays`
    are a replay (see `Generations.read`).

    Once the stream is open, and while the client keeps up, an event is written to the connection
    when it is appended to the log; this generator then does not yield it.

    The first step waits up to `open_after` seconds for content. It raises `GenerationFailed` when
    the generation fails before: the status line is not sent yet, so the response can have the
    status of the failure."""
    scope: Any = request.scope
    write, opened = http1.direct(scope), False

    def as_bytes(entries: Sequence[Entry]) -> bytes:
        last = entries[-1].event
        if isinstance(last, Failed):
            scope["streamapi.code"] = last.problem.code  # for the access log
        return frames(generation, entries, request_id)

    def eager(entries: Sequence[Entry]) -> bool:
        return opened and write(lambda: as_bytes(entries))

    send_timer = SendTimer(parts.settings.send_timeout)
    silence = parts.settings.ping_interval
    batches = parts.generations.read(generation, after, silence, eager, replays)
    pending: asyncio.Future[Sequence[Entry]] | None = None
    try:
        if after:
            yield RETRY  # the status line must not wait for the next event, which may be long
        else:
            entries, pending = await _opening(batches, open_after)
            failure = entries[-1].event if open_after else None
            if isinstance(failure, Failed) and not _has_content(entries):
                raise GenerationFailed(own_problem(failure.problem, generation, request_id))
            send_timer.sending()
            yield RETRY + as_bytes(entries)
            send_timer.sent()
        opened = True
        if pending is not None:
            late = await pending
            yield as_bytes(late) if late else ping
        async for batch in batches:
            send_timer.sending()
            yield as_bytes(batch) if batch else ping
            send_timer.sent()
    finally:
        send_timer.stop()
        if pending is not None and not pending.done():
            pending.cancel()
            await asyncio.wait({pending})
        await batches.aclose()


async def respond(generation: Generation, pieces: AsyncGenerator[bytes, None]) -> Response:
    """The response with this stream, once the stream has its first piece. Raises what the first
    step of the stream raises."""
    response = Response(_Started(await anext(pieces), pieces), headers=HEADERS)
    response.headers.update(headers(generation))
    response.timeout = None  # by default Quart ends a stream after a minute
    return response


async def _opening(
    batches: AsyncGenerator[Sequence[Entry], None], seconds: float
) -> tuple[list[Entry], "asyncio.Future[Sequence[Entry]] | None"]:
    """The entries that came within `seconds`, up to the first content or the ending, and the
    `anext` that is still waiting. Cancelling that `anext` would end the generator."""
    now = asyncio.get_running_loop().time
    until = now() + seconds
    entries: list[Entry] = list(await _next(batches))
    while now() < until:
        if _has_content(entries) or isinstance(entries[-1].event, ENDINGS):
            break
        pending = asyncio.ensure_future(_next(batches))
        try:
            done, _ = await asyncio.wait({pending}, timeout=until - now())
        except asyncio.CancelledError:
            pending.cancel()
            await asyncio.wait({pending})
            raise
        if not done:
            return entries, pending
        entries += pending.result()
    return entries, None


def _has_content(entries: Sequence[Entry]) -> bool:
    return any(isinstance(entry.event, CONTENT) for entry in entries)


async def _next(batches: AsyncGenerator[Sequence[Entry], None]) -> Sequence[Entry]:
    return await anext(batches, ())


class _Started:
    """An iterator over a stream whose first piece is known. Closing it closes the stream."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __aiter__(self) -> "_Started":
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()
