"""The pool of processes that check syntax in these tests."""

from collections.abc import AsyncIterator

import pytest

from streamapi.tasks.syntax.pool import SyntaxPool


@pytest.fixture(scope="session")
async def syntax() -> AsyncIterator[SyntaxPool]:
    """Checks syntax, as in a server."""
    pool = SyntaxPool(2)
    yield pool
    await pool.aclose()
