"""What may be asked: one file per task.

    task.py            what a task is made of
    text.py            a text
    code.py            code, in one language
    classification.py  which of the labels fit a text
    fences.py          fenced code blocks, read as they arrive
    prose.py           whether a text can still become code
    syntax/            whether code parses

A module here that has a `TASK` is a task: it gets its JSON, SSE and WebSocket doors, its OpenAPI
entry and its place on the demo page, with no other edit. `task.py` says what a task is made of;
a name of another resource (`generations`, `models`, ...) cannot be a task's.
"""

import importlib
import pkgutil
from typing import Any

from streamapi.tasks.task import RESERVED, Task


def every_task() -> dict[str, Task[Any]]:
    """The tasks by name, in the order of their `order`, then of their names."""
    found: list[Task[Any]] = []
    for module in pkgutil.iter_modules(__path__):
        task = getattr(importlib.import_module(f"{__name__}.{module.name}"), "TASK", None)
        if isinstance(task, Task):
            if task.name in RESERVED:
                raise ValueError(f"A task cannot be named {task.name!r}: the path is taken")
            found.append(task)
    found.sort(key=lambda task: (task.order, task.name))
    return {task.name: task for task in found}
