"""Gemini through LangChain: the reference path, and the only file that knows the SDK's ways.

Incidents behind the settings below: without `vertexai=False` and `base_url` the environment
chooses another back end; `max_retries=1` is one request, more would stack with our own retries;
`break` and `aclose()` leave the upstream socket open, only cancelling a task that waits for the
next chunk closes it; a stream cut short, a safety stop and a blocked prompt raise nothing.
"""

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp

from streamapi.errors import ContentBlocked, StreamapiError, UpstreamUnavailable
from streamapi.generation.event import FinishReason, Usage
from streamapi.generation.model import Chunk, Prompt
from streamapi.providers import google_errors
from streamapi.providers.catalogue import ModelCard

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_google_genai import ChatGoogleGenerativeAI

FINISH: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
"""Finish reasons of the provider's safety system."""


class Gemini:
    """The connection to Gemini: one LangChain object, made when it is first asked, that all
    requests share. Its models are `GeminiModel`s."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._shared: ChatGoogleGenerativeAI | None = None

    async def open(self, model: str) -> None:
        """Import LangChain now, away from the event loop, so that no request waits for it."""
        await asyncio.to_thread(self.chat, model)

    def model(self, card: ModelCard) -> "GeminiModel":
        """One model of the catalogue, ready to be asked."""
        return GeminiModel(self, card)

    def chat(self, model: str) -> "ChatGoogleGenerativeAI":
        """LangChain's object for a model: a copy of three microseconds that shares the client."""
        if self._shared is None:
            from langchain_google_genai import ChatGoogleGenerativeAI

            # The SDK forgets to await the body of an error that it raises anyway.
            warnings.filterwarnings("ignore", "coroutine 'ClientResponse.json'", RuntimeWarning)
            self._shared = ChatGoogleGenerativeAI(
                model=model,
                api_key=self._api_key,
                base_url=self._base_url,
                vertexai=False,
                max_retries=1,
            )
        return self._shared.model_copy(update={"model": model})

    async def aclose(self) -> None:
        """Close the connections to Gemini."""
        if self._shared is not None:
            await self._shared.aclose()


class GeminiModel:
    """One model, asked through LangChain's `astream`."""

    def __init__(self, gemini: Gemini, card: ModelCard) -> None:
        self._gemini = gemini
        self.card = card
        self.name = card.id

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        return self.card.dropped(prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        chat = self._gemini.chat(self.card.id)
        messages = chat.astream(_messages(prompt), **_arguments(prompt, self.card))
        usage = Usage()
        try:
            async for message in messages:
                usage = _add(usage, message)
                if _blocked(message):
                    yield Chunk(usage=usage)
                    raise ContentBlocked("The provider's safety system stopped the content.")
                yield _chunk(message, usage)
        except StreamapiError:
            raise
        except Exception as error:
            raise _contract_error(error) from error
        finally:
            await _abort(messages)


def _messages(prompt: Prompt) -> "list[BaseMessage]":
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    messages: list[BaseMessage] = [SystemMessage(prompt.system)] if prompt.system else []
    for message in prompt.messages:
        kind = HumanMessage if message.role == "user" else AIMessage
        messages.append(kind(message.content))
    return messages


def _arguments(prompt: Prompt, card: ModelCard) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "temperature": card.temperature_for(prompt),
        "max_output_tokens": prompt.max_output_tokens,
        "stop": list(prompt.stop) or None,
        "thinking_level": card.thinking_for(prompt),
        "include_thoughts": prompt.include_thoughts or None,
        # The SDK would look for functions to call in every chunk.
        "automatic_function_calling": {"disable": True},
    }
    if prompt.schema is not None:
        arguments["response_mime_type"] = "application/json"
        arguments["response_json_schema"] = prompt.schema
    return {name: value for name, value in arguments.items() if value is not None}


def _chunk(message: "AIMessageChunk", usage: Usage) -> Chunk:
    text, thought = "", ""
    for block in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(block, str):
            text += block
        elif block.get("type") == "text":
            text += block["text"]
        elif block.get("type") == "thinking":
            thought += block["thinking"]
    metadata = message.response_metadata
    finish = FINISH.get(metadata.get("finish_reason") or "")
    return Chunk(clean(text), clean(thought), finish, usage, metadata.get("model_name") or None)


def _blocked(message: "AIMessageChunk") -> bool:
    metadata = message.response_metadata
    feedback = metadata.get("prompt_feedback") or {}
    return bool(feedback.get("block_reason")) or metadata.get("finish_reason") in BLOCKED


def clean(text: str) -> str:
    """The text without lone surrogates, which no encoding can carry (Unicode, section 3.9)."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _add(usage: Usage, message: "AIMessageChunk") -> Usage:
    """LangChain turns the wire's running totals into differences; this turns them back."""
    told = message.usage_metadata
    if told is None:
        return usage
    return Usage(
        usage.input_tokens + told["input_tokens"],
        usage.output_tokens + told["output_tokens"],
        usage.thought_tokens + told.get("output_token_details", {}).get("reasoning", 0),
    )


async def _abort(stream: AsyncIterator[Any]) -> None:
    """Close what is left of a stream: only a pull that is cancelled closes the socket."""
    while getattr(stream, "ag_frame", None) is not None:
        pull = asyncio.ensure_future(_pull(stream))
        await asyncio.sleep(0)
        pull.cancel()
        await asyncio.wait({pull})
        if pull.cancelled() or pull.exception() is not None:
            return


async def _pull(stream: AsyncIterator[Any]) -> bool:
    async for _ in stream:
        return True
    raise StopAsyncIteration


def _contract_error(error: Exception) -> Exception:
    from google.genai.errors import APIError

    for candidate in (error, error.__cause__):
        if isinstance(candidate, APIError):
            headers = getattr(candidate.response, "headers", None) or {}
            return google_errors.from_status(candidate.code or 0, candidate.details, headers)
    # json.JSONDecodeError and the SDK's UnknownApiResponseError are ValueErrors.
    if isinstance(error, aiohttp.ClientError | OSError | ValueError):
        return UpstreamUnavailable("The connection to the provider broke, or it sent nonsense.")
    return error  # a bug of ours: the producer's log has it
