"""The manual's look, in a browser: nothing is refused by its policy, and no page is too wide."""

import pytest
from playwright.async_api import Browser

from streamapi.api.routes import manual
from tests.conftest import Running
from tests.static.conftest import in_browser


@in_browser
@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_every_page_fits(browser: Browser, server: Running, width: int) -> None:
    """Wide tables and blocks scroll by themselves; the page does not."""
    page = await browser.new_page(viewport={"width": width, "height": 800})
    messages: list[str] = []
    page.on("console", lambda line: messages.append(line.text))
    for name in sorted(manual.names()):
        await page.goto(f"{server.url}/manual/{name.removesuffix('.md')}")
        wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} px too wide"
    assert messages == []
    family = await page.evaluate("getComputedStyle(document.body).fontFamily")
    assert "sans-serif" in family, "the style sheet was not loaded"
    await page.close()
