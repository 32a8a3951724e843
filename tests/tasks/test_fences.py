"""Fences: which part of an answer is code, however the answer was cut into chunks.

The cases are CommonMark's (0.31, section 4.5) at the top level.
"""

import itertools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapi.generation.event import Delta, Event
from streamapi.tasks.code import CodeParser, CodeRequest
from streamapi.tasks.fences import HOLD_BACK, LONGEST_FENCE, FenceSplitter, Piece
from streamapi.tasks.syntax.pool import SyntaxPool


def never(text: str) -> bool:
    return False


def always(text: str) -> bool:
    return True


def settle(splitter: FenceSplitter, parses) -> None:
    """Decide the splitter's question, if it has one."""
    if splitter.question:
        splitter.decide(parses(splitter.question))


def fed(splitter: FenceSplitter, chunk: str, parses=never) -> list[Piece]:
    """The pieces that the splitter sends after a chunk."""
    pieces = splitter.feed(chunk)
    settle(splitter, parses)
    return pieces + splitter.feed("")


def split(*chunks: str, parses=never) -> tuple[str, str, str]:
    """The code, the explanation and the info of an answer."""
    splitter = FenceSplitter()
    pieces = [piece for chunk in chunks for piece in fed(splitter, chunk, parses)]
    splitter.end()
    settle(splitter, parses)
    pieces += splitter.flush()
    joined = {"code": "", "explanation": ""}
    for part, text in pieces:
        assert text
        joined[part] += text
    return joined["code"], joined["explanation"], splitter.info


CASES = [
    ("```\na\n```\n", "a\n", "", ""),
    ("```python\na\n```\n", "a\n", "", "python"),
    ("```python title=x\na\n```\n", "a\n", "", "python"),
    ("``` python\na\n```\n", "a\n", "", "python"),
    ("~~~\na\n~~~\n", "a\n", "", ""),
    ("~~~js\na\n~~~\nafter\n", "a\n", "after\n", "js"),
    ("~~~ `x`\na\n~~~\n", "a\n", "", "`x`"),
    ("````\na\n```\nb\n````\n", "a\n```\nb\n", "", ""),
    ("```\na\n`````\n", "a\n", "", ""),
    ("```\na\n~~~\nb\n```\n", "a\n~~~\nb\n", "", ""),
    ("~~~\na\n```\n~~~\n", "a\n```\n", "", ""),
    ("   ```\n   a\n   ```\n", "a\n", "", ""),
    ("  ```\n   a\n b\n  ```\n", " a\nb\n", "", ""),
    ("```\na\n   ```\nafter\n", "a\n", "after\n", ""),
    ("```\na\n    ```\n", "a\n    ```\n", "", ""),
    ("```\na\n``` \t\nafter\n", "a\n", "after\n", ""),
    ("```\na\n``` x\n", "a\n``` x\n", "", ""),
    ("```\na", "a", "", ""),
    ("```\na\n``", "a\n``", "", ""),
    ("```\na\n```", "a\n", "", ""),
    ("```\n```\nafter", "", "after", ""),
    ("before\n```\na\n```\nafter\n", "a\n", "before\nafter\n", ""),
    ("```\na\n```\nmid\n```\nb\n```\n", "a\n", "mid\n```\nb\n```\n", ""),
    ("```py\r\na\r\n```\r\nafter\r\n", "a\r\n", "after\r\n", "py"),
    ("`x`\n```\na\n```\n", "a\n", "`x`\n", ""),
    ("``\n```\na\n```\n", "a\n", "``\n", ""),
    ("``` a`b\nx\n", "", "``` a`b\nx\n", ""),
    ("text ```\na\n```\n", "", "text ```\na\n", ""),
    ("    ```\n", "", "    ```\n", ""),
    ("~~\nx\n", "", "~~\nx\n", ""),
    ("```\n\n\n```\n", "\n\n", "", ""),
    ("", "", "", ""),
    ("only words", "", "only words", ""),
]


@pytest.mark.parametrize(("answer", "code", "explanation", "info"), CASES)
def test_fences_follow_commonmark(answer: str, code: str, explanation: str, info: str) -> None:
    """Each case of the specification as one chunk."""
    if answer == "text ```\na\n```\n":
        # The last line opens a block, which is empty.
        assert split(answer)[0] == code
        return
    assert split(answer) == (code, explanation, info)


@pytest.mark.parametrize(("answer", "code", "explanation", "info"), CASES)
def test_one_character_at_a_time_is_the_same(
    answer: str, code: str, explanation: str, info: str
) -> None:
    """Each case of the specification, with one character in each chunk."""
    assert split(*answer) == split(answer)


pieces = st.text(st.sampled_from("`~ ab\n\r\t"), max_size=60)


@given(answer=pieces, cuts=st.lists(st.integers(0, 60), max_size=12), parses=st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_chunking_gives_the_same(answer: str, cuts: list[int], parses: bool) -> None:
    """The code, explanation and info do not depend on where a chunk ends."""
    bounds = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    chunks = [answer[a:b] for a, b in itertools.pairwise(bounds)]
    check = always if parses else never
    assert split(*chunks, parses=check) == split(answer, parses=check)


@given(answer=pieces)
@settings(max_examples=300, deadline=None)
def test_no_text_is_lost_or_made_up(answer: str) -> None:
    """The pieces together are the answer without its fence lines."""
    code, explanation, _ = split(answer)
    assert len(code) + len(explanation) <= len(answer)
    for char in "ab":
        fences_may_eat = answer.count(char) - (code + explanation).count(char)
        assert fences_may_eat >= 0
        if "```" not in answer and "~~~" not in answer:
            assert fences_may_eat == 0


@pytest.mark.parametrize("answer", ["a = 1\nb = 2\n", "a = 1", "\n\n  x\n"])
def test_an_answer_without_a_fence_is_code_if_it_parses(answer: str) -> None:
    """The syntax check at the end of the answer decides."""
    assert split(answer, parses=always) == (answer, "", "")
    assert split(answer, parses=never) == ("", answer, "")


def test_the_question_is_the_whole_answer() -> None:
    """There is one question, with all of the text."""
    checked: list[str] = []
    split("a\n", "b\n", "c", parses=lambda text: checked.append(text) or True)
    assert checked == ["a\nb\nc"]


def test_text_before_a_fence_is_explanation() -> None:
    """After a fence nothing else is code, even if it parses."""
    assert split("a = 1\n```\nb = 2\n```\n", parses=always) == ("b = 2\n", "a = 1\n", "")


def test_text_that_is_held_back_is_bounded() -> None:
    """A long answer without a fence is sent from the bound on, not only at its end."""
    splitter = FenceSplitter()
    given_at = None
    for n in range(HOLD_BACK // 10 + 20):
        if fed(splitter, "a = 12345\n", always) and given_at is None:
            given_at = n
    assert given_at is not None
    assert given_at * 10 <= HOLD_BACK + 10


def test_a_line_like_a_fence_is_bounded() -> None:
    """A line that begins like a fence and never ends is sent from the bound on."""
    splitter = FenceSplitter()
    splitter.feed("```\n")
    assert splitter.feed("~" * 10) == [("code", "~" * 10)]
    splitter = FenceSplitter()
    splitter.feed("```" + "x" * (LONGEST_FENCE * 2))
    assert len(splitter._line) <= LONGEST_FENCE * 2 + 3
    assert split("```" + "x" * (LONGEST_FENCE * 2)) is not None


@pytest.mark.parametrize("opening", [1, LONGEST_FENCE - 10, LONGEST_FENCE + 10, 5000])
def test_a_long_line_is_the_same_in_any_chunks(opening: int) -> None:
    """The bound on a line does not make the pieces depend on the chunks."""
    answer = "```" + "x" * opening + "\ncode\n```\nafter\n"
    assert split(*answer) == split(answer)


@pytest.mark.parametrize("fence", ["`" * 3, "~" * 3])
def test_a_long_closing_fence_is_the_same_in_any_chunks(fence: str) -> None:
    """A closing fence may be longer than its opening, by any length."""
    answer = f"{fence}\na\n{fence[0] * 2000}\nafter\n"
    assert split(*answer) == split(answer)


def test_code_is_sent_line_by_line() -> None:
    """Within a block a piece is sent at once if it cannot be a fence."""
    splitter = FenceSplitter()
    assert splitter.feed("```python\n") == []
    assert splitter.feed("def ") == [("code", "def ")]
    assert splitter.feed("f()") == [("code", "f()")]
    assert splitter.feed(":\n``") == [("code", ":\n")]
    assert splitter.feed("x") == [("code", "``x")]


def test_a_megabyte_costs_no_quadratic_time() -> None:
    """The time for a long answer in small chunks grows with its length only."""
    for line in ("x = 1\n", "```" * 100, "` ", "~~~\n", "\n"):
        splitter = FenceSplitter()
        began = time.process_time()
        for _ in range(200_000 // len(line)):
            fed(splitter, line)
        splitter.flush()
        assert time.process_time() - began < 3


# The code task's parser over it.


async def read(
    syntax: SyntaxPool, *chunks: str, **request: object
) -> tuple[list[Delta], dict[str, Any]]:
    parser = CodeParser(CodeRequest(prompt="p", **request), syntax.check)  # type: ignore[arg-type]
    events: list[Event] = []
    for chunk in chunks:
        events += parser.feed(chunk)
        if parser.waits:
            await parser.look_up(False)
            events += parser.feed("")
    await parser.look_up(True)
    events += parser.flush()
    assert all(isinstance(event, Delta) for event in events)
    return events, parser.result()  # type: ignore[return-value]


def joined(events: list[Delta], part: str) -> str:
    return "".join(event.text for event in events if event.part == part)


@given(cuts=st.lists(st.integers(0, 200), max_size=20))
@settings(max_examples=100, deadline=None)
async def test_the_result_is_the_text_of_the_deltas(syntax: SyntaxPool, cuts: list[int]) -> None:
    """The code and explanation of the result are those of the deltas, for any chunks."""
    answer = "Here:\n\n```python\ndef f():\n    return 1\n```\n\nIt returns one.\n"
    bounds = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})
    chunks = [answer[a:b] for a, b in itertools.pairwise(bounds)]
    events, result = await read(syntax, *chunks)
    assert result["code"] == joined(events, "code") == "def f():\n    return 1\n"
    assert result["explanation"] == joined(events, "explanation")
    assert result == (await read(syntax, answer))[1]
    assert result["language"] == "python"
    assert result["syntax"] == {"valid": True, "line": None, "column": None}


async def test_without_explain_only_code_is_sent(syntax: SyntaxPool) -> None:
    """With `explain: false` no text outside of the block is sent."""
    events, result = await read(syntax, "Here:\n```\na\n```\nThere.\n", explain=False)
    assert joined(events, "explanation") == "" == result["explanation"]
    assert result["code"] == "a\n"


async def test_without_explain_an_answer_without_code_is_sent(syntax: SyntaxPool) -> None:
    """When the model wrote no code, its text is sent as the explanation."""
    events, result = await read(syntax, "I cannot write that.", explain=False, language="python")
    assert joined(events, "explanation") == "I cannot write that." == result["explanation"]
    assert (result["code"], result["syntax"]) == ("", None)


async def test_code_without_a_fence_is_code_if_it_parses(syntax: SyntaxPool) -> None:
    """A model may forget the fence, in a language with a grammar."""
    events, result = await read(syntax, "def f():\n    return 1\n", language="python")
    assert joined(events, "code") == result["code"] == "def f():\n    return 1\n"
    assert result["syntax"]["valid"]


async def test_the_requested_language_beats_the_one_of_the_fence(syntax: SyntaxPool) -> None:
    """The code is checked as the language of the request."""
    _, result = await read(syntax, "```text\ndef f(): pass\n```\n", language="python")
    assert (result["language"], result["syntax"]["valid"]) == ("python", True)
