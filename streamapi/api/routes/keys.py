"""Keys: made, listed and revoked by an administrator."""

import time
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct
from quart import Blueprint, Response, request

from streamapi.access.new_key import NewKey, NewKeyLimits
from streamapi.api.authentication import needs
from streamapi.api.body import read_object
from streamapi.api.context import services
from streamapi.api.description import KEYS, LOCATION, Description, Parameter, Reply
from streamapi.api.responses import NO_STORE, json_response
from streamapi.api.shapes import Moment
from streamapi.errors import FieldError, InvalidRequest, NotFound
from streamapi.generation.generations import rfc3339
from streamapi.validation import validate

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.key_auth import KeyAuth
    from streamapi.access.key_store import KeyRecord

PAGE = 100
"""Keys in one answer."""

BEFORE = Parameter(
    "before", "The id of the last key on the previous page.", {"type": "string", "pattern": "^key_"}
)

routes = Blueprint("keys", __name__, url_prefix="/v1/keys")


class KeyLimits(Struct, kw_only=True):
    """The limits of a key. Null means the limit of the server's settings; 0 means no limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_day: int | None
    streams: int | None


class Key(Struct, kw_only=True):
    """A key, without its secret. If `models` is null, the key may use every model."""

    id: Annotated[str, Meta(pattern="^key_")]
    owner: str
    name: str
    scopes: list[str]
    models: list[str] | None
    created: Moment
    expires: Moment | None
    revoked: Moment | None
    last_used: Annotated[Moment | None, Meta(description="Accurate to a minute.")]
    limits: KeyLimits


class MadeKey(Key, kw_only=True):
    """A new key. `key` is the secret, and no other response shows it again."""

    key: Annotated[str, Meta(pattern="^sk-streamapi-")]


class KeyList(Struct, kw_only=True):
    """Keys, newest first. If `has_more`, there are older keys."""

    data: list[Key]
    has_more: bool


@routes.post("")
@needs("admin")
@Description(
    "create_key",
    KEYS,
    {201: Reply("The key. No other response shows its secret again.", MadeKey, (LOCATION,))},
    body=NewKey,
    fails=(NotFound,),
)
async def create() -> Response:
    """Make a key.

    Its secret is in this response, and in no other."""
    parts, key_auth = services(), _key_auth()
    wanted = validate(NewKey, await read_object())
    wanted.check(parts.tasks, parts.catalogue.cards, time.time())
    key, record = await key_auth.store.issue(wanted)
    location = {"Location": f"/v1/keys/{record.id}"}
    return json_response(MadeKey(**_fields(record), key=key), 201, {**NO_STORE, **location})


@routes.get("")
@needs("admin")
@Description(
    "list_keys",
    KEYS,
    {200: Reply("A page of keys.", KeyList)},
    takes=(BEFORE,),
    fails=(NotFound, InvalidRequest),
)
async def list_keys() -> Response:
    """List the keys, newest first, a hundred on a page.

    The server does not know the secrets of the keys. For the next page, send the id of the last key
    as `before`."""
    before = request.args.get("before")
    if before is not None and not before.startswith("key_"):
        raise InvalidRequest.of(FieldError("must be the id of a key, such as key_...", "/before"))
    found = await _key_auth().store.newest(PAGE + 1, before)
    shown = [Key(**_fields(key)) for key in found[:PAGE]]
    return json_response(KeyList(data=shown, has_more=len(found) > PAGE), headers=NO_STORE)


@routes.delete("/<key_id>")
@needs("admin")
@Description("revoke_key", KEYS, {204: Reply("The key is revoked.")}, fails=(NotFound,))
async def revoke(key_id: str) -> Response:
    """Revoke a key for good.

    Its streams end at once on this process, and within `STREAMAPI_KEY_TTL` on the others. If the
    key is revoked already, nothing changes."""
    key_auth = _key_auth()
    if not await key_auth.store.revoke(key_id):
        raise NotFound("There is no key with this id.")
    await key_auth.revocations.end(key_id)
    return Response(b"", status=204)


def _key_auth() -> "KeyAuth":
    key_auth = services().key_auth
    if key_auth is None:
        raise NotFound("This server has no keys. The operator can set STREAMAPI_AUTH.")
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
