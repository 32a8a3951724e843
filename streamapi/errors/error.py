"""What every error has: its body, its wrong fields, and the three classes of fault."""

from collections.abc import Iterator
from typing import ClassVar

import msgspec

MAX_FIELD_ERRORS = 50
"""Field errors that one response lists. The detail counts all of them."""

MAX_STEP = 100
"""Characters of one step of a JSON pointer. A longer name of a field is cut."""


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field: what is wrong with it ("is required"), and its JSON pointer (RFC 6901).
    With an empty `pointer`, `detail` is a sentence about the whole request."""

    detail: str
    pointer: str

    def sentence(self) -> str:
        """The error with its field: "`messages[0].content` must not be empty"."""
        if not self.pointer:
            return self.detail[:1].upper() + self.detail[1:]
        first, *steps = (
            step.replace("~1", "/").replace("~0", "~") for step in self.pointer[1:].split("/")
        )
        name = first + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
        return f"`{name if name.isprintable() else ascii(name)[1:-1]}` {self.detail}"


def escape(step: str) -> str:
    """One step of a JSON pointer (RFC 6901), cut to `MAX_STEP`."""
    return step[:MAX_STEP].replace("~", "~0").replace("/", "~1")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error (RFC 9457). Fields that an error does not have are absent.

    `retry_after` is in seconds. `request_id` and `generation` belong to one caller, and several
    callers can share a log: so the log never holds these two, and each reader adds its own.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    generation: str | None = None
    retry_after: float | None = None


class StreamapiError(Exception):
    """An error that a client of the API can receive.

    `detail` is for the person who called the API: it never holds a secret, a prompt or a stack
    trace. `reason` is for the operator: it is written to the server's log only. `retry_after` is
    in seconds."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    title: ClassVar[str] = ""
    retryable: ClassVar[bool] = False
    default_retry_after: ClassVar[float | None] = None

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.errors = errors
        self.asked_wait = retry_after  # None where `retry_after` is only the default of the class
        self.retry_after = self.default_retry_after if retry_after is None else retry_after

    def problem(self) -> Problem:
        """The body of the error, without the fields that belong to one caller."""
        return Problem(
            type=f"/errors/{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            retryable=self.retryable,
            errors=self.errors,
            retry_after=self.retry_after,
        )


class CallerError(StreamapiError):
    """The request is at fault: the caller can correct it, and send it again."""


class UpstreamError(StreamapiError):
    """The model, its provider or the connection to it is at fault."""


class ServiceError(StreamapiError):
    """This server is at fault."""


def every_error() -> Iterator[type[StreamapiError]]:
    """Each error that has a code, in the order of their status."""
    found: list[type[StreamapiError]] = []
    waiting: list[type[StreamapiError]] = [StreamapiError]
    while waiting:
        kind = waiting.pop(0)
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind) and kind.code:
            found.append(kind)
    return iter(sorted(found, key=lambda kind: kind.status))
