"""The parameters that several routes take, each described once."""

from streamapi.api import idempotency
from streamapi.api.description import Parameter
from streamapi.generation.log import LOST_AT

NUMBER = f"(0|[1-9][0-9]{{0,8}}|{LOST_AT})"
EVENT_ID = rf"gen_[A-Za-z0-9_-]{{1,64}}\.{NUMBER}"
"""An event's number, and its whole id, as a cursor may have them."""

IDEMPOTENCY_HEADER = Parameter(
    "Idempotency-Key",
    "The same key and body is the same generation, and is never paid twice.",
    {"type": "string", "pattern": f"^{idempotency.PATTERN.pattern}$"},
    "header",
)
PREFER = Parameter(
    "Prefer",
    "`respond-async` (RFC 7240): answer 202 at once.",
    {"type": "string", "examples": ["respond-async"]},
    "header",
)
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "Resume behind this event; it beats `after`. Starts nothing.",
    {
        "type": "string",
        "pattern": f"^({EVENT_ID})?$",
        "examples": ["gen_3fkQ1b8vJ6mYw0ZtL2xE9A.12"],
    },
    "header",
)
REQUEST_ID = Parameter(
    "X-Request-Id",
    "Yours, if you have one; it comes back, and stands in the server's log. One that is not 1 to "
    "128 characters of `[A-Za-z0-9._~-]` is replaced by the server's own.",
    {"type": "string", "examples": ["checkout-7f3a"]},
    "header",
)
AFTER = Parameter(
    "after",
    "Resume behind this event, as `Last-Event-ID` does: an event's id. Starts nothing.",
    {"type": "string", "pattern": f"^{EVENT_ID}$"},
)
AFTER_NUMBER = Parameter(
    "after",
    "Resume behind this event, as `Last-Event-ID` does: an event's id, or its number. Starts "
    "nothing.",
    {"type": "string", "pattern": f"^({EVENT_ID}|{NUMBER})$"},
    key="after_number",
)
TICKET = Parameter(
    "ticket",
    "Stands for a key, where a page cannot send headers: see `/v1/tickets`.",
    {"type": "string", "pattern": "^tkt_"},
)
IDEMPOTENCY_PARAMETER = Parameter(
    "idempotency_key",
    "As `Idempotency-Key`: who loses the connection before the first event joins its generation "
    "instead of starting another.",
    {"type": "string", "pattern": f"^{idempotency.PATTERN.pattern}$"},
)
