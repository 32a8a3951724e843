"""The register of keys: make one, list them, let one die. A key is shown once, when it is made."""

import time
from collections.abc import Sequence

from streamapi.access import keys
from streamapi.access.new_key import NewKey
from streamapi.records import keys as rows
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord


class KeyStore:
    """The keys of a database. Everything raises `StoreUnavailable` where it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, wanted: NewKey) -> tuple[str, KeyRecord]:
        """Make a key. It is returned here and never again."""
        key = keys.make()
        record = KeyRecord(
            id=keys.make_id(),
            hash=keys.digest(key),
            owner=wanted.owner,
            name=wanted.name,
            scopes=tuple(dict.fromkeys(wanted.scopes)),
            models=None if wanted.models is None else tuple(dict.fromkeys(wanted.models)),
            created=time.time(),
            expires=None if wanted.expires is None else wanted.expires.timestamp(),
            **wanted.limits.model_dump(),
        )
        await rows.add(self._database, record)
        return key, record

    async def newest(self, limit: int, before: str | None = None) -> Sequence[KeyRecord]:
        """Keys, dead or alive, the newest first; those behind the key `before`, where one is
        named."""
        return await rows.newest(self._database, limit, before)

    async def revoke(self, key: str) -> bool:
        """Let the key of this id die, for good. False when there is none."""
        return await rows.revoke(self._database, key, time.time())
