"""The demo page, as a person uses it: in a browser, against a real server.

The page's policy forbids `eval`, so waiting is by selectors: `<html data-state>` says where the
run is, `data-running` whether there is one.
"""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.conftest import Running
from tests.static.conftest import in_browser

DOORS = ("json", "post", "eventsource", "follow", "websocket")
STREAMS = DOORS[1:]


@pytest.fixture
async def page(browser: Browser, server: Running) -> AsyncIterator[Page]:
    """The demo page, ready to run. Whatever a script throws fails the test."""
    page = await browser.new_page()
    thrown: list[str] = []

    def heard(line: ConsoleMessage) -> None:
        if "Content Security" in line.text:
            thrown.append(line.text)

    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.on("console", heard)
    await page.goto(server.url)
    await page.wait_for_selector("#run:enabled")
    yield page
    await page.close()
    assert thrown == []


async def run(page: Page, door: str, prompt: str | None = None, task: str = "text") -> None:
    """Fill in and press Run."""
    await page.check(f"#task-{task}")
    await page.check(f"#door-{door}")
    if prompt is not None:
        await page.fill("#field-prompt", prompt)
    await page.click("#run")


async def reaches(page: Page, state: str) -> None:
    """Wait for a state of the run."""
    await page.wait_for_selector(f"html[data-state={state}]", timeout=15_000)


@in_browser
@pytest.mark.parametrize("door", DOORS)
async def test_every_door_shows_the_answer_and_its_figures(page: Page, door: str) -> None:
    """Whatever the door, the answer is read as Markdown and the facts stand below."""
    await run(page, door, f"What a {door} is.")
    await reaches(page, "done")
    await expect(page.locator("#result h3").first).not_to_be_empty()
    await expect(page.locator("#facts")).to_contain_text("stop")


@in_browser
@pytest.mark.parametrize("door", STREAMS)
async def test_a_dropped_connection_resumes_and_the_text_is_whole(page: Page, door: str) -> None:
    """After a drop in mid-answer the page says so, resumes, and shows what JSON shows."""
    words = "How rivers find the sea. [[words:150]]"
    await run(page, "json", words)
    await reaches(page, "done")
    whole = await page.inner_text("#result")
    await run(page, door, f"{words} [[pace:0.05]]")
    await reaches(page, "streaming")
    await page.click("#drop")
    await reaches(page, "reconnecting")
    await reaches(page, "done")
    await expect(page.locator("#timeline")).to_contain_text(re.compile(r"Resumed at event \d+"))
    assert await page.inner_text("#result") == whole


@in_browser
@pytest.mark.parametrize("door", STREAMS)
async def test_stop_stops(page: Page, door: str) -> None:
    """Escape stops the generation, by any door."""
    await run(page, door, "Endless. [[pace:0.05]] [[words:5000]]")
    await reaches(page, "streaming")
    await page.keyboard.press("Escape")
    await reaches(page, "cancelled")
    await expect(page.locator("#timeline")).to_contain_text("Stopped by caller")


@in_browser
async def test_an_error_after_text_keeps_the_text_and_offers_to_try_again(page: Page) -> None:
    """What had come stays; the error says its code."""
    await run(page, "post", "A story. [[fault:error_after_text]]")
    await reaches(page, "failed")
    await expect(page.locator(".trouble")).to_have_attribute("data-code", "upstream_interrupted")
    await expect(page.locator("#result .prose.main")).not_to_be_empty()
    await expect(page.locator("#again")).to_be_visible()


@in_browser
@pytest.mark.parametrize("door", DOORS)
async def test_a_wrong_field_is_told_beside_the_field(page: Page, door: str) -> None:
    """Even by `EventSource`, to which the browser tells nothing."""
    await page.click(".options summary")
    await page.fill("#field-temperature", "9")
    await run(page, door, "Warm.")
    await reaches(page, "failed")
    await expect(page.locator("#error-temperature")).not_to_be_empty()
    await expect(page.locator("#field-temperature")).to_have_attribute("aria-invalid", "true")


@in_browser
@pytest.mark.parametrize("size", [(390, 844), (1440, 900)], ids=["phone", "desk"])
async def test_options_that_are_opened_are_seen(page: Page, size: tuple[int, int]) -> None:
    """They do not open below the bar with the buttons."""
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.click(".options summary")
    await expect(page.locator("#hint-model")).to_be_in_viewport(ratio=1)
    bar = await page.locator(".runbar").bounding_box()
    hint = await page.locator("#hint-model").bounding_box()
    assert bar is not None
    assert hint is not None
    assert hint["y"] + hint["height"] <= bar["y"], "the bar hides what was opened"


@in_browser
@pytest.mark.parametrize("door", ["json", "post"])
async def test_a_finished_code_answer_begins_at_its_top(page: Page, door: str) -> None:
    """The code is what was asked for; its explanation stands below."""
    await page.set_viewport_size({"width": 1440, "height": 700})
    await run(page, door, task="code")
    await reaches(page, "done")
    await expect(page.locator("figure.first figcaption")).to_be_in_viewport(ratio=1)
    assert await page.evaluate("document.querySelector('#result').scrollTop") == 0
    over = "(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)"
    assert await page.evaluate(f"{over}(document.querySelector('#result'))") > 0, "it fits anyway"


@in_browser
async def test_messages_show_code_as_code(page: Page, server: Running) -> None:
    """What stands between backticks, in cards, beside fields and on the pages of errors."""
    await page.click(".options summary")
    await page.fill("#field-temperature", "9")
    await run(page, "post", "Warm.")
    await reaches(page, "failed")
    await expect(page.locator(".trouble code").first).to_have_text("temperature")
    await expect(page.locator("#error-temperature")).to_have_text("must be at most 2.")
    assert "`" not in await page.inner_text(".trouble")
    await page.goto(f"{server.url}/errors/unauthenticated")
    await expect(page.locator("p code").nth(1)).to_have_text("Authorization: Bearer <key>")
    assert "`" not in await page.inner_text("main")


@in_browser
async def test_a_wrong_key_is_to_be_checked_not_entered(browser: Browser, guarded: Running) -> None:
    """Who entered a key is not told to enter one."""
    page = await browser.new_page()
    await page.goto(guarded.url)
    await page.wait_for_selector("#run:enabled")
    await run(page, "post", "Who may ask?")
    await expect(page.locator(".advice")).to_contain_text("Enter a key")
    await page.fill("#key", "sk-streamapi-wrong")
    await run(page, "post", "Who may ask?")
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
async def test_code_is_shown_with_its_language_and_verdict(page: Page) -> None:
    """The code task: language, verdict, explanation."""
    await run(page, "follow", task="code")
    await reaches(page, "done")
    await expect(page.locator("figure.first .language")).to_have_text("python")
    await expect(page.locator("figure.first .verdict")).to_have_text("parses")
    await expect(page.locator("#result")).to_contain_text("Explanation")


@in_browser
async def test_labels_are_shown_as_bars(page: Page) -> None:
    """The classification task: a bar for each label, the best one marked."""
    await run(page, "post", task="classification")
    await reaches(page, "done")
    asked = (await page.input_value("#field-labels")).splitlines()
    await expect(page.locator(".bars li")).to_have_count(len(asked))
    await expect(page.locator(".bars [data-best=true] .note")).to_have_text("best")


@in_browser
async def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    """On a phone, a tablet and a desk, with every panel open."""
    await page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    await run(page, "post", "Narrow.")
    await reaches(page, "done")
    for width in (390, 820, 1440):
        await page.set_viewport_size({"width": width, "height": 860})
        over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{over} px too wide at {width}"


@in_browser
async def test_a_key_opens_every_door(browser: Browser, guarded: Running) -> None:
    """Where a key is needed the page asks for it, keeps it out of every address and store, and
    `EventSource` shows a ticket in its place."""
    key, _ = await guarded.key()
    page = await browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(guarded.url)
    await page.wait_for_selector("#run:enabled")
    await run(page, "json", "Who may ask?")
    await page.wait_for_selector("#key-row:visible")
    await page.fill("#key", key)
    for door in DOORS:
        await run(page, door, f"What a key opens by {door}.")
        await reaches(page, "done")
    assert any("ticket=tkt_" in url for url in asked)
    assert not any(key in url for url in asked)
    stored = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert (stored, await page.evaluate("document.cookie")) == ("[{},{}]", "")
    await page.close()


@in_browser
async def test_the_documentation_is_without_a_complaint(browser: Browser, server: Running) -> None:
    """Scalar finds nothing wrong with the document, shows what a task takes first, names the
    items of lists, and there is a way back to the page."""
    page = await browser.new_page(viewport={"width": 1440, "height": 1500})
    said: list[str] = []

    def heard(line: ConsoleMessage) -> None:
        if line.type in ("warning", "error"):
            said.append(line.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{server.url}/docs#tag/text/POST/v1/text")
    body = page.locator(".request-body:visible").first
    await expect(body).to_contain_text("on_disconnect", timeout=20_000)
    text = await body.inner_text()
    assert "array,null" not in text, text
    assert "string[]" in text, text
    names = re.findall(r"^(prompt|messages|system|model|stop)$", text, re.M)
    assert names[:4] == ["prompt", "messages", "system", "model"]
    assert said == []
    await page.click("text=Try it on the page")
    await page.wait_for_selector("#run:enabled")
    await page.close()
