"""The parameters that several routes take, each described once."""

from streamapi.api import idempotency
from streamapi.api.description import Parameter
from streamapi.generation.log import LOST_AT

NUMBER = f"(0|[1-9][0-9]{{0,8}}|{LOST_AT})"
EVENT_ID = rf"gen_[A-Za-z0-9_-]{{1,64}}\.{NUMBER}"
"""An event's number, and its whole id, as a cursor may have them."""

IDEMPOTENCY_HEADER = Parameter(
    "Idempotency-Key",
    "A repeated request with the same key and the same body joins the first generation, and costs "
    "nothing more.",
    {"type": "string", "pattern": f"^{idempotency.PATTERN.pattern}$"},
    "header",
)
PREFER = Parameter(
    "Prefer",
    "`respond-async` (RFC 7240) asks for a 202 at once, before the answer is there.",
    {"type": "string", "examples": ["respond-async"]},
    "header",
)
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "The id of the last event that you have: the stream resumes after it. It has priority over "
    "`after`. The request starts no generation.",
    {
        "type": "string",
        "pattern": f"^({EVENT_ID})?$",
        "examples": ["gen_3fkQ1b8vJ6mYw0ZtL2xE9A.12"],
    },
    "header",
)
REQUEST_ID = Parameter(
    "X-Request-Id",
    "Your id for the request: 1 to 128 characters of `[A-Za-z0-9._~-]`. The response and the "
    "server's log repeat it. Without a valid one, the server makes its own.",
    {"type": "string", "examples": ["checkout-7f3a"]},
    "header",
)
AFTER = Parameter(
    "after",
    "The id of an event, used as `Last-Event-ID` is: the stream resumes after it.",
    {"type": "string", "pattern": f"^{EVENT_ID}$"},
)
AFTER_NUMBER = Parameter(
    "after",
    "The id or the number of an event, used as `Last-Event-ID` is: the stream resumes after it.",
    {"type": "string", "pattern": f"^({EVENT_ID}|{NUMBER})$"},
    key="after_number",
)
TICKET = Parameter(
    "ticket",
    "A ticket from `POST /v1/tickets`, in place of a key. Pages need it: they cannot send headers "
    "here.",
    {"type": "string", "pattern": "^tkt_"},
)
IDEMPOTENCY_PARAMETER = Parameter(
    "idempotency_key",
    "The same as the header `Idempotency-Key`. A client that loses its connection before the first "
    "event can repeat the request, and joins its generation.",
    {"type": "string", "pattern": f"^{idempotency.PATTERN.pattern}$"},
)
