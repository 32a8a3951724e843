"""Gemini: LangChain prepares the request, aiohttp carries it, and our own reader decodes it.

`through="langchain"` lets LangChain's stream do it all: the reference, ten times as costly per
token. A differential test holds both to the same chunks.
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

KEEP_ALIVE = 60.0
"""Seconds that an idle connection to Gemini is kept for the next request."""

CLOSED_WITHIN = 2.0
"""Seconds in which a request learns that its pooled connection was closed: a round trip, and what
a busy machine adds. What breaks later was under way, so the provider may have worked on it."""

MAX_ERROR_BODY = 100_000
"""Bytes of an error's body that are read; the rest is not needed."""


_reused: ContextVar[bool] = ContextVar("_reused", default=False)
"""Whether the connection that this task was given last had carried a request before."""


class _Connector(aiohttp.TCPConnector):
    """Says whether a connection is a reused one. A provider may close an idle connection in the
    moment in which the next request goes out, and aiohttp repeats no POST by itself: with a
    provider 5 ms away a third of the requests failed so. aiohttp's tracing tells it too, for
    15 us a request."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        protocol: Any = connection.protocol
        _reused.set(hasattr(protocol, "used_before"))
        protocol.used_before = True
        return connection


def _was_closed_before(error: BaseException) -> bool:
    """Whether a request failed because the pooled connection for it had been closed: a reused
    one, lost before any byte of an answer."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return _reused.get() and isinstance(error.message, str)  # else the head had begun
    return _reused.get() and isinstance(error, aiohttp.ClientOSError | ConnectionError)


class Gemini:
    """The connection to Gemini, which all requests share. Its models are `GeminiModel`s."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        through: Literal["wire", "langchain"] = "wire",
        proxy: str | None = None,
        connect_timeout: float | None = None,
    ) -> None:
        self.through = through
        self.langchain = LangChainGemini(base_url, api_key)
        self.templates = Templates(base_url, api_key)
        self._proxy = proxy
        self._connect_timeout = connect_timeout
        self._pooled: aiohttp.ClientSession | None = None
        self._unpooled: aiohttp.ClientSession | None = None

    async def open(self, card: ModelCard) -> None:
        """Import LangChain now, away from the event loop, so that no request waits for it."""
        await asyncio.to_thread(self.langchain.chat, card.id)

    def model(self, card: ModelCard) -> "GeminiModel":
        """One model of the catalogue, ready to be asked."""
        return GeminiModel(self, card)

    async def post(self, url: str, headers: Any, body: bytes) -> aiohttp.ClientResponse:
        """Send one request, and wait for the head of the response. When the provider had closed
        the pooled connection, it is sent again at once, on one that is not from the pool."""
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
        """Close the connections to Gemini."""
        async with AsyncExitStack() as closing:  # closes each, whatever the others raise
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


class GeminiModel:
    """One model of Gemini's."""

    def __init__(self, gemini: Gemini, card: ModelCard) -> None:
        self._gemini = gemini
        self._card = card
        self.name = card.id

    def dropped(self, prompt: Prompt) -> tuple[str, ...]:
        return self._card.dropped(prompt)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Sequence[Chunk], None]:
        if self._gemini.through == "langchain":
            return self._gemini.langchain.stream(self._card, prompt)
        return self._read(prompt)

    async def _read(self, prompt: Prompt) -> AsyncGenerator[Sequence[Chunk], None]:
        template = await self._gemini.templates.get(self._card, prompt)
        body = template.fill(prompt)
        del prompt  # the answer may take long; what asked for it is not kept meanwhile
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
                finally:  # what came before an error was said
                    if chunks:
                        yield chunks
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable("The connection to the provider broke.") from error
        finally:
            if response is not None:
                response.close()  # at once, unless the stream came to its end


async def _refusal(response: aiohttp.ClientResponse) -> StreamapiError:
    """The error of a response that is not 200. Its body may be anything."""
    body = await response.content.read(MAX_ERROR_BODY)
    return google_errors.from_status(response.status, body, response.headers)
