"""Keys as rows. A key itself is never here: only its hash."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from streamapi.records.database import Database
from streamapi.records.tables import keys


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row. Moments are seconds since 1970; of the limits, None is the server's own."""

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

    def lives(self, now: float) -> bool:
        """Whether the key may be shown."""
        return self.revoked is None and (self.expires is None or now < self.expires)


async def add(database: Database, key: KeyRecord) -> None:
    """Remember a key."""
    async with database.writing() as connection:
        await connection.execute(keys.insert().values(**msgspec.structs.asdict(key)))


async def by_hash(database: Database, digest: str) -> KeyRecord | None:
    """The key whose hash is `digest`, dead or alive."""
    async with database.reading() as connection:
        row = (await connection.execute(keys.select().where(keys.c.hash == digest))).first()
    return None if row is None else _record(row)


async def living(database: Database, ids: Collection[str], now: float) -> set[str]:
    """Those of the keys that may still be shown."""
    alive = sa.or_(keys.c.expires.is_(None), keys.c.expires > now)
    query = sa.select(keys.c.id).where(keys.c.revoked.is_(None), alive, keys.c.id.in_(ids))
    async with database.reading() as connection:
        return set((await connection.execute(query)).scalars())


async def newest(database: Database, limit: int, before: str | None = None) -> Sequence[KeyRecord]:
    """Keys, dead or alive, the newest first; those behind the key `before`,
    where one is named."""
    query = keys.select().order_by(keys.c.created.desc(), keys.c.id).limit(limit)
    if before is not None:
        then = sa.select(keys.c.created).where(keys.c.id == before).scalar_subquery()
        same = sa.and_(keys.c.created == then, keys.c.id > before)
        query = query.where(sa.or_(keys.c.created < then, same))
    async with database.reading() as connection:
        return [_record(row) for row in await connection.execute(query)]


async def revoke(database: Database, key: str, now: float) -> bool:
    """Let a key die; one that is dead already keeps its moment. False when there is none."""
    known = sa.select(keys.c.id).where(keys.c.id == key)
    dead = keys.update().where(keys.c.id == key, keys.c.revoked.is_(None)).values(revoked=now)
    async with database.writing() as connection:
        await connection.execute(dead)
        return (await connection.execute(known)).first() is not None


async def used(database: Database, moments: Mapping[str, float]) -> None:
    """Note when keys were last used. Of several processes' notes the latest stands."""
    if not moments:
        return
    query = (
        keys.update()
        .where(
            keys.c.id == sa.bindparam("key"),
            sa.func.coalesce(keys.c.last_used, 0.0) < sa.bindparam("moment", type_=sa.Double),
        )
        .values(last_used=sa.bindparam("moment", type_=sa.Double))
    )
    async with database.writing() as connection:
        await connection.execute(query, [{"key": k, "moment": m} for k, m in moments.items()])


def _record(row: "sa.Row[Any]") -> KeyRecord:
    fields = {name: row._mapping[name] for name in KeyRecord.__struct_fields__}
    return msgspec.convert(fields, KeyRecord)
