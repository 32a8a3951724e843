"""What the tests stand on: a real emulator, a real server on a real port, a real HTTP client.

The server runs in the tests' own event loop, under Hypercorn, as `streamapi serve` does it; what
a test wants to know of the model (how often it was asked, when its client left) it asks the
emulator. Nothing is mocked.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis as sync_redis
from hypercorn.asyncio import serve
from quart import Quart, Response, has_request_context, request, websocket

from streamapi.access.new_key import NewKey
from streamapi.api.patches.connections import EXTENSION, ConnectionBounds
from streamapi.app import create_app
from streamapi.emulator import Emulator
from streamapi.generation.health import CircuitBounds
from streamapi.server import hypercorn_config
from streamapi.services import Services
from streamapi.settings import Settings
from streamapi.startup import listen

QUICK = {
    "rate_limit": "off",
    "message_limit": 0,
    "replays_per_minute": 0,
    "replay_bytes_per_minute": 0,
    "tokens_per_minute": 0,
    "tokens_per_day": 0,
    "max_streams": 0,
    "retry_backoff": 0.005,
    "attempt_timeout": 3.0,
    "first_content_timeout": 10.0,
    "idle_timeout": 3.0,
    "disconnect_grace": 0.2,
    "log_level": "error",
}
"""Settings under which no time-out makes a test slow, and no limit stops it."""

PATIENT = {"attempt_timeout": 20.0, "first_content_timeout": 45.0, "idle_timeout": 30.0}
"""The defaults, for a test in which no time-out may end what the machine is only slow at."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI everything is at hand: a test that is skipped there is one that nobody runs."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"skipped in CI: {reason}"
    return report


class Running:
    """A server that answers at `url`, and its parts."""

    def __init__(self, url: str, parts: Services, connections: ConnectionBounds) -> None:
        self.connections = connections
        self.url = url
        self.ws = url.replace("http", "ws", 1)
        self.parts = parts

    async def key(self, *scopes: str, owner: str = "acme", **more: Any) -> tuple[str, str]:
        """A new key of this server (with `auth="keys"`) for some scopes, or for every task; and
        its id."""
        key_auth = self.parts.key_auth
        assert key_auth is not None, "this server asks for no keys"
        wanted = {"owner": owner, "scopes": list(scopes or self.parts.tasks), **more}
        key, record = await key_auth.store.issue(NewKey.model_validate(wanted))
        return key, record.id


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def running(emulator: Emulator, **settings: Any) -> AsyncIterator[Running]:
    """A server of its own, for a test that needs other settings."""
    wanted = Settings(
        **{"gemini_base_url": emulator.url, "bind": "127.0.0.1:0", **QUICK, **settings}
    )
    listener = listen(wanted)
    app = create_app(wanted)
    undocumented = note_undocumented(app)
    stop = asyncio.Event()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = hypercorn_config(wanted, listener)
    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    await _answers(url, task)
    try:
        yield Running(url, app.extensions["streamapi"], app.extensions[EXTENSION])
    finally:
        stop.set()
        await task
    assert not undocumented, "add these errors to `fails` in the descriptions of their routes"


_documented: dict[frozenset[str], dict[str, Any]] = {}


def note_undocumented(app: Quart) -> set[tuple[str, str, int]]:
    """A set to which every answer of the app is added whose status /openapi.json does not have."""
    found: set[tuple[str, str, int]] = set()

    async def note(response: Response) -> Response:
        asked = request if has_request_context() else websocket
        path = re.sub(
            r"<(?:[^:>]*:)?(\w+)>", r"{\1}", asked.url_rule.rule if asked.url_rule else asked.path
        )
        operation = _paths(app).get(path, {}).get(asked.method.lower())
        if operation is not None and str(response.status_code) not in operation["responses"]:
            found.add((asked.method, path, response.status_code))
        return response

    async def note_refusal(response: Response | None) -> Response | None:
        return None if response is None else await note(response)

    app.after_request(note)
    app.after_websocket(note_refusal)  # type: ignore[type-var]  # None is an accepted socket
    return found


def _paths(app: Quart) -> dict[str, Any]:
    """The paths of the app's document. Those of apps with the same routes are the same."""
    routes = frozenset(rule.rule for rule in app.url_map.iter_rules())
    if routes not in _documented:
        documentation = app.extensions["QUART_SCHEMA"]
        _documented[routes] = documentation.openapi_provider.schema()["paths"]
    return _documented[routes]


def scaled(factor: float) -> dict[str, float]:
    """The defaults of all settings that are times, divided by a factor: what users run, sooner."""
    return {
        name: field.default / factor
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, float)
    }


@asynccontextmanager
async def at_defaults(
    emulator: Emulator, factor: float = 1.0, **settings: Any
) -> AsyncIterator[Running]:
    """A server whose times are the defaults divided by a factor, its circuits' among them."""
    async with running(emulator, **{**scaled(factor), **settings}) as server:
        bounds = CircuitBounds()
        server.parts.generations.circuits.bounds = msgspec.structs.replace(
            bounds,
            **{
                name: getattr(bounds, name) / factor
                for name in ("window", "cool_down", "longest", "refused", "longest_wait")
            },
        )
        yield server


async def _answers(url: str, task: "asyncio.Task[None]") -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(500):
            if task.done():
                task.result()
            try:
                await client.get(f"{url}/healthz")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.01)
    raise AssertionError("the server did not come up")


async def until(true: Callable[[], Any], what: str, seconds: float = 5.0) -> None:
    """Wait until something is true; the description says what was waited for in vain."""
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.002)


class RedisServer:
    """A Redis of our own, on a free port. Tests stop, freeze and empty it."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            ["redis-server", "--port", f"{self.port}", "--bind", "127.0.0.1", "--save", "",
             "--dir", f"{self.folder}", *options],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(500):
            with suppress(OSError):
                self.ask("PING")
                return
            time.sleep(0.01)
        raise AssertionError("the Redis server did not come up")

    def stop(self) -> None:
        """End it, with all that it holds."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str) -> Any:
        """What it says to a command."""
        with sync_redis.Redis(port=self.port, socket_timeout=5, retry=None) as client:
            try:
                return client.execute_command(*command)
            except sync_redis.ConnectionError as error:
                raise OSError from error


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that tests share."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
async def emulator() -> AsyncIterator[Emulator]:
    """Gemini, scripted."""
    async with Emulator(pace=0.001) as emulator:
        yield emulator


@pytest.fixture(scope="session")
async def server(emulator: Emulator) -> AsyncIterator[Running]:
    """The server that most tests share."""
    async with running(emulator) as server:
        yield server


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """An address for records of a test's own."""
    return f"sqlite:///{tmp_path}/streamapi.db"


@pytest.fixture
async def guarded(emulator: Emulator, database_url: str) -> AsyncIterator[Running]:
    """A server that asks for keys."""
    async with running(emulator, auth="keys", database_url=database_url) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the shared server."""
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        yield client
