"""Settings of streams and sockets: how long they stay open, and when they are closed."""

from pydantic import BaseModel, Field

from streamapi.settings.values import Seconds


class StreamSettings(BaseModel):
    """The section of `Settings` for streams and sockets."""

    send_timeout: Seconds = Field(
        20.0,
        description="Seconds for a reader to take what was sent. After that its connection is "
        "closed, and it can resume.",
    )
    ping_interval: Seconds = Field(
        15.0,
        description="Seconds of silence on a stream before the server sends a ping. Many proxies "
        "close a connection that is silent for 30 to 60 seconds.",
    )
    socket_idle_timeout: Seconds = Field(
        60.0,
        description="Seconds for which a WebSocket may have no running generation and no "
        "message. After that it is closed (4408).",
    )
    stream_open_after: float = Field(
        2.0,
        ge=0,
        le=60,
        description="Seconds that a POST stream waits for the first content before it sends its "
        "head, so that an early failure gets its own status.",
    )
    disconnect_grace: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Seconds that a generation without readers waits for one to come back. After "
        "that it is cancelled.",
    )
    max_generations_per_socket: int = Field(
        32,
        ge=1,
        le=10_000,
        description="Generations followed at once on one WebSocket. A further one gets an error "
        "(`too_many_streams`).",
    )
