"""The current request or message of a socket starts a generation, by way of `intake.py`.

What belongs to the request is here: its ticket, which stands for one generation at most, and the
headers that report the caller's limits.
"""

from typing import Any

from streamapi import intake
from streamapi.api import limits, ticket_claims
from streamapi.api.context import caller, services
from streamapi.errors import CallerError
from streamapi.generation.generation import Generation
from streamapi.tasks.task import Task


async def start_generation(
    task: Task[Any],
    body: dict[str, Any],
    *,
    idempotency_key: str | None = None,
    text_values: bool = False,
    outlives_readers: bool = False,
) -> Generation:
    """The generation that the body of a task asks for; the options are those of `intake.prepare`.

    Raises what `intake.prepare`, `intake.start` and `ticket_claims.find_bound` raise."""
    parts, current = services(), caller()
    request = intake.prepare(
        parts,
        current,
        task,
        body,
        idempotency_key=idempotency_key,
        text_values=text_values,
        outlives_readers=outlives_readers,
    )
    if (earlier := await ticket_claims.find_bound(parts, request.digest)) is not None:
        return earlier
    try:
        generation = await intake.start(parts, current, request, limits.report)
    except CallerError as error:
        limits.wait_longer(error)
        raise
    ticket_claims.bind(parts, generation)
    return generation
