"""Full memory, over HTTP: no promise is broken, and nobody pays for a neighbour."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from streamapi.emulator import Emulator
from tests.conftest import bearer, running


def text_request() -> dict[str, str]:
    """A request that no other test asks."""
    return {"prompt": f"bounds {uuid4().hex}"}


async def test_a_repeat_is_never_paid_twice_however_many_came_between(emulator: Emulator) -> None:
    """A server that remembers as much as it can forgets what has no key, and refuses a new key
    rather than forget an old one."""
    async with (
        running(emulator, max_generations=12, max_logs=3) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20) as client,
    ):
        accepted: list[tuple[dict[str, str], dict[str, str], str]] = []
        while True:
            body, key = text_request(), {"Idempotency-Key": uuid4().hex}
            answer = await client.post("/v1/text", json=body, headers=key)
            if answer.status_code != 200:
                break
            accepted.append((body, key, answer.headers["Generation-Id"]))
            for _ in range(3):
                assert (await client.post("/v1/text", json=text_request())).status_code == 200
        assert len(accepted) == 6  # alone, half
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 3600
        assert emulator.history.report(body["prompt"])["calls"] == []
        for body, key, generation in accepted:
            again = await client.post("/v1/text", json=body, headers=key)
            assert again.headers.get("Generation-Id", generation) == generation
            assert again.status_code in (200, 410)
            assert len(emulator.history.report(body["prompt"])["calls"]) == 1
        assert (await client.post("/v1/text", json=text_request())).status_code == 200


@pytest.mark.parametrize("backend", ["memory", "redis"])
async def test_a_short_life_of_logs_does_not_shorten_the_promise(
    emulator: Emulator, backend: str, request: pytest.FixtureRequest
) -> None:
    """However soon logs and generations expire, a key is remembered for its hour."""
    url = request.getfixturevalue("redis_server").url if backend == "redis" else ""
    async with (
        running(emulator, log_ttl=0.05, expired_ttl=0.001, redis_url=url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20) as client,
    ):
        body, key = text_request(), {"Idempotency-Key": uuid4().hex}
        first = await client.post("/v1/text", json=body, headers=key)
        assert first.status_code == 200
        url = f"/v1/generations/{first.headers['Generation-Id']}"
        async with asyncio.timeout(10):
            while (await client.get(url)).status_code == 200:  # what has expired goes meanwhile
                await asyncio.sleep(0.02)
        assert (await client.post("/v1/text", json=text_request())).status_code == 200
        again = await client.post("/v1/text", json=body, headers=key)
        assert (again.status_code, again.json()["code"]) == (410, "generation_expired")
        assert len(emulator.history.report(body["prompt"])["calls"]) == 1


async def test_a_busy_owner_does_not_push_out_the_answer_of_another(
    emulator: Emulator, database_url: str
) -> None:
    """Beyond the bound of logs it is the busy owner's own answers that give way."""
    bounds = {"auth": "keys", "database_url": database_url, "max_logs": 20}
    async with (
        running(emulator, **bounds) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20) as client,
    ):
        quiet, busy = [bearer((await server.key(owner=who))[0]) for who in ("quiet", "busy")]
        body, key = text_request(), {"Idempotency-Key": "mine"}
        first = await client.post("/v1/text", json=body, headers={**quiet, **key})
        for _ in range(60):
            answer = await client.post("/v1/text", json=text_request(), headers=busy)
            assert answer.status_code == 200
        url = f"/v1/generations/{first.headers['Generation-Id']}"
        assert (await client.get(url, headers=quiet)).json() == first.json()
        again = await client.post("/v1/text", json=body, headers={**quiet, **key})
        assert again.json() == first.json()
        assert len(emulator.history.report(body["prompt"])["calls"]) == 1
