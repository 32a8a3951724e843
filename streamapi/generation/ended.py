"""The record of a log that has ended, and those who observe it: metrics, and later usage, traces,
jobs and webhooks.

There is one record per log that was charged, over all processes. The process whose append of the
ending succeeds hands it out: the producer, or the reader's process that ends the log of a writer
that is gone. A start that is refused, or whose caller leaves before the producer begins, has an
ending for those who joined its log, and no record.

Rare cases differ. A writer that is cut off from Redis, but not from its readers, can end a log
that a reader's process ends too: two records. A log that Redis loses together with its writer, and
a log whose writer is gone and that nobody reads any more, have no record. A process that is gone
before its producer began leaves a log that counts as lost.
"""

import logging
from collections.abc import Callable, Iterable

import msgspec

from streamapi.generation.event import (
    Done,
    Ending,
    Failed,
    FinishReason,
    Timings,
    Usage,
)
from streamapi.generation.generation import Generation

logger = logging.getLogger(__name__)


class Ended(msgspec.Struct, frozen=True):
    """How a log ended.

    `generation` is the one that began the log, or another holder when that one was forgotten: it
    has the owner, the key, the task, the model asked and the cache status. `outcome` is `done`,
    `cancelled` or the code of the failure; `model` names the model that served content, as the
    provider does (None: no model did). `attempts` are requests to models, `fallbacks` how often
    the next model of the chain was asked.
    What only the writer knew (usage, timings, attempts) is zero when the writer is gone.
    """

    generation: Generation
    outcome: str
    usage: Usage
    timings: Timings
    model: str | None = None
    finish_reason: FinishReason | None = None
    attempts: int = 0
    fallbacks: int = 0

    @classmethod
    def of(
        cls,
        generation: Generation,
        ending: Ending,
        timings: Timings | None = None,
        model: str | None = None,
        attempts: int = 0,
        fallbacks: int = 0,
    ) -> "Ended":
        """The record of a log that the generation began, and that has this ending."""
        outcome = ending.problem.code if isinstance(ending, Failed) else ending.type
        finish_reason: FinishReason | None = None
        if isinstance(ending, Done):
            timings, model = ending.timings, ending.served.model
            finish_reason = ending.finish_reason
        return cls(
            generation,
            outcome,
            ending.usage,
            timings or Timings(),
            model,
            finish_reason,
            attempts,
            fallbacks,
        )


Observer = Callable[[Ended], None]


def notify(observers: Iterable[Observer], ended: Ended) -> None:
    """Hand the record to each observer. One that raises is logged, and harms nobody."""
    for observer in observers:
        try:
            observer(ended)
        except Exception:
            logger.exception("an observer failed at the ending of %s", ended.generation.log)
