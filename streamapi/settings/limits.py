"""Settings of how much one caller may use."""

from typing import Self

from pydantic import BaseModel, Field, model_validator

from streamapi.settings import values


class LimitSettings(BaseModel):
    """A section of `Settings`."""

    rate_limit: str = Field(
        "120/minute",
        description="Requests per key (or address) and endpoint: a number per second, minute, "
        "hour or day; or `off`.",
    )
    message_limit: int = Field(
        600,
        ge=0,
        description="Messages per minute on one WebSocket, of whatever kind; 0: no limit.",
    )
    replays_per_minute: int = Field(
        1200,
        ge=0,
        description="Reconnections and other readings of a log that has begun, per key (or "
        "address): 40 connections that break every two seconds make as many; 0: no limit.",
    )
    replay_bytes_per_minute: int = Field(
        200_000_000,
        ge=0,
        description="Bytes that those are sent again, per key (or address); what comes live is "
        "not counted; 0: no limit.",
    )
    tokens_per_minute: int = Field(
        1_000_000, ge=0, description="Tokens per key (or address); 0: no limit."
    )
    tokens_per_day: int = Field(
        20_000_000, ge=0, description="The same in a day (`quota_exceeded`)."
    )
    answer_tokens: int = Field(
        2000,
        ge=1,
        description="What an answer is taken to cost until it has ended, where the request has no "
        "`max_output_tokens`.",
    )
    max_streams: int = Field(
        200,
        ge=0,
        description="Answers being written at once, per key (or address); 0: no limit.",
    )

    @model_validator(mode="after")
    def _rate_is_one(self) -> Self:
        self.rate()  # raises when it cannot be read
        return self

    def rate(self) -> tuple[int, float] | None:
        """The rate limit as requests and seconds; None when it is off."""
        return values.rate(self.rate_limit, "STREAMAPI_RATE_LIMIT")
