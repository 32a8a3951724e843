"""One request to one model: its stream, and the parser that reads it.

An attempt that fails before its first content leaves nothing behind, so another one can replace
it. Each attempt has a parser of its own.
"""

from collections.abc import Callable, Sequence
from typing import cast

from streamapi.errors import ContentBlocked, OutputTooLarge, UpstreamUnavailable
from streamapi.generation.admission import FairQueue
from streamapi.generation.event import CONTENT, Delta, Event, FinishReason, Served, Usage
from streamapi.generation.model import Chunk, Model, Parser, Prompt, WaitingParser


class Attempt:
    """The request `number` to a model, from 1. `first` is the content that opened the gate, `rest`
    the chunks that came with it. `finish` is set once the model has said that it finished; `usage`
    is the latest that the model reported. `most` bounds the characters of the answer."""

    __slots__ = (
        "_flushed", "_include_thoughts", "_most", "_said", "_slot", "_waiting", "finish", "first",
        "model", "number", "parser", "rest", "served", "stream", "usage",
    )  # fmt: skip

    def __init__(
        self, model: Model, prompt: Prompt, parser: Parser, most: int, number: int = 1
    ) -> None:
        self.model = model.name
        self.number = number
        self.parser = parser
        # `isinstance` of a protocol took 75 us, a fifteenth of a short request.
        self._waiting = cast(WaitingParser, parser) if hasattr(parser, "look_up") else None
        self.stream = model.stream(prompt)
        self.served = Served(model.name, model.dropped(prompt))
        self.usage = Usage()
        self.finish: FinishReason | None = None
        self.first: list[Event] = []
        self.rest: Sequence[Chunk] = ()
        self._include_thoughts = prompt.include_thoughts
        self._said = 0
        self._most = most
        self._flushed = False
        self._slot: tuple[FairQueue, str] | None = None

    async def acquire_slot(self, queue: FairQueue, account: str) -> None:
        """Wait until the model may be called. Raises `Overloaded`."""
        await queue.acquire(account)
        self._slot = queue, account

    async def open(self, sign_of_life: Callable[[], None]) -> None:
        """Wait for the first content, or for an end that is a valid answer without any. Call
        `sign_of_life` when the model writes something, though no reader sees it yet."""
        async for chunks in self.stream:
            if any(chunk.text or chunk.thought for chunk in chunks):
                sign_of_life()
            for n, chunk in enumerate(chunks, 1):
                events = self.read(chunk)
                if self.waits:
                    events += await self.look_up()
                if any(isinstance(event, CONTENT) for event in events):
                    self.first, self.rest = events, chunks[n:]
                    return
        if self.finish is None:
            raise UpstreamUnavailable("The model's stream ended before it had said anything.")
        if self.finish == "stop" and self._said == 0:
            raise UpstreamUnavailable("The model sent an empty answer. Try again.")
        await self.look_up(finished=True)
        self.first = self.flush()
        if not self.first:
            self.parser.result()  # raises unless nothing is a valid answer

    def read(self, chunk: Chunk) -> list[Event]:
        """Keep what a chunk says about the attempt; return its events for the readers.

        Raises `ContentBlocked`, and `ModelOutputInvalid` for a parser that cannot go on."""
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish is not None:
            self.finish = chunk.finish
        if chunk.model is not None and chunk.model != self.served.model:
            self.served = Served(chunk.model, self.served.dropped)
        if chunk.blocked:
            raise ContentBlocked("The provider's safety system stopped the content.")
        events: list[Event] = []
        if chunk.thought and self._include_thoughts:
            events.append(Delta(chunk.thought, "thought"))
        if chunk.text:
            self._said += len(chunk.text)
            if self._said > self._most:
                raise OutputTooLarge(f"An answer may have {self._most:,} characters.")
            events += self.parser.feed(chunk.text)
        return events

    @property
    def waits(self) -> bool:
        """Whether the parser goes on only behind `look_up`."""
        return self._waiting is not None and self._waiting.waits

    async def look_up(self, *, finished: bool = False) -> list[Event]:
        """Let a parser that waits go on; return the events that it held back until then."""
        if self._waiting is None:
            return []
        await self._waiting.look_up(finished)
        return [] if finished else self._waiting.feed("")

    def flush(self) -> list[Event]:
        """What the parser held back, the first time this is called."""
        if self._flushed:
            return []
        self._flushed = True
        return self.parser.flush()

    async def aclose(self) -> None:
        """Close the connection to the model, if it is open, and release the slot."""
        try:
            await self.stream.aclose()
        finally:
            if self._slot is not None:
                (queue, account), self._slot = self._slot, None
                queue.release(account)
