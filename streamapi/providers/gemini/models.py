"""Gemini: LangChain prepares the request, aiohttp sends it, and our own reader decodes the stream.

With `reader="langchain"`, LangChain does all of it. That is the reference, and costs ten times as
much per token. A differential test compares the chunks of both.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any, Literal

import aiohttp

from streamapi.errors import StreamapiError, UpstreamUnavailable
from streamapi.generation.model import Chunk, Prompt
from streamapi.providers.catalogue import ModelCard
from streamapi.providers.gemini import errors as google_errors
from streamapi.providers.gemini.langchain import LangChainGemini
from streamapi.providers.gemini.request import Templates
from streamapi.providers.gemini.wire import FrameSplitter, read
from streamapi.settings.upstream import UpstreamSettings

KEEP_ALIVE = 60.0
"""Seconds for which an idle connection to Gemini is kept for the next request."""

CLOSED_WITHIN = 2.0
"""Seconds within which a request fails on a pooled connection that the provider had already closed:
a round trip, and some time for a busy machine. A request that fails later may have reached the
model, so it is not sent again."""

MAX_ERROR_BODY = 100_000
"""Bytes of an error response that are read. The code and the wait stand in far fewer."""

_reused: ContextVar[bool] = ContextVar("_reused", default=False)
"""Whether the last connection of this task had already carried another request."""


class _Connector(aiohttp.TCPConnector):
    """Notes whether a connection is reused. A provider may close an idle connection just when the
    next request is sent, and aiohttp does not repeat a POST: with a provider 5 ms away, a third of
    the requests failed. aiohttp's tracing has the same fact, but costs 15 us per request."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        protocol: Any = connection.protocol
        _reused.set(hasattr(protocol, "used_before"))
        protocol.used_before = True
        return connection


def _was_closed_before(error: BaseException) -> bool:
    """Whether a request failed because its pooled connection was already closed: the connection
    was reused, and no byte of a response came."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # The message is the head of the response, as far as it came, or else a text.
        return _reused.get() and isinstance(error.message, str)
    return _reused.get() and isinstance(error, aiohttp.ClientOSError | ConnectionError)


class Gemini:
    """The connection to Gemini, which all requests share: see `registry.Provider`.

    `proxy` is the address of an HTTP proxy. `connect_timeout` is in seconds; None: no limit."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        reader: Literal["wire", "langchain"] = "wire",
        proxy: str | None = None,
        connect_timeout: float | None = None,
    ) -> None:
        self.reader = reader
        self.langchain = LangChainGemini(base_url, api_key)
        self.templates = Templates(base_url, api_key)
        self._proxy = proxy
        self._connect_timeout = connect_timeout
        self._pooled: aiohttp.ClientSession | None = None
        self._unpooled: aiohttp.ClientSession | None = None

    async def open(self, card: ModelCard) -> None:
        """Import LangChain, in a thread, so that the first request does not wait for it."""
        await asyncio.to_thread(self.langchain.chat, card.id)

    def model(self, card: ModelCard) -> "GeminiModel":
        """The model of this card."""
        return GeminiModel(self, card)

    async def post(self, url: str, headers: Any, body: bytes) -> aiohttp.ClientResponse:
        """Send one request, and wait for the head of the response. If the provider had already
        closed the pooled connection, send the request again at once, on a new connection."""
        if self._pooled is None:
            self._pooled = self._session(keepalive_timeout=KEEP_ALIVE)
        _reused.set(False)
        began = time.monotonic()
        try:
            return await self._pooled.post(url, data=body, headers=headers, proxy=self._proxy)
        except (aiohttp.ClientError, OSError) as error:
            if not _was_closed_before(error) or time.monotonic() - began > CLOSED_WITHIN:
                raise
        if self._unpooled is None:
            self._unpooled = self._session(force_close=True)
        return await self._unpooled.post(url, data=body, headers=headers, proxy=self._proxy)

    async def aclose(self) -> None:
        """Close all connections to Gemini."""
        async with AsyncExitStack() as closing:  # closes each of them, although one fails
            closing.push_async_callback(self.langchain.aclose)
            for session in (self._pooled, self._unpooled):
                if session is not None:
                    closing.push_async_callback(session.close)

    def _session(self, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(limit=0, **options),  # `Admission` bounds the calls
            # All other deadlines are the producer's.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            trust_env=False,
        )


def connect(settings: UpstreamSettings) -> Gemini:
    """The connection to Gemini for these settings: see `registry.MODULES`."""
    key = settings.google_api_key
    return Gemini(
        settings.gemini_base_url,
        key.get_secret_value() if key else "none",  # the emulator accepts any key
        settings.gemini_reader,
        settings.gemini_proxy or None,
        settings.connect_timeout,
    )


class GeminiModel:
    """One of Gemini's models: see `generation.model.Model`."""

    def __init__(self, gemini: Gemini, card: ModelCard) -> None:
        self._gemini = gemini
        self._card = card
        self.name = card.id

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        return self._card.dropped(prompt)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Sequence[Chunk], None]:
        if self._gemini.reader == "langchain":
            return self._gemini.langchain.stream(self._card, prompt)
        return self._read(prompt)

    async def _read(self, prompt: Prompt) -> AsyncGenerator[Sequence[Chunk], None]:
        template = await self._gemini.templates.get(self._card, prompt)
        body = template.fill(prompt)
        del prompt  # an answer can take minutes, and the prompt is not needed any more
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._gemini.post(template.url, template.headers, body)
            del body
            if response.status != 200:
                raise await _refusal(response)
            splitter = FrameSplitter()
            ended = False
            while not ended:
                data = await response.content.readany()
                ended = not data
                chunks: list[Chunk] = []
                try:
                    for frame in splitter.feed(data) if data else splitter.end():
                        chunks.append(read(frame))
                finally:  # chunks that came before an error count
                    if chunks:
                        yield chunks
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable("The connection to the provider broke.") from error
        finally:
            if response is not None:
                response.close()  # does nothing when the stream was read to its end


async def _refusal(response: aiohttp.ClientResponse) -> StreamapiError:
    """The error for a response that is not 200. Its body may be anything."""
    body = await response.content.read(MAX_ERROR_BODY)
    return google_errors.from_status(response.status, body, response.headers)
