"""Decides when the beginning of an answer is certainly prose, although no fence has arrived.

An answer without a fence is code if it parses, so text before the first fence must wait. It need
not wait once it cannot be code: when the language has no grammar, or when the text opens with a
sentence in words. At the start of an answer no comment and no string is open, and in most
languages a sentence does not parse there. The functions are pure: text in, a decision out.
"""

import re
from collections.abc import Callable

from streamapi.tasks.syntax import GRAMMARS, language_name

OPENING = 1_000
"""Characters in which the first sentence must end. Text with a longer one waits for a fence."""

LEAST_WORDS = 4
"""The fewest words of a sentence; fewer may be a label, a heading or a command."""

WORDS_PARSE = frozenset({"bash", "html", "php"})
"""Languages in which a sentence is valid code: a command, or text outside of tags."""

_CODE_SPAN = re.compile(r"`[^`\n]*`")
_CLOSERS = "\"'\u201d\u2019)*"
_WORD = re.compile(
    r"[\"'\u201c\u2018(*]*"
    r"(?:[^\W\d_]+(?:['\u2019./-][^\W\d_]+)*|\d+|[-\u2013\u2014]+)"
    r"[\"'\u201d\u2019)*,;:.!?\u2026]*"
)
_CAPITAL = re.compile(r"[(*]*[^\W\d_a-z]")  # after a quote it could be a string of code


def opens_with_a_sentence(text: str) -> bool:
    """Whether the text opens with a whole sentence of at least four words, followed by white
    space. A code span in backticks counts as a word."""
    tokens = _CODE_SPAN.sub("code", text).split()
    if not text[-1:].isspace():
        del tokens[-1:]  # the last word may not be complete
    for number, token in enumerate(tokens, 1):
        if not _WORD.fullmatch(token) or (number == 1 and not _CAPITAL.match(token)):
            return False
        if number >= LEAST_WORDS and token.rstrip(_CLOSERS)[-1:] in ":.!?\u2026":
            return True
    return False


def detector(language: str | None) -> Callable[[str], bool]:
    """A function that says whether the beginning of an answer is certainly prose, for answers with
    code in this language."""
    name = language_name(language or "")
    if name not in GRAMMARS:
        return lambda text: True
    return (lambda text: False) if name in WORDS_PARSE else opens_with_a_sentence
