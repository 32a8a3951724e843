"""Keys as rows. A row has the hash of a key, never the key itself."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from streamapi.records.database import Database
from streamapi.records.tables import keys


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row. Times are in seconds since 1970. A limit of None is the server's own, 0 is none."""

    id: str
    hash: str
    owner: str
    name: str
    scopes: tuple[str, ...]
    models: tuple[str, ...] | None = None
    created: float
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    streams: int | None = None

    def is_active(self, now: float) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


async def add(database: Database, key: KeyRecord) -> None:
    """Insert a key."""
    async with database.writing() as connection:
        await connection.execute(keys.insert().values(**msgspec.structs.asdict(key)))


async def by_hash(database: Database, digest: str) -> KeyRecord | None:
    """The key with this hash, active or not; None where no key has it."""
    async with database.reading() as connection:
        row = (await connection.execute(keys.select().where(keys.c.hash == digest))).first()
    return None if row is None else _record(row)


async def active(database: Database, ids: Collection[str], now: float) -> set[str]:
    """The ids of those keys that exist and are neither revoked nor expired."""
    unexpired = sa.or_(keys.c.expires.is_(None), keys.c.expires > now)
    query = sa.select(keys.c.id).where(keys.c.revoked.is_(None), unexpired, keys.c.id.in_(ids))
    async with database.reading() as connection:
        return set((await connection.execute(query)).scalars())


async def newest(database: Database, limit: int, before: str | None = None) -> Sequence[KeyRecord]:
    """Up to `limit` keys, the newest first, active or not. With `before`, the id of a key, the
    list starts after that key."""
    query = keys.select().order_by(keys.c.created.desc(), keys.c.id).limit(limit)
    if before is not None:
        then = sa.select(keys.c.created).where(keys.c.id == before).scalar_subquery()
        same = sa.and_(keys.c.created == then, keys.c.id > before)
        query = query.where(sa.or_(keys.c.created < then, same))
    async with database.reading() as connection:
        return [_record(row) for row in await connection.execute(query)]


async def revoke(database: Database, key_id: str, now: float) -> bool:
    """Revoke a key. One that was revoked before keeps its time. False where no key has the id."""
    found = sa.select(keys.c.id).where(keys.c.id == key_id)
    change = keys.update().where(keys.c.id == key_id, keys.c.revoked.is_(None)).values(revoked=now)
    async with database.writing() as connection:
        await connection.execute(change)
        return (await connection.execute(found)).first() is not None


async def write_last_used(database: Database, times: Mapping[str, float]) -> None:
    """Write when keys were last used, by their ids. A later time in the database stays: another
    process wrote it."""
    if not times:
        return
    query = (
        keys.update()
        .where(
            keys.c.id == sa.bindparam("key"),
            sa.func.coalesce(keys.c.last_used, 0.0) < sa.bindparam("time", type_=sa.Double),
        )
        .values(last_used=sa.bindparam("time", type_=sa.Double))
    )
    async with database.writing() as connection:
        await connection.execute(query, [{"key": k, "time": at} for k, at in times.items()])


def _record(row: "sa.Row[Any]") -> KeyRecord:
    fields = {name: row._mapping[name] for name in KeyRecord.__struct_fields__}
    return msgspec.convert(fields, KeyRecord)
