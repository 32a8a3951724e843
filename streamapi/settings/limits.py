"""Settings of limits: how much one caller may use."""

from typing import Self

from pydantic import BaseModel, Field, model_validator

from streamapi.settings import values


class LimitSettings(BaseModel):
    """The section of `Settings` for limits."""

    rate_limit: str = Field(
        "120/minute",
        description="Requests per key (or address) and endpoint: a number per `second`, "
        "`minute`, `hour` or `day`. Further requests get 429 (`rate_limited`). `off`: no limit.",
    )
    message_limit: int = Field(
        600,
        ge=0,
        description="Messages of any type per minute on one WebSocket. Further ones get an error "
        "(`rate_limited`). 0: no limit.",
    )
    replays_per_minute: int = Field(
        1200,
        ge=0,
        description="Reconnections, and other reads of a log from its past, per minute and key "
        "(or address). Further ones are told to come back later. The default is enough for 40 "
        "connections that each break every two seconds. 0: no limit.",
    )
    replay_bytes_per_minute: int = Field(
        200_000_000,
        ge=0,
        description="Bytes that such reads may be sent again, per minute and key (or address). "
        "Live events do not count. Further reads are told to come back later. 0: no limit.",
    )
    tokens_per_minute: int = Field(
        1_000_000,
        ge=0,
        description="Tokens of prompts and answers per minute and key (or address). Further "
        "requests get 429 (`rate_limited`). 0: no limit.",
    )
    tokens_per_day: int = Field(
        20_000_000,
        ge=0,
        description="Tokens of prompts and answers per day and key (or address). Further "
        "requests get 429 (`quota_exceeded`). 0: no limit.",
    )
    answer_tokens: int = Field(
        2000,
        ge=1,
        description="Tokens that an answer counts until it has ended, when the request has no "
        "`max_output_tokens`.",
    )
    max_streams: int = Field(
        200,
        ge=0,
        description="Answers in progress at once per key (or address). Further requests get 429 "
        "(`too_many_streams`). 0: no limit.",
    )

    @model_validator(mode="after")
    def _rate_is_one(self) -> Self:
        self.rate()  # raises when it cannot be read
        return self

    def rate(self) -> tuple[int, float] | None:
        """The rate limit, as a number of requests and of seconds. None when it is off."""
        return values.rate(self.rate_limit, "STREAMAPI_RATE_LIMIT")
