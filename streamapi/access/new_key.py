"""What may be asked of a new key, by the command line and by `POST /v1/keys` alike."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from streamapi.errors import FieldError, InvalidRequest

OTHER_SCOPES = ("batch", "usage", "webhooks", "admin")
"""What a key may be for, besides the tasks."""

NOBODY = "anonymous"
"""The owner where no key is asked for; a key of this owner would see what such a server kept."""

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""When every key has died: in some zones the year 9999 has moments that no calendar can show."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Amount = Annotated[int | None, Field(ge=0, le=10**12)]


def _moment(value: object) -> object:
    """Text as a moment: a strict model takes no text for one."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a time of RFC 3339, such as 2027-01-31T00:00:00Z") from None


class Limits(BaseModel):
    """How much a key may use; null is what the server gives to every key, 0 is no limit."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: Amount = Field(default=None, description="To each endpoint.")
    tokens_per_minute: Amount = Field(default=None, description="Of the model's, in and out.")
    tokens_per_day: Amount = Field(default=None, description="Of the model's, in and out.")
    streams: Amount = Field(default=None, description="Open at once.")


class NewKey(BaseModel):
    """A key to be made. Whatever is begun with it belongs to its owner, and no other owner sees
    it."""

    model_config = ConfigDict(extra="forbid")

    owner: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$",
        description="Whose it is: letters, digits and `._@+-`. Keys of one owner share.",
    )
    name: str = Field(
        "", max_length=200, pattern=PRINTABLE, description="What it is for, for people."
    )
    scopes: list[str] = Field(
        min_length=1, max_length=100, description="What it may do: tasks, and other scopes."
    )
    models: list[str] | None = Field(
        None, min_length=1, max_length=100, description="The models it may ask; null: every one."
    )
    expires: Annotated[AwareDatetime | None, BeforeValidator(_moment)] = Field(
        None, description="When it dies by itself; null: never."
    )
    limits: Limits = Field(default_factory=lambda: Limits())

    def check(self, tasks: Iterable[str], models: Collection[str], now: float) -> None:
        """Raise `InvalidRequest` for what this server does not know."""
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
        if self.owner == NOBODY:
            errors.append(FieldError("means nobody here", "/owner"))
        if self.expires is not None and self.expires.timestamp() <= now:
            errors.append(FieldError("lies in the past", "/expires"))
        if self.expires is not None and self.expires >= LATEST:
            errors.append(FieldError("lies beyond the year 9998; leave it out", "/expires"))
        if errors:
            raise InvalidRequest.of(*errors)
