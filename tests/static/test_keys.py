"""The JavaScript client with a key, against a server that requires keys."""

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
const outcomes = {};
for (const transport of ['post', 'follow', 'websocket']) {
  for (const [name, key] of [['good', good], ['bad', bad]]) {
    const api = new StreamAPI({ baseUrl, key });
    const stream = api.stream('text', { prompt: `Hello ${transport}.` }, { transport });
    try {
      for await (const event of stream) outcomes[`${transport} ${name}`] = event.type;
    } catch (error) {
      outcomes[`${transport} ${name}`] = error.code ?? String(error);
    }
  }
}
console.log(JSON.stringify(outcomes));
process.exit(0);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
async def test_the_client_sends_its_key(guarded: Running) -> None:
    """In a header, or in the first message of a WebSocket. A wrong key is an error at once."""
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
    outcomes: dict[str, Any] = json.loads(output)
    assert outcomes == {
        f"{transport} {name}": "done" if name == "good" else "unauthenticated"
        for transport in ("post", "follow", "websocket")
        for name in ("good", "bad")
    }
