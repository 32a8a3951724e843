"""The request for a new key, of `POST /v1/keys` and of `streamapi keys create` alike."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from streamapi.errors import FieldError, InvalidRequest

OTHER_SCOPES = ("batch", "usage", "webhooks", "admin")
"""The scopes of a key besides the names of the tasks."""

ANONYMOUS = "anonymous"
"""The owner of what a server without keys keeps. No key may have it: it would see all of that."""

EXPIRES_BEFORE = datetime(9999, 1, 1, tzinfo=UTC)
"""The year 9999 is refused: in some time zones its last hours are in the year 10000, which
`datetime` cannot show."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Amount = Annotated[int | None, Field(ge=0, le=10**12)]


def _time(value: object) -> object:
    """Parse a time that is sent as text: a strict model takes no text for a `datetime`."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a time of RFC 3339, such as 2027-01-31T00:00:00Z") from None


class NewKeyLimits(BaseModel):
    """How much a new key may use: null for the server's own limit, 0 for no limit."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: Amount = Field(default=None, description="To each endpoint.")
    tokens_per_minute: Amount = Field(
        default=None, description="Tokens of the model, input and output together."
    )
    tokens_per_day: Amount = Field(default=None, description="The same in a day.")
    streams: Amount = Field(default=None, description="Answers that are written at once.")


class NewKey(BaseModel):
    """A key to be made. Whatever is started with it belongs to its owner; no other owner sees
    it."""

    model_config = ConfigDict(extra="forbid")

    owner: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$",
        description="The owner of the key: letters, digits and `._@+-`. Keys of one owner share "
        "what they start.",
    )
    name: str = Field(
        "", max_length=200, pattern=PRINTABLE, description="A label that says what the key is for."
    )
    scopes: list[str] = Field(
        min_length=1,
        max_length=100,
        description="What the key may do: names of tasks, and `batch`, `usage`, `webhooks` or "
        "`admin`.",
    )
    models: list[str] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="The models that the key may use; null for every model.",
    )
    expires: Annotated[AwareDatetime | None, BeforeValidator(_time)] = Field(
        None, description="When the key expires; null for never."
    )
    limits: NewKeyLimits = Field(default_factory=lambda: NewKeyLimits())

    def check(self, tasks: Iterable[str], models: Collection[str], now: float) -> None:
        """Raise `InvalidRequest` for a scope or model that this server does not have, for the
        owner of a server without keys, and for a time that no key can expire at. `now` is in
        seconds since 1970."""
        scopes = [*tasks, *OTHER_SCOPES]
        errors = [
            FieldError(f"{name!r} is not one of {', '.join(known)}", f"/{field}/{place}")
            for field, names, known in (
                ("scopes", self.scopes, scopes),
                ("models", self.models or (), models),
            )
            for place, name in enumerate(names)
            if name not in known
        ]
        if self.owner == ANONYMOUS:
            errors.append(FieldError("is reserved for a server without keys", "/owner"))
        if self.expires is not None and self.expires.timestamp() <= now:
            errors.append(FieldError("must be in the future", "/expires"))
        if self.expires is not None and self.expires >= EXPIRES_BEFORE:
            detail = "must be before the year 9999; leave it out for a key that never expires"
            errors.append(FieldError(detail, "/expires"))
        if errors:
            raise InvalidRequest.of(*errors)
