"""The routes: one file per family of addresses.

tasks.py        every task: JSON, Server-Sent Events by POST and by GET, 202
socket.py       WebSockets: for any task, and one address per task
generations.py  a generation, its events, cancel, forget
models.py       the catalogue
keys.py         keys, for administrators
tickets.py      one-minute tickets for browsers
health.py       `/healthz`, `/readyz`
metrics.py      `/metrics`
docs.py         `/docs`, `/openapi.json`, `/asyncapi.json`
manual.py       the manual at `/manual`, and `/llms.txt`
pages.py        the playground at `/`, its files, and a page per error code

The app serves the blueprint named `routes` of each module here, with no other edit. Each view has a
`Description` (`api/description.py`), from which its entry in `/openapi.json` is made; a view
without one is not in the document. The routes of tasks are made for each task by `tasks.py` and
`socket.py`.
"""

import importlib
import pkgutil

from quart import Blueprint


def every_blueprint() -> list[Blueprint]:
    """The blueprints of the modules in this package, by the names of the modules."""
    found = (
        getattr(importlib.import_module(f"{__name__}.{module.name}"), "routes", None)
        for module in pkgutil.iter_modules(__path__)
    )
    return [blueprint for blueprint in found if isinstance(blueprint, Blueprint)]
