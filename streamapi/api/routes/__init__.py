"""The routes: one file per family of addresses. The first line of a file says what it serves.

The app serves the blueprint named `routes` of each module here, with no other edit. Each view has a
`Description` (`api/description.py`), from which its entry in `/openapi.json` is made; a view
without one is not in the document.

generations.py  a generation, its events, cancel, delete
models.py       the catalogue
keys.py         keys, for administrators
tickets.py      tickets that stand for a key in a URL
health.py       `/healthz` and `/readyz`
metrics.py      `/metrics`
pages.py        the playground, its files, and a page for each error
manual.py       the manual, and `/llms.txt`

Three files have no such blueprint:

tasks.py    makes the HTTP routes of each task
socket.py   makes the WebSocket of each task, and the one for any task
docs.py     adds `/docs`, `/openapi.json` and `/asyncapi.json` to the app
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
