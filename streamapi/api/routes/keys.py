"""The keys of those who ask, for who administers them: made, listed, revoked."""

import time
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct
from quart import Blueprint, Response, request

from streamapi.access.new_key import NewKey, NewKeyLimits
from streamapi.api.body import read_object
from streamapi.api.context import services
from streamapi.api.description import KEYS, Description, Parameter, Reply
from streamapi.api.shapes import Moment
from streamapi.api.who import needs
from streamapi.errors import FieldError, InvalidRequest, NotFound
from streamapi.generation.event import encode
from streamapi.generation.generations import rfc3339
from streamapi.validation import validate

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.key_auth import KeyAuth
    from streamapi.records.keys import KeyRecord

PAGE = 100
"""Keys in one answer."""

BEFORE = Parameter(
    "before", "The last key of the page before.", {"type": "string", "pattern": "^key_"}
)

routes = Blueprint("keys", __name__, url_prefix="/v1/keys")


class KeyLimits(Struct, kw_only=True):
    """How much a key may use; null is what the server gives to every key, 0 is no limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_day: int | None
    streams: int | None


class Key(Struct, kw_only=True):
    """What is known of a key; the key itself is not. Of `models`, null is every one."""

    id: Annotated[str, Meta(pattern="^key_")]
    owner: str
    name: str
    scopes: list[str]
    models: list[str] | None
    created: Moment
    expires: Moment | None
    revoked: Moment | None
    last_used: Annotated[Moment | None, Meta(description="To the minute.")]
    limits: KeyLimits


class MadeKey(Key, kw_only=True):
    """A new key. `key` is shown here, and never again."""

    key: Annotated[str, Meta(pattern="^sk-streamapi-")]


class KeyList(Struct, kw_only=True):
    """Keys, the newest first; `has_more` says that there are older ones."""

    data: list[Key]
    has_more: bool


@routes.post("")
@needs("admin")
@Description(
    "create_key",
    KEYS,
    {201: Reply("The key, shown this once.", MadeKey, ("Location",))},
    body=NewKey,
    fails=(NotFound,),
)
async def create() -> Response:
    """Make a key. It is in this answer, and never again in another."""
    parts, key_auth = services(), _key_auth()
    wanted = validate(NewKey, await read_object())
    wanted.check(parts.tasks, parts.catalogue.cards, time.time())
    key, record = await key_auth.store.issue(wanted)
    response = _json(MadeKey(**_fields(record), key=key), 201)
    response.headers["Location"] = f"/v1/keys/{record.id}"
    return response


@routes.get("")
@needs("admin")
@Description(
    "list_keys",
    KEYS,
    {200: Reply("A page of them.", KeyList)},
    takes=(BEFORE,),
    fails=(NotFound, InvalidRequest),
)
async def list_keys() -> Response:
    """What is known of each key, the newest first, a hundred at once; the keys themselves are
    not known. `before` names the last key of the page before."""
    before = request.args.get("before")
    if before is not None and not before.startswith("key_"):
        raise InvalidRequest.of(FieldError("must be the id of a key, such as key_...", "/before"))
    found = await _key_auth().store.newest(PAGE + 1, before)
    shown = [Key(**_fields(key)) for key in found[:PAGE]]
    return _json(KeyList(data=shown, has_more=len(found) > PAGE))


@routes.delete("/<key_id>")
@needs("admin")
@Description("revoke_key", KEYS, {204: Reply("It is dead.")}, fails=(NotFound,))
async def revoke(key_id: str) -> Response:
    """Let a key die, for good. What it began ends here at once, and within `STREAMAPI_KEY_TTL`
    elsewhere. Doing it twice is doing it once."""
    key_auth = _key_auth()
    if not await key_auth.store.revoke(key_id):
        raise NotFound("There is no such key.")
    await key_auth.revocations.end(key_id)
    return Response(b"", status=204)


def _key_auth() -> "KeyAuth":
    key_auth = services().key_auth
    if key_auth is None:
        raise NotFound("This server asks for no keys, and has none (STREAMAPI_AUTH).")
    return key_auth


def _fields(key: "KeyRecord") -> dict[str, Any]:
    moments = ("created", "expires", "revoked", "last_used")
    times = {name: getattr(key, name) for name in moments}
    return {
        "id": key.id,
        "owner": key.owner,
        "name": key.name,
        "scopes": key.scopes,
        "models": key.models,
        **{name: None if moment is None else rfc3339(moment) for name, moment in times.items()},
        "limits": KeyLimits(**{name: getattr(key, name) for name in NewKeyLimits.model_fields}),
    }


def _json(body: Key | KeyList, status: int = 200) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(encode(body), status=status, headers=headers)
