"""Whether a piece of code parses, for the languages whose grammar is at hand (tree-sitter).

A grammar is loaded when it is first needed. tree-sitter recovers from errors, and on hostile
text that can take long, so a parse is given up after `PARSE_SECONDS`.
"""

import importlib
import re
import threading
import time
from functools import cache

import msgspec
from tree_sitter import Language, Node, Parser, Tree

PARSE_SECONDS = 0.05

GRAMMARS = {
    "bash": "tree_sitter_bash",
    "c": "tree_sitter_c",
    "cpp": "tree_sitter_cpp",
    "css": "tree_sitter_css",
    "go": "tree_sitter_go",
    "html": "tree_sitter_html",
    "java": "tree_sitter_java",
    "javascript": "tree_sitter_javascript",
    "json": "tree_sitter_json",
    "php": "tree_sitter_php",
    "python": "tree_sitter_python",
    "rust": "tree_sitter_rust",
    "sql": "tree_sitter_sql",
    "tsx": "tree_sitter_typescript",
    "typescript": "tree_sitter_typescript",
}
ALIASES = {
    "c++": "cpp",
    "golang": "go",
    "js": "javascript",
    "jsx": "javascript",
    "py": "python",
    "python3": "python",
    "rs": "rust",
    "sh": "bash",
    "shell": "bash",
    "ts": "typescript",
    "zsh": "bash",
}
BEYOND_LATIN_1 = re.compile("[^\x00-\xff]")


class Syntax(msgspec.Struct, frozen=True):
    """Whether code parses; where it does not, the first error's line and column, from 1."""

    valid: bool
    line: int | None = None
    column: int | None = None


def language_name(name: str) -> str:
    """The name by which this module knows a language."""
    lowered = name.strip().lower()
    return ALIASES.get(lowered, lowered)


def check(code: str, language: str | None) -> Syntax | None:
    """The verdict; None without a grammar, or when the parse took too long."""
    name = language_name(language or "")
    if name not in GRAMMARS:
        return None
    if name == "bash":
        # Its scanner hands any character behind a "{" to C's isdigit, which looks it up in a table
        # without bounds: U+F0000 there ended the process. To bash they are all parts of words.
        code = BEYOND_LATIN_1.sub("ÿ", code)
    source = code.encode()
    tree = _parse(source, _language(name))
    if tree is None:
        return None
    error = _first_error(tree.root_node)
    if error is None:
        return Syntax(True)
    row, column = error.start_point
    line_start = source.rfind(b"\n", 0, error.start_byte) + 1
    before = source[line_start : line_start + column].decode(errors="replace")
    return Syntax(False, row + 1, len(before) + 1)


def _parse(source: bytes, language: Language) -> Tree | None:
    """The tree; None when it took too long. Only a parse that reads by a callback can be given up,
    and the binding never lets go of what that returns: so it is always the same buffer."""

    def read(offset: int, _: object) -> bytearray:
        _chunk[:] = source[offset : offset + 65_536]
        return _chunk

    with _one_parse:
        give_up = time.monotonic() + PARSE_SECONDS
        try:
            return Parser(language).parse(
                read, progress_callback=lambda *_: time.monotonic() > give_up
            )
        except ValueError:
            return None


_chunk = bytearray()
_one_parse = threading.Lock()


@cache
def _language(name: str) -> Language:
    module = importlib.import_module(GRAMMARS[name])
    maker = getattr(module, f"language_{name}", None) or module.language
    return Language(maker())


def _first_error(node: Node) -> Node | None:
    """The first error in the order of the text, without recursion: trees can be deep."""
    cursor = node.walk()
    while True:
        here = cursor.node
        if here is None:
            return None
        if here.is_error or here.is_missing:
            return here
        if here.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return None
