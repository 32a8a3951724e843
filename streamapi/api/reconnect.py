"""Readers of a stream are asked to reconnect: to another process, or later.

An `EventSource` reconnects only after a stream with the status 200; every other status ends it. So
a reader that cannot be served for now gets such a stream, with nothing but a `retry` field.
"""

import asyncio
import random
from collections.abc import AsyncGenerator

from quart import Response

from streamapi.api import sse
from streamapi.api.context import reading
from streamapi.services import Services

SPREAD = (0.2, 1.5)
"""Seconds that are added to a reader's wait, at random, so that not all reconnect at once."""


def ask_to_reconnect(wait: float | None = None) -> Response:
    """A stream with nothing but `retry`, in place of a refusal. `wait` is in seconds. It says
    nothing about the generation, so it may go to a client that is not authenticated."""
    return Response(retry_field(wait), headers=sse.HEADERS)


def retry_field(wait: float | None = None) -> bytes:
    """The `retry` field for a wait in seconds, and a random moment more."""
    return b"retry: %d\n\n" % (((wait or 0.0) + random.uniform(*SPREAD)) * 1000)


def interruptible(
    parts: Services, frames: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The stream, which ends early when this process asks its readers to reconnect, or when the
    caller's key is revoked. Where neither can happen, the stream itself."""
    can_end = parts.settings.redis_url or parts.key_auth is not None
    return _interruptible(parts, frames) if can_end else frames


async def _interruptible(
    parts: Services, frames: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    task = asyncio.current_task()
    assert task is not None
    waiting = cancelled = False
    last: bytes | None = None  # what is sent last, once the stream must end

    def end(piece: bytes) -> None:
        nonlocal last, cancelled
        if last is not None:
            return
        last = piece
        # A piece that is being sent is sent to its end. Until the first piece is sent, the client
        # has no event id from which it could resume.
        if waiting:
            cancelled = True
            task.cancel()

    def close_callback() -> None:
        end(retry_field())

    parts.streams.add(close_callback)
    try:
        # After a revocation there is no `retry` field: the client reconnects and gets a 401.
        with reading(parts, lambda: end(b"")):
            async for piece in frames:
                waiting = False
                yield piece
                if last is not None:
                    break
                waiting = True
            else:
                return
    except asyncio.CancelledError:
        if not cancelled or task.uncancel():  # the client has left
            raise
    finally:
        parts.streams.discard(close_callback)
        await frames.aclose()
    if last:  # an empty piece would end a chunked body
        yield last
