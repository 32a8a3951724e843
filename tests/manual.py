"""The pages of the manual, and the blocks of code in them.

The comment above a block says how it is run, and readers do not see it:

    <!-- prints: text -->     run against the server of the tests; prints this text
    <!-- keys: text -->       the same against a server that asks for keys, with one in `$KEY` and
                              an administrator's in `$ADMIN`
    <!-- browser: text -->    run in a page of the server, which shows this text at the end
    <!-- file: path -->       the content of a file
"""

import asyncio
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- (\w+): ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.M | re.S)
ENOUGH = 60.0
"""Seconds for one block."""


class Block(NamedTuple):
    """A fenced block, where it stands, and what the comment above it asks."""

    page: str
    line: int
    asks: str
    wanted: str
    language: str
    text: str

    @property
    def where(self) -> str:
        """The page and the line."""
        return f"{self.page}:{self.line}"


def name(page: Path) -> str:
    """The path of a page from the root."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Every block of a page."""
    text = page.read_text()
    return [
        Block(name(page), text[: it.start(4)].count("\n"), it[1] or "", it[2] or "", it[3], it[4])
        for it in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks(page)]


async def run(*command: str, environment: dict[str, str] | None = None) -> tuple[int | None, str]:
    """The exit code of a command, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
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
