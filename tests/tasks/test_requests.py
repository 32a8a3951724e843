"""The requests of the tasks: every bound of every field, on both of its sides."""

from typing import Any

import pytest
from pydantic import ValidationError

from streamapi.tasks import every_task
from streamapi.tasks.task import RESERVED, Task

TASKS = every_task()
LEAST: dict[str, dict[str, Any]] = {
    "text": {"prompt": "p"},
    "code": {"prompt": "p"},
    "classification": {"text": "t", "labels": ["a", "b"]},
}
LONG = "x" * 100_000


def request(task: str, **fields: Any) -> Any:
    return TASKS[task].request.model_validate({**LEAST[task], **fields}, strict=True)


def test_the_tasks_are_those_of_the_contract() -> None:
    """Text, then code, then classification; none has the name of another resource."""
    assert list(TASKS)[:3] == ["text", "code", "classification"]
    assert not RESERVED & set(TASKS)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_tasks_example_is_valid(task: Task[Any]) -> None:
    """The documentation shows requests that work."""
    task.prompt(task.request.model_validate(task.example, strict=True))


COMMON_GOOD = [
    {"model": "gemini-3.8-flash"},
    {"temperature": 0},
    {"temperature": 2.0},
    {"max_output_tokens": 1},
    {"stop": []},
    {"stop": ["a"] * 5},
    {"stop": ["x" * 200]},
    {"include_thoughts": True},
    {"metadata": {}},
    {"metadata": {f"k{n}": "v" * 512 for n in range(16)}},
    {"metadata": {"k" * 64: ""}},
    {"cache": "use"},
    {"cache": "refresh"},
    {"cache": "off"},
    {"on_disconnect": "grace"},
    {"on_disconnect": "cancel"},
    {"on_disconnect": "continue"},
    {"model": None},
]
COMMON_BAD = [
    {"model": ""},
    {"model": "x" * 201},
    {"model": "a\0b"},
    {"model": 3},
    {"temperature": -0.1},
    {"temperature": 2.1},
    {"temperature": "1"},
    {"temperature": float("nan")},
    {"temperature": float("inf")},
    {"temperature": True},
    {"max_output_tokens": 0},
    {"max_output_tokens": -1},
    {"max_output_tokens": 10**30},
    {"max_output_tokens": 1.5},
    {"max_output_tokens": True},
    {"stop": ["a"] * 6},
    {"stop": [""]},
    {"stop": ["x" * 201]},
    {"stop": ["a\0"]},
    {"stop": "a"},
    {"stop": [None]},
    {"include_thoughts": "true"},
    {"include_thoughts": 1},
    {"include_thoughts": None},
    {"metadata": {f"k{n}": "v" for n in range(17)}},
    {"metadata": {"k" * 65: "v"}},
    {"metadata": {"k": "v" * 513}},
    {"metadata": {"": "v"}},
    {"metadata": {"k": 1}},
    {"metadata": {"k\0": "v"}},
    {"metadata": {"k": "\0"}},
    {"metadata": {"k": {"a": "b"}}},
    {"metadata": None},
    {"metadata": []},
    {"cache": "yes"},
    {"on_disconnect": ""},
    {"unknown": 1},
    {"": 1},
    {"__proto__": {}},
    {"model_config": {}},
]


def name(fields: dict[str, Any]) -> str:
    return repr(fields)[:40]


@pytest.mark.parametrize("task", LEAST)
@pytest.mark.parametrize("fields", COMMON_GOOD, ids=name)
def test_common_fields_inside_their_bounds(task: str, fields: dict[str, Any]) -> None:
    """Every task accepts them, and makes a prompt from them."""
    TASKS[task].prompt(request(task, **fields))


@pytest.mark.parametrize("task", LEAST)
@pytest.mark.parametrize("fields", COMMON_BAD, ids=name)
def test_common_fields_outside_their_bounds(task: str, fields: dict[str, Any]) -> None:
    """Every task refuses them."""
    with pytest.raises(ValidationError):
        request(task, **fields)


OWN_GOOD = [
    ("text", {"prompt": LONG}),
    ("text", {"prompt": "\u2028"}),
    ("text", {"prompt": None, "messages": [{"role": "user", "content": "a"}]}),
    ("text", {"system": ""}),
    ("text", {"system": LONG}),
    ("code", {"prompt": LONG, "context": LONG}),
    ("code", {"language": "c++"}),
    ("code", {"language": "C#"}),
    ("code", {"language": "objective-c"}),
    ("code", {"explain": False}),
    ("classification", {"labels": [f"l{n}" for n in range(200)]}),
    ("classification", {"labels": ["x" * 100, {"name": "b", "description": "d" * 1000}]}),
    ("classification", {"labels": [{"name": "a", "description": None}, "b"]}),
    ("classification", {"threshold": 0}),
    ("classification", {"threshold": 1}),
    ("classification", {"examples": [{"text": "t", "label": "a"}] * 50}),
    ("classification", {"instructions": "i" * 10_000}),
]
OWN_BAD = [
    ("text", {"prompt": ""}),
    ("text", {"prompt": LONG + "x"}),
    ("text", {"prompt": "a\0"}),
    ("text", {"prompt": None}),
    ("text", {"prompt": ["p"]}),
    ("text", {"messages": [{"role": "user", "content": "a"}]}),
    ("text", {"prompt": None, "messages": []}),
    ("text", {"prompt": None, "messages": [{"role": "assistant", "content": "a"}]}),
    ("text", {"prompt": None, "messages": [{"role": "system", "content": "a"}]}),
    ("text", {"prompt": None, "messages": [{"role": "user", "content": ""}]}),
    ("text", {"prompt": None, "messages": [{"role": "user", "content": "a", "x": 1}]}),
    ("text", {"prompt": None, "messages": [{"role": "user", "content": LONG}] * 2}),
    ("text", {"prompt": None, "messages": [{"role": "user", "content": "a"}] * 201}),
    ("text", {"system": LONG + "x"}),
    ("text", {"system": "\0"}),
    ("text", {"language": "python"}),
    ("code", {"prompt": LONG + "x"}),
    ("code", {"language": ""}),
    ("code", {"language": "x" * 41}),
    ("code", {"language": "python\n"}),
    ("code", {"language": "py thon"}),
    ("code", {"context": "\0"}),
    ("code", {"explain": None}),
    ("classification", {"labels": ["a"]}),
    ("classification", {"labels": []}),
    ("classification", {"labels": "ab"}),
    ("classification", {"labels": [f"l{n}" for n in range(201)]}),
    ("classification", {"labels": ["a", "a"]}),
    ("classification", {"labels": ["a", {"name": "a"}]}),
    ("classification", {"labels": ["a", ""]}),
    ("classification", {"labels": ["a", "x" * 101]}),
    ("classification", {"labels": ["a", "\0"]}),
    ("classification", {"labels": ["a", 1]}),
    ("classification", {"labels": ["a", {"name": "b", "x": 1}]}),
    ("classification", {"labels": ["a", {"description": "b"}]}),
    ("classification", {"labels": ["a", {"name": "b", "description": "d" * 1001}]}),
    ("classification", {"text": ""}),
    ("classification", {"text": LONG + "x"}),
    ("classification", {"threshold": -0.01}),
    ("classification", {"threshold": 1.01}),
    ("classification", {"threshold": float("nan")}),
    ("classification", {"examples": [{"text": "t", "label": "c"}]}),
    ("classification", {"examples": [{"text": "t", "label": "a"}] * 51}),
    ("classification", {"examples": [{"text": "t"}]}),
    ("classification", {"instructions": "i" * 10_001}),
    ("classification", {"prompt": "p"}),
]


@pytest.mark.parametrize(("task", "fields"), OWN_GOOD, ids=lambda v: repr(v)[:40])
def test_a_tasks_own_fields_inside_their_bounds(task: str, fields: dict[str, Any]) -> None:
    """The task accepts them, and makes a prompt from them."""
    TASKS[task].prompt(request(task, **fields))


@pytest.mark.parametrize(("task", "fields"), OWN_BAD, ids=lambda v: repr(v)[:40])
def test_a_tasks_own_fields_outside_their_bounds(task: str, fields: dict[str, Any]) -> None:
    """The task refuses them."""
    with pytest.raises(ValidationError):
        request(task, **fields)
