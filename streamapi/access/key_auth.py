"""Authentication by keys. A server that asks for none never imports this: it needs no database."""

from typing import NamedTuple

from streamapi.access.key_cache import KeyCache
from streamapi.access.key_store import KeyStore
from streamapi.access.revocation_watcher import LOOKS, RevocationWatcher
from streamapi.generation.generations import Generations
from streamapi.records.database import Database
from streamapi.settings import Settings


class KeyAuth(NamedTuple):
    """The records, and what is made of them."""

    database: Database
    cache: KeyCache
    store: KeyStore
    revocations: RevocationWatcher

    @classmethod
    def of(cls, settings: Settings, generations: Generations) -> "KeyAuth":
        """The authentication of who asks for these generations."""
        database = Database(settings.database_url, settings.database_timeout)
        key_cache = KeyCache(database, settings.key_ttl, settings.key_grace)
        revocations = RevocationWatcher(key_cache, generations, settings.key_ttl / LOOKS)
        return cls(database, key_cache, KeyStore(database), revocations)

    async def open(self) -> None:
        """Make the tables what they should be, and begin to watch; once. Raises
        `UnsafeSettings` where the database cannot be used."""
        if not self.revocations.watching:
            await self.database.migrate()
            self.revocations.start()

    async def aclose(self) -> None:
        """End."""
        try:
            await self.revocations.aclose()
            await self.cache.aclose()
        finally:
            await self.database.aclose()
