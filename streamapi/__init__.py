"""streamapi: a streaming-first LLM API.

A model writes a log; a generation is one caller's hold on it; readers read it.
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
