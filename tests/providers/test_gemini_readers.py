"""LangChain is the reference: our own reader gives the same chunks for every stream."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import uuid4

import pytest

from streamapi.emulator import FAULTS, Emulator
from streamapi.errors import StreamapiError
from streamapi.generation.model import Chunk, Message, Prompt
from streamapi.providers.catalogue import Catalogue
from streamapi.providers.gemini.langchain import arguments, messages
from streamapi.providers.gemini.models import Gemini
from streamapi.providers.gemini.request import Templates, _Intercepted
from streamapi.tasks import every_task

CARD = Catalogue().serving("gemini-3.8-flash")
FAST = Catalogue().serving("gemini-3.5-flash-lite")


@pytest.fixture(scope="module")
async def ours(emulator: Emulator) -> AsyncIterator[Gemini]:
    gemini = Gemini(emulator.url, "key")
    yield gemini
    await gemini.aclose()


@pytest.fixture(scope="module")
async def reference(emulator: Emulator) -> AsyncIterator[Gemini]:
    gemini = Gemini(emulator.url, "key", reader="langchain")
    yield gemini
    await gemini.aclose()


async def read(gemini: Gemini, prompt: Prompt) -> tuple[list[Chunk], str | None]:
    """What a reader says of a stream: its chunks, folded where the pieces may differ, and how
    it failed."""
    chunks: list[Chunk] = []
    try:
        async with aclosing(gemini.model(CARD).stream(prompt)) as stream:
            async for some in stream:
                chunks += some
    except StreamapiError as error:
        return chunks, f"{error.code} {error.retry_after} {error.detail[:20]}"
    return chunks, None


HANGS = {"hang", "hang_after_text"}


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - HANGS))
async def test_both_readers_give_the_same_chunks(
    fault: str, ours: Gemini, reference: Gemini
) -> None:
    """Both readers agree on every fault of the emulator, and on a stream without one."""
    text = f"{uuid4().hex} [[fault:{fault} after=2]]"
    prompt = Prompt((Message("user", text),), include_thoughts=fault == "thoughts")
    mine, theirs = await read(ours, prompt), await read(reference, prompt)
    assert _content(mine[0]) == _content(theirs[0])
    assert (mine[1] is None) == (theirs[1] is None)
    if mine[1] and theirs[1]:
        assert mine[1].split()[:2] == theirs[1].split()[:2]


def _content(chunks: list[Chunk]) -> list[object]:
    """What counts of the chunks. LangChain tells the model with the last chunk only."""
    last = chunks[-1] if chunks else Chunk()
    finish = [chunk.finish for chunk in chunks if chunk.finish]
    blocked = any(chunk.blocked for chunk in chunks)
    text = [(chunk.text, chunk.thought) for chunk in chunks if chunk.text or chunk.thought]
    models = {chunk.model for chunk in chunks if chunk.model} if finish else None
    return [text, finish, blocked, last.usage, models]


async def test_templates_are_langchains_requests() -> None:
    """A filled template has the same JSON as LangChain's own request."""
    templates = Templates("http://127.0.0.1:9", "key")
    for task in every_task().values():
        request = task.request.model_validate({**task.example, "stop": ["END"]})
        prompts = [
            task.prompt(request),
            Prompt(
                (Message("user", "a"), Message("assistant", "b"), Message("user", "c\n\U0001f600")),
                system="Be brief.",
                temperature=0.5,
                include_thoughts=True,
                thinking="high",
            ),
        ]
        for prompt in prompts:
            for card in (CARD, FAST):
                template = await templates.get(card, prompt)
                sent = await _langchains(templates, card, prompt)
                assert _decoded(template.fill(prompt)) == sent.body
                assert template.url == sent.url
                assert template.headers == sent.headers


async def test_a_template_is_made_once() -> None:
    """LangChain does no work for a second request with the same parameters."""
    templates = Templates("http://127.0.0.1:9", "key")
    one = await templates.get(CARD, Prompt((Message("user", "a"),), max_output_tokens=5))
    two = await templates.get(CARD, Prompt((Message("user", "b"),), max_output_tokens=5))
    other = await templates.get(CARD, Prompt((Message("user", "b"),), max_output_tokens=6))
    assert one is two
    assert one is not other


async def _langchains(templates: Templates, card: object, prompt: Prompt) -> object:
    chat = templates._langchain.chat(card.id)
    with pytest.raises(_Intercepted) as intercepted:
        async for _ in chat.astream(messages(prompt), **arguments(prompt, card)):
            pass
    return intercepted.value.template


def _decoded(body: bytes) -> object:
    import json

    return json.loads(body)
