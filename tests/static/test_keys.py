"""The JavaScript client with a key, against a server that asks for one."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from streamapi.access import keys
from tests.conftest import Running

CLIENT = Path(__file__).parent.parent.parent / "static" / "client" / "streamapi.js"
SCRIPT = """
import { StreamAPI } from '%s';
const [baseUrl, good, bad] = process.argv.slice(1);
const told = {};
for (const door of ['post', 'follow', 'websocket']) {
  for (const [name, key] of [['good', good], ['bad', bad]]) {
    const api = new StreamAPI({ baseUrl, key });
    const stream = api.stream('text', { prompt: `Hello ${door}.` }, { door });
    try {
      for await (const event of stream) told[`${door} ${name}`] = event.type;
    } catch (error) {
      told[`${door} ${name}`] = error.code ?? String(error);
    }
  }
}
console.log(JSON.stringify(told));
process.exit(0);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
async def test_the_client_shows_its_key(guarded: Running) -> None:
    """In a header, or as the first message of a socket; a bad one is told, and not tried again."""
    good, _ = await guarded.key()
    script = SCRIPT % CLIENT.as_uri()
    node = await asyncio.create_subprocess_exec(
        *("node", "--experimental-websocket", "--input-type=module", "-e", script, "--"),
        *(guarded.url, good, keys.make()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        output, error = await node.communicate()
    assert node.returncode == 0, error.decode()
    told: dict[str, Any] = json.loads(output)
    assert told == {
        f"{door} {name}": "done" if name == "good" else "unauthenticated"
        for door in ("post", "follow", "websocket")
        for name in ("good", "bad")
    }
