"""LangChain's requests as templates: each request only fills in its prompt.

LangChain and the SDK need 2.8 ms to convert parameters, and the result depends only on the model
and the parameters. So LangChain builds one request for each such pair, into a transport that keeps
the request instead of sending it. A test compares filled templates with LangChain's own requests.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from streamapi.generation.model import Message, Prompt
from streamapi.providers.catalogue import ModelCard
from streamapi.providers.gemini.langchain import LangChainGemini, arguments, messages

MOST_TEMPLATES = 512
"""Templates kept. Each set of labels of a classification makes one. Beyond this the least recently
used one is removed."""

ROLES = {"user": "user", "assistant": "model"}
"""Gemini's names of the roles."""

_encoder = msgspec.json.Encoder()


class Template(msgspec.Struct, frozen=True):
    """A request without a prompt."""

    url: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    def fill(self, prompt: Prompt) -> bytes:
        """The body of the request with this prompt."""
        body = dict(self.body)
        body["contents"] = [
            {"parts": [{"text": message.content}], "role": ROLES[message.role]}
            for message in prompt.messages
        ]
        if prompt.system:
            body["systemInstruction"] = {"parts": [{"text": prompt.system}]}
        return _encoder.encode(body)


class Templates:
    """The templates of all models and parameters that were used lately."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._langchain = LangChainGemini(base_url, api_key, transport=_Intercept())
        self._kept: dict[bytes, Template] = {}

    async def get(self, card: ModelCard, prompt: Prompt) -> Template:
        """The template for this prompt's parameters."""
        bare = msgspec.structs.replace(
            prompt, messages=_PLACEHOLDER, system="system" if prompt.system else None
        )
        key = _encoder.encode((card.id, bare))
        template = self._kept.pop(key, None)
        if template is None:
            template = await self._ask_langchain(card, bare)
            if len(self._kept) >= MOST_TEMPLATES:
                del self._kept[next(iter(self._kept))]
        self._kept[key] = template  # to the end of the dict, whose first is the least recently used
        return template

    async def _ask_langchain(self, card: ModelCard, prompt: Prompt) -> Template:
        chat = self._langchain.chat(card.id)
        try:
            async for _ in chat.astream(messages(prompt), **arguments(prompt, card)):
                pass
        except _Intercepted as intercepted:
            return intercepted.template
        raise AssertionError("LangChain sent no request")


_PLACEHOLDER = (Message("user", "prompt"),)


class _Intercepted(Exception):
    def __init__(self, template: Template) -> None:
        super().__init__("the request was kept, not sent")
        self.template = template


class _Intercept:
    """A transport of httpx that raises the request instead of sending it."""

    async def handle_async_request(self, request: Any) -> Any:
        body = msgspec.json.decode(await request.aread(), type=dict[str, Any])
        ours = {"host", "content-length", "connection", "accept-encoding", "accept"}
        headers = {name: value for name, value in request.headers.items() if name not in ours}
        raise _Intercepted(Template(str(request.url), headers, body))

    async def __aenter__(self) -> "_Intercept":
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def close(self) -> None:
        pass
