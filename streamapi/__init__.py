"""streamapi: a streaming-first LLM API.

A model writes a log; a generation is one caller's hold on it; readers read it.

__main__.py          `python -m streamapi`: the same as the command `streamapi`
cli.py               the commands
cli_keys.py          the commands that make, list and revoke keys
supervisor.py        several processes on one address
server.py            one process: socket, signals, Hypercorn
startup.py           what happens before a process serves
app.py               the Quart app: hooks and routes
drain.py             how a process ends
services.py          settings become parts; knows no Quart
intake.py            caller + task + body -> generation: the only way in; knows no Quart
validation.py        a body is checked against its model
redis_connection.py  a connection to Redis, its circuit, its scripts
errors/              everything that can go wrong, one tree
settings/            one frozen object composed of sections
api/                 the only place that knows Quart, besides `app.py` and `server.py`
generation/          the heart: events, logs, the producer, generations
tasks/               what may be asked: one file each
providers/           the catalogue of models, and one folder per provider
access/              who may ask, and how much
records/             what survives a restart: the only SQL
telemetry/           log lines and metrics
emulator/            Gemini's API, with a script in place of a model
package_files.py     files that come with the package: pages, the front end
version.py           the version of the program
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quart import Quart

    from streamapi.settings import Settings

__all__ = ["create_app"]


def create_app(settings: "Settings | None" = None, *, emulated: bool = False) -> "Quart":
    """The app, as any ASGI server takes it: `hypercorn "streamapi:create_app()"`.

    It is imported when it is called: the emulator is a part of the package that needs none of
    it. See `app.create_app`."""
    from streamapi import app

    return app.create_app(settings, emulated=emulated)
