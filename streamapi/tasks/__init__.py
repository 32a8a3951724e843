"""The tasks of the API: one file each.

A module here that has a `TASK` is a task: it gets its JSON, SSE and WebSocket routes, its OpenAPI
entry and its place on the demo page, with no other edit. A task cannot have the name of another
resource, such as `generations` or `models`. Those that come with the program:

    text.py            a text
    code.py            code, with an explanation
    classification.py  which labels fit a text

The other modules are what tasks are made of:

    task.py     what a task is made of
    labels.py   the labels in a model's answer: their schema and their parser
    fences.py   fenced code blocks, split as they arrive
    prose.py    whether the beginning of an answer is certainly prose
    syntax/     whether code parses
"""

import importlib
import pkgutil
from typing import Any

from streamapi.tasks.task import RESERVED, Task


def every_task() -> dict[str, Task[Any]]:
    """The tasks by name, sorted by their `order`, then by their names. Raises `ValueError` for a
    task whose name is reserved."""
    found: list[Task[Any]] = []
    for module in pkgutil.iter_modules(__path__):
        task = getattr(importlib.import_module(f"{__name__}.{module.name}"), "TASK", None)
        if isinstance(task, Task):
            if task.name in RESERVED:
                raise ValueError(f"A task cannot be named {task.name!r}: the path is taken")
            found.append(task)
    found.sort(key=lambda task: (task.order, task.name))
    return {task.name: task for task in found}
