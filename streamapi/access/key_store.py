"""Issues, lists and revokes keys. A key is shown once, when it is made."""

import time
from collections.abc import Sequence

from streamapi.access import keys
from streamapi.access.new_key import NewKey
from streamapi.records import keys as rows
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord

__all__ = ["KeyRecord", "KeyStore"]


class KeyStore:
    """The keys of a database. Every method raises `StoreUnavailable` where the database is
    away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, new_key: NewKey) -> tuple[str, KeyRecord]:
        """Make a key. Returns the key itself, which is not stored, and its record."""
        key = keys.make()
        record = KeyRecord(
            id=keys.make_id(),
            hash=keys.digest(key),
            owner=new_key.owner,
            name=new_key.name,
            scopes=tuple(dict.fromkeys(new_key.scopes)),
            models=None if new_key.models is None else tuple(dict.fromkeys(new_key.models)),
            created=time.time(),
            expires=None if new_key.expires is None else new_key.expires.timestamp(),
            **new_key.limits.model_dump(),
        )
        await rows.add(self._database, record)
        return key, record

    async def newest(self, limit: int, before: str | None = None) -> Sequence[KeyRecord]:
        """Up to `limit` keys, the newest first, active or not. With `before`, the id of a key, the
        list starts after that key."""
        return await rows.newest(self._database, limit, before)

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key for good. Returns False where no key has this id."""
        return await rows.revoke(self._database, key_id, time.time())
