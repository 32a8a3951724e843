"""The playground as a user uses it: in a browser, against a real server.

The Content-Security-Policy of the page forbids `eval`, so the tests wait for selectors:
`<html data-state>` is the state of the run, `data-running` tells whether a run is active.
"""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.conftest import Running
from tests.static.conftest import in_browser

TRANSPORTS = ("json", "post", "eventsource", "follow", "websocket")
STREAMS = TRANSPORTS[1:]


@pytest.fixture
async def page(browser: Browser, server: Running) -> AsyncIterator[Page]:
    """The playground, ready to run. An exception in a script fails the test."""
    page = await browser.new_page()
    thrown: list[str] = []

    def record(line: ConsoleMessage) -> None:
        if "Content Security" in line.text:
            thrown.append(line.text)

    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.on("console", record)
    await page.goto(server.url)
    await page.wait_for_selector("#run:enabled")
    yield page
    await page.close()
    assert thrown == []


async def run(page: Page, transport: str, prompt: str | None = None, task: str = "text") -> None:
    """Fill in the form and press Run."""
    await page.check(f"#task-{task}")
    await page.check(f"#transport-{transport}")
    if prompt is not None:
        await page.fill("#field-prompt", prompt)
    await page.click("#run")


async def reaches(page: Page, state: str) -> None:
    """Wait for a state of the run."""
    await page.wait_for_selector(f"html[data-state={state}]", timeout=15_000)


@in_browser
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_transport_shows_the_answer_and_its_summary(page: Page, transport: str) -> None:
    """Every transport shows the answer as Markdown and the summary below it."""
    await run(page, transport, f"What a {transport} is.")
    await reaches(page, "done")
    await expect(page.locator("#result h3").first).not_to_be_empty()
    await expect(page.locator("#summary")).to_contain_text("stop")


@in_browser
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_dropped_connection_resumes_and_the_text_is_whole(
    page: Page, transport: str
) -> None:
    """After a drop the page reports it, resumes, and shows the same text as JSON."""
    words = "How rivers find the sea. [[words:150]]"
    await run(page, "json", words)
    await reaches(page, "done")
    whole = await page.inner_text("#result")
    await run(page, transport, f"{words} [[pace:0.05]]")
    await reaches(page, "streaming")
    await page.click("#drop")
    await reaches(page, "reconnecting")
    await reaches(page, "done")
    await expect(page.locator("#timeline")).to_contain_text(re.compile(r"Resumed after event \d+"))
    assert await page.inner_text("#result") == whole


@in_browser
@pytest.mark.parametrize("transport", STREAMS)
async def test_stop_stops(page: Page, transport: str) -> None:
    """Escape stops the generation over every transport."""
    await run(page, transport, "Endless. [[pace:0.05]] [[words:5000]]")
    await reaches(page, "streaming")
    await page.keyboard.press("Escape")
    await reaches(page, "cancelled")
    await expect(page.locator("#timeline")).to_contain_text("Stopped by caller")


@in_browser
async def test_stop_ends_a_json_request(page: Page) -> None:
    """It has no generation to cancel yet, so the page closes the connection."""
    await run(page, "json", "Endless. [[pace:0.05]] [[words:5000]]")
    await reaches(page, "connecting")
    await page.keyboard.press("Escape")
    await reaches(page, "cancelled")
    await expect(page.locator("#timeline")).to_contain_text("closed the connection")
    await expect(page.locator("#run")).to_be_enabled()


@in_browser
async def test_an_error_after_text_keeps_the_text_and_offers_to_try_again(page: Page) -> None:
    """The text stays, and the error has its code."""
    await run(page, "post", "A story. [[fault:error_after_text]]")
    await reaches(page, "failed")
    await expect(page.locator(".error-card")).to_have_attribute("data-code", "upstream_interrupted")
    await expect(page.locator("#result .prose.main")).not_to_be_empty()
    await expect(page.locator("#retry")).to_be_visible()


@in_browser
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_invalid_field_has_its_error_beside_it(page: Page, transport: str) -> None:
    """Even over `EventSource`, where the browser hides the error."""
    await page.click(".options summary")
    await page.fill("#field-temperature", "9")
    await run(page, transport, "Warm.")
    await reaches(page, "failed")
    await expect(page.locator("#error-temperature")).not_to_be_empty()
    await expect(page.locator("#field-temperature")).to_have_attribute("aria-invalid", "true")


@in_browser
@pytest.mark.parametrize("size", [(390, 844), (1440, 900)], ids=["phone", "desktop"])
async def test_opened_options_are_visible(page: Page, size: tuple[int, int]) -> None:
    """The bar with the buttons does not cover them, open or closed."""
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await expect(page.locator(".options summary")).to_be_in_viewport(ratio=1)
    await page.click(".options summary")
    await expect(page.locator("#hint-model")).to_be_in_viewport(ratio=1)
    bar = await page.locator(".runbar").bounding_box()
    hint = await page.locator("#hint-model").bounding_box()
    assert bar is not None
    assert hint is not None
    assert hint["y"] + hint["height"] <= bar["y"], "the bar covers the options"


@in_browser
async def test_an_invalid_field_is_in_sight_on_a_phone(page: Page) -> None:
    """Together with its error, although the error card is elsewhere on the page."""
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.click(".options summary")
    await page.fill("#field-temperature", "9")
    await run(page, "post", "Warm.")
    await reaches(page, "failed")
    await expect(page.locator("#field-temperature")).to_be_focused()
    for selector in ("#field-temperature", "#error-temperature"):
        await expect(page.locator(selector)).to_be_in_viewport(ratio=1)


@in_browser
@pytest.mark.parametrize("transport", ["json", "post"])
async def test_a_finished_code_answer_is_shown_from_its_top(page: Page, transport: str) -> None:
    """The user wants the code first; the explanation is below it."""
    await page.set_viewport_size({"width": 1440, "height": 700})
    await run(page, transport, task="code")
    await reaches(page, "done")
    await expect(page.locator("figure.first figcaption")).to_be_in_viewport(ratio=1)
    assert await page.evaluate("document.querySelector('#result').scrollTop") == 0
    over = "(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)"
    assert await page.evaluate(f"{over}(document.querySelector('#result'))") > 0, "it fits anyway"


@in_browser
async def test_messages_show_code_as_code(page: Page, server: Running) -> None:
    """Text between backticks is code in error cards, beside fields and on error pages."""
    await page.click(".options summary")
    await page.fill("#field-temperature", "9")
    await run(page, "post", "Warm.")
    await reaches(page, "failed")
    await expect(page.locator(".error-card code").first).to_have_text("temperature")
    await expect(page.locator("#error-temperature")).to_have_text("must be at most 2.")
    assert "`" not in await page.inner_text(".error-card")
    await page.goto(f"{server.url}/errors/unauthenticated")
    await expect(page.locator("p code").nth(1)).to_have_text("Authorization: Bearer <key>")
    assert "`" not in await page.inner_text("main")


@in_browser
async def test_a_wrong_key_has_its_own_advice(browser: Browser, guarded: Running) -> None:
    """A user who entered a key is asked to check it, not to enter one."""
    page = await browser.new_page()
    await page.goto(guarded.url)
    await page.wait_for_selector("#run:enabled")
    await run(page, "post", "A question.")
    await expect(page.locator(".advice")).to_contain_text("Enter a key")
    await page.fill("#key", "sk-streamapi-wrong")
    await run(page, "post", "A question.")
    await expect(page.locator(".advice")).to_contain_text("does not know the key")
    await expect(page.locator(".advice")).not_to_contain_text("Enter a key")
    await page.close()


@in_browser
async def test_model_output_never_becomes_html(page: Page) -> None:
    """Hostile text is shown as text."""
    await run(page, "websocket", "Beware. [[fault:hostile]]")
    await reaches(page, "done")
    await expect(page.locator("#result")).to_contain_text("<script>alert(1)</script>")
    assert await page.locator("#result script, #result img").count() == 0


@in_browser
async def test_code_is_shown_with_its_language_and_syntax_status(page: Page) -> None:
    """The code task shows language, syntax status and explanation."""
    await run(page, "follow", task="code")
    await reaches(page, "done")
    await expect(page.locator("figure.first .language")).to_have_text("python")
    await expect(page.locator("figure.first .syntax-status")).to_have_text("Syntax is valid")
    await expect(page.locator("#result")).to_contain_text("Explanation")


@in_browser
async def test_labels_are_shown_as_bars(page: Page) -> None:
    """The classification task shows a bar for each label and marks the best."""
    await run(page, "post", task="classification")
    await reaches(page, "done")
    labels = (await page.input_value("#field-labels")).splitlines()
    await expect(page.locator(".bars li")).to_have_count(len(labels))
    await expect(page.locator(".bars [data-best=true] .note")).to_have_text("best")


@in_browser
async def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    """On a phone, a tablet and a desktop, with every panel open."""
    await page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    await run(page, "post", "Narrow.")
    await reaches(page, "done")
    for width in (390, 820, 1440):
        await page.set_viewport_size({"width": width, "height": 860})
        over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{over} px too wide at {width}"


@in_browser
async def test_a_key_works_with_every_transport(browser: Browser, guarded: Running) -> None:
    """The page requests a key when the server needs one. No URL and no browser storage contains
    the key; `EventSource` sends a ticket instead."""
    key, _ = await guarded.key()
    page = await browser.new_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    await page.goto(guarded.url)
    await page.wait_for_selector("#run:enabled")
    await run(page, "json", "A question.")
    await page.wait_for_selector("#key-row:visible")
    await page.fill("#key", key)
    for transport in TRANSPORTS:
        await run(page, transport, f"A key over {transport}.")
        await reaches(page, "done")
    assert any("ticket=tkt_" in url for url in urls)
    assert not any(key in url for url in urls)
    stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert (stored, await page.evaluate("document.cookie")) == ("[{},{}]", "")
    await page.close()


@in_browser
async def test_the_documentation_page_logs_no_errors(browser: Browser, server: Running) -> None:
    """Scalar accepts the document, shows the fields of a task in order, names the items of lists,
    and links back to the playground."""
    page = await browser.new_page(viewport={"width": 1440, "height": 1500})
    complaints: list[str] = []

    def record(line: ConsoleMessage) -> None:
        if line.type in ("warning", "error"):
            complaints.append(line.text)

    page.on("console", record)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{server.url}/docs#tag/text/POST/v1/text")
    body = page.locator(".request-body:visible").first
    await expect(body).to_contain_text("on_disconnect", timeout=20_000)
    text = await body.inner_text()
    assert "array,null" not in text, text
    assert "string[]" in text, text
    names = re.findall(r"^(prompt|messages|system|model|stop)$", text, re.M)
    assert names[:4] == ["prompt", "messages", "system", "model"]
    assert complaints == []
    await page.click("text=Try it on the page")
    await page.wait_for_selector("#run:enabled")
    await page.close()
