"""The manual as the server shows it."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from streamapi.api.markdown import anchor, render
from streamapi.api.routes import manual
from tests.conftest import Running

ROOT = Path(__file__).parent.parent.parent
HTML = sorted({"", *(f"/{name.removesuffix('.md')}" for name in manual.names())} - {"/index"})


@pytest.mark.parametrize("page", HTML)
async def test_every_page_is_shown_and_its_links_lead_somewhere(
    page: str, client: httpx.AsyncClient
) -> None:
    """A page has a title, its own style alone, and no link that the server does not answer."""
    answer = await client.get(f"/manual{page}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert re.search(r"<h1 id=[^>]*>.+</h1>", answer.text)
    assert not re.search(r"<script|<style|\sstyle=|<!--", answer.text)
    for target in set(re.findall(r'(?:href|src)="([^"]*)"', answer.text)):
        path, _, fragment = target.partition("#")
        if target.startswith("http"):
            continue
        there = await client.get(path) if path else answer
        assert there.status_code == 200, target
        assert not fragment or f'id="{fragment}"' in there.text, target


async def test_each_page_is_there_as_markdown(client: httpx.AsyncClient) -> None:
    """The same address with `.md`."""
    for name in manual.names():
        answer = await client.get(f"/manual/{name}")
        assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert answer.text == (ROOT / "docs" / name).read_text()


async def test_programs_find_every_page(client: httpx.AsyncClient) -> None:
    """/llms.txt: a title, a summary, and links to Markdown."""
    answer = await client.get("/llms.txt")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("# streamapi\n\n> ")
    links = re.findall(r"^- \[[^\]]+\]\(/manual/([^)]+)\): .", answer.text, re.M)
    assert sorted(links) == sorted(manual.names() - {manual.INDEX})


@pytest.mark.parametrize("name", ["guide/nothing", "nothing.md", "../README", "..%2fREADME.md"])
async def test_an_unknown_page_is_a_problem(name: str, server: Running) -> None:
    """A 404 of ours, and nothing outside the manual."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/manual/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_a_page_that_has_not_changed_is_not_sent_again(client: httpx.AsyncClient) -> None:
    """304, by its ETag."""
    tag = (await client.get("/manual/guide/errors")).headers["ETag"]
    answer = await client.get("/manual/guide/errors", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


async def test_the_manual_asks_for_no_key(guarded: Running) -> None:
    """Who has no key yet can read how to get one."""
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        for path in ("/manual", "/manual/operate/access", "/llms.txt"):
            assert (await client.get(path)).status_code == 200


def test_html_is_shown_as_text() -> None:
    """A page cannot bring markup of its own; comments are left out."""
    page = render('# A <b>\n\n<script>x</script>\n\na <i onclick="x">b</i> [c](javascript:x)\n')
    assert "&lt;script&gt;" in page.html
    assert not re.search(r"<(b|i|script)\b|href=.javascript", page.html)
    assert render("<!-- prints: x -->\n```sh\na\n```\n").html.startswith("<figure>")
    assert "&lt;b&gt;" in render("```sh\n<b>\n```").html


def test_anchors_are_those_of_github() -> None:
    """So a link works in both places."""
    assert anchor("Resume a stream") == "resume-a-stream"
    assert anchor("`start`") == "start"
    assert anchor("How a log lives, and why?") == "how-a-log-lives-and-why"


def test_a_wheel_has_the_manual(tmp_path: Path) -> None:
    """The pages are inside the package, where the routes look first."""
    command = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, "."]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".md")}
    assert found == {f"streamapi/docs/{name}" for name in manual.names()}
    assert "streamapi/static/manual/manual.css" in zipfile.ZipFile(wheel).namelist()
