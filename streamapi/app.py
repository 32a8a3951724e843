"""The Quart app: hooks and routes, on the parts that `services.py` builds."""

import logging

from quart import Quart

from streamapi import drain
from streamapi.api import authentication, body, headers, limits, patches, problems
from streamapi.api.routes import docs, every_blueprint, socket, tasks
from streamapi.services import build
from streamapi.settings import Settings, read_settings, unread_variables

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None, *, emulated: bool = False) -> Quart:
    """The app, as any ASGI server takes it: `hypercorn "streamapi:create_app()"`.

    `emulated` says that `settings.gemini_base_url` is the emulator that `streamapi serve`
    started. Raises `UnsafeSettings` when the settings cannot serve."""
    if settings is None:  # nobody else has read the environment
        settings = read_settings()
        for sentence in unread_variables():
            logger.warning(sentence)
    parts = build(settings, emulated)
    app = Quart(__name__, static_folder=None)
    app.request_class = body.JsonRequest
    patches.apply(app, settings)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = settings.body_timeout
    app.extensions["streamapi"] = parts
    headers.register(app, settings)
    authentication.register(app)
    limits.register(app, settings)
    problems.register(app)
    for task in parts.tasks.values():
        app.register_blueprint(tasks.blueprint(task))
    app.register_blueprint(socket.routes(parts.tasks))
    for blueprint in every_blueprint():
        app.register_blueprint(blueprint)
    docs.register(app)

    @app.before_serving
    async def open_up() -> None:
        if parts.key_auth is not None:
            await parts.key_auth.open()
        await parts.logs.start()
        await parts.limits.start()
        await parts.providers.open(parts.catalogue.serving(settings.default_model))

    @app.after_serving
    async def close_down() -> None:
        await drain.close(parts, 0.0)

    return app
