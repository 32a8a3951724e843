"""What the README shows is run as it stands there, against the server of the tests.

A block that is run has `<!-- prints: text -->` above it, which a reader does not see: it must end
with exit code 0, and print that text. Addresses of `make run` are replaced by those of the tests.
"""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from streamapi.emulator import Emulator
from streamapi.tasks.task import Task
from tests.conftest import Running

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^(?:<!-- (\w+): ([^\n]*) -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)
ENOUGH = 60.0
"""Seconds for one block."""


class Block(NamedTuple):
    """A fenced block, and what the comment above it asks: `prints` or `file`."""

    line: int
    asks: str
    wanted: str
    language: str
    text: str


def blocks() -> list[Block]:
    """Every block of the README."""
    found = BLOCK.finditer(README)
    return [
        Block(README[: it.start(4)].count("\n"), it[1] or "", it[2] or "", it[3], it[4])
        for it in found
    ]


RUN = [block for block in blocks() if block.asks == "prints"]


async def run(*command: str) -> tuple[int | None, str]:
    """The exit code of a command, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), ENOUGH)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode, output.decode()


def command(block: Block, text: str) -> list[str]:
    """How a block is run."""
    if block.language == "python":
        return [sys.executable, "-c", text]
    if block.language == "js":
        return ["node", "--input-type=module", "--eval", text]
    return ["bash", "-euo", "pipefail", "-c", text]


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"line-{block.line}")
async def test_what_the_readme_shows_works(
    block: Block, server: Running, emulator: Emulator
) -> None:
    """Every command a newcomer copies does what is said of it."""
    program = command(block, "")[0]
    if not shutil.which(program):
        pytest.skip(f"there is no {program} here")
    text = block.text.replace("127.0.0.1:8000", server.url.removeprefix("http://"))
    text = text.replace("127.0.0.1:8001", emulator.url.removeprefix("http://"))
    code, output = await run(*command(block, text))
    assert code == 0, f"README.md:{block.line} ended with {code}:\n{output}"
    assert block.wanted in output, f"README.md:{block.line} did not print it:\n{output}"


def test_no_command_of_the_readme_goes_untried() -> None:
    """A block that talks to the server is run, or is not shown as something to run."""
    for block in blocks():
        tried = block.asks == "prints" or block.language not in ("sh", "python")
        here = f"README.md:{block.line}"
        assert tried or block.asks == "file", f"{here}: write <!-- prints: text --> above it"
    assert len(RUN) > 10


def test_the_task_of_the_readme_is_a_task() -> None:
    """The file it shows is a whole task, whose example its own request accepts."""
    [block] = [block for block in blocks() if block.asks == "file"]
    names: dict[str, object] = {"__name__": "summary"}
    exec(compile(block.text, "README.md", "exec"), names)
    task = names["TASK"]
    assert isinstance(task, Task)
    request = task.request.model_validate(task.example)
    assert "at most 1 sentences" in (task.prompt(request).system or "")
    parser = task.parser(request)
    parser.feed("Light meets rain.")
    assert parser.result() == {"text": "Light meets rain."}


async def test_hypercorn_by_itself_can_serve(emulator: Emulator) -> None:
    """`hypercorn "streamapi:create_app()"` is the same app."""
    code, output = await run(
        sys.executable,
        "-c",
        "import os, hypercorn.utils as utils\n"
        f"os.environ['STREAMAPI_GEMINI_BASE_URL'] = '{emulator.url}'\n"
        "print(type(utils.load_application('streamapi:create_app()', wsgi_max_body_size=1)))",
    )
    assert code == 0, output
    assert "ASGIWrapper" in output
