"""A generation as its caller sees it, on every transport.

The log encodes an event once, for all its readers. What belongs to one caller (ids, metadata, the
request id) is written here: in the `start` event, in the endings, and in the answer.
"""

from typing import Any

import msgspec

from streamapi.errors import Problem
from streamapi.generation.event import Cancelled, Done, Failed, Fold, Start, Timings, encode
from streamapi.generation.generation import Generation
from streamapi.generation.generations import rfc3339
from streamapi.generation.log import Entry


class GenerationFailed(Exception):
    """The problem of a failed generation, for a response that can still have its status."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def answer(generation: Generation, fold: Fold, request_id: str) -> dict[str, Any]:
    """The generation as one JSON object. What is not known yet is null."""
    ending = fold.ending
    done = ending if isinstance(ending, Done) else None
    body: dict[str, Any] = {
        "id": generation.id,
        "task": generation.task,
        "status": fold.status,
        "model": {
            "requested": generation.model,
            "served": done.served.model if done else None,
            "dropped": done.served.dropped if done else (),
        },
        "result": fold.result,
        "finish_reason": done.finish_reason if done else None,
        "cache": generation.cache,
        "usage": ending.usage if ending else None,
        "timings": _timings(generation, done) if done else None,
        "metadata": generation.metadata,
        "created": rfc3339(generation.created),
    }
    if isinstance(ending, Failed):
        body["problem"] = own_problem(ending.problem, generation, request_id)
    elif isinstance(ending, Cancelled):
        body["cancelled_by"] = ending.by
    return body


CACHE_STATUS = {
    "hit": "streamapi; hit",
    "miss": "streamapi; fwd=miss",
    "collapsed": "streamapi; fwd=miss; collapsed",
}
"""The header `Cache-Status` (RFC 9211), by the cache status of a generation."""


def headers(generation: Generation) -> dict[str, str]:
    """The headers of every response about a generation."""
    return {"Generation-Id": generation.id, "Cache-Status": CACHE_STATUS[generation.cache]}


def _timings(generation: Generation, done: Done) -> Timings:
    """The log's timings, counted from the start of a generation that may have joined later."""
    if generation.cache == "miss":
        return done.timings
    late = round((generation.created - done.began) * 1000)
    first = done.timings.first_token_ms
    return Timings(
        queue_ms=0,
        first_token_ms=None if first is None else max(0, first - late),
        total_ms=max(0, done.timings.total_ms - late),
    )


def own_problem(problem: Problem, generation: Generation, request_id: str) -> Problem:
    """The problem of a shared log, with the ids of this caller's request and generation."""
    return msgspec.structs.replace(problem, request_id=request_id, generation=generation.id)


def event_data(generation: Generation, entry: Entry, request_id: str) -> bytes:
    """The JSON of an event for the generation's caller: one object on one line."""
    if entry.data:
        return entry.data
    event = entry.event
    if isinstance(event, Start):
        return encode(
            {
                "generation": generation.id,
                "task": event.task,
                "model": generation.model,
                "created": rfc3339(generation.created),
            }
        )
    if isinstance(event, Done):
        return encode(answer(generation, Fold("done", event.result, event), request_id))
    if isinstance(event, Failed):
        problem = own_problem(event.problem, generation, request_id)
        return encode({"problem": problem, "usage": event.usage})
    return encode(event)
