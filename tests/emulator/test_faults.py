"""Every fault of the table, as a plain HTTP client receives it."""

import asyncio
import json
import uuid

import aiohttp
import pytest

from streamapi.emulator import FAULTS
from streamapi.emulator.faults import table

ERRORS = {"400": 400, "401": 401, "403": 403, "404": 404, "429": 429, "500": 500, "503": 503}
BROKEN = {"reset", "reset_after_text", "cut_chunk"}
HANGS = {"hang", "hang_after_text"}
ENDINGS = {
    "safety": "SAFETY",
    "safety_before_text": "SAFETY",
    "recitation": "RECITATION",
    "max_tokens": "MAX_TOKENS",
    "thoughts": "STOP",
    "empty": "STOP",
    "one_byte": "STOP",
    "hostile": "STOP",
}
STRANGE = {"429_delay", "html", "error_before_text", "error_after_text", "no_finish"}
STRANGE |= {"bad_json", "blocked_prompt"}


def prompt(fault: str, keys: str = "") -> str:
    """A prompt that no other test sends."""
    return f"The tides {uuid.uuid4().hex} [[fault:{fault} {keys}]]"


def test_this_file_knows_every_fault():
    assert {*ERRORS, *BROKEN, *HANGS, *ENDINGS, *STRANGE} == set(FAULTS)
    assert all(fault.meaning in table() for fault in FAULTS.values())


@pytest.mark.parametrize("method", ["stream", "generate"])
@pytest.mark.parametrize(("fault", "status"), ERRORS.items())
async def test_http_errors(client, method, fault, status):
    asked = await getattr(client, method)(prompt(fault))
    assert (asked.status, asked.json["error"]["code"]) == (status, status)
    assert "Retry-After" not in asked.headers


@pytest.mark.parametrize("method", ["stream", "generate"])
async def test_a_delay_is_named_twice(client, method):
    asked = await getattr(client, method)(prompt("429_delay", "delay=2.5"))
    assert (asked.status, asked.headers["Retry-After"]) == (429, "3")
    assert asked.json["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}
    ]


@pytest.mark.parametrize("method", ["stream", "generate"])
async def test_html(client, method):
    asked = await getattr(client, method)(prompt("html"))
    assert (asked.status, asked.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    assert asked.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(("fault", "after"), [("error_before_text", 0), ("error_after_text", 3)])
async def test_an_error_inside_a_stream(client, fault, after):
    asked = await client.stream(prompt(fault))
    assert asked.status == 200
    assert [*map(list, asked.messages)][-1] == ["error"]
    assert asked.messages[-1]["error"]["status"] == "UNAVAILABLE"
    assert len(asked.parts) == after
    assert (await client.generate(prompt(fault))).status == 503


async def test_no_finish_reason(client):
    assert (await client.stream(prompt("no_finish", "after=2"))).finish == [None, None]
    assert (await client.stream(prompt("no_finish", "after=0"))).messages == []
    assert (await client.generate(prompt("no_finish"))).finish == [None]
    assert (await client.generate(prompt("no_finish", "after=0"))).messages == [{}]


@pytest.mark.parametrize("method", ["streamGenerateContent?alt=sse", "generateContent"])
@pytest.mark.parametrize("fault", sorted(BROKEN))
@pytest.mark.parametrize("after", [0, 3, 10_000])
async def test_broken_connections(client, fault, after, method):
    """The client's transport reports the end. It can read what came before."""
    body = client.body(prompt(fault, f"after={after}"))
    read = b""

    async def ask() -> None:
        nonlocal read
        async with client.post(body, method) as answer:
            async for chunk in answer.content.iter_any():
                read += chunk

    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError, ConnectionError)):
        await ask()
    if fault == "reset":
        assert read == b""
    elif after:
        assert b'"candidates"' in read


@pytest.mark.parametrize("fault", sorted(HANGS))
async def test_hangs_end_when_the_client_leaves(client, fault):
    words = prompt(fault, "after=2")
    frames = 0

    async def ask() -> None:
        nonlocal frames
        async with client.post(client.body(words), "streamGenerateContent?alt=sse") as answer:
            while frame := await answer.content.readuntil(b"\r\n\r\n"):
                frames += frame.startswith(b"data: ")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(), 0.2)
    assert frames == (0 if fault == "hang" else 2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.generate(words), 0.05)


async def test_a_frame_that_is_not_json(client):
    asked_for = client.body(prompt("bad_json", "after=1"))
    async with client.post(asked_for, "streamGenerateContent?alt=sse") as answer:
        frames = (await answer.read()).split(b"\r\n\r\n")
    json.loads(frames[0].removeprefix(b"data: "))
    with pytest.raises(json.JSONDecodeError):
        json.loads(frames[1].removeprefix(b"data: "))
    assert b'"finishReason":"STOP"' in frames[-2]
    async with client.post(asked_for, "generateContent") as answer:
        with pytest.raises(json.JSONDecodeError):
            json.loads(await answer.read())


@pytest.mark.parametrize("method", ["stream", "generate"])
async def test_a_blocked_prompt(client, method):
    (message,) = (await getattr(client, method)(prompt("blocked_prompt"))).messages
    assert message["promptFeedback"]["blockReason"] == "SAFETY"
    assert "candidates" not in message


@pytest.mark.parametrize("method", ["stream", "generate"])
@pytest.mark.parametrize(("fault", "finish"), ENDINGS.items())
async def test_endings(client, method, fault, finish):
    asked = await getattr(client, method)(prompt(fault, "after=2") + " [[words:30]]")
    assert asked.finish[-1] == finish
    assert bool(asked.text) == (fault not in ("empty", "safety_before_text"))
    assert bool(asked.thoughts) == (fault == "thoughts")
    if fault in ("safety", "recitation", "max_tokens"):
        assert len(asked.text) == 48


async def test_thoughts_come_first(client):
    parts = (await client.stream(prompt("thoughts"))).parts
    kinds = [part.get("thought", False) for part in parts]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.parametrize("config", [{}, {"responseMimeType": "application/json"}])
async def test_hostile_text(client, config):
    """The text has every line break that a careless reader splits at, and frames stay whole."""
    asked = await client.stream(prompt("hostile"), **config)
    text = json.loads(asked.text)["summary"] if config else asked.text
    for part in ("\r", "\n", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x01", "\ufeff"):
        assert part in text
    for part in ("\ndata: x\n", "\nevent: done\n", "</script><script>", "\U0001f600", "\ud800"):
        assert part in text
    assert "\0" not in text
    if not config:
        assert "\u2028".encode() in asked.body
        assert b"\\ud83d\\ude00" in asked.body
        assert b"\\ud800" in asked.body


async def test_one_byte_at_a_time_is_the_same_answer(client):
    words = "The moon [[words:20]]"
    slow = await client.stream(words + "[[fault:one_byte]]")
    assert slow.text == (await client.stream(words)).text


async def test_a_marker_can_fail_only_the_first_requests(client):
    words = prompt("503", "times=2") + "[[fault:429 times=1]]"
    statuses = [(await client.generate(words)).status for _ in range(4)]
    assert statuses == [503, 503, 429, 200]


async def test_faults_are_queued_for_the_next_requests(client):
    assert await client.queue(fault="500", times=2) == 200
    assert await client.queue(fault="429_delay", delay=7) == 200
    statuses = [(await client.generate("x")).status for _ in range(4)]
    assert statuses == [500, 500, 429, 200]
