"""Settings of the process: its address, its connections, its end."""

from pydantic import BaseModel, Field

from streamapi.settings import values
from streamapi.settings.values import Bind, Commas, Origins, Seconds


class ServerSettings(BaseModel):
    """A section of `Settings`."""

    bind: Bind = Field("127.0.0.1:8000", description="Address and port to listen on.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that serve. More than one need `STREAMAPI_REDIS_URL`.",
    )
    trusted_hops: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies of yours in front, each of which adds to `X-Forwarded-For`: the "
        "address is taken so many places from its right. 0: the header is not believed.",
    )
    allowed_hosts: Commas = Field(
        (),
        description="Names that a request's `Host` may have. Empty: loopback's on a loopback "
        "address, else any; `*`: any.",
    )
    cors_origins: Origins = Field(
        (), description="Origins whose pages may ask, besides our own. Commas between; `*` for all."
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        description="Open connections, per process; beyond it a new one gets 503 and is closed. "
        "Never more than half of the descriptors that the process may have.",
    )
    max_connections_per_address: int = Field(
        2000,
        ge=0,
        description="The same from one address (of IPv6 one /64); 0: no limit. With "
        "`STREAMAPI_TRUSTED_HOPS` all come from the proxy, so there is no such limit.",
    )
    head_timeout: Seconds = Field(
        10.0,
        description="For the head of a request to arrive: from the start of a connection, and on a "
        "kept connection from the first byte (408).",
    )
    max_body_bytes: int = Field(
        1_000_000, ge=1000, le=100_000_000, description="Of a request or WebSocket message."
    )
    body_timeout: Seconds = Field(15.0, description="For a request's body to arrive.")
    drain_delay: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="How long after SIGTERM work is still taken while `/readyz` says 503, so that "
        "a load balancer notices.",
    )
    drain_timeout: float = Field(
        20.0, ge=0, le=3600, description="How long running streams may go on after that."
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Of the log lines on stdout."
    )

    @property
    def host(self) -> str:
        """The address part of `bind`, without brackets."""
        return values.host_of(self.bind)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return values.is_loopback(self.host)
