"""The emulator: a web server that answers as Gemini's REST API does.

The body of a call becomes a `Question`. An answer is made for the question, and a
script of the answer, with a fault if the call has one. The player then plays the
script. Each of these has a module; this one connects them.
"""

import asyncio
import secrets
import signal
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from . import markers
from .compose import Answer, compose
from .control import Control
from .faults import WantedFault
from .history import MAX_PROMPT, Call, History
from .markers import Markers
from .models import MODELS, Model, find
from .player import Player
from .request import Question, decode, parse, parse_count
from .script import Reply, Step
from .wire import ARRAY, SSE, Refusal, encode

__all__ = ["CHUNK_CHARS", "PACE", "Emulator", "run"]

#: Seconds between two chunks.
PACE = 0.02
#: Characters in a chunk.
CHUNK_CHARS = 24
#: Bytes of a request's body, as at Google.
MAX_BODY = 20_971_520
#: Connections that wait to be accepted. More are refused.
BACKLOG = 2_048
#: Seconds for aiohttp to finish its writes at a close. The calls are cancelled before.
SHUTDOWN_TIMEOUT = 0.1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Emulator:
    """Gemini's REST API with a script in place of a model.

    `async with Emulator() as emulator:` serves on a free loopback port, in the
    running event loop. `emulator.url` is the base URL for a client.
    """

    def __init__(self, pace: float = PACE, chunk_chars: int = CHUNK_CHARS) -> None:
        self.pace = pace
        self.chunk_chars = chunk_chars
        self.host = ""
        self.port = 0
        self.history = History()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. With port 0, on a free port."""
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,
            auto_decompress=False,  # a compressed body is not JSON, and a bomb stays small
            shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.host, self.port = runner.addresses[0][:2]

    async def close(self) -> None:
        """Cancel every call, and stop listening."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for task in self._tasks:
            task.cancel()
        await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_google_errors], client_max_size=MAX_BODY)
        app.add_routes(Control(self.history).routes())
        models = "/v1beta/models"
        app.add_routes(
            [
                web.get(models, self._list),
                web.get(models + "/{model:[^/:]+}", self._get),
                web.post(models + "/{model:[^/:]+}:countTokens", self._count),
                web.post(models + "/{model:[^/:]+}:{method:generateContent}", self._generate),
                web.post(models + "/{model:[^/:]+}:{method:streamGenerateContent}", self._generate),
            ]
        )
        return app

    async def _list(self, request: web.Request) -> web.StreamResponse:
        _check_key(request)
        return _json({"models": [model.resource() for model in MODELS.values()]})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        _check_key(request)
        return _json(find(request.match_info["model"], "getModel").resource())

    async def _count(self, request: web.Request) -> web.StreamResponse:
        _check_key(request)
        find(request.match_info["model"], "countTokens")
        count = parse_count(decode(await request.read()))
        details = [{"modality": "TEXT", "tokenCount": count}]
        return _json({"totalTokens": count, "promptTokensDetails": details})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        """Answer one model call, and record it in the history."""
        name, method = request.match_info["model"], request.match_info["method"]
        call = self.history.begin(name, method, request.headers.get("x-goog-api-key", ""))
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            answer = await self._play(request, call)
        except asyncio.CancelledError:
            self.history.end(call, "closed" if request.transport else "client_left")
            raise
        except ConnectionError:  # a write failed before the cancellation came
            self.history.end(call, "client_left")
            return web.Response()
        except BaseException:
            self.history.end(call, "finished")
            raise
        finally:
            self._tasks.discard(task)
        self.history.end(call, "fault" if call.fault else "finished")
        return answer

    async def _play(self, request: web.Request, call: Call) -> web.StreamResponse:
        _check_key(request)
        model = find(call.model, call.method)
        question = parse(decode(await request.read()), model)
        call.prompt = question.prompt[:MAX_PROMPT]
        found = _markers(question.prompt)
        wanted = self.history.fault(question.prompt, found, call.model)
        pace = self.pace if found.pace is None else found.pace
        player = Player(request, call, pace, bool(wanted and wanted.fault.bytewise))
        steps = self._script(question, model, found, wanted)
        if wanted:
            call.fault = wanted.fault.name
        if call.method == "generateContent":
            return await player.whole(steps)
        return await player.stream(steps, SSE if request.query.get("alt") == "sse" else ARRAY)

    def _script(
        self, question: Question, model: Model, found: Markers, wanted: WantedFault | None
    ) -> Iterator[Step]:
        hostile = bool(wanted and wanted.fault.hostile)
        thinks = question.config.include_thoughts or bool(wanted and wanted.fault.thinks)
        answer: Answer = compose(question, words=found.words, hostile=hostile, thinks=thinks)
        size = found.chunk or self.chunk_chars
        text = answer.text
        reply = Reply(
            model=model.id,
            id=secrets.token_urlsafe(16),
            prompt_tokens=question.tokens,
            thoughts=answer.thoughts,
            pieces=[text[at : at + size] for at in range(0, len(text), size)],
            finish=answer.finish,
            escaped=hostile,
        )
        return wanted.play(reply) if wanted else reply.whole()


def run(
    host: str = "127.0.0.1", port: int = 0, pace: float = PACE, chunk_chars: int = CHUNK_CHARS
) -> None:
    """Print the URL as one line, and serve until SIGINT or SIGTERM."""
    asyncio.run(_serve(Emulator(pace, chunk_chars), host, port))


async def _serve(emulator: Emulator, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await emulator.start(host, port)
    print(emulator.url, flush=True)
    await stop.wait()
    await emulator.close()


@web.middleware
async def _google_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error Google's shape, also those of aiohttp."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPRequestEntityTooLarge:
        message = f"Request payload size exceeds the limit: {MAX_BODY} bytes."
        return Refusal(400, message).response()
    except web.HTTPException as error:
        return Refusal(error.status, error.reason).response()


def _check_key(request: web.Request) -> None:
    if not request.headers.get("x-goog-api-key", "").strip():
        raise Refusal(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
        )


def _markers(prompt: str) -> Markers:
    try:
        return markers.read(prompt)
    except ValueError as error:
        raise Refusal(400, str(error)) from None


def _json(value: Any) -> web.Response:
    answer = web.Response(body=encode(value))
    answer.headers["Content-Type"] = "application/json; charset=UTF-8"
    return answer
