"""What the manual and the README show is run as it stands there, against a server of the tests.

Every block is run, or its language has a check of its own. `tests/manual.py` says how a block asks
to be run. Addresses of `make run` are replaced by those of the tests.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from streamapi import cli
from streamapi.api.markdown import links, render
from streamapi.api.routes.manual import INDEX, sections
from streamapi.app import create_app
from streamapi.emulator import Emulator
from streamapi.settings import Settings, environment_name
from streamapi.tasks.task import Task
from tests.conftest import Running, running
from tests.manual import BLOCKS, PAGES, ROOT, Block, command, name, run
from tests.static.conftest import ARGUMENTS, CHROMIUM, in_browser

DOCS = ROOT / "docs"
SETTINGS = {environment_name(field) for field in Settings.model_fields}
BIN = Path(sys.executable).parent
LONGEST = 150
"""Lines of a page that is written by hand, its code included."""


def of(*asks: str) -> list[Block]:
    """The blocks that ask to be run in one of these ways."""
    return [block for block in BLOCKS if block.asks in asks]


def here(text: str, server: Running, emulator: Emulator) -> str:
    """A block with the addresses of the tests."""
    text = text.replace("127.0.0.1:8000", server.url.removeprefix("http://"))
    text = text.replace("127.0.0.1:8001", emulator.url.removeprefix("http://"))
    return text.replace(".venv/bin/", f"{BIN}/")


async def prints(block: Block, text: str, environment: dict[str, str] | None = None) -> None:
    """Run a block: it must end with 0, and print what it says."""
    program = command(block, "")[0]
    if not shutil.which(program):
        pytest.skip(f"there is no {program} here")
    code, output = await run(*command(block, text), environment=environment)
    assert code == 0, f"{block.where} ended with {code}:\n{output}"
    assert block.wanted in output, f"{block.where} did not print {block.wanted!r}:\n{output}"


@pytest.mark.parametrize("block", of("prints"), ids=lambda block: block.where)
async def test_what_the_manual_shows_works(
    block: Block, server: Running, emulator: Emulator
) -> None:
    """Every command a newcomer copies does what is said of it."""
    await prints(block, here(block.text, server, emulator))


@pytest.mark.parametrize("block", of("keys"), ids=lambda block: block.where)
async def test_what_it_shows_of_keys_works(
    block: Block, emulator: Emulator, database_url: str
) -> None:
    """The same, where the server asks for keys."""
    keys = {"auth": "keys", "database_url": database_url}
    async with running(emulator, **keys, rate_limit="120/minute") as server:
        environment = {
            **os.environ,
            "STREAMAPI_AUTH": "keys",
            "STREAMAPI_DATABASE_URL": database_url,
            "KEY": (await server.key())[0],
            "ADMIN": (await server.key("admin", owner="ops"))[0],
        }
        await prints(block, here(block.text, server, emulator), environment)


@in_browser
@pytest.mark.parametrize("block", of("browser"), ids=lambda block: block.where)
async def test_what_it_shows_for_pages_works(block: Block, server: Running) -> None:
    """Run in a page of the server."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(f"{server.url}/errors/not_found")
        await page.evaluate(f"async () => {{ {block.text} }}")
        await page.get_by_text(block.wanted).first.wait_for()
        await browser.close()


def console(block: Block) -> None:
    """Each command names a program, a target, a test or a module that is there."""
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block.text, re.M)
    assert commands, "a console block shows commands behind `$ `"
    for line in commands:
        words = shlex.split(line.replace("\\\n", " "), comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words[:2] == ["docker", "exec"]:
            words = words[3:]
        program, arguments = Path(words[0]).name, words[1:]
        if program == "streamapi":
            cli._parser().parse_args(arguments)
        elif program == "make":
            targets = {word for word in arguments if "=" not in word}
            makefile = (ROOT / "Makefile").read_text()
            assert targets <= set(re.findall(r"^([a-z][\w-]*):", makefile, re.M)), line
        elif program == "python" and arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]), line
        elif program == "pytest":
            paths = [word.partition("::")[0] for word in arguments if word.startswith("tests/")]
            assert all((ROOT / path).exists() for path in paths), line
        elif program == "node":
            assert list(ROOT.glob(arguments[-1])), line
        else:
            assert program in ("docker", "git", "hypercorn"), f"run it in an `sh` block: {line}"


def nginx(block: Block) -> None:
    """nginx takes the configuration, where there is an nginx; its braces and ends are right."""
    lines = [line.partition("#")[0].strip() for line in block.text.splitlines()]
    assert all(line.endswith((";", "{", "}")) for line in lines if line)
    assert block.text.count("{") == block.text.count("}")
    if program := shutil.which("nginx"):
        listens = block.text.replace("server {", "server { listen 127.0.0.1:8080;")
        whole = f"events {{}}\nhttp {{\naccess_log off;\n{listens}\n}}\n"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "nginx.conf")
            file.write_text(f"pid {folder}/pid;\nerror_log stderr;\n{whole}")
            check = [program, "-t", "-q", "-e", "stderr", "-c", file]
            done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def parses(block: Block) -> None:
    """It is JSON."""
    json.loads(block.text)


def drawing(block: Block) -> None:
    """A drawing or a tree, which nobody runs."""
    assert not re.search(r"^(\$ |curl |import )", block.text, re.M), "say its language"


CHECKS = {"console": console, "nginx": nginx, "json": parses, "text": drawing}


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if not block.asks], ids=lambda block: block.where
)
def test_no_block_goes_unchecked(block: Block) -> None:
    """A block that is not run has a check of its language."""
    assert block.language in CHECKS, f"{block.where}: say above it how it is run (tests/manual.py)"
    CHECKS[block.language](block)


def test_every_block_is_found() -> None:
    """Nothing that looks like a block is overlooked, and no comment asks for what is not known."""
    for page in PAGES:
        fences = re.findall(r"^\s*(?:```|~~~)", page.read_text(), re.M)
        found = [block for block in BLOCKS if block.page == name(page)]
        assert len(fences) == 2 * len(found), f"{name(page)}: a block is indented, or not closed"
    assert {block.asks for block in BLOCKS} <= {"", "prints", "keys", "browser", "file"}
    assert len(of("prints")) > 15
    assert len(of("file")) == 2


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files and anchors are there. A page of the manual links to pages of the manual only."""
    for target in links(page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)} links to {target}, which is not there"
        inside = DOCS not in page.parents or (DOCS in there.parents and there.suffix == ".md")
        assert inside, f"{name(page)} links to {target}, which /manual does not have"
        if anchor:
            anchors = [heading.anchor for heading in render(there.read_text()).headings]
            assert anchor in anchors, f"{name(page)} links to {target}; there are {anchors}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_says_what_is_there(page: Path) -> None:
    """Its settings and files exist, its anchors are its own, and it is short."""
    text = page.read_text()
    named = set(re.findall(r"STREAMAPI_[A-Z_]*[A-Z]", text))
    assert named <= SETTINGS, f"{name(page)}: no such settings: {sorted(named - SETTINGS)}"
    files = re.findall(
        r"`([\w-]+/[\w./-]+\.(?:py|md|js|css)|(?:streamapi|tests|docs|bench)/[\w./-]+)`", text
    )
    gone = [
        it for it in files if not any((top / it).exists() for top in (ROOT, ROOT / "streamapi"))
    ]
    assert not gone, f"{name(page)}: no such files: {gone}"
    anchors = [heading.anchor for heading in render(text).headings]
    assert len(anchors) == len(set(anchors)), f"{name(page)}: two headings are the same"
    if DOCS in page.parents and "reference" not in page.parts:
        assert len(text.splitlines()) <= LONGEST, f"{name(page)} is too long: part it"
        opening = text.split("\n\n")[1]
        assert page.name == INDEX or opening.startswith("After this page you "), opening


def test_the_index_lists_every_page() -> None:
    """The sidebar and /llms.txt are made of it."""
    listed = [file for _, pages in sections() for _, file in pages]
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES if DOCS in page.parents}
    assert sorted(listed) == sorted(pages - {INDEX}), "list every page in docs/index.md, once"


def module(path: str) -> dict[str, Any]:
    """What a file that the manual shows defines."""
    [block] = [block for block in of("file") if block.wanted == path]
    names: dict[str, Any] = {"__name__": Path(path).stem}
    exec(compile(block.text, block.where, "exec"), names)
    return names


async def test_the_route_of_the_manual_is_a_route() -> None:
    """The file it shows answers, and describes itself in /openapi.json."""
    app = create_app(Settings(google_api_key="none"))
    app.register_blueprint(module("streamapi/api/routes/clock.py")["routes"])
    client = app.test_client()
    assert set(await (await client.get("/v1/clock")).get_json()) == {"time"}
    document = await (await client.get("/openapi.json")).get_json()
    assert document["paths"]["/v1/clock"]["get"]["summary"] == "The time of this server"


def test_the_task_of_the_manual_is_a_task() -> None:
    """The file it shows is a whole task, whose example its own request accepts."""
    task = module("streamapi/tasks/summary.py")["TASK"]
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
