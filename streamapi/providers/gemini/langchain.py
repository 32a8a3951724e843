"""Gemini through LangChain, which prepares every request and is the reference for our own reader.

Only this file knows how LangChain and the SDK behave. What it has to work around:

- Without `vertexai=False` and `base_url`, environment variables choose another service.
- `max_retries=1` means one request. More would multiply with our own retries.
- `break` and `aclose()` leave the upstream socket open. Only cancelling a task that waits for the
  next chunk closes it.
- A stream that is cut, a safety stop and a blocked prompt raise nothing.
"""

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp

from streamapi.errors import UpstreamUnavailable
from streamapi.generation.event import Usage
from streamapi.generation.model import Chunk, Prompt
from streamapi.providers.catalogue import ModelCard
from streamapi.providers.gemini import errors as google_errors
from streamapi.providers.gemini.wire import BLOCKED, FINISH, clean

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_google_genai import ChatGoogleGenerativeAI


class LangChainGemini:
    """One LangChain object that all requests share, made when it is first used. `transport` is
    a transport of httpx in place of the network."""

    def __init__(self, base_url: str, api_key: str, transport: Any = None) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._transport = transport
        self._shared: ChatGoogleGenerativeAI | None = None

    def chat(self, model: str) -> "ChatGoogleGenerativeAI":
        """LangChain's object for a model. It is a copy that shares the client, made in 3 us."""
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
                client_args={"transport": self._transport} if self._transport else None,
            )
        return self._shared.model_copy(update={"model": model})

    async def stream(
        self, card: ModelCard, prompt: Prompt
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """The stream as LangChain reads it: see `generation.model.Model.stream`."""
        chat = self.chat(card.id)
        answer = chat.astream(messages(prompt), **arguments(prompt, card))
        usage = Usage()
        try:
            async for message in answer:
                usage = _add(usage, message)
                yield (_chunk(message, usage),)
        except Exception as error:
            raise _contract_error(error) from error
        finally:
            await _abort(answer)

    async def aclose(self) -> None:
        """Close all connections to Gemini."""
        if self._shared is not None:
            await self._shared.aclose()


def messages(prompt: Prompt) -> "list[BaseMessage]":
    """The prompt as messages of LangChain."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    turns: list[BaseMessage] = [SystemMessage(prompt.system)] if prompt.system else []
    for message in prompt.messages:
        kind = HumanMessage if message.role == "user" else AIMessage
        turns.append(kind(message.content))
    return turns


def arguments(prompt: Prompt, card: ModelCard) -> dict[str, Any]:
    """The prompt's parameters that the model accepts, as arguments of LangChain."""
    found: dict[str, Any] = {
        "temperature": card.temperature_for(prompt),
        "max_output_tokens": min(
            prompt.max_output_tokens or card.output_tokens, card.output_tokens
        ),
        "stop": list(prompt.stop) or None,
        "thinking_level": card.thinking_for(prompt),
        "include_thoughts": prompt.include_thoughts or None,
        # Otherwise the SDK looks for functions to call in every chunk.
        "automatic_function_calling": {"disable": True},
    }
    if prompt.schema is not None:
        found["response_mime_type"] = "application/json"
        found["response_json_schema"] = prompt.schema
    return {name: value for name, value in found.items() if value is not None}


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
    feedback = metadata.get("prompt_feedback") or {}
    reason = metadata.get("finish_reason") or ""
    if feedback.get("block_reason") or reason in BLOCKED:
        return Chunk(usage=usage, blocked=True)
    model = metadata.get("model_name") or None
    return Chunk(clean(text), clean(thought), FINISH.get(reason), usage, model)


def _add(usage: Usage, message: "AIMessageChunk") -> Usage:
    """The running totals of the wire. LangChain gives the differences between them."""
    counts = message.usage_metadata
    if counts is None:
        return usage
    return Usage(
        usage.input_tokens + counts["input_tokens"],
        usage.output_tokens + counts["output_tokens"],
        usage.thought_tokens + counts.get("output_token_details", {}).get("reasoning", 0),
    )


async def _abort(stream: AsyncIterator[Any]) -> None:
    """Close the rest of a stream: only cancelling a task that waits for it closes the socket."""
    while getattr(stream, "ag_frame", None) is not None:
        pull = asyncio.ensure_future(_pull(stream))
        await asyncio.sleep(0)
        pull.cancel()
        await asyncio.wait({pull})
        if pull.cancelled() or pull.exception() is not None:
            return


async def _pull(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        return
    raise StopAsyncIteration


def _contract_error(error: Exception) -> Exception:
    from google.genai.errors import APIError

    for candidate in (error, error.__cause__):
        if isinstance(candidate, APIError):
            headers = getattr(candidate.response, "headers", None) or {}
            return google_errors.from_status(candidate.code or 0, candidate.details, headers)
    # json.JSONDecodeError and the SDK's UnknownApiResponseError are ValueErrors.
    if isinstance(error, aiohttp.ClientError | OSError | ValueError):
        return UpstreamUnavailable(
            "The connection to the provider broke, or its answer could not be read."
        )
    return error  # a bug of ours, which the producer logs
