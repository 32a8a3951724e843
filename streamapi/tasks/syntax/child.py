"""The script of a child process: it reads code from stdin, and writes whether the code parses.

It runs isolated (`-I -S`) and imports no other module of this package, so it starts in 40 ms and
takes 15 MB. It ends when its stdin ends, so it never outlives the server. While it parses it does
not read stdin; therefore a timer of the kernel ends a parse that the parser itself cannot end.

    python -I -S child.py MEMORY PATH...     bytes of address space, and paths of packages
"""

import importlib
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the server imports this file too, for the form of its messages
    from tree_sitter import Language, Node, Tree

REQUEST = struct.Struct("!HI")
"""The sizes of the grammar's name (`python tree_sitter_python`) and of the code, which follow."""

REPLY = struct.Struct("!BII")
"""A verdict, and the line and column of the first error, counted from 1."""

GAVE_UP, VALID, INVALID = 0, 1, 2
"""The verdicts. `GAVE_UP`: the parse took too long."""

PARSE_SECONDS = 0.1
"""CPU seconds of one parse: tree-sitter recovers from errors, which takes long on hostile text."""

CPU_SECONDS = 1.0
"""CPU seconds of one request; beyond it the kernel ends the process. A scanner can loop for ever,
and the parser checks the time only between two tokens."""

READ_BYTES = 65_536
"""The parser reads the code in pieces of this size."""


def main() -> None:
    """Answer requests until stdin ends."""
    memory, *paths = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError):  # macOS does not have this limit
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    sys.path[:] = paths
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        name_size, size = REQUEST.unpack(head)
        name, source = requests.read(name_size), requests.read(size)
        if len(source) < size:
            return
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # SIGPROF ends a process by default
        verdict = check(name.decode(), source)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(REPLY.pack(*verdict))
        replies.flush()


def check(name: str, source: bytes) -> tuple[int, int, int]:
    """The verdict on a piece of code, with the line and column of its first error."""
    tree = _parse(source, _language(name))
    if tree is None:
        return GAVE_UP, 0, 0
    error = _first_error(tree.root_node)
    if error is None:
        return VALID, 0, 0
    row, column = error.start_point
    line_start = source.rfind(b"\n", 0, error.start_byte) + 1
    before = source[line_start : line_start + column].decode(errors="replace")
    return INVALID, row + 1, len(before) + 1


@cache
def _language(name: str) -> "Language":
    from tree_sitter import Language

    language, _, module_name = name.partition(" ")
    module = importlib.import_module(module_name)
    maker = getattr(module, f"language_{language}", None) or module.language
    return Language(maker())


def _parse(source: bytes, language: "Language") -> "Tree | None":
    """The tree, or None when the parse took too long. Only a parse that reads by a callback can be
    stopped. The binding never frees what the callback returns, so that is always one buffer."""
    from tree_sitter import Parser

    def read(offset: int, _: object) -> bytearray:
        _piece[:] = source[offset : offset + READ_BYTES]
        return _piece

    give_up = time.process_time() + PARSE_SECONDS
    try:
        return Parser(language).parse(
            read, progress_callback=lambda *_: time.process_time() > give_up
        )
    except ValueError:
        return None


_piece = bytearray()


def _first_error(node: "Node") -> "Node | None":
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


if __name__ == "__main__":
    main()
