"""The sentences of a 422 name the field and what it must be, never in pydantic's words."""

from typing import Any

import httpx
import pytest

from streamapi.errors import InvalidRequest
from streamapi.tasks import every_task
from streamapi.validation import validate
from tests.api.test_bodies import is_problem
from tests.tasks.test_requests import COMMON_BAD, LEAST, OWN_BAD

TASKS = every_task()
UNKNOWN = "is not a field here"
LABELS: dict[str, Any] = {"text": "t", "labels": ["a", "b"]}


def meant(name: str) -> str:
    return f"{UNKNOWN}; did you mean `{name}`?"


SAYS: list[tuple[str, dict[str, Any], str]] = [
    ("text", {}, "`prompt` or `messages` is required."),
    ("text", {"prompt": None}, "`prompt` or `messages` is required."),
    ("text", {"prompt": ""}, "`prompt` must not be empty."),
    ("text", {"prompt": 3}, "`prompt` must be a string."),
    ("text", {"prompt": "x" * 100_001}, "`prompt` must have at most 100,000 characters."),
    ("text", {"prompt": "a\0"}, "`prompt` must not contain the character U+0000."),
    ("text", {"prompt": "a", "max_tokens": 5}, f"`max_tokens` {meant('max_output_tokens')}"),
    (
        "text",
        {"prompt": "a", "max_completion_tokens": 5},
        f"`max_completion_tokens` {meant('max_output_tokens')}",
    ),
    (
        "text",
        {"prompt": "a", "maxOutputTokens": 5},
        f"`maxOutputTokens` {meant('max_output_tokens')}",
    ),
    ("text", {"prompt": "a", "stop_sequences": []}, f"`stop_sequences` {meant('stop')}"),
    ("text", {"prompt": "a", "temprature": 1}, f"`temprature` {meant('temperature')}"),
    ("text", {"prompt": "a", "Temperature": 1}, f"`Temperature` {meant('temperature')}"),
    ("text", {"prompt": "a", "zzz": 1}, f"`zzz` {UNKNOWN}."),
    ("text", {"prompt": "a", "\u2028": 1}, f"`\\u2028` {UNKNOWN}."),
    ("text", {"input": "a"}, f"`input` {meant('prompt')}"),
    ("text", {"text": "a"}, f"`text` {meant('prompt')}"),
    ("text", {"promt": "a"}, f"`promt` {meant('prompt')}"),
    ("text", {"prompt": "a", "instructions": "b"}, f"`instructions` {meant('system')}"),
    ("text", {"prompt": "a", "x": 1, "y": 2, "z": 3}, f"`x` {UNKNOWN} (and 2 more)."),
    ("text", {"prompt": "a", "temperature": 9}, "`temperature` must be at most 2."),
    ("text", {"prompt": "a", "temperature": -1}, "`temperature` must be at least 0."),
    ("text", {"prompt": "a", "temperature": "hot"}, "`temperature` must be a number."),
    ("text", {"prompt": "a", "max_output_tokens": 0}, "`max_output_tokens` must be at least 1."),
    ("text", {"prompt": "a", "max_output_tokens": 1.5}, "`max_output_tokens` must be an integer."),
    (
        "text",
        {"prompt": "a", "max_output_tokens": 500_000},
        "`max_output_tokens` must be at most 65,536 for gemini-3.8-flash.",
    ),
    ("text", {"prompt": "a", "stop": ["a", ""]}, "`stop[1]` must not be empty."),
    ("text", {"prompt": "a", "stop": ["a"] * 6}, "`stop` must have at most 5 items."),
    ("text", {"prompt": "a", "stop": "a"}, "`stop` must be a list."),
    ("text", {"prompt": "a", "include_thoughts": 1}, "`include_thoughts` must be true or false."),
    ("text", {"prompt": "a", "metadata": {"k": 1}}, "`metadata.k` must be a string."),
    ("text", {"prompt": "a", "metadata": []}, "`metadata` must be an object."),
    ("text", {"prompt": "a", "cache": "yes"}, "`cache` must be 'use', 'refresh' or 'off'."),
    ("text", {"messages": []}, "`messages` must not be empty."),
    ("text", {"messages": [{"role": "user"}]}, "`messages[0].content` is required."),
    (
        "text",
        {"messages": [{"role": "root", "content": "a"}]},
        "`messages[0].role` must be 'user' or 'assistant'.",
    ),
    (
        "text",
        {"messages": [{"role": "assistant", "content": "a"}]},
        "`messages` must end with a message of the role `user`.",
    ),
    (
        "text",
        {"prompt": "a", "messages": [{"role": "user", "content": "a"}]},
        "Give either `prompt` or `messages`, not both.",
    ),
    ("code", {}, "`prompt` is required."),
    ("code", {"text": "a"}, "`prompt` is required (and 1 more)."),
    ("code", {"prompt": ""}, "`prompt` must not be empty."),
    ("code", {"prompt": "a", "lang": "c"}, f"`lang` {meant('language')}"),
    ("code", {"prompt": "a", "explain": None}, "`explain` must be true or false."),
    ("classification", {"labels": ["a", "b"]}, "`text` is required."),
    ("classification", {"text": "a"}, "`labels` is required."),
    ("classification", {}, "`text` is required (and 1 more)."),
    ("classification", {**LABELS, "categories": ["a"]}, f"`categories` {meant('labels')}"),
    ("classification", {**LABELS, "labels": ["a"]}, "`labels` must have at least 2 items."),
    ("classification", {**LABELS, "labels": ["a", "a"]}, "`labels` must be unique."),
    ("classification", {**LABELS, "labels": ["a", ""]}, "`labels[1]` must not be empty."),
    (
        "classification",
        {**LABELS, "labels": ["a", 1]},
        "`labels[1]` must be a string or an object.",
    ),
    (
        "classification",
        {**LABELS, "labels": ["a", {"description": "b"}]},
        "`labels[1].name` is required.",
    ),
    (
        "classification",
        {**LABELS, "labels": ["a", {"name": "b", "x": 1}]},
        f"`labels[1].x` {UNKNOWN}.",
    ),
    ("classification", {**LABELS, "threshold": 2}, "`threshold` must be at most 1."),
    (
        "classification",
        {**LABELS, "examples": [{"text": "t", "label": "c"}]},
        "The label of each example must be one of `labels`.",
    ),
]


@pytest.mark.parametrize(("task", "body", "sentence"), SAYS, ids=lambda v: repr(v)[:40])
async def test_the_first_error_is_the_detail(
    client: httpx.AsyncClient, task: str, body: dict[str, Any], sentence: str
) -> None:
    """`detail` is the sentence of the first error; `errors` has one for each field."""
    problem = is_problem(await client.post(f"/v1/{task}", json=body), 422, "invalid_request")
    assert problem["detail"] == sentence
    assert len({(it["pointer"], it["detail"]) for it in problem["errors"]}) == len(
        problem["errors"]
    )


OURS = [(task, fields) for task in LEAST for fields in COMMON_BAD] + OWN_BAD


@pytest.mark.parametrize(("task", "fields"), OURS, ids=lambda v: repr(v)[:40])
def test_no_error_has_the_words_of_pydantic(task: str, fields: dict[str, Any]) -> None:
    """The error of every bound of every task is a sentence of our own."""
    with pytest.raises(InvalidRequest) as caught:
        validate(TASKS[task].request, {**LEAST[task], **fields})
    said = [caught.value.detail, *(error.detail for error in caught.value.errors)]
    for text in said:
        for word in ("Input", "should", "validation", "Extra", "valid ", "Value", "is not valid"):
            assert word not in text, text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "`prompt` or `messages` is required."),
        ("prompt=a&max_tokens=5", f"`max_tokens` {meant('max_output_tokens')}"),
        (
            "prompt=a&metadata=b",
            "`metadata` is not a parameter of a GET; use POST instead.",
        ),
        ("prompt=a&prompt=b", "`prompt` is given more than once."),
        ("prompt=a&temperature=hot", "`temperature` must be a number."),
        ("prompt=a&include_thoughts=perhaps", "`include_thoughts` must be true or false."),
        ("prompt=a&max_output_tokens=" + "9" * 5000, "`max_output_tokens` is too large."),
    ],
    ids=lambda v: v[:40],
)
async def test_parameters_have_the_same_errors(
    client: httpx.AsyncClient, query: str, sentence: str
) -> None:
    """The errors of a GET are those of a POST."""
    problem = is_problem(await client.get(f"/v1/text/stream?{query}"), 422, "invalid_request")
    assert problem["detail"] == sentence
