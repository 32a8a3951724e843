"""A database per test, on every engine that the records support."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamapi.records.database import Database


@pytest.fixture(params=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return {"sqlite": f"sqlite:///{tmp_path}/records.db"}[request.param]


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """A database with its tables."""
    database = Database(url)
    await database.migrate()
    yield database
    await database.aclose()
