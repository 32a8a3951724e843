"""`streamapi keys create | list | revoke`: the keys of the database that the settings name.

A new key is all that stands on stdout, so that it can be taken by `$(...)`; what is said about
it stands on stderr.
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
from streamapi.settings import UnsafeSettings, read_settings
from streamapi.tasks import every_task

MOST_LISTED = 10_000
"""Keys that `streamapi keys list` shows."""


def run(options: argparse.Namespace) -> int:
    """Do what `options.what` says."""
    doing: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "create": _create,
        "list": _list,
        "revoke": _revoke,
    }
    return doing[options.what](options) or 0


def _create(options: argparse.Namespace) -> None:
    tasks = list(every_task())
    try:
        wanted = NewKey.model_validate(
            {
                "owner": options.owner,
                "name": options.name,
                "scopes": options.scopes or tasks,
                "models": options.models,
                "expires": _moment(options.expires),
                "limits": {name: getattr(options, name) for name in NewKeyLimits.model_fields},
            }
        )
        wanted.check(tasks, [card.id for card in CARDS], time.time())
    except ValidationError as error:
        raise UnsafeSettings("\n".join(map(_sentence, error.errors()))) from None
    except InvalidRequest as error:
        said = "\n".join(f"{wrong.pointer[1:]}: {wrong.detail}" for wrong in error.errors)
        raise UnsafeSettings(said) from None
    key, record = _with(lambda register: register.issue(wanted))
    print(f"{record.id}, of {record.owner}, for {', '.join(record.scopes)}", file=sys.stderr)
    print("Keep the key: it is shown this once.", file=sys.stderr, flush=True)
    print(key)


def _list(options: argparse.Namespace) -> None:
    now = time.time()
    rows = [("id", "owner", "name", "scopes", "created", "last used", "state")]
    for key in _with(lambda register: register.newest(MOST_LISTED)):
        dead = "revoked" if key.revoked is not None else "expired"
        state = (
            dead if not key.is_active(now) else f"until {_day(key.expires)}" if key.expires else ""
        )
        scopes = ",".join(key.scopes)
        used = _day(key.last_used)
        rows.append((key.id, key.owner, key.name, scopes, _day(key.created), used, state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _revoke(options: argparse.Namespace) -> int:
    known = options.id.isascii() and _with(lambda register: register.revoke(options.id))
    if not known:
        print(f"streamapi: there is no key {options.id!r}", file=sys.stderr)
        return 1
    ttl = read_settings().key_ttl
    print(f"{options.id} is revoked; every server knows within {ttl:g} s", file=sys.stderr)
    return 0


def _with(do: Callable[[KeyStore], Awaitable[Any]]) -> Any:
    """Do it on the register of the database that the settings name."""
    settings = read_settings()

    async def run() -> Any:
        database = Database(settings.database_url, settings.database_timeout)
        try:
            await database.migrate()
            return await do(KeyStore(database))
        finally:
            await database.aclose()

    try:
        return asyncio.run(run())
    except StreamapiError as error:
        raise UnsafeSettings(str(error)) from None


def _moment(text: str | None) -> str | None:
    """A date, or days from now, as RFC 3339."""
    if text is None:
        return None
    try:
        if found := re.fullmatch(r"(\d{1,5})d", text):
            moment = datetime.now(UTC) + timedelta(days=int(found[1]))
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UnsafeSettings("--expires must be such as 2027-01-31 or 90d") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _day(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _sentence(error: Any) -> str:
    where = "-".join(str(step) for step in error["loc"])
    return f"{where}: {str(error['msg']).removeprefix('Value error, ')}"
