"""Settings of access: who may call the API, and where the keys are."""

from typing import Literal

from pydantic import BaseModel, Field

from streamapi.settings.values import DatabaseUrl, Seconds


class AccessSettings(BaseModel):
    """The section of `Settings` for access."""

    auth: Literal["open", "keys"] = Field(
        "open",
        description="Who may call the API. `keys`: callers need an API key. `open`: nobody needs "
        "a key, and the server listens on a loopback address only.",
    )
    database_url: DatabaseUrl = Field(
        "sqlite:///streamapi.db",
        description="The database that keeps the API keys: the address of a SQLite file. The "
        "default is a file in the working directory. Not used while `STREAMAPI_AUTH` is `open`.",
    )
    database_timeout: Seconds = Field(
        5.0,
        description="Seconds for one database transaction. A request that needs a slower one "
        "gets 503 (`store_unavailable`).",
    )
    key_ttl: Seconds = Field(
        30.0,
        description="Seconds for which a process trusts its last look at a key in the database. "
        "A revoked key stops working everywhere within this time.",
    )
    key_grace: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="Seconds after that for which a known key still works while the database is "
        "unavailable. Then its requests get 503 (`store_unavailable`).",
    )
    auth_timeout: Seconds = Field(
        10.0,
        description="Seconds for a WebSocket without a key in its handshake to send `auth`. "
        "After that it is closed (4401).",
    )
    failures_per_minute: int = Field(
        20,
        ge=1,
        description="Wrong keys and tickets per minute and address. Beyond this the address gets "
        "429 for wrong keys and for keys that the process has not seen before. Known keys still "
        "work.",
    )
