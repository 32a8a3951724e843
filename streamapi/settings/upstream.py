"""Settings of the models: which answer, how long they are waited for."""

from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from streamapi.settings.values import Commas, HttpUrl, Seconds


class UpstreamSettings(BaseModel):
    """A section of `Settings`."""

    google_api_key: SecretStr | None = Field(
        None,
        validation_alias="GOOGLE_API_KEY",
        description="The key for Gemini. Without it, on loopback, the emulator answers.",
    )
    gemini_base_url: HttpUrl = Field(
        "https://generativelanguage.googleapis.com",
        description="Where Gemini's REST API is: Google's, a gateway's, or an emulator's.",
    )
    gemini_proxy: str = Field("", description="An HTTP proxy on the way to Gemini. Empty: none.")
    gemini_reader: Literal["wire", "langchain"] = Field(
        "wire",
        description="Who reads Gemini's stream: our own reader, or LangChain's (the reference, "
        "ten times as costly per token).",
    )
    default_model: str = Field("gemini-3.8-flash", description="Answers text and code.")
    fast_model: str = Field("gemini-3.5-flash-lite", description="Answers classification.")
    fallback_models: Commas = Field(
        (), description="Asked in this order when the model itself cannot answer. Commas between."
    )
    fallback_after: Seconds = Field(
        1.0,
        description="How long a request waits in a model's queue while a fallback stands ready.",
    )
    retry_attempts: int = Field(
        3,
        ge=1,
        le=20,
        description="Upstream requests per model before the first content; one while a fallback "
        "stands ready.",
    )
    retry_backoff: Seconds = Field(
        0.5, description="The first wait between attempts; it doubles, with full jitter."
    )
    attempt_timeout: Seconds = Field(
        20.0, description="For a model to write something, be it a hidden thought."
    )
    first_content_timeout: Seconds = Field(
        45.0,
        description="For all attempts and waits together, until the first content. Models share "
        "it; one that writes already may go on.",
    )
    idle_timeout: Seconds = Field(30.0, description="Between two chunks of the model's.")
    total_timeout: Seconds = Field(600.0, description="For a whole generation.")
    upstream_calls: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Calls in flight to one model, per process. A key (or an address, without "
        "keys) may hold as many as are still free: alone, half.",
    )
    upstream_queue: int = Field(
        2000, ge=0, le=1_000_000, description="Requests that wait for such a call, of all keys."
    )
    upstream_queue_per_key: int = Field(
        200, ge=0, le=1_000_000, description="The same of one key; beyond it: `overloaded`."
    )
    syntax_processes: int = Field(
        2,
        ge=0,
        le=16,
        description="Child processes that check the syntax of code, per process that serves; "
        "started when needed. 0: no checks, `syntax` is null.",
    )

    @field_validator("google_api_key")
    @classmethod
    def _empty_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    @model_validator(mode="after")
    def _timeouts_nest(self) -> Self:
        if self.first_content_timeout > self.total_timeout:
            raise ValueError("FIRST_CONTENT_TIMEOUT must not be longer than TOTAL_TIMEOUT")
        return self
