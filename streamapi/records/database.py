"""One database by its URL: transactions, time-outs, and the settings of its engine.

Only this module depends on SQLite. It begins transactions itself: Python's driver begins them too
late for a read, and not at all for a change of tables. A reader takes a snapshot. A writer takes
the one write lock at its start, so that it waits for the lock instead of failing later. Every
failure of the database is `StoreUnavailable`, whatever the engine calls it.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamapi.errors import StoreUnavailable
from streamapi.settings import UnsafeSettings

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

CONNECTIONS = 4
"""Connections of one process. A transaction waits for a free one, within its time-out."""

MIGRATION_SECONDS = 60.0
"""Seconds for the migrations, with the wait for another process that runs them."""


class Database:
    """The database of the records. A transaction may take `timeout` seconds, with its waits."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url = url
        self._safe_url = sa.make_url(url).render_as_string(hide_password=True)
        self._timeout = timeout
        self._engine = _sqlite(url, timeout)
        self._writing = self._engine.execution_options(streamapi_begin="IMMEDIATE")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that reads one snapshot. Raises `StoreUnavailable`."""
        async with self._transaction(self._engine, self._timeout) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes, all or nothing. Raises `StoreUnavailable`."""
        async with self._transaction(self._writing, self._timeout) as connection:
            yield connection

    async def migrate(self) -> None:
        """Run the migrations that are missing. Of several processes that start at the same time,
        one runs them and the others wait. Raises `UnsafeSettings`."""
        # An engine for this only: the connections of `self._engine` wait a shorter time for locks.
        engine = _sqlite(self._url, MIGRATION_SECONDS)
        writing = engine.execution_options(streamapi_begin="IMMEDIATE")
        try:
            await self._share_file()
            async with self._transaction(writing, MIGRATION_SECONDS) as connection:
                await connection.run_sync(_upgrade)
        except StoreUnavailable as error:
            raise UnsafeSettings(f"STREAMAPI_DATABASE_URL={self._safe_url}: {error}") from None
        except CommandError as error:
            raise UnsafeSettings(
                f"STREAMAPI_DATABASE_URL={self._safe_url}: another version of streamapi made its "
                f"tables ({error}). Run that version, or set another database."
            ) from None
        finally:
            await engine.dispose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(
        self, engine: AsyncEngine, seconds: float
    ) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(seconds), engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise  # a bug of ours: the database works
        except (DBAPIError, NoFreeConnection, TimeoutError, OSError) as error:
            # The message of the driver, and never the statement or its values.
            reason = error.orig if isinstance(error, DBAPIError) else type(error).__name__
            logger.warning("the database cannot be reached: %s", reason)
            raise StoreUnavailable(
                "The key database cannot be reached. Try again in 2 seconds."
            ) from error

    async def _share_file(self) -> None:
        """Switch the file to SQLite's WAL, so that reads go on during a write. The file keeps the
        mode. The switch does not wait for locks, so it is tried again. It does not use aiosqlite,
        whose thread raises after the end of the loop when it could not open a file."""
        end = asyncio.get_running_loop().time() + MIGRATION_SECONDS
        while True:
            try:
                return await asyncio.to_thread(_share, str(self._engine.url.database))
            except sqlite3.Error as error:
                if "locked" not in str(error) or asyncio.get_running_loop().time() > end:
                    raise StoreUnavailable("The file cannot be opened as a database.") from error
            await asyncio.sleep(0.05)


def _share(file: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _sqlite(url: str, timeout: float) -> AsyncEngine:
    engine = create_async_engine(
        url.replace("sqlite://", "sqlite+aiosqlite://", 1),
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=timeout,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        cursor.execute("PRAGMA synchronous=FULL")  # a revocation must survive a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begin(connection: sa.Connection) -> None:
        kind = connection.get_execution_options().get("streamapi_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
