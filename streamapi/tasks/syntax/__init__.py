"""Whether a piece of code parses, for the languages whose grammar is at hand (tree-sitter).

Grammars are C, and their text comes from a caller or a model: a bug in one is memory corruption.
So they run in child processes only, and a crash costs one check. This process never imports them.

    pool.py      bounds the child processes, and replaces those that crash
    process.py   starts and asks one of them
    child.py     what such a process runs: a script that imports nothing of ours
"""

from collections.abc import Awaitable, Callable

import msgspec

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


class Syntax(msgspec.Struct, frozen=True):
    """Whether code parses; where it does not, the first error's line and column, from 1."""

    valid: bool
    line: int | None = None
    column: int | None = None


Check = Callable[[str, str | None], Awaitable[Syntax | None]]
"""Checks code, given its language. None: there is no grammar, or no verdict within the bounds."""


def language_name(name: str) -> str:
    """The name by which this module knows a language."""
    lowered = name.strip().lower()
    return ALIASES.get(lowered, lowered)
