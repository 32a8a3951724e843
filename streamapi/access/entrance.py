"""What stands at the entrance of a server that asks for keys. One that is open never imports it:
it needs no database, and pays for none."""

from typing import NamedTuple

from streamapi.access.keyring import Keyring
from streamapi.access.register import Register
from streamapi.access.vigil import LOOKS, Vigil
from streamapi.generation.generations import Generations
from streamapi.records.database import Database
from streamapi.settings import Settings


class Entrance(NamedTuple):
    """The records, and what is made of them."""

    database: Database
    keyring: Keyring
    register: Register
    vigil: Vigil

    @classmethod
    def of(cls, settings: Settings, generations: Generations) -> "Entrance":
        """The entrance to these generations."""
        database = Database(settings.database_url, settings.database_timeout)
        keyring = Keyring(database, settings.key_ttl, settings.key_grace)
        vigil = Vigil(keyring, generations, settings.key_ttl / LOOKS)
        return cls(database, keyring, Register(database), vigil)

    async def open(self) -> None:
        """Make the tables what they should be, and begin to watch; once. Raises
        `UnsafeSettings` where the database cannot be used."""
        if not self.vigil.watching:
            await self.database.migrate()
            self.vigil.start()

    async def aclose(self) -> None:
        """End."""
        try:
            await self.vigil.aclose()
            await self.keyring.aclose()
        finally:
            await self.database.aclose()
