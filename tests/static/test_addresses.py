"""The addresses of the client and the page: former ones redirect, in a browser too."""

import httpx
import pytest
from playwright.async_api import Browser

from streamapi.api.routes.pages import MOVED, STATIC
from streamapi.emulator import Emulator
from tests.conftest import Running, running
from tests.static.conftest import in_browser

CLIENT = sorted(path.name for path in (STATIC / "client").iterdir())
ASK = """async ([client, baseUrl]) => {
  const { ApiError, StreamAPI } = await import(client);
  const stream = new StreamAPI({ baseUrl }).stream('text', { prompt: 'An old address.' });
  const types = [];
  for await (const event of stream) types.push(event.type);
  const problem = await new StreamAPI({ baseUrl }).answer('text', {}).catch((error) => error);
  return [types.at(0), types.at(-1), problem instanceof ApiError];
}"""


@pytest.mark.parametrize("name", MOVED)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_former_address_redirects(
    client: httpx.AsyncClient, name: str, method: str
) -> None:
    """Permanently, to a file that exists."""
    answer = await client.request(method, f"/static/{name}")
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"/static/{MOVED[name]}"
    assert (await client.get(answer.headers["Location"])).status_code == 200


@pytest.mark.parametrize("name", CLIENT)
async def test_the_client_is_served_as_modules(client: httpx.AsyncClient, name: str) -> None:
    """A browser runs a module only with a JavaScript type."""
    answer = await client.get(f"/static/client/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/javascript")


async def test_a_directory_is_no_file(client: httpx.AsyncClient) -> None:
    for name in ("client", "client/", "page", "", "client/none.js"):
        assert (await client.get(f"/static/{name}")).status_code == 404


@in_browser
@pytest.mark.parametrize("address", ["/static/streamapi.js", "/static/client/streamapi.js"])
async def test_a_page_imports_the_client(browser: Browser, server: Running, address: str) -> None:
    """The client's own imports are found behind a redirect, and all share one `ApiError`."""
    page = await browser.new_page()
    await page.goto(server.url)
    found = await page.evaluate(ASK, [f"{server.url}{address}", server.url])
    assert found == ["start", "done", True]
    await page.close()


@in_browser
async def test_a_page_of_another_origin_imports_the_client(
    browser: Browser, emulator: Emulator, server: Running
) -> None:
    """A redirect carries the headers of CORS, without which a browser refuses the module."""
    page = await browser.new_page()
    await page.goto(f"{server.url}/healthz")  # a document without a Content-Security-Policy
    async with running(emulator, cors_origins=server.url) as other:
        found = await page.evaluate(ASK, [f"{other.url}/static/streamapi.js", other.url])
    assert found == ["start", "done", True]
    await page.close()
