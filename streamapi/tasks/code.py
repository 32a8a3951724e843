"""Code: a description in, code and its explanation out, separated while they arrive."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from streamapi.generation.event import Delta, Event
from streamapi.generation.model import Message, Prompt
from streamapi.tasks import prose
from streamapi.tasks.fences import FenceSplitter, Piece
from streamapi.tasks.syntax import Check, Syntax, language_name
from streamapi.tasks.task import MAX_PROMPT, Prose, Task, TaskRequest, Text


class CodeRequest(TaskRequest):
    """A description of code, and its language."""

    model_config = ConfigDict(title="CodeRequest")

    prompt: Prose = Field(
        description="What the code should do.", json_schema_extra={"x-multiline": True}
    )
    language: Annotated[Text, StringConstraints(pattern=r"^[A-Za-z0-9+#._-]{1,40}$")] | None = (
        Field(None, description="The language of the code, such as `python`. Default: any.")
    )
    context: Text | None = Field(
        None,
        max_length=MAX_PROMPT,
        description="Existing code that the new code belongs to.",
        json_schema_extra={"x-multiline": True},
    )
    explain: bool = Field(True, description="Explain the code after it.")


class SyntaxVerdict(BaseModel):
    """Whether the code parses; if not, the line and column of its first error, counted from 1."""

    valid: bool
    line: int | None
    column: int | None


class CodeResult(BaseModel):
    """`code` is the first fenced block of the answer, `explanation` the text around it. `syntax`
    is null for a language without a grammar here."""

    code: str
    language: str | None
    explanation: str
    syntax: SyntaxVerdict | None


class CodeParser:
    """Separates code and explanation. Without `explain` it sends only code, unless the model wrote
    none. Without a `check` the result has no verdict on the syntax."""

    def __init__(self, request: CodeRequest, check: Check | None = None) -> None:
        self._requested_language = request.language
        self._explain = request.explain
        self._splitter = FenceSplitter(prose.detector(request.language))
        self._check = check
        self._checked: tuple[str, Syntax | None] = ("", None)
        self._code: list[str] = []
        self._explanation: list[str] = []
        self._unsent: list[str] = []

    def feed(self, text: str) -> list[Event]:
        return self._events(self._splitter.feed(text))

    def flush(self) -> list[Event]:
        events = self._events(self._splitter.flush())
        if not self._code and self._unsent:
            self._explain = True
            events += self._events([("explanation", "".join(self._unsent))])
        return events

    @property
    def waits(self) -> bool:
        return bool(self._splitter.question)

    async def look_up(self, finished: bool) -> None:
        splitter = self._splitter
        if finished:
            splitter.end()
        if question := splitter.question:
            verdict = await self._verdict(question)
            splitter.decide(verdict is not None and verdict.valid)
        if finished:
            splitter.end()  # `decide` may have begun a line
            held_back = (text for part, text in splitter.pieces if part == "code")
            if code := "".join((*self._code, *held_back)):
                await self._verdict(code)

    async def _verdict(self, code: str) -> Syntax | None:
        if self._check is not None and code != self._checked[0]:
            self._checked = code, await self._check(code, self._language)
        return self._checked[1]

    def result(self) -> dict[str, Any]:
        code = "".join(self._code)
        verdict = self._checked[1] if code and self._checked[0] == code else None
        return {
            "code": code,
            "language": self._language,
            "explanation": "".join(self._explanation),
            "syntax": None if verdict is None else msgspec.to_builtins(verdict),
        }

    def _events(self, pieces: list[Piece]) -> list[Event]:
        events: list[Event] = []
        for part, text in pieces:
            if part == "code":
                self._code.append(text)
            elif not self._explain:
                self._unsent.append(text)
                continue
            else:
                if self._code and not self._explanation:
                    text = text.lstrip()  # the blank lines between the code and what follows it
                if not text:
                    continue
                self._explanation.append(text)
            events.append(Delta(text, part))
        return events

    @property
    def _language(self) -> str | None:
        return self._requested_language or language_name(self._splitter.info) or None


def prompt(request: CodeRequest) -> Prompt:
    language = f" in {request.language}" if request.language else ""
    after = "Explain it briefly after the block." if request.explain else "Write nothing else."
    system = (
        f"Write code{language}. Answer with one fenced code block first, its language named "
        f"behind the opening fence. {after}"
    )
    content = request.prompt
    if request.context:
        content += f"\n\nThe code belongs to this existing code:\n\n{request.context}"
    return Prompt((Message("user", content),), system=system, **TASK.prompt_fields(request))


TASK = Task(
    name="code",
    title="Code",
    description="Writes code, tells it from its explanation, and checks its syntax.",
    request=CodeRequest,
    result=CodeResult,
    prompt=prompt,
    parser=CodeParser,
    example={"prompt": "A function that merges two sorted lists.", "language": "python"},
    temperature=0.2,
    order=2,
)


def task(check: Check) -> Task[CodeRequest]:
    """The task with a check of the syntax."""
    return replace(TASK, parser=partial(CodeParser, check=check))
