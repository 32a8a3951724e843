"""Markdown (CommonMark 0.31, and tables) as HTML, for the manual's pages.

Raw HTML in a page is shown as text; comments are left out. Headings have anchors, as GitHub makes
them, so that one link works in both places. markdown-it is imported when the first page is asked
for: most servers never show one.
"""

import re
from collections.abc import Callable
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LABELS = {"sh": "Shell", "console": "Terminal", "js": "JavaScript", "python": "Python",
          "json": "JSON", "nginx": "nginx", "text": ""}  # fmt: skip
"""How the language of a code block is shown."""

_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)


class Heading(NamedTuple):
    """A heading of a page: `level` from 1 to 6, and the `anchor` that leads to it."""

    level: int
    text: str
    anchor: str


class Page(NamedTuple):
    """A page as HTML, and what can be linked to in it."""

    html: str
    headings: list[Heading]


def render(text: str, link: Callable[[str], str] = str) -> Page:
    """The page of a Markdown text. `link` gives the address for each link target."""
    tokens = _markdown().parse(text)
    headings = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(
                child.content
                for child in tokens[at + 1].children or ()
                if child.type in ("text", "code_inline")
            )
            headings.append(Heading(int(token.tag[1:]), words, anchor(words)))
            token.attrSet("id", anchor(words))
            tokens[at + 2].meta["anchor"] = anchor(words)
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", link(str(child.attrGet("href"))))
    _label_cells(tokens)
    return Page(_markdown().renderer.render(tokens, _markdown().options, {}), headings)


def links(text: str) -> list[str]:
    """The targets of all links of a Markdown text."""
    return [
        str(child.attrGet("href"))
        for token in _markdown().parse(text)
        for child in token.children or ()
        if child.type == "link_open"
    ]


def _label_cells(tokens: "list[Token]") -> None:
    """Give each cell the head of its column, and each table their number: on a narrow screen a
    wide table is shown as a list of cells."""
    heads: list[str] = []
    column, table = 0, None
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            heads, table = [], token
        elif token.type == "th_open" and table is not None:
            heads.append(tokens[at + 1].content)
            table.meta["columns"] = len(heads)
        elif token.type == "tr_open":
            column = 0
        elif token.type == "td_open":
            token.attrSet("data-label", heads[column])
            column += 1


def anchor(heading: str) -> str:
    """The anchor of a heading, by GitHub's rules: lower case, hyphens for spaces, no marks."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark").enable("table")
    rules = {
        "html_block": _raw,
        "html_inline": _raw,
        "fence": _code,
        "heading_close": _heading_end,
        "table_open": _table_begin,
        "table_close": _table_end,
    }
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


# The renderer calls these as methods of its own.


def _raw(renderer: Any, tokens: "list[Token]", at: int, options: Any, env: Any) -> str:
    return escape(_COMMENT.sub("", tokens[at].content))


def _code(renderer: Any, tokens: "list[Token]", at: int, options: Any, env: Any) -> str:
    language = tokens[at].info.strip()
    label = LABELS.get(language, language)
    caption = f"<figcaption>{escape(label)}</figcaption>" if label else ""
    code = escape(tokens[at].content)
    # In reach of the keyboard: a wide block scrolls.
    return f'<figure>{caption}<pre tabindex="0"><code>{code}</code></pre></figure>\n'


def _heading_end(renderer: Any, tokens: "list[Token]", at: int, options: Any, env: Any) -> str:
    token = tokens[at]
    if token.tag == "h1":
        return "</h1>\n"
    target = f'href="#{token.meta["anchor"]}" aria-label="Link to this section"'
    return f' <a class="anchor" {target}>#</a></{token.tag}>\n'


def _table_begin(renderer: Any, tokens: "list[Token]", at: int, options: Any, env: Any) -> str:
    kind = "wide cells" if tokens[at].meta["columns"] > 2 else "wide"
    return f'<div class="{kind}" tabindex="0"><table>\n'


def _table_end(renderer: Any, tokens: "list[Token]", at: int, options: Any, env: Any) -> str:
    return "</table></div>\n"
