"""A valid request becomes a generation: the same few steps behind every door."""

import hashlib
import re
from typing import Any

from quart import request

from streamapi.access.answer_charge import AnswerCharge, payer
from streamapi.api import limits, ticket_claims
from streamapi.api.body import validate
from streamapi.errors import CallerError, FieldError, Forbidden, InvalidHeader, InvalidRequest
from streamapi.generation.event import encode
from streamapi.generation.generation import Generation, OnDisconnect
from streamapi.generation.request import Caller, GenerationRequest
from streamapi.providers.catalogue import ModelCard
from streamapi.services import Services
from streamapi.tasks.task import Task, TaskRequest

OWN = frozenset({"model", "metadata", "on_disconnect", "cache"})
"""Fields on which an answer does not depend (the model counts under the name that serves it)."""

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
WHAT_A_KEY_IS = "must have 1 to 255 visible ASCII characters"


async def start(
    parts: Services,
    caller: Caller,
    task: Task[Any],
    body: dict[str, Any],
    *,
    idempotency_key: str | None = None,
    lax: bool = False,
    outlives_reader: bool = False,
) -> Generation:
    """Begin what the body asks of the task. Raises `Forbidden`, `InvalidRequest`, `ModelNotFound`
    and what `Generations.start` raises. `outlives_reader` is for answers to follow later."""
    caller.check(task.name)
    asked = validate(task.request, body, lax=lax)
    model, cards = _chain(parts, caller, task, asked)
    claimed = idempotency_key is not None or caller.ticket is not None
    go_on = outlives_reader or idempotency_key is not None
    chain = " ".join(card.id for card in cards)  # of two keys, one may have a longer one
    cache = asked.cache or task.cache
    on_disconnect: OnDisconnect = asked.on_disconnect or "grace"
    ask = GenerationRequest(
        task=task.name,
        model=model,
        who=payer(caller),
        models=[parts.gemini.model(card) for card in cards],
        prompt=task.prompt(asked),
        parser=lambda: task.parser(asked),
        metadata=asked.metadata,
        on_disconnect="continue" if go_on else on_disconnect,
        # A space is in no key of a caller's.
        idempotency_key=f"ticket {caller.ticket}" if caller.ticket else idempotency_key,
        once=caller.ticket is not None,
        digest=_canonical(task, asked, frozenset()) if claimed else "",
        cache=cache,
        cache_key=f"{chain} {_canonical(task, asked, OWN)}" if cache != "off" else "",
    )
    return await _begin(parts, caller, ask)


def _chain(
    parts: Services, caller: Caller, task: Task[Any], asked: TaskRequest
) -> tuple[str, list[ModelCard]]:
    """The model that is asked for, and those that are asked in its turn."""
    settings = parts.settings
    model = asked.model or (settings.fast_model if task.fast else settings.default_model)
    cards = [parts.catalogue.serving(model)]
    if not caller.may_ask(model, cards[0].id):
        raise Forbidden(f"This key may not ask {model}.")
    if (asked.max_output_tokens or 0) > cards[0].output_tokens:
        bound = f"must be at most {cards[0].output_tokens:,} for {cards[0].id}"
        raise InvalidRequest.of(FieldError(bound, "/max_output_tokens"))
    for name in settings.fallback_models:
        card = parts.catalogue.serving(name)
        if card not in cards and caller.may_ask(card.id):
            cards.append(card)
    return model, cards


async def _begin(parts: Services, caller: Caller, ask: GenerationRequest) -> Generation:
    if (earlier := await ticket_claims.joined(parts, ask.digest)) is not None:
        return earlier
    charge = AnswerCharge(parts.limits, parts.settings, caller, ask)
    try:
        generation = await parts.generations.start(caller, ask, charge)
    except CallerError as error:
        limits.wait_longer(error)
        raise
    finally:
        limits.tell(charge.states)
    ticket_claims.bind(parts, generation)
    return generation


def idempotency_key(value: str | None) -> str | None:
    """The value of a parameter as an idempotency key. Raises `InvalidRequest`."""
    if value is not None and not IDEMPOTENCY_KEY.fullmatch(value):
        raise InvalidRequest.of(FieldError(WHAT_A_KEY_IS, "/idempotency_key"))
    return value


def idempotency_header() -> str | None:
    """The `Idempotency-Key` of the current request. Raises `InvalidHeader`."""
    value = request.headers.get("Idempotency-Key")
    if value is not None and not IDEMPOTENCY_KEY.fullmatch(value):
        raise InvalidHeader(f"The Idempotency-Key {WHAT_A_KEY_IS}.")
    return value


def _canonical(task: Task[Any], asked: TaskRequest, without: frozenset[str]) -> str:
    """A digest of the request, the same for requests that mean the same."""
    fields = asked.model_dump(mode="json", exclude=set(without), exclude_defaults=True)
    return hashlib.sha256(encode([task.name, sorted(fields.items())])).hexdigest()
