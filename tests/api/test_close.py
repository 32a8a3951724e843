"""The end of a process: each part is closed, whatever the others do."""

import asyncio
from typing import Any

import pytest

from streamapi.drain import CLOSE_SECONDS, close
from streamapi.emulator import Emulator
from tests.api.wire import http, unique
from tests.conftest import running

PARTS = ("generations", "providers", "key_auth", "logs", "limits", "syntax")


@pytest.mark.parametrize("broken", PARTS)
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_part_that_cannot_be_closed_keeps_no_other_open(
    emulator: Emulator,
    database_url: str,
    broken: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that raises, or that never ends, is named in the log; the others are closed."""
    closed: list[str] = []
    async with running(emulator, auth="keys", database_url=database_url) as server:

        def watch(name: str, part: Any) -> None:
            verb = "close" if name == "generations" else "aclose"
            really = getattr(part, verb)

            async def closes(_: Any, *arguments: Any) -> None:
                await really(*arguments)
                closed.append(name)
                if name == broken and how == "raises":
                    raise ZeroDivisionError("a bug")
                if name == broken:
                    await asyncio.sleep(60)

            monkeypatch.setattr(type(part), verb, closes)

        for name in PARTS:
            watch(name, getattr(server.parts, name))
        await asyncio.wait_for(close(server.parts, 0.0), 5 + 3 * CLOSE_SECONDS)
        assert server.parts.closed
    assert sorted(closed) == sorted(PARTS)
    assert caplog.text.count("could not be closed") == 1


async def test_a_reader_that_cannot_be_sent_away_keeps_no_other(emulator: Emulator) -> None:
    """A bug in one close callback costs the others nothing."""
    told: list[str] = []

    def breaks() -> None:
        told.append("breaks")
        raise ZeroDivisionError("a bug")

    async with running(emulator) as server, http(server.url) as client:
        await client.post("/v1/text", json={"prompt": unique("[[words:2]]")})
        server.parts.sockets |= {breaks, lambda: told.append("one"), lambda: told.append("two")}
        await close(server.parts, 0.0)
    assert sorted(told) == ["breaks", "one", "two"]
