"""When the beginning of an answer is certainly prose, and so is sent as it arrives."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapi.tasks.code import CodeParser, CodeRequest
from streamapi.tasks.fences import FenceSplitter
from streamapi.tasks.prose import OPENING, WORDS_PARSE, detector, opens_with_a_sentence
from streamapi.tasks.syntax import GRAMMARS
from streamapi.tasks.syntax.pool import SyntaxPool
from tests.tasks.test_fences import always, fed, settle

SENTENCES = [
    "Here is a function that merges two sorted lists:\n",
    "Here is\na function:\n",
    "\n\nSure! Here's the code you asked for. ",
    'Below, you will find a "simple" implementation (in one file):\n',
    "The function `merge(a, b)` takes 2 lists - both sorted. ",
    "**Note** that this is untested. It",
    "Вот функция, которая объединяет списки:\n",
    "Use a heap, e.g. the one of the standard library.\n",
    "(I took Python 3 for it.) Here",
]

CODE = [
    "def merge(a, b):\n    return a\n",
    "class Node(Base):\n",
    "# Here is a comment that reads as a sentence.\n",
    '"""Here is a docstring that reads as a sentence."""\n',
    "'Here is a string that reads as a sentence.'\n",
    "// Here is a comment that reads as a sentence.\n",
    "/* Here is a comment that reads as a sentence. */\n",
    "import os\n",
    "public static void main(String[] args) {\n",
    "Select name from users where id is null;\n",
    "CREATE TABLE IF NOT EXISTS users (\n",
    "Foo foo = new Foo();\n",
    "<p>Here is a paragraph of text.</p>\n",
    "Hello world.\n",
    "Sure!\n",
    "Here is a function that",
    "Here is a function that merges lists:",
    "",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_is_prose(text: str) -> None:
    """A capital, at least four words, the end of a sentence, and white space after it."""
    assert opens_with_a_sentence(text)


@pytest.mark.parametrize("text", CODE)
def test_text_that_may_be_code_is_not_prose(text: str) -> None:
    """Code, comments, short text, and sentences that may go on."""
    assert not opens_with_a_sentence(text)


@pytest.mark.parametrize("name", GRAMMARS)
async def test_a_sentence_does_not_parse(syntax: SyntaxPool, name: str) -> None:
    """Where a sentence can be code, the grammar decides at the end of the answer."""
    verdicts = [await syntax.check(text, name) for text in SENTENCES]
    assert None not in verdicts
    valid = [verdict.valid for verdict in verdicts if verdict is not None]
    assert any(valid) == (name in WORDS_PARSE)
    assert detector(name)(SENTENCES[0]) == (name not in WORDS_PARSE)


def test_without_a_grammar_nothing_waits() -> None:
    """Without a grammar nothing is code without a fence."""
    assert detector(None)("d")
    assert detector("cobol")("d")
    assert not detector("py")("d")


ANSWER = "Here is a function:\nIt merges.\n```python\ndef f():\n    return 1\n```\nDone.\n"


@pytest.mark.parametrize("language", [None, "python", "cobol"])
def test_prose_is_sent_as_it_arrives(language: str | None) -> None:
    """After the first sentence no text before the fence waits."""
    parser = CodeParser(CodeRequest(prompt="p", language=language))
    shown = ""
    for word in ["Here ", "is ", "a ", "function:", " it ", "merges ", "two ", "lists "]:
        shown += "".join(event.text for event in parser.feed(word))  # type: ignore[attr-defined]
    assert shown == "Here is a function: it merges two lists "
    assert parser.feed("\n```\na = 1\n```\n")
    assert parser.result()["code"] == "a = 1\n"


async def test_code_without_a_fence_waits_for_the_check(syntax: SyntaxPool) -> None:
    """It is sent, as code, only after the check has found that it parses."""
    parser = CodeParser(CodeRequest(prompt="p", language="python"), syntax.check)
    assert parser.feed("def f():\n") == []
    assert parser.feed("    return 1\n") == []
    await parser.look_up(finished=True)
    assert [event.part for event in parser.flush()] == ["code"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("language", [None, "python", "bash"])
@given(cuts=st.lists(st.integers(0, 200), max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_chunking_gives_the_same(language: str | None, cuts: list[int]) -> None:
    """The pieces do not depend on where a chunk ends."""
    bounds = sorted({0, len(ANSWER), *(min(cut, len(ANSWER)) for cut in cuts)})

    def read(*chunks: str) -> dict[str, object]:
        parser = CodeParser(CodeRequest(prompt="p", language=language))
        for chunk in chunks:
            parser.feed(chunk)
        parser.flush()
        return parser.result()

    assert read(*[ANSWER[a:b] for a, b in itertools.pairwise(bounds)]) == read(ANSWER)


words = st.text(st.sampled_from("Aa e.:`\n'("), max_size=80)


@given(answer=words, cuts=st.lists(st.integers(0, 80), max_size=12))
@settings(max_examples=500, deadline=None)
def test_any_text_in_any_chunks_gives_the_same(answer: str, cuts: list[int]) -> None:
    """The splitter's decision does not depend on where a chunk ends."""
    bounds = sorted({0, len(answer), *(min(cut, len(answer)) for cut in cuts)})

    def split(*chunks: str) -> dict[str, str]:
        splitter = FenceSplitter(opens_with_a_sentence)
        joined = {"code": "", "explanation": ""}
        pieces = [piece for chunk in chunks for piece in fed(splitter, chunk, always)]
        splitter.end()
        settle(splitter, always)
        for part, text in [*pieces, *splitter.flush()]:
            joined[part] += text
        return joined

    assert split(*[answer[a:b] for a, b in itertools.pairwise(bounds)]) == split(answer)


@pytest.mark.parametrize("text", ["Aa ", "A`", "'", "A-", "A'a", "A.", "((", "A(a) ", "**A** "])
def test_a_long_opening_costs_little(text: str) -> None:
    """The search for a sentence is bounded; no text makes it slow."""
    looked = 0

    def count(beginning: str) -> bool:
        nonlocal looked
        looked += 1
        assert len(beginning) <= OPENING
        return opens_with_a_sentence(beginning)

    splitter = FenceSplitter(count)
    for _ in range(4000):
        splitter.feed(text)
    assert looked <= OPENING
