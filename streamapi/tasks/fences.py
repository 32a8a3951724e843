"""Splits an answer, as it comes, into code and explanation: the first fenced block is the code.

Fences are CommonMark's (0.31, section 4.5), at the top level: three or more backticks or tildes,
indented by up to three spaces; closed by at least as many of the same, or by the end. What may
still become a fence is held back; so is all text before the first fence, up to `HOLD_BACK`
characters, for an answer without a fence is code when it parses. Whether it does, the splitter
asks (`question`), and goes on when it is told (`decide`). Text that is prose for certain (see
`prose`) does not wait.
"""

import re
from collections.abc import Callable
from typing import Literal

from streamapi.tasks.prose import OPENING

HOLD_BACK = 16_000
"""Characters that may wait for a fence; then they are code if they parse, else explanation."""

LONGEST_FENCE = 500
"""Characters of a line that may wait for its end because it begins like a fence."""

Part = Literal["code", "explanation"]
Piece = tuple[Part, str]

_OPENING = re.compile(r"( {0,3})(?:(`{3,})([^`\r\n]*)|(~{3,})([^\r\n]*))\r?\n?\Z")
_MAYBE_OPENING = re.compile(r" {0,3}(?:`{1,2}|`{3,}[^`\r\n]*\r?|~{1,2}|~{3,}[^\r\n]*\r?)?\Z")


class FenceSplitter:
    """`feed` and `flush` return pieces in order; `info` is the word behind the opening fence.
    `question` is a text without a fence, which is code if it parses: all that is fed from there
    on waits for `decide`. `is_prose` says, of the beginning of an answer, whether it cannot be
    code any more."""

    def __init__(self, is_prose: Callable[[str], bool] = lambda text: False) -> None:
        self.info = ""
        self.question = ""
        self.pieces: list[Piece] = []
        self._waiting: list[str] = []
        self._is_prose = is_prose
        self._looked = 0  # characters of the beginning at which `is_prose` has looked
        self._state: Literal["undecided", "prose", "code", "loose", "after"] = "undecided"
        self._closing: re.Pattern[str] | None = None
        self._maybe_closing: re.Pattern[str] | None = None
        self._indent = 0
        self._held = ""  # before the first fence, undecided
        self._line = ""  # the beginning of a line that may be a fence
        self._mid_line = False

    def feed(self, text: str) -> list[Piece]:
        start = 0
        while not self.question and (end := text.find("\n", start) + 1) > 0:
            self._take(text[start:end])
            start = end
        if self.question:
            self._waiting.append(text[start:])
        elif start < len(text):
            self._take(text[start:])
        return self._given()

    def end(self) -> None:
        """Nothing comes any more: a line that has begun is whole, and a question may be open."""
        if self._line and not self.question:
            self._whole_line()
        if self._state == "undecided":
            self.question = self.question or self._held

    def decide(self, is_code: bool) -> None:
        """The answer to the question: all that was held is code, or explanation."""
        self._settle("code" if is_code else "explanation")
        self.question = ""
        waiting, self._waiting = self._waiting, []
        self.pieces = self.feed("".join(waiting))

    def flush(self) -> list[Piece]:
        """What was held back. Nothing can come after it; what was not decided is explanation."""
        self.end()
        if self.question:
            self.decide(False)
            self.end()
        return self._given()

    def _take(self, piece: str) -> None:
        """A piece of one line, with its line feed where it has come."""
        ends = piece.endswith("\n")
        if self._mid_line or self._state in ("after", "loose"):
            self._say(piece)
            self._mid_line = not ends
            return
        self._line += piece
        if ends:
            self._whole_line()
        elif len(self._line) > LONGEST_FENCE or not self._maybe_fence():
            line, self._line = self._line, ""
            self._say(line)
            self._mid_line = True

    def _maybe_fence(self) -> bool:
        maybe = self._maybe_closing if self._state == "code" else _MAYBE_OPENING
        return maybe is not None and maybe.match(self._line) is not None

    def _whole_line(self) -> None:
        line, self._line = self._line, ""
        if len(line.rstrip("\n")) > LONGEST_FENCE:
            self._say(line)  # as `_take` does with a line that comes in pieces
        elif self._state == "code":
            if self._closing is not None and self._closing.match(line):
                self._state = "after"
            else:
                self._say(line)
        elif opening := _OPENING.match(line):
            self._open(opening)
        else:
            self._say(line)

    def _open(self, opening: re.Match[str]) -> None:
        indent, backticks, backtick_info, tildes, tilde_info = opening.groups()
        fence = backticks or tildes
        self.info = (backtick_info or tilde_info or "").strip().split(" ")[0]
        self._indent = len(indent)
        mark, least = re.escape(fence[0]), len(fence)
        self._closing = re.compile(rf" {{0,3}}{mark}{{{least},}}[ \t]*\r?\n?\Z")
        self._maybe_closing = re.compile(rf" {{0,3}}(?:{mark}+[ \t]*\r?)?\Z")
        if self._held:
            self._give("explanation", self._held)
            self._held = ""
        self._state = "code"

    def _say(self, text: str) -> None:
        if self._state == "undecided":
            self._held += text
            if self._begins_with_prose():
                self._settle("explanation")
            elif len(self._held) > HOLD_BACK:
                sample = self._held[:HOLD_BACK]
                self.question = sample[: sample.rfind("\n") + 1] or sample
        elif self._state == "prose" or self._state == "after":
            self._give("explanation", text)
        elif self._state == "code" and self._indent and not self._mid_line:
            spaces = len(text) - len(text.lstrip(" "))
            self._give("code", text[min(spaces, self._indent) :])
        else:
            self._give("code", text)

    def _begins_with_prose(self) -> bool:
        looked, self._looked = self._looked, len(self._held)
        return looked < OPENING and self._is_prose(self._held[:OPENING])

    def _settle(self, part: Part) -> None:
        self._state = "loose" if part == "code" else "prose"
        self._give(part, self._held)
        self._held = ""

    def _give(self, part: Part, text: str) -> None:
        if self.pieces and self.pieces[-1][0] == part:
            self.pieces[-1] = (part, self.pieces[-1][1] + text)
        else:
            self.pieces.append((part, text))

    def _given(self) -> list[Piece]:
        given, self.pieces = self.pieces, []
        return given
