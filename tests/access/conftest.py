"""A database with keys that a test can make unavailable."""

import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamapi.access import keys
from streamapi.records import keys as rows
from streamapi.records.database import Database
from streamapi.records.keys import KeyRecord


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Records(Database):
    """A database that counts its reads, and that can be made unavailable."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"sqlite:///{file}", timeout=1.0)
        self._file = file
        self.reads = 0

    def reading(self) -> Any:
        self.reads += 1
        return super().reading()

    def go_away(self) -> None:
        """Fail from now on."""
        self._rename("keys", "elsewhere")

    def come_back(self) -> None:
        """Work again."""
        self._rename("elsewhere", "keys")

    def _rename(self, old: str, new: str) -> None:
        with sqlite3.connect(self._file) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.close()

    async def make(self, **more: Any) -> tuple[str, KeyRecord]:
        """Make a key: the key itself and its record."""
        key = keys.make()
        fields: dict[str, Any] = {"owner": "acme", "name": "", "scopes": ("text",), **more}
        record = KeyRecord(id=keys.make_id(), hash=keys.digest(key), created=time.time(), **fields)
        await rows.add(self, record)
        return key, record


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Records]:
    """An empty database with the tables."""
    records = Records(tmp_path / "keys.db")
    await records.migrate()
    yield records
    await records.aclose()
