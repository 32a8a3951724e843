"""Settings of the server process: its address, its connections, and how it shuts down."""

from typing import Literal

from pydantic import BaseModel, Field

from streamapi.settings import values
from streamapi.settings.values import Bind, Commas, Origins, Seconds


class ServerSettings(BaseModel):
    """The section of `Settings` for the server process."""

    bind: Bind = Field("127.0.0.1:8000", description="The address and port to listen on.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="The number of processes that serve. More than one needs "
        "`STREAMAPI_REDIS_URL`.",
    )
    trusted_hops: int = Field(
        0,
        ge=0,
        le=10,
        description="The number of your own proxies in front of the server. Each adds an address "
        "to `X-Forwarded-For`, and the caller's address is this many places from the right. 0: "
        "the header is ignored.",
    )
    allowed_hosts: Commas = Field(
        (),
        description="The host names that the server answers to, separated by commas. Other "
        "requests get 403 (`host_not_allowed`). Empty: only loopback names on a loopback "
        "address, every name elsewhere. `*`: every name.",
    )
    cors_origins: Origins = Field(
        (),
        description="Other origins whose pages may call the API, separated by commas. Other "
        "pages get 403 (`origin_not_allowed`). `*`: every origin.",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        description="Open connections per process. A further connection gets 503 and is closed. "
        "The server lowers this bound to half of the file descriptors that the process may open.",
    )
    max_connections_per_address: int = Field(
        2000,
        ge=0,
        description="Open connections per process from one address (from one /64 of IPv6). A "
        "further connection gets 503 and is closed. 0: no limit. Ignored with "
        "`STREAMAPI_TRUSTED_HOPS`, because all connections then come from the proxy.",
    )
    head_timeout: Seconds = Field(
        10.0,
        description="Seconds for the head of a request to arrive: from the start of a new "
        "connection, or from the first byte on a connection that was kept open. A later head "
        "gets 408.",
    )
    max_body_bytes: int = Field(
        1_000_000,
        ge=1000,
        le=100_000_000,
        description="Bytes of a request body or a WebSocket message. A larger body gets 413 "
        "(`too_large`). A larger message closes the socket (1009).",
    )
    body_timeout: Seconds = Field(
        15.0,
        description="Seconds for the body of a request to arrive. A later body gets 400 "
        "(`malformed_json`).",
    )
    drain_delay: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Seconds after SIGTERM during which the process still accepts work while "
        "`/readyz` answers 503, so that a load balancer can notice.",
    )
    drain_timeout: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="Seconds after that delay for running answers to end. What still runs then "
        "ends with `shutting_down`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="The lowest level of log lines on stdout: `debug`, `info`, `warning` or "
        "`error`.",
    )

    @property
    def host(self) -> str:
        """The address part of `bind`, without brackets."""
        return values.host_of(self.bind)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return values.is_loopback(self.host)
