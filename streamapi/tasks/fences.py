"""Splits an answer, as it arrives, into code and explanation: the first fenced block is the code.

Fences are CommonMark's (0.31, section 4.5), at the top level: three or more backticks or tildes,
indented by up to three spaces. A block ends with at least as many of the same, or with the
answer. Text that may still become a fence is held back.

All text before the first fence is held back too, up to `HOLD_BACK` characters, because an answer
without a fence is code if it parses. The splitter cannot parse: it puts the text into `question`,
and goes on after `decide`. Text that is certainly prose (see `prose.py`) does not wait.
"""

import re
from collections.abc import Callable
from typing import Literal

from streamapi.tasks.prose import OPENING

HOLD_BACK = 16_000
"""Characters that wait for a fence. Beyond it they are code if they parse, else explanation."""

LONGEST_FENCE = 500
"""Characters of a line that wait for its end because the line begins like a fence."""

Part = Literal["code", "explanation"]
Piece = tuple[Part, str]

_OPENING = re.compile(r"( {0,3})(?:(`{3,})([^`\r\n]*)|(~{3,})([^\r\n]*))\r?\n?\Z")
_MAYBE_OPENING = re.compile(r" {0,3}(?:`{1,2}|`{3,}[^`\r\n]*\r?|~{1,2}|~{3,}[^\r\n]*\r?)?\Z")


class FenceSplitter:
    """`feed` and `flush` return the pieces of the answer in order. `info` is the first word after
    the opening fence. `question` is a text without a fence, which is code if it parses: all that
    is fed after it waits for `decide`. `is_prose` says whether the beginning of an answer is
    certainly prose."""

    def __init__(self, is_prose: Callable[[str], bool] = lambda text: False) -> None:
        self.info = ""
        self.question = ""
        self.pieces: list[Piece] = []
        self._deferred: list[str] = []
        self._is_prose = is_prose
        self._examined = 0  # characters of the beginning that `is_prose` has seen
        self._state: Literal["undecided", "prose", "code", "unfenced", "after"] = "undecided"
        self._closing: re.Pattern[str] | None = None
        self._maybe_closing: re.Pattern[str] | None = None
        self._indent = 0
        self._held_back = ""  # text before the first fence, neither code nor explanation yet
        self._line = ""  # the beginning of a line that may be a fence
        self._mid_line = False  # whether the last line has begun, and is no fence

    def feed(self, text: str) -> list[Piece]:
        start = 0
        while not self.question and (end := text.find("\n", start) + 1) > 0:
            self._read(text[start:end])
            start = end
        if self.question:
            self._deferred.append(text[start:])
        elif start < len(text):
            self._read(text[start:])
        return self._take_pieces()

    def end(self) -> None:
        """Note that the answer has ended: its last line is complete, and text that is still held
        back becomes the `question`."""
        if self._line and not self.question:
            self._end_line()
        if self._state == "undecided":
            self.question = self.question or self._held_back

    def decide(self, is_code: bool) -> None:
        """Decide the `question`: the text that was held back is code, or explanation."""
        self._start_without_fence("code" if is_code else "explanation")
        self.question = ""
        deferred, self._deferred = self._deferred, []
        self.pieces = self.feed("".join(deferred))

    def flush(self) -> list[Piece]:
        """The last pieces of an answer that has ended. Undecided text is explanation."""
        self.end()
        if self.question:
            self.decide(False)
            self.end()
        return self._take_pieces()

    def _read(self, piece: str) -> None:
        """Read a part of one line, with its line feed if it has arrived."""
        ends = piece.endswith("\n")
        if self._mid_line or self._state in ("after", "unfenced"):
            self._emit(piece)
            self._mid_line = not ends
            return
        self._line += piece
        if ends:
            self._end_line()
        elif len(self._line) > LONGEST_FENCE or not self._maybe_fence():
            line, self._line = self._line, ""
            self._emit(line)
            self._mid_line = True

    def _maybe_fence(self) -> bool:
        maybe = self._maybe_closing if self._state == "code" else _MAYBE_OPENING
        return maybe is not None and maybe.match(self._line) is not None

    def _end_line(self) -> None:
        line, self._line = self._line, ""
        if len(line.rstrip("\n")) > LONGEST_FENCE:
            self._emit(line)  # as `_read` does with a line that arrives in parts
        elif self._state == "code":
            if self._closing is not None and self._closing.match(line):
                self._state = "after"
            else:
                self._emit(line)
        elif opening := _OPENING.match(line):
            self._open_block(opening)
        else:
            self._emit(line)

    def _open_block(self, opening: re.Match[str]) -> None:
        indent, backticks, backtick_info, tildes, tilde_info = opening.groups()
        fence = backticks or tildes
        self.info = (backtick_info or tilde_info or "").strip().split(" ")[0]
        self._indent = len(indent)
        mark, least = re.escape(fence[0]), len(fence)
        self._closing = re.compile(rf" {{0,3}}{mark}{{{least},}}[ \t]*\r?\n?\Z")
        self._maybe_closing = re.compile(rf" {{0,3}}(?:{mark}+[ \t]*\r?)?\Z")
        if self._held_back:
            self._add("explanation", self._held_back)
            self._held_back = ""
        self._state = "code"

    def _emit(self, text: str) -> None:
        if self._state == "undecided":
            self._held_back += text
            if self._begins_with_prose():
                self._start_without_fence("explanation")
            elif len(self._held_back) > HOLD_BACK:
                sample = self._held_back[:HOLD_BACK]
                self.question = sample[: sample.rfind("\n") + 1] or sample
        elif self._state == "prose" or self._state == "after":
            self._add("explanation", text)
        elif self._state == "code" and self._indent and not self._mid_line:
            spaces = len(text) - len(text.lstrip(" "))
            self._add("code", text[min(spaces, self._indent) :])
        else:
            self._add("code", text)

    def _begins_with_prose(self) -> bool:
        examined, self._examined = self._examined, len(self._held_back)
        return examined < OPENING and self._is_prose(self._held_back[:OPENING])

    def _start_without_fence(self, part: Part) -> None:
        self._state = "unfenced" if part == "code" else "prose"
        self._add(part, self._held_back)
        self._held_back = ""

    def _add(self, part: Part, text: str) -> None:
        if self.pieces and self.pieces[-1][0] == part:
            self.pieces[-1] = (part, self.pieces[-1][1] + text)
        else:
            self.pieces.append((part, text))

    def _take_pieces(self) -> list[Piece]:
        pieces, self.pieces = self.pieces, []
        return pieces
