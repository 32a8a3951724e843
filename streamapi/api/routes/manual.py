"""The manual: the pages of `docs/` as HTML under `/manual`, as Markdown beside each, and
`/llms.txt` (https://llmstxt.org), an index for programs that read.

`docs/index.md` lists all pages, in the shape of llms.txt. The sidebar, the start page and
`/llms.txt` are made of it. A page is rendered when it is first asked for, and kept.
"""

import asyncio
import posixpath
from functools import cache
from html import escape

from quart import Blueprint, Response

from streamapi import package_files
from streamapi.api import markdown
from streamapi.api.authentication import PUBLIC, open_to_all
from streamapi.api.limits import CHEAP, unlimited
from streamapi.api.responses import file_response
from streamapi.errors import NotFound

DOCS = package_files.find("docs")
"""The pages."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
INDEX = "index.md"

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · streamapi</title>
<link rel="icon" href="/static/page/favicon.svg">
<link rel="stylesheet" href="/static/manual/manual.css">
<link rel="alternate" type="text/markdown" href="{text}">
<header>
<a class="brand" href="/manual">streamapi<span> manual</span></a>
<nav aria-label="Site">
<a class="narrow" href="#pages">Pages</a>
<a href="/">Try it</a> <a href="/docs">API</a> <a href="{text}">Markdown</a>
</nav>
</header>
<div class="columns">
<main>
{main}</main>
{sidebar}
</div>
</html>
"""

routes = Blueprint("manual", __name__)


@routes.get("/manual", strict_slashes=False)
@routes.get("/manual/<path:name>")
@unlimited(CHEAP)
@open_to_all(PUBLIC)
async def page(name: str = "index") -> Response:
    """A page of the manual; as Markdown where the address ends in `.md`."""
    file = name if name.endswith(".md") else f"{name}.md"
    if file not in names():
        raise NotFound("The manual has no such page. Its pages are listed at /manual.")
    if file == name:
        return await _answer(_text(file), "text/markdown")
    # In a thread: the first page imports markdown-it, and no stream should wait for that.
    body = await asyncio.to_thread(_html, file)
    return await _answer(body, "text/html")


@routes.get("/llms.txt")
@unlimited(CHEAP)
@open_to_all(PUBLIC)
async def llms() -> Response:
    """What the manual has, for programs that read: the title, a summary, links to Markdown."""
    return await _answer(_text(INDEX).replace("](", "](/manual/"), "text/plain")


@cache
def names() -> frozenset[str]:
    """The files of all pages, such as `guide/streaming.md`."""
    return frozenset(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


async def _answer(body: str, kind: str) -> Response:
    response = await file_response(body.encode(), f"{kind}; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@cache
def _text(file: str) -> str:
    return (DOCS / file).read_text(encoding="utf-8")


@cache
def _html(file: str) -> str:
    """A whole page."""
    rendered = markdown.render(_text(file), lambda target: address(file, target))
    title = rendered.headings[0].text
    here = f"/manual/{file}" if file != INDEX else "/llms.txt"
    return PAGE.format(title=escape(title), text=here, main=rendered.html, sidebar=_sidebar(file))


def _sidebar(here: str) -> str:
    """The list of all pages: beside the page where there is room, else below it."""
    parts = []
    for title, pages in sections():
        items = []
        for name, file in pages:
            current = ' aria-current="page"' if file == here else ""
            items.append(f'<li><a href="{address(INDEX, file)}"{current}>{escape(name)}</a></li>')
        parts.append(f"<h2>{escape(title)}</h2>\n<ul>{''.join(items)}</ul>\n")
    return f'<nav id="pages" class="pages" aria-label="Pages">\n{"".join(parts)}</nav>'


@cache
def sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections that `docs/index.md` has, and their pages by title and file."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in _text(INDEX).splitlines():
        if line.startswith("## "):
            found.append((line.removeprefix("## "), []))
        elif line.startswith("- ["):
            title, _, rest = line.removeprefix("- [").partition("](")
            found[-1][1].append((title, rest.partition(")")[0]))
    return found


def address(file: str, target: str) -> str:
    """The address of what a page links to: pages stand under `/manual`, without `.md`."""
    path, mark, fragment = target.partition("#")
    if not path.endswith(".md") or ":" in path:
        return target
    there = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
    return f"/manual/{there.removesuffix('.md')}{mark}{fragment}"
