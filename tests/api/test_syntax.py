"""The syntax of a code answer: checked beside the server, whatever that costs the checker."""

import asyncio
import os
import signal
import sys

from streamapi.emulator import Emulator
from tests.api.test_metrics import scraped
from tests.api.wire import http, unique
from tests.conftest import running, until


async def test_the_server_never_loads_a_grammar(emulator: Emulator) -> None:
    """The verdict comes from another process, which ends with the server."""
    before = set(sys.modules)  # a test of the emulator judges its code by a grammar
    async with running(emulator) as server, http(server.url) as client:
        request = {"prompt": unique(), "language": "python"}
        answer = (await client.post("/v1/code", json=request)).json()
        assert answer["result"]["syntax"] == {"valid": True, "line": None, "column": None}
        assert not [it for it in set(sys.modules) - before if it.startswith("tree_sitter")]
        found = await scraped(client)
        assert found["streamapi_syntax_checks_total", "python", "valid"] == 1
        [pid] = server.parts.syntax.pids
    assert not os.path.exists(f"/proc/{pid}")


async def test_an_answer_has_no_verdict_when_its_checker_dies(emulator: Emulator) -> None:
    """It is whole and done; the next one has its verdict again."""
    async with running(emulator) as server, http(server.url) as client:

        async def verdict() -> object:
            request = {"prompt": unique(), "language": "python"}
            answer = (await client.post("/v1/code", json=request)).json()
            assert answer["status"] == "done"
            assert answer["result"]["code"]
            return answer["result"]["syntax"]

        assert await verdict()
        [pid] = server.parts.syntax.pids
        os.kill(pid, signal.SIGSTOP)  # so that it is asked, and dies over it
        code = client.post("/v1/code", json={"prompt": unique(), "language": "python"})
        answer = asyncio.create_task(code)
        await until(lambda: server.parts.syntax._checks, "it is asked")
        os.kill(pid, signal.SIGKILL)
        assert (await answer).json()["result"]["syntax"] is None
        assert await verdict()
        found = await scraped(client)
    assert found["streamapi_syntax_checks_total", "python", "crashed"] == 1


async def test_a_cancelled_answer_does_not_wait_for_its_verdict(emulator: Emulator) -> None:
    """Whoever cancels while the syntax is checked has the ending at once."""
    async with running(emulator) as server, http(server.url) as client:
        request = {"prompt": unique(), "language": "python"}
        await client.post("/v1/code", json=request)
        [pid] = server.parts.syntax.pids
        os.kill(pid, signal.SIGSTOP)
        prefer = {"Prefer": "respond-async"}
        begun = await client.post("/v1/code", json={**request, "prompt": unique()}, headers=prefer)
        await until(lambda: server.parts.syntax._checks, "it is asked")
        await client.post(f"{begun.headers['location']}/cancel")
        answer = (await client.get(begun.headers["location"])).json()
        assert answer["status"] == "cancelled"
        os.kill(pid, signal.SIGCONT)
