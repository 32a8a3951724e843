"""Authentication by keys. A server with `STREAMAPI_AUTH=open` never imports this module, and so
needs no database."""

from typing import NamedTuple

from streamapi.access.key_cache import KeyCache
from streamapi.access.key_store import KeyStore
from streamapi.access.revocation_watcher import CHECKS_PER_TTL, RevocationWatcher
from streamapi.generation.generations import Generations
from streamapi.records.database import Database
from streamapi.settings import Settings


class KeyAuth(NamedTuple):
    """The database of keys, and the parts that use it."""

    database: Database
    cache: KeyCache
    store: KeyStore
    revocations: RevocationWatcher

    @classmethod
    def of(cls, settings: Settings, generations: Generations) -> "KeyAuth":
        """The authentication that the settings describe, for callers of these generations."""
        database = Database(settings.database_url, settings.database_timeout)
        cache = KeyCache(database, settings.key_ttl, settings.key_grace)
        interval = settings.key_ttl / CHECKS_PER_TTL
        revocations = RevocationWatcher(cache, generations, interval)
        return cls(database, cache, KeyStore(database), revocations)

    async def open(self) -> None:
        """Migrate the tables, and start to watch for revocations. A second call does nothing.
        Raises `UnsafeSettings` where the database cannot be used."""
        if not self.revocations.watching:
            await self.database.migrate()
            self.revocations.start()

    async def aclose(self) -> None:
        """Stop watching, wait for look-ups, and close the database."""
        try:
            await self.revocations.aclose()
            await self.cache.aclose()
        finally:
            await self.database.aclose()
