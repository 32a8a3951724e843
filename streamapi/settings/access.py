"""Settings of who may ask."""

from typing import Literal

from pydantic import BaseModel, Field

from streamapi.settings.values import DatabaseUrl, Seconds


class AccessSettings(BaseModel):
    """A section of `Settings`."""

    auth: Literal["open", "keys"] = Field(
        "open",
        description="Who may ask: `keys` asks for a key; `open` asks for none, and serves on a "
        "loopback address only.",
    )
    database_url: DatabaseUrl = Field(
        "sqlite:///streamapi.db",
        description="Where keys are kept: a SQLite file, here in the working directory. Not "
        "touched while `STREAMAPI_AUTH` is `open`.",
    )
    database_timeout: Seconds = Field(
        5.0, description="For one look into the database; beyond it: `store_unavailable`."
    )
    key_ttl: Seconds = Field(
        30.0,
        description="How long a key is taken as it was last seen in the database: a revoked one "
        "dies everywhere within this time.",
    )
    key_grace: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="How long after that a known key goes on working while the database is away.",
    )
    auth_timeout: Seconds = Field(
        10.0, description="For a WebSocket without a key in its handshake to send `auth` (4401)."
    )
    failures_per_minute: int = Field(
        20,
        ge=1,
        description="Bad keys and tickets per address; beyond it no key that is new here is "
        "looked up.",
    )
