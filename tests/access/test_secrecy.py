"""No key and no ticket is stored or shown: not in the log, not in the database, not in Redis."""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import websockets

from streamapi.access import keys
from tests.conftest import RedisServer, bearer


@contextlib.asynccontextmanager
async def logged(log: Path, database_url: str, redis_url: str) -> AsyncIterator[str]:
    """A server process with keys, which logs at the debug level. Yields its address."""
    env = {name: value for name, value in os.environ.items() if name != "GOOGLE_API_KEY"}
    env |= {"STREAMAPI_AUTH": "keys", "STREAMAPI_DATABASE_URL": database_url}
    env |= {"STREAMAPI_REDIS_URL": redis_url, "STREAMAPI_LOG_LEVEL": "debug"}
    env |= {"STREAMAPI_BIND": "127.0.0.1:0", "STREAMAPI_DRAIN_TIMEOUT": "0.5"}
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamapi", "serve"),
            env=env, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while b"streamapi on " not in log.read_bytes():
                await asyncio.sleep(0.02)
            url = log.read_text().split("streamapi on ")[1].split()[0]
            async with httpx.AsyncClient() as client:
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        await client.get(f"{url}/healthz")
                        break
                    await asyncio.sleep(0.02)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def created(database_url: str, *scopes: str) -> str:
    """A key, made on the command line."""
    env = {**os.environ, "STREAMAPI_DATABASE_URL": database_url}
    arguments = [word for scope in scopes for word in ("--scope", scope)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamapi", "keys", "create", "--owner", "ops", *arguments),
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    assert keys.contains_key(stdout.decode())
    assert not keys.contains_key(stderr.decode())
    return stdout.decode().strip()


async def test_no_key_is_stored_or_shown(
    tmp_path: Path, database_url: str, redis_server: RedisServer
) -> None:
    """Requests use keys in right, wrong and hostile ways. Then neither the debug log nor the
    database nor any value of Redis contains a key, or a part of one."""
    log, file = tmp_path / "log", Path(database_url.removeprefix("sqlite:///"))
    redis_server.ask("FLUSHALL")
    credentials = [await created(database_url, "admin", "text")]
    unknown = keys.make()
    async with (
        logged(log, database_url, redis_server.url) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        good = bearer(credentials[0])
        body = {"owner": "acme", "scopes": ["text"]}
        made = (await client.post("/v1/keys", json=body, headers=good)).json()
        credentials.append(made["key"])
        for key in (*credentials, unknown):
            used = {**bearer(key), "Idempotency-Key": "once"}
            await client.post("/v1/text", json={"prompt": "hello"}, headers=used)
            await client.get(f"/v1/models?key={key}", headers=good)
            await client.get(f"/v1/text/stream?prompt={key}", headers=good)
            await client.get(f"/v1/generations/{key}", headers=good)
            await client.delete(f"/v1/keys/{key}", headers=good)
            named = await client.get("/v1/models", headers={**good, "X-Request-Id": key})
            assert key not in str(named.headers)
            await client.get("/v1/models", headers={"Authorization": f"Basic {key}"})
            await client.post("/v1/text", content=b"{" + key.encode(), headers=bearer(key))
            async with websockets.connect(f"ws{url[4:]}/v1/ws") as socket:
                await socket.send(json.dumps({"type": "auth", "token": key}))
                with contextlib.suppress(websockets.ConnectionClosed):
                    await socket.send(json.dumps({"type": "nonsense", "ref": 1}))
                    await socket.recv()
        body = {"path": "/v1/text/stream"}
        got = (await client.post("/v1/tickets", json=body, headers=good)).json()["ticket"]
        for ticket, path in ((got, "text"), (got, "code"), ("tkt_" + "madeup" * 6, "text")):
            query = {"prompt": "hello", "ticket": ticket}
            await client.get(f"/v1/{path}/stream", params=query)
            credentials.append(ticket)
        await client.delete(f"/v1/keys/{made['id']}", headers=good)
        stored = b"".join(_redis(redis_server))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        dump = "\n".join(connection.iterdump())
    assert "key_" in dump
    files = b"".join(path.read_bytes() for path in file.parent.glob("*.db*"))
    assert b"/v1/models" in log.read_bytes()
    for place in (log.read_bytes(), dump.encode(), files, stored):
        for key in (*credentials, unknown):
            secret = key.removeprefix(keys.PREFIX).removeprefix("tkt_").encode()
            assert secret[:16] not in place
            assert secret[-16:] not in place


def _redis(server: RedisServer) -> list[bytes]:
    """Every key of a Redis, and its value."""
    server.ask("CONFIG", "SET", "rdbcompression", "no")  # a compressed dump would hide it
    found = []
    for key in server.ask("KEYS", "*"):
        found += [key, server.ask("DUMP", key) or b""]
    assert found
    return found
