"""Whether a piece of code parses, for languages with a tree-sitter grammar in `GRAMMARS`.

Grammars are written in C, and they read text of callers and models: a bug in one corrupts memory.
So they run in child processes only, and a crash costs one check. This process never imports them.

    pool.py      bounds the child processes, and replaces those that crash
    process.py   starts one child process and sends it code
    child.py     the script of a child process; it imports no other module of this package
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
    """Whether code parses; if not, the line and column of its first error, counted from 1."""

    valid: bool
    line: int | None = None
    column: int | None = None


Check = Callable[[str, str | None], Awaitable[Syntax | None]]
"""Checks code of a language. Returns None without a grammar, or without a verdict in time."""


def language_name(name: str) -> str:
    """The name of a language as in `GRAMMARS`: lower case, and without aliases."""
    lowered = name.strip().lower()
    return ALIASES.get(lowered, lowered)
