"""Keys and tickets that do not exist are limited by address; valid ones are not, however many
come at once. The tests use the default settings."""

import asyncio
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from streamapi.access import guesses, keys
from streamapi.emulator import Emulator
from tests.api.wire import http, parse, unique
from tests.conftest import RedisServer, Running, bearer, running

MOST = 20
PATH = "/v1/text/stream"


@pytest.fixture(params=["memory", "redis"])
async def server(
    request: pytest.FixtureRequest,
    emulator: Emulator,
    redis_server: RedisServer,
    database_url: str,
) -> AsyncIterator[Running]:
    """A server with keys, behind a proxy of the test: each test has an address of its own."""
    settings: dict[str, Any] = {
        "auth": "keys", "database_url": database_url, "trusted_hops": 1,
        "redis_url": redis_server.url if request.param == "redis" else "",
    }  # fmt: skip
    async with running(emulator, **settings) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with http(server.url) as client:
        client.headers["X-Forwarded-For"] = f"2001:db8:{secrets.randbelow(65536):x}::1"
        yield client


async def models(client: httpx.AsyncClient, key: str) -> int:
    """The status of a request with this key."""
    return (await client.get("/v1/models", headers=bearer(key))).status_code


async def ticket(client: httpx.AsyncClient, key: str) -> str:
    answer = await client.post("/v1/tickets", json={"path": PATH}, headers=bearer(key))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


async def test_many_new_keys_come_at_once(server: Running, client: httpx.AsyncClient) -> None:
    """Valid keys of one address, such as a company's, are looked up once each, and none counts."""
    made = [(await server.key("text"))[0] for _ in range(2 * MOST + 1)]
    assert Counter(await asyncio.gather(*(models(client, key) for key in made))) == {200: len(made)}
    assert await models(client, keys.make()) == 401


async def test_many_new_tickets_come_at_once(server: Running, client: httpx.AsyncClient) -> None:
    """All are presented for the first time, at the same time."""
    key, _ = await server.key("text")
    tickets = [await ticket(client, key) for _ in range(2 * MOST + 1)]
    prompt = unique("[[words:3]]")
    requests = (client.get(PATH, params={"prompt": prompt, "ticket": it}) for it in tickets)
    answers = await asyncio.gather(*requests)
    assert Counter(answer.status_code for answer in answers) == {200: len(tickets)}


async def test_one_new_key_comes_many_times(server: Running, client: httpx.AsyncClient) -> None:
    """After a restart a hundred requests come with one key that is not cached."""
    key, _ = await server.key("text")
    codes = await asyncio.gather(*(models(client, key) for _ in range(100)))
    assert Counter(codes) == {200: 100}


async def test_guesses_do_not_block_a_good_ticket(
    server: Running, client: httpx.AsyncClient
) -> None:
    """An `EventSource` can reconnect while others at its address guess."""
    key, _ = await server.key("text")
    params = {"prompt": unique("[[words:3]]"), "ticket": await ticket(client, key)}
    first = parse((await client.get(PATH, params=params)).content)
    codes = [await models(client, keys.make()) for _ in range(MOST)]
    async with asyncio.timeout(10):
        while await models(client, keys.make()) != 429:
            pass  # one comes back every three seconds
    assert codes == [401] * MOST
    headers = {"Last-Event-ID": str(first[1].id)}
    again = await client.get(PATH, params=params, headers=headers)
    assert (again.status_code, parse(again.content)) == (200, first[2:])


async def test_one_bad_key_is_one_guess(server: Running, client: httpx.AsyncClient) -> None:
    """A program that repeats one wrong key does not block its address."""
    bad = keys.make()
    assert Counter(await asyncio.gather(*(models(client, bad) for _ in range(50)))) == {401: 50}
    assert [await models(client, bad) for _ in range(50)] == [401] * 50
    assert await models(client, (await server.key("text"))[0]) == 200


async def test_a_key_that_exists_is_no_guess(server: Running, client: httpx.AsyncClient) -> None:
    """Any number of revoked keys of one address do not count."""
    key_auth = server.parts.key_auth
    assert key_auth is not None
    for _ in range(MOST + 1):
        key, name = await server.key("text")
        await key_auth.store.revoke(name)
        assert await models(client, key) == 401
    assert await models(client, (await server.key("text"))[0]) == 200


@asynccontextmanager
async def look_ups(server: Running, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """The number of look-ups under way at the start of each one."""
    seen: list[int] = []
    under_way = 0
    assert server.parts.key_auth is not None
    database = server.parts.key_auth.database
    reading = database.reading

    @asynccontextmanager
    async def counted() -> AsyncIterator[Any]:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        try:
            async with reading() as connection:
                yield connection
        finally:
            under_way -= 1

    monkeypatch.setattr(database, "reading", counted)
    yield seen


async def test_guesses_are_bounded(
    server: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two hundred at once, as many as allowed are looked up, a few at a time."""
    began = time.monotonic()
    async with look_ups(server, monkeypatch) as seen:
        codes = await asyncio.gather(*(models(client, keys.make()) for _ in range(200)))
    most = MOST + int((time.monotonic() - began) / 3)  # one comes back every three seconds
    assert set(codes) == {401, 429}
    assert MOST <= codes.count(401) <= most
    # Each failure that comes back lets as many look-ups begin as may be under way.
    assert len(seen) < MOST + guesses.LOOKUPS * (1 + most - MOST)
    assert max(seen) <= guesses.LOOKUPS
    more = [client.get(PATH, params={"prompt": "x", "ticket": f"tkt_{n}"}) for n in range(5)]
    assert {answer.status_code for answer in await asyncio.gather(*more)} == {429}
    client.headers["X-Forwarded-For"] = "2001:db8:ffff:ffff::1"
    assert await models(client, keys.make()) == 401


async def test_a_database_that_is_away_makes_nobody_a_guesser(
    server: Running, client: httpx.AsyncClient, database_url: str
) -> None:
    """Not to know a key is not to know that it is bad."""
    made = [(await server.key("text"))[0] for _ in range(MOST + 5)]
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as records:
        records.execute("ALTER TABLE keys RENAME TO elsewhere")
        records.commit()
        codes = await asyncio.gather(*(models(client, key) for key in made))
        assert Counter(codes) == {503: len(made)}
        records.execute("ALTER TABLE elsewhere RENAME TO keys")
    records.close()
    async with asyncio.timeout(5):
        while (status := await models(client, made[0])) == 503:
            await asyncio.sleep(0.02)
    assert status == 200
