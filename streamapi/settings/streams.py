"""Settings of readers: how they are kept, and when they are let go."""

from pydantic import BaseModel, Field

from streamapi.settings.values import Seconds


class StreamSettings(BaseModel):
    """A section of `Settings`."""

    send_timeout: Seconds = Field(
        20.0, description="A reader that takes nothing for so long is dropped; it can resume."
    )
    ping_interval: Seconds = Field(
        15.0, description="A silent stream says that it lives; proxies cut silence after 30 to 60."
    )
    socket_idle_timeout: Seconds = Field(
        60.0, description="A WebSocket on which nothing runs and nothing is said is closed (4408)."
    )
    stream_open_after: float = Field(
        2.0,
        ge=0,
        le=60,
        description="How long a POSTed stream waits for content, so that an early failure has "
        "its true status.",
    )
    disconnect_grace: float = Field(
        5.0, ge=0, le=3600, description="How long a generation without a reader waits for one."
    )
    max_generations_per_socket: int = Field(
        32, ge=1, le=10_000, description="Followed at once on one WebSocket."
    )
