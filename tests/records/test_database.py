"""A database: its tables, its transactions, several processes, and what happens without it."""

import asyncio
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from streamapi.errors import StoreUnavailable
from streamapi.records.database import Database
from streamapi.records.tables import keys, metadata
from streamapi.settings import UnsafeSettings

START = """
import asyncio, sys
from streamapi.records.database import Database
async def main():
    database = Database(sys.argv[1])
    await database.migrate()
    await database.aclose()
asyncio.run(main())
"""


async def test_the_migrations_make_the_tables(database: Database) -> None:
    """What the migrations make is what `tables.py` says."""

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_starting_again_changes_nothing(database: Database) -> None:
    """Migrations that have run do not run again."""
    await database.migrate()


async def test_several_processes_start_at_once(url: str) -> None:
    """One of them makes the tables, and the others wait for it."""
    starts = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, url, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(5)
    ]
    for start in starts:
        _, error = await asyncio.wait_for(start.communicate(), 60)
        assert start.returncode == 0, error.decode()


async def test_a_start_waits_for_another_that_migrates(url: str, database: Database) -> None:
    """It waits longer than the time-out of a transaction."""
    late = Database(url, timeout=0.1)
    async with database.writing():
        starting = asyncio.create_task(late.migrate())
        done, _ = await asyncio.wait({starting}, timeout=0.5)
        assert not done
    await starting
    await late.aclose()


async def test_a_transaction_that_fails_changes_nothing(database: Database) -> None:
    """Not even a table that it created stays."""

    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(sa.text("CREATE TABLE half (n INTEGER)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.reading() as connection:
        tables = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    assert "half" not in tables


async def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    """Keys can be looked up while another process writes."""
    async with database.writing() as writer:
        await writer.execute(keys.delete())
        async with asyncio.timeout(1), database.reading() as reader:
            assert (await reader.execute(keys.select())).all() == []


async def test_a_writer_waits_for_another(url: str, database: Database) -> None:
    """When two processes write at once, both succeed, one after the other."""
    other = Database(url)

    async def write(database: Database) -> None:
        for _ in range(20):
            async with database.writing() as connection:
                await connection.execute(keys.delete())

    await asyncio.gather(write(database), write(database), write(other), write(other))
    await other.aclose()


async def test_a_wait_for_the_lock_is_bounded(url: str, database: Database) -> None:
    """A database that another process locks for too long is unavailable."""
    other = Database(url, timeout=0.2)
    async with database.writing():
        with pytest.raises(StoreUnavailable):
            async with other.writing():
                pass
    async with other.writing() as connection:  # the lock is free again
        await connection.execute(keys.delete())
    await other.aclose()


async def test_connections_are_bounded(url: str) -> None:
    """A transaction waits for a free connection until its time-out."""
    database = Database(url, timeout=0.3)
    await database.migrate()
    gate = asyncio.Event()

    async def hold() -> None:
        async with database.reading():
            await gate.wait()

    holders = [asyncio.create_task(hold()) for _ in range(4)]
    await asyncio.sleep(0)
    late = [asyncio.create_task(hold()) for _ in range(3)]
    results = await asyncio.gather(*holders, *late, return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    gate.set()
    await hold()
    await database.aclose()


async def test_a_database_that_cannot_be_opened_is_unsafe(tmp_path: Path) -> None:
    """The sentence names the setting: for a missing folder, and for a file that is no database."""
    (tmp_path / "noise").write_bytes(b"not a database " * 100)
    for place in ("nowhere/records.db", "noise"):
        database = Database(f"sqlite:///{tmp_path}/{place}")
        with pytest.raises(UnsafeSettings, match="STREAMAPI_DATABASE_URL"):
            await database.migrate()
        await database.aclose()


async def test_a_database_of_a_later_version_is_unsafe(database: Database) -> None:
    """An older program does not touch the tables of a newer one."""
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnsafeSettings, match="another version"):
        await database.migrate()
