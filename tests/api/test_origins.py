"""Whose pages may ask, and under which names: the pages of another site may not, and a name that
is not ours is not answered."""

import httpx
import pytest
import websockets
from werkzeug.datastructures import Headers

from streamapi.api import origins
from streamapi.errors import HostNotAllowed, OriginNotAllowed
from streamapi.settings import Settings
from tests.api.wire import unique
from tests.conftest import Running

OURS = "localhost:8000"
STREAM = "/v1/text/stream"

MAY = [
    {},
    {"Origin": f"http://{OURS}"},
    {"Origin": f"https://{OURS}"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"},
    {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"},
]

MAY_NOT = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:8001"},
    {"Origin": f"http://{OURS}@evil.example"},
    {"Origin": f"http://evil.example/{OURS}"},
    {"Origin": f"file://{OURS}"},
    {"Origin": "http://["},
    {"Origin": "http://[::1"},
    {"Origin": "\xff"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "", "Origin": f"http://{OURS}"},
    {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{OURS}"},
]

SETTINGS = Settings(cors_origins=("https://app.example",))


def check(settings: Settings, headers: dict[str, str]) -> None:
    origins.check(settings, Headers({"Host": OURS, **headers}))


@pytest.mark.parametrize("headers", MAY)
def test_pages_of_ours_and_programs_may_ask(headers: dict[str, str]) -> None:
    check(SETTINGS, headers)


@pytest.mark.parametrize("headers", MAY_NOT)
def test_pages_of_others_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(OriginNotAllowed):
        check(SETTINGS, headers)


@pytest.mark.parametrize(
    ("settings", "host", "ours"),
    [
        (Settings(), "localhost:1", True),
        (Settings(), "127.0.0.1:8000", True),
        (Settings(), "[::1]:8000", True),
        (Settings(), "evil.example", False),
        (Settings(), "127.0.0.1@evil.example", False),
        (Settings(), "localhost.evil.example", False),
        (Settings(), "[::1", False),
        (Settings(), "\xff", False),
        (Settings(allowed_hosts=("api.example",)), "api.example:443", True),
        (Settings(allowed_hosts=("api.example",)), "evil.example", False),
        (Settings(allowed_hosts=("*",)), "evil.example", True),
    ],
)
def test_a_name_is_ours_or_not(settings: Settings, host: str, ours: bool) -> None:
    """A page can give its own name the address of this machine."""
    if ours:
        check(settings, {"Host": host})
    else:
        with pytest.raises(HostNotAllowed, match="STREAMAPI_ALLOWED_HOSTS"):
            check(settings, {"Host": host})


async def test_an_image_spends_no_tokens(server: Running, client: httpx.AsyncClient) -> None:
    """An image tag of another site, a page that is malformed, a socket of another site: 403, and
    no model was asked."""
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        {"Origin": "http://["},
    ):
        answer = await client.get(STREAM, params={"prompt": unique("a")}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    for origin in ("https://evil.example", "http://["):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{server.ws}/v1/ws", origin=origin)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    assert (await client.get("/v1/models")).is_success


async def test_a_refusal_names_the_setting_that_mends_it(client: httpx.AsyncClient) -> None:
    """Behind a proxy with an unlisted name the operator is sent to ALLOWED_HOSTS, and for a page of
    another site to CORS_ORIGINS: the two have codes of their own."""
    for headers, code, setting in (
        ({"Host": "api.example"}, "host_not_allowed", "STREAMAPI_ALLOWED_HOSTS"),
        ({"Origin": "https://app.example"}, "origin_not_allowed", "STREAMAPI_CORS_ORIGINS"),
    ):
        answer = await client.get("/v1/models", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert setting in answer.json()["detail"]
