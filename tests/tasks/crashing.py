"""A grammar that crashes its process, each time: a module like those of tree-sitter's."""

import ctypes


def language() -> int:
    """Read from address 0."""
    ctypes.string_at(0)
    return 0
