"""Google's errors become ours."""

import time
from email.utils import formatdate
from typing import Any

import pytest

from streamapi.errors import (
    AccessRefused,
    ContextTooLong,
    ModelGone,
    StreamapiError,
    UpstreamLimited,
    UpstreamRejected,
    UpstreamUnavailable,
)
from streamapi.providers.gemini.errors import asked_wait, from_status


def body(message: str = "m", *details: Any) -> dict[str, Any]:
    return {"error": {"code": 1, "message": message, "status": "S", "details": list(details)}}


def retry_info(delay: Any) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


TOO_LONG = "The input token count (9) exceeds the maximum number of tokens allowed (8)."


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Invalid argument.", UpstreamRejected),
        (400, TOO_LONG, ContextTooLong),
        (400, "API key not valid. Please pass a valid API key.", UpstreamRejected),
        (401, "m", AccessRefused),
        (403, "m", AccessRefused),
        (404, "m", ModelGone),
        (408, "m", UpstreamUnavailable),
        (409, "m", UpstreamRejected),
        (413, "m", UpstreamRejected),
        (429, "m", UpstreamLimited),
        (500, "m", UpstreamUnavailable),
        (502, "m", UpstreamUnavailable),
        (503, "m", UpstreamUnavailable),
        (504, "m", UpstreamUnavailable),
        (599, "m", UpstreamUnavailable),
    ],
)
def test_a_status_has_its_error(status: int, message: str, kind: type[StreamapiError]) -> None:
    """A status is the caller's fault, ours, or one that may pass by itself."""
    assert type(from_status(status, body(message), {})) is kind


def test_only_the_reason_shows_a_wrong_key() -> None:
    """Which refuses access to all, and opens the model's circuit. A message may quote a prompt:
    whoever writes it must not be able to do that."""
    quoting = body("The text 'API_KEY_INVALID' is not allowed.", retry_info("1s"))
    assert type(from_status(400, quoting, {})) is UpstreamRejected
    wrong = body("m", {"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                       "reason": "API_KEY_INVALID"})  # fmt: skip
    assert type(from_status(400, wrong, {})) is AccessRefused


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
@pytest.mark.parametrize(
    "sent", [None, [], "", "<html>", 3, {}, {"error": None}, {"error": "no"}, {"error": []}, [{}]]
)
def test_any_body_is_survived(status: int, sent: Any) -> None:
    """Proxies send other bodies. The status is enough."""
    assert isinstance(from_status(status, sent, {}), StreamapiError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_the_providers_words_are_not_passed_on(status: int) -> None:
    """A message may quote the prompt or the key."""
    error = from_status(status, body("the secret prompt, API key AIza-secret"), {})
    assert "secret" not in str(error.problem())


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("7s", 7.0), ("0.5s", 0.5), ("0s", 0.0), ("1800s", 1800.0), ("3.123456789s", 3.123456789)],
)
def test_retry_info_is_the_wait(delay: str, seconds: float) -> None:
    """A `RetryInfo` in the details has the wait."""
    error = from_status(429, body("m", {"@type": "other"}, retry_info(delay)), {})
    assert isinstance(error, UpstreamUnavailable)
    assert error.asked_wait == error.retry_after == seconds


def test_retry_after_is_the_wait() -> None:
    """Without a `RetryInfo`, the header has it: seconds, or a date."""
    assert asked_wait({}, {"Retry-After": "12"}) == 12
    later = asked_wait({}, {"Retry-After": formatdate(time.time() + 30, usegmt=True)})
    assert later == pytest.approx(30, abs=2)
    assert asked_wait({}, {"Retry-After": formatdate(time.time() - 30, usegmt=True)}) == 0


def test_retry_info_beats_the_header() -> None:
    """`RetryInfo` is the more exact one, so it counts."""
    assert asked_wait(body("m", retry_info("2.5s"))["error"], {"Retry-After": "9"}) == 2.5


@pytest.mark.parametrize(
    "delay", ["s", "xs", "-1s", "nans", "infs", "1e999s", "5", 5, None, {}, ""]
)
def test_a_delay_that_cannot_be_read_is_none(delay: Any) -> None:
    """A wait that cannot be read is no wait."""
    assert asked_wait(body("m", retry_info(delay))["error"], {}) is None


@pytest.mark.parametrize("delay", ["xs", "-1s", "nans"])
def test_when_the_delay_cannot_be_read_the_header_counts(delay: str) -> None:
    """If one of the two cannot be read, the other one counts."""
    assert asked_wait(body("m", retry_info(delay))["error"], {"Retry-After": "4"}) == 4


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "nan", "inf", "1e999", "Mon, 99 Foo 2026", "\0", "1, 2"]
)
def test_a_header_that_cannot_be_read_is_none(value: str) -> None:
    """A header that cannot be read is no wait."""
    assert asked_wait({}, {"Retry-After": value}) is None


@pytest.mark.parametrize("details", [None, {}, "x", 3, [None], ["x"], [3], [[]]])
def test_any_details_are_survived(details: Any) -> None:
    """Details of an unknown shape are ignored."""
    assert asked_wait({"details": details}, {}) is None


def test_without_a_wait_the_caller_gets_our_default() -> None:
    """A caller always gets a wait. The retries know that the provider did not ask for it."""
    error = from_status(503, body(), {})
    assert error.asked_wait is None
    assert error.retry_after == 5.0
