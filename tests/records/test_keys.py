"""Keys as rows: what is written can be read."""

import time
from typing import Any

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from streamapi.records import keys
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord


def record(n: int = 1, **more: Any) -> KeyRecord:
    fields = {"name": "", "owner": "acme", "scopes": ("text",), "created": 100.0 + n, **more}
    return KeyRecord(id=f"key_{n}", hash=f"{n:064x}", **fields)


async def test_a_key_is_read_as_it_was_written(database: Database) -> None:
    """Every field, whatever characters it has."""
    key = record(
        name="Zoë's 'laptop'; DROP TABLE keys; --",
        scopes=("text", "admin"),
        models=("gemini-3.8-flash",),
        expires=time.time() + 0.25,
        requests_per_minute=2**40,
        tokens_per_day=0,
    )
    await keys.add(database, key)
    assert await keys.by_hash(database, key.hash) == key
    assert await keys.by_hash(database, "0" * 64) is None


async def test_two_keys_cannot_have_one_hash(database: Database) -> None:
    """The database refuses the second."""
    await keys.add(database, record(1))
    with pytest.raises(IntegrityError):
        await keys.add(database, msgspec.structs.replace(record(2), hash=record(1).hash))


async def test_a_second_revocation_changes_nothing(database: Database) -> None:
    """It keeps the first time; revoking a key that does not exist says so."""
    await keys.add(database, record())
    assert await keys.revoke(database, "key_1", 500.0)
    assert await keys.revoke(database, "key_1", 600.0)
    assert not await keys.revoke(database, "key_2", 500.0)
    found = await keys.by_hash(database, record().hash)
    assert found is not None
    assert found.revoked == 500.0


async def test_active_keys_are_found(database: Database) -> None:
    """Revoked, expired and unknown keys are not active."""
    await keys.add(database, record(1))
    await keys.add(database, record(2, revoked=50.0))
    await keys.add(database, record(3, expires=99.0))
    await keys.add(database, record(4, expires=101.0))
    ids = [f"key_{n}" for n in range(1, 6)]
    assert await keys.active(database, ids, 100.0) == {"key_1", "key_4"}


async def test_the_newest_come_first(database: Database) -> None:
    """Each key is on exactly one page, also when several were made at the same time."""
    for n in range(6):
        await keys.add(database, record(n, created=100.0 + n // 2))
    found, before = [], None
    while page := await keys.newest(database, 1, before):
        found += [key.id for key in page]
        before = page[-1].id
    assert found == ["key_4", "key_5", "key_2", "key_3", "key_0", "key_1"]
    assert [key.id for key in await keys.newest(database, 10)] == found
    assert await keys.newest(database, 10, "key_9") == []


async def test_the_latest_use_wins(database: Database) -> None:
    """Two processes write their uses in any order."""
    await keys.add(database, record())
    await keys.write_last_used(database, {"key_1": 300.0, "key_9": 1.0})
    await keys.write_last_used(database, {"key_1": 200.0})
    found = await keys.by_hash(database, record().hash)
    assert found is not None
    assert found.last_used == 300.0
