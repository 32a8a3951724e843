"""`streamapi keys create | list | revoke`: the keys of the database that the settings name.

`create` prints only the key on stdout, so that a shell can take it with `$(...)`. All else is
printed on stderr.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from streamapi.access.key_store import KeyStore
from streamapi.access.new_key import NewKey, NewKeyLimits
from streamapi.errors import InvalidRequest, StreamapiError
from streamapi.providers.catalogue import CARDS
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord
from streamapi.settings import UnsafeSettings, read_settings
from streamapi.tasks import every_task

MOST_LISTED = 10_000
"""Keys that `list` prints, the newest first."""


def run(options: argparse.Namespace) -> int:
    """Run the action `options.action`, and return the exit code. Raises `UnsafeSettings`."""
    actions: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "create": _create,
        "list": _list,
        "revoke": _revoke,
    }
    return actions[options.action](options) or 0


def _create(options: argparse.Namespace) -> None:
    new_key = _new_key(options)
    key, record = _with_store(lambda store: store.issue(new_key))
    print(f"{record.id}, of {record.owner}, for {', '.join(record.scopes)}", file=sys.stderr)
    print("Store the key now: it is shown this once.", file=sys.stderr, flush=True)
    print(key)


def _new_key(options: argparse.Namespace) -> NewKey:
    tasks = list(every_task())
    try:
        new_key = NewKey.model_validate(
            {
                "owner": options.owner,
                "name": options.name,
                "scopes": options.scopes or tasks,
                "models": options.models,
                "expires": _expiry(options.expires),
                "limits": {name: getattr(options, name) for name in NewKeyLimits.model_fields},
            }
        )
        new_key.check(tasks, [card.id for card in CARDS], time.time())
    except ValidationError as error:
        raise UnsafeSettings("\n".join(map(_sentence, error.errors()))) from None
    except InvalidRequest as error:
        lines = (f"{wrong.pointer[1:]}: {wrong.detail}" for wrong in error.errors)
        raise UnsafeSettings("\n".join(lines)) from None
    return new_key


def _list(options: argparse.Namespace) -> None:
    now = time.time()
    rows = [("id", "owner", "name", "scopes", "created", "last used", "state")]
    for key in _with_store(lambda store: store.newest(MOST_LISTED)):
        scopes, used = ",".join(key.scopes), _minute(key.last_used)
        created = _minute(key.created)
        rows.append((key.id, key.owner, key.name, scopes, created, used, _state(key, now)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _state(key: KeyRecord, now: float) -> str:
    """Empty for an active key without an expiry."""
    if key.revoked is not None:
        return "revoked"
    if not key.is_active(now):
        return "expired"
    return f"until {_minute(key.expires)}" if key.expires else ""


def _revoke(options: argparse.Namespace) -> int:
    found = options.id.isascii() and _with_store(lambda store: store.revoke(options.id))
    if not found:
        print(
            f"streamapi: there is no key {options.id!r}; `streamapi keys list` prints all ids",
            file=sys.stderr,
        )
        return 1
    ttl = read_settings().key_ttl
    print(f"{options.id} is revoked; every server refuses it within {ttl:g} s", file=sys.stderr)
    return 0


def _with_store(action: Callable[[KeyStore], Awaitable[Any]]) -> Any:
    """Run an action on the keys of the database that the settings name. Raises
    `UnsafeSettings` where it cannot be used."""
    settings = read_settings()

    async def run() -> Any:
        database = Database(settings.database_url, settings.database_timeout)
        try:
            await database.migrate()
            return await action(KeyStore(database))
        finally:
            await database.aclose()

    try:
        return asyncio.run(run())
    except StreamapiError as error:
        raise UnsafeSettings(str(error)) from None


def _expiry(text: str | None) -> str | None:
    """A date, or a number of days from now, as RFC 3339."""
    if text is None:
        return None
    try:
        if found := re.fullmatch(r"(\d{1,5})d", text):
            expiry = datetime.now(UTC) + timedelta(days=int(found[1]))
        else:
            expiry = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UnsafeSettings("--expires must be a date (2027-01-31) or days (90d)") from None
    return (expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)).isoformat()


def _minute(at: float | None) -> str:
    """A time to the minute, in UTC; empty for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _sentence(error: Any) -> str:
    field = "-".join(str(step) for step in error["loc"])
    return f"{field}: {str(error['msg']).removeprefix('Value error, ')}"
