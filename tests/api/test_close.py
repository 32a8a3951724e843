"""The end of a process: each part is closed, even if others fail."""

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
async def test_every_part_is_closed_even_if_one_fails(
    emulator: Emulator,
    database_url: str,
    broken: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names a part that raises or hangs; the others are closed."""
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
    hangs = (broken, how) == ("generations", "hangs")
    assert caplog.text.count("could not be closed") == (not hangs)
    assert caplog.text.count("answers still ran after 1 s") == hangs


async def test_every_reader_is_closed_even_if_one_fails(emulator: Emulator) -> None:
    """A close callback that raises does not affect the others."""
    called: list[str] = []

    def breaks() -> None:
        called.append("breaks")
        raise ZeroDivisionError("a bug")

    async with running(emulator) as server, http(server.url) as client:
        await client.post("/v1/text", json={"prompt": unique("[[words:2]]")})
        server.parts.sockets |= {breaks, lambda: called.append("one"), lambda: called.append("two")}
        await close(server.parts, 0.0)
    assert sorted(called) == ["breaks", "one", "two"]
