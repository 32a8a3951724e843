"""The one way in: a caller, a task and a body become a generation.

Every route and every message of a WebSocket comes through here, in two steps. `prepare` checks
what the caller may ask and what the body says, without waiting for anything; `start` reserves what
the answer may cost and begins it. This module does not know which transport asks.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from streamapi.access.answer_charge import AnswerCharge, State
from streamapi.access.limit_key import limit_key
from streamapi.errors import FieldError, Forbidden, InvalidRequest
from streamapi.generation.event import encode
from streamapi.generation.generation import Generation, OnDisconnect
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.providers.catalogue import ModelCard
from streamapi.services import Services
from streamapi.tasks.task import Task, TaskRequest
from streamapi.validation import validate

NOT_IN_CACHE_KEY = frozenset({"model", "metadata", "on_disconnect", "cache"})
"""Fields on which an answer does not depend. The cache key has the ids of the models instead of
`model`, because a model may have several names."""


def prepare(
    parts: Services,
    caller: Caller,
    task: Task[Any],
    body: dict[str, Any],
    *,
    idempotency_key: str | None = None,
    text_values: bool = False,
    outlives_readers: bool = False,
) -> GenerationRequest:
    """The request for a generation that a body of a task describes.

    With `text_values`, numbers and booleans in the body may be text, as in a query string. With
    `outlives_readers`, the generation goes on when its last reader leaves, whatever the body says.

    Raises `Forbidden`, `InvalidRequest` and `ModelNotFound`."""
    caller.check(task.name)
    fields = validate(task.request, body, text_values=text_values)
    model, cards = _chain(parts, caller, task, fields)
    claimed = idempotency_key is not None or caller.ticket is not None
    goes_on = outlives_readers or idempotency_key is not None
    on_disconnect: OnDisconnect = fields.on_disconnect or "grace"
    models = " ".join(card.id for card in cards)  # of two keys, one may have a longer chain
    cache = fields.cache or task.cache
    return GenerationRequest(
        task=task.name,
        model=model,
        account=limit_key(caller),
        models=[parts.providers.model(card) for card in cards],
        prompt=task.prompt(fields),
        parser=lambda: task.parser(fields),
        metadata=fields.metadata,
        on_disconnect="continue" if goes_on else on_disconnect,
        # An idempotency key has no space, so it cannot be mistaken for a ticket.
        idempotency_key=f"ticket {caller.ticket}" if caller.ticket else idempotency_key,
        once=caller.ticket is not None,
        digest=_digest(task, fields) if claimed else "",
        cache=cache,
        cache_key="" if cache == "off" else f"{models} {_digest(task, fields, NOT_IN_CACHE_KEY)}",
    )


async def start(
    parts: Services,
    caller: Caller,
    request: GenerationRequest,
    report: Callable[[Sequence[State]], None] = lambda states: None,
) -> Generation:
    """Begin the generation, or join an earlier one of the same request. `report` is called with
    the state of the caller's limits afterwards, also when a limit refuses the request.

    Raises what `Generations.start` and `AnswerCharge` raise."""
    charge = AnswerCharge(parts.limits, parts.settings, caller, request)
    try:
        return await parts.generations.start(caller, request, charge)
    finally:
        report(charge.states)


def _chain(
    parts: Services, caller: Caller, task: Task[Any], fields: TaskRequest
) -> tuple[str, list[ModelCard]]:
    """The name of the model that is asked for, and the models that may answer, in order."""
    settings = parts.settings
    model = fields.model or (settings.fast_model if task.fast else settings.default_model)
    cards = [parts.catalogue.serving(model)]
    if not caller.may_ask(model, cards[0].id):
        raise Forbidden(f"This key may not use the model {model}. Choose another model, or key.")
    if (fields.max_output_tokens or 0) > cards[0].output_tokens:
        bound = f"must be at most {cards[0].output_tokens:,} for {cards[0].id}"
        raise InvalidRequest.of(FieldError(bound, "/max_output_tokens"))
    for name in settings.fallback_models:
        card = parts.catalogue.serving(name)
        if card not in cards and caller.may_ask(card.id):
            cards.append(card)
    return model, cards


def _digest(task: Task[Any], fields: TaskRequest, without: frozenset[str] = frozenset()) -> str:
    """A digest of the fields; requests that mean the same have the same digest."""
    meaning = fields.model_dump(mode="json", exclude=set(without), exclude_defaults=True)
    return hashlib.sha256(encode([task.name, sorted(meaning.items())])).hexdigest()
