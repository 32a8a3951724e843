"""Run schemathesis against a real server with the emulator: open, and with keys.

    python -m tests.conformance.run SCHEMATHESIS

`SCHEMATHESIS` is the program. The exit code is 1 when a server does not do what it documents.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench.rig import free_port
from streamapi.access.new_key import OTHER_SCOPES
from streamapi.settings import Settings, environment_name
from streamapi.tasks import every_task
from streamapi.tasks.text import TASK as TEXT

CONFIG = Path(__file__).with_name("schemathesis.toml")
STREAMAPI = (sys.executable, "-m", "streamapi")
UP = 120.0
"""Seconds that a server may take until it answers: much, on a machine that does other things."""

LONGEST = 600.0
"""Seconds that one run may take. It takes about a minute: the number of examples bounds it."""

LEFT_OUT = {
    f"#/components/parameters/{name}"
    for name in ("Last-Event-ID", "after", "after_number", "ticket")
}

SETTINGS = {
    "rate_limit": "off",
    "message_limit": "0",
    "replays_per_minute": "0",
    "replay_bytes_per_minute": "0",
    "tokens_per_minute": "0",
    "tokens_per_day": "0",
    "max_streams": "0",
    "failures_per_minute": "1000000",
    "log_level": "warning",
}
"""No limit refuses what schemathesis asks: it would see little else."""


class Server:
    """A server that is open or asks for keys, in a process of its own."""

    def __init__(self, folder: str, auth: str) -> None:
        settings = {**SETTINGS, "auth": auth, "database_url": f"sqlite:///{folder}/{auth}.db"}
        ours = {environment_name(name) for name in Settings.model_fields}
        self._environment = {k: value for k, value in os.environ.items() if k not in ours}
        self._environment |= {environment_name(name): value for name, value in settings.items()}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [*STREAMAPI, "serve", "--bind", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)

    def key(self, owner: str) -> str:
        """A new key for everything."""
        scopes = [f"--scope={name}" for name in (*every_task(), *OTHER_SCOPES)]
        create = [*STREAMAPI, "keys", "create", "--owner", owner, *scopes]
        made = subprocess.run(create, env=self._environment, check=True, stdout=subprocess.PIPE)
        return made.stdout.decode().strip()

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + UP
        while time.monotonic() < end and self.process.poll() is None:
            try:
                httpx.get(f"{self.url}/healthz")
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise SystemExit("the server did not come up")


def main(arguments: Sequence[str]) -> int:
    """Check both servers."""
    failed: list[bool] = []
    with tempfile.TemporaryDirectory() as folder:
        for auth in ("open", "keys"):
            print(f"\n=== STREAMAPI_AUTH={auth}", flush=True)
            server = Server(folder, auth)
            try:
                server.wait()
                failed.append(_check(arguments[0], server, auth, folder))
            finally:
                server.process.terminate()
                server.process.wait()
    return int(any(failed))


def _check(schemathesis: str, server: Server, auth: str, folder: str) -> bool:
    """Run schemathesis, with generations and a key at hand. Whether it found something."""
    headers, spare = {}, "key_none"
    if auth == "keys":
        headers = {"Authorization": f"Bearer {server.key('acme')}"}
        server.key("to-revoke")
        listed = httpx.get(f"{server.url}/v1/keys", headers=headers).raise_for_status()
        keys = msgspec.json.decode(listed.content)["data"]
        spare = next(key["id"] for key in keys if key["owner"] == "to-revoke")
    kept, dropped = (_generation(server, headers) for _ in range(2))
    environment = {
        **os.environ,
        "STREAMAPI_CONFORMANCE_GENERATION": kept,
        "STREAMAPI_CONFORMANCE_GENERATION_TO_FORGET": dropped,
        "STREAMAPI_CONFORMANCE_KEY_TO_REVOKE": spare,
    }
    place = f"{server.url}/openapi.json"
    streams = Path(folder, f"streams-{auth}.json")
    streams.write_bytes(msgspec.json.encode(_streams(httpx.get(place).json())))
    shown = [f"--header={name}: {value}" for name, value in headers.items()]
    found = False
    for document in ([place], [str(streams), f"--url={server.url}"]):
        command = [schemathesis, f"--config-file={CONFIG}", "run", *document, *shown]
        run = subprocess.run(command, env=environment, check=False, timeout=LONGEST)
        found = found or run.returncode != 0
    return found


def _generation(server: Server, headers: dict[str, str]) -> str:
    answer = httpx.post(f"{server.url}/v1/text", json=TEXT.example, headers=headers, timeout=30)
    return str(msgspec.json.decode(answer.raise_for_status().content)["id"])


def _streams(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its streams alone, and without the parameters that resume one or stand for
    a key: most that are made up are refused, and hardly a stream would begin."""
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"].get("200", {}).get("content", {})
            if "text/event-stream" in content:
                taken = [it for it in operation["parameters"] if it.get("$ref") not in LEFT_OUT]
                paths.setdefault(path, {})[method] = {**operation, "parameters": taken}
    return {**document, "paths": paths}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
