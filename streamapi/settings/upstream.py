"""Settings of the models: which model answers, and how long the server waits for it."""

from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from streamapi.settings.values import Commas, HttpUrl, ProxyUrl, Seconds


class UpstreamSettings(BaseModel):
    """The section of `Settings` for the models and their providers."""

    google_api_key: SecretStr | None = Field(
        None,
        validation_alias="GOOGLE_API_KEY",
        description="The API key for Gemini. Without it, the emulator answers on a loopback "
        "address.",
    )
    gemini_base_url: HttpUrl = Field(
        "https://generativelanguage.googleapis.com",
        description="The address of Gemini's REST API: Google's, a gateway's, or an emulator's.",
    )
    gemini_proxy: ProxyUrl = Field(
        "", description="The address of an HTTP proxy to reach Gemini through. Empty: no proxy."
    )
    gemini_reader: Literal["wire", "langchain"] = Field(
        "wire",
        description="The code that reads Gemini's stream: `wire` is our own reader, `langchain` "
        "is LangChain's, which costs ten times as much per token.",
    )
    default_model: str = Field(
        "gemini-3.8-flash", description="The model for text and code when the request names none."
    )
    fast_model: str = Field(
        "gemini-3.5-flash-lite",
        description="The model for classification when the request names none.",
    )
    fallback_models: Commas = Field(
        (),
        description="Models to try in this order when the requested model cannot answer, "
        "separated by commas.",
    )
    fallback_after: Seconds = Field(
        1.0,
        description="Seconds that a request waits in a model's queue while a fallback model is "
        "ready. Then the request goes to the fallback.",
    )
    retry_attempts: int = Field(
        3,
        ge=1,
        le=20,
        description="Upstream requests per model before the first content. While a fallback "
        "model is ready, each model gets one.",
    )
    retry_backoff: Seconds = Field(
        0.5,
        description="Seconds of the first wait between attempts, when the provider does not name "
        "a wait. It doubles each time, with full jitter.",
    )
    connect_timeout: Seconds = Field(
        10.0,
        description="Seconds for a connection to the provider, with TLS. After that the attempt "
        "has failed.",
    )
    attempt_timeout: Seconds = Field(
        20.0,
        description="Seconds for an attempt to bring any output, including hidden thoughts. "
        "After that the attempt has failed.",
    )
    first_content_timeout: Seconds = Field(
        45.0,
        description="Seconds for all attempts and waits together, until the first content. The "
        "models of a request share this time. Then the request fails, unless a model is already "
        "writing.",
    )
    idle_timeout: Seconds = Field(
        30.0,
        description="Seconds between two pieces of a model's output. After that the answer ends "
        "with `upstream_timeout`.",
    )
    total_timeout: Seconds = Field(
        600.0,
        description="Seconds for a whole generation. After that the answer ends with "
        "`upstream_timeout`.",
    )
    upstream_calls: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Calls in progress to one model, per process; further requests wait in a "
        "queue. One key (or address, without keys) may use as many calls as are still free, so "
        "one key alone gets half.",
    )
    upstream_queue: int = Field(
        2000,
        ge=0,
        le=1_000_000,
        description="Requests that wait for a call to one model, per process. A further request "
        "gets 503 (`overloaded`).",
    )
    upstream_queue_per_key: int = Field(
        200,
        ge=0,
        le=1_000_000,
        description="Requests of one key (or address) that wait for a call to one model, per "
        "process. A further request gets 503 (`overloaded`).",
    )
    syntax_processes: int = Field(
        2,
        ge=0,
        le=16,
        description="Child processes that check the syntax of code, per serving process. They "
        "start when they are needed. 0: no checks, and `syntax` is null.",
    )

    @field_validator("google_api_key")
    @classmethod
    def _empty_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value().strip() else None

    @model_validator(mode="after")
    def _timeouts_nest(self) -> Self:
        if self.first_content_timeout > self.total_timeout:
            raise ValueError(
                "STREAMAPI_FIRST_CONTENT_TIMEOUT must not be longer than STREAMAPI_TOTAL_TIMEOUT"
            )
        return self

    @property
    def lacks_google_key(self) -> bool:
        """Whether requests go to Google itself, and there is no key for it."""
        return self.google_api_key is None and self.gemini_base_url.endswith("googleapis.com")
