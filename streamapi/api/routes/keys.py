"""The keys of those who ask, for who administers them: made, listed, revoked."""

import time
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request

from streamapi.access.new_key import Limits, NewKey
from streamapi.api.body import read_object, validate
from streamapi.api.context import services
from streamapi.api.who import needs
from streamapi.errors import FieldError, InvalidRequest, NotFound
from streamapi.generation.event import encode
from streamapi.generation.generations import rfc3339

if TYPE_CHECKING:  # an open server never imports it
    from streamapi.access.key_auth import KeyAuth
    from streamapi.records.keys import KeyRecord

PAGE = 100
"""Keys in one answer."""

routes = Blueprint("keys", __name__, url_prefix="/v1/keys")


@routes.post("")
@needs("admin")
async def create() -> Response:
    """Make a key. It is in this answer, and never again in another."""
    parts, key_auth = services(), _key_auth()
    wanted = validate(NewKey, await read_object())
    wanted.check(parts.tasks, parts.catalogue.cards, time.time())
    key, record = await key_auth.store.issue(wanted)
    response = _json({**_shown(record), "key": key}, 201)
    response.headers["Location"] = f"/v1/keys/{record.id}"
    return response


@routes.get("")
@needs("admin")
async def list_keys() -> Response:
    """What is known of each key, the newest first, a hundred at once; the keys themselves are
    not known. `before` names the last key of the page before."""
    before = request.args.get("before")
    if before is not None and not before.startswith("key_"):
        raise InvalidRequest.of(FieldError("must be the id of a key, such as key_...", "/before"))
    found = await _key_auth().store.newest(PAGE + 1, before)
    shown = [_shown(key) for key in found[:PAGE]]
    return _json({"data": shown, "has_more": len(found) > PAGE})


@routes.delete("/<key_id>")
@needs("admin")
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


def _shown(key: "KeyRecord") -> dict[str, Any]:
    moments = ("created", "expires", "revoked", "last_used")
    told = {name: getattr(key, name) for name in moments}
    return {
        "id": key.id,
        "owner": key.owner,
        "name": key.name,
        "scopes": key.scopes,
        "models": key.models,
        **{name: None if moment is None else rfc3339(moment) for name, moment in told.items()},
        "limits": {name: getattr(key, name) for name in Limits.model_fields},
    }


def _json(body: dict[str, Any], status: int = 200) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(encode(body), status=status, headers=headers)
