"""The first message of a socket whose handshake has no key: `auth`.

Browsers cannot set headers on a WebSocket, so a page sends its key in a message.
"""

import asyncio

from quart import g, websocket

from streamapi.api.authentication import identify
from streamapi.api.body import decode_object
from streamapi.api.socket.messages import (
    TOO_MANY,
    TRY_AGAIN,
    UNAUTHENTICATED,
    AuthMessage,
    parse_message,
)
from streamapi.errors import (
    InvalidRequest,
    RateLimited,
    StoreUnavailable,
    StreamapiError,
    TooLarge,
)
from streamapi.services import Services

AUTH_BYTES = 4096
"""Bytes of an `auth` message; a larger one closes the socket with 4401. A key has about a hundred
bytes, and a client without a key must not make the server decode more."""


def is_authenticated() -> bool:
    """Whether the caller is known: from the handshake, or because the server asks for no keys."""
    return g.get("caller") is not None


async def authenticate(parts: Services) -> bool:
    """Whether the caller is known, once the first message was read where it is needed. If not, the
    socket is closed."""
    if is_authenticated():
        return True
    try:
        async with asyncio.timeout(parts.settings.auth_timeout):
            text = await websocket.receive()
            if len(text) > AUTH_BYTES:  # on a server that does not run our patches
                raise TooLarge(f"The `auth` message may have {AUTH_BYTES:,} bytes.")
            message = parse_message(decode_object(text))
            if not isinstance(message, AuthMessage):
                raise InvalidRequest("The first message must be `auth`.")
            g.caller = await identify(parts, message.token)
    except StoreUnavailable:
        await websocket.close(TRY_AGAIN)
        return False
    except RateLimited:
        await websocket.close(TOO_MANY)
        return False
    except (StreamapiError, TimeoutError) as error:
        await websocket.close(UNAUTHENTICATED, getattr(error, "code", "unauthenticated"))
        return False
    return True
