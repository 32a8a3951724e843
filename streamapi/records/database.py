"""One database by its URL: transactions, time-outs, and what an engine needs.

SQLite's ways stand here and nowhere else. Its transactions are begun by us, because Python's
driver begins them too late for a read and not at all for a change of tables: a reader takes a
snapshot, a writer takes the one write lock at once, so that it waits for it instead of failing
in the middle. What goes wrong outside of us is `StoreUnavailable`, whatever the engine calls it.
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
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamapi.errors import StoreUnavailable
from streamapi.settings import UnsafeSettings

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

CONNECTIONS = 4
"""At once and per process. Whoever finds none free waits, within the time-out."""

MIGRATING = 60.0
"""Seconds for the tables to become what they should be; another process may be at it."""


class Database:
    """The records' home. `timeout` is how many seconds a transaction may take, waits included."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url = url
        self._shown = sa.make_url(url).render_as_string(hide_password=True)
        self._timeout = timeout
        self._engine = _sqlite(url, timeout)
        self._writing = self._engine.execution_options(streamapi_begin="IMMEDIATE")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one moment. Raises `StoreUnavailable`."""
        async with self._transaction(self._engine, self._timeout) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes something, wholly or not at all. Raises
        `StoreUnavailable`."""
        async with self._transaction(self._writing, self._timeout) as connection:
            yield connection

    async def migrate(self) -> None:
        """Make the tables what this version needs. Of several processes that start at once one
        does it, and the others find it done. Raises `UnsafeSettings`."""
        # An engine of its own: the others' connections give up a lock after a look's time-out.
        engine = _sqlite(self._url, MIGRATING)
        writing = engine.execution_options(streamapi_begin="IMMEDIATE")
        try:
            await self._share_file()
            async with self._transaction(writing, MIGRATING) as connection:
                await connection.run_sync(_upgrade)
        except StoreUnavailable as error:
            raise UnsafeSettings(f"STREAMAPI_DATABASE_URL={self._shown}: {error}") from None
        except CommandError as error:
            said = f"it was made by another version ({error})"
            raise UnsafeSettings(f"STREAMAPI_DATABASE_URL={self._shown}: {said}.") from None
        finally:
            await engine.dispose()

    async def aclose(self) -> None:
        """Close what is open."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(
        self, engine: AsyncEngine, seconds: float
    ) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(seconds), engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise  # the database answers; it is we who are wrong
        except (DBAPIError, NoneFree, TimeoutError, OSError) as error:
            # The driver's words; never the statement or its values.
            why = error.orig if isinstance(error, DBAPIError) else type(error).__name__
            logger.warning("the database is out of reach: %s", why)
            raise StoreUnavailable("The records cannot be reached.") from error

    async def _share_file(self) -> None:
        """Let readers read while one writes (SQLite's WAL). The file remembers it. The switch
        does not wait for other processes, so it is tried again. Without aiosqlite: where it
        cannot open a file, its thread complains once more when the loop is over."""
        end = asyncio.get_running_loop().time() + MIGRATING
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
        cursor.execute("PRAGMA synchronous=FULL")  # a key that was revoked stays so, power or not
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
