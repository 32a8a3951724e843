"""streamapi: a streaming-first LLM API.

A model writes a log; a generation is one caller's hold on it; readers read it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamapi.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    # The emulator is a part of the package that needs none of the app: import that when asked.
    if name == "create_app":
        from streamapi.app import create_app

        return create_app
    raise AttributeError(name)
