"""Resuming: a stream that is cut anywhere goes on without loss, repetition or cost."""

import asyncio
import json
import random
import re
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest

from streamapi.emulator import Emulator
from tests.api.wire import Event, by_get, calls, http, left, parse, unique
from tests.conftest import PATIENT, Running, running, until

SHORT = "[[words:12]] [[chunk:24]]"


def dechunk(body: bytes) -> bytes:
    """The content of a chunked body (RFC 9112, section 7.1), as far as it came."""
    content = b""
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        content, body = content + body[:length], body[length + 2 :]
    return content


class Wire:
    """A client on a raw socket, which reads a number of bytes of a response and disconnects."""

    def __init__(self, server: Running) -> None:
        self.server = server
        url = urlsplit(server.url)
        self.host, self.port = url.hostname, url.port

    async def get(self, target: str, upto: int | None = None, last: str | None = None) -> bytes:
        """The first `upto` bytes of the response to a GET, or all of it."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        resume = f"Last-Event-ID: {last}\r\n" if last else ""
        head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{resume}\r\n"
        writer.write(head.encode())
        try:
            async with asyncio.timeout(10):
                return await (reader.read(-1) if upto is None else reader.readexactly(upto))
        except asyncio.IncompleteReadError as error:
            return error.partial
        finally:
            writer.transport.abort()

    async def events(self, target: str, upto: int | None = None, last: str | None = None) -> Any:
        """The status and the whole events of what came."""
        head, end, body = (await self.get(target, upto, last)).partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1]) if end else 0
        return status, parse(dechunk(body)) if status == 200 else []


def target(prompt: str, **more: str) -> str:
    return "/v1/text/stream?" + urlencode({"prompt": prompt, **more}, quote_via=quote)


def whole(seen: Sequence[Event]) -> None:
    """The events of one generation, each once, in order, with one ending; its text is whole."""
    assert [event.n for event in seen] == list(range(1, len(seen) + 1))
    assert len({(event.id or "").partition(".")[0] for event in seen}) == 1
    assert seen[-1].type == "done"
    text = "".join(event.data["text"] for event in seen if event.type == "delta")
    assert text == seen[-1].data["result"]["text"]


async def finished(server: Running, markers: str = SHORT) -> tuple[str, list[Event]]:
    """A generation that is over, and its events."""
    seen = list((await by_get(server, unique(markers))).events)
    return seen[0].data["generation"], seen


async def test_a_replay_cut_at_every_byte_resumes(server: Running) -> None:
    """A finished stream, cut after each of its bytes and resumed from the last whole event, is
    the same stream."""
    generation, seen = await finished(server)
    wire, path = Wire(server), f"/v1/generations/{generation}/events"
    length = len(await wire.get(path))
    assert length > 800

    async def cut_at(upto: int) -> None:
        _, before = await wire.events(path, upto)
        last = before[-1].id if before else None
        status, after = await wire.events(path, last=last)
        assert status == (204 if len(before) == len(seen) else 200)
        assert before + after == seen

    for at in range(1, length, 8):
        await asyncio.gather(*(cut_at(upto) for upto in range(at, min(at + 8, length))))


async def test_a_live_stream_cut_anywhere_resumes(server: Running, emulator: Emulator) -> None:
    """The same while the model writes, at every third byte, by the address alone: its
    idempotency key joins the generation when no event had come yet. One request each."""
    wire = Wire(server)
    prompt = unique(SHORT)
    length = len(await wire.get(target(prompt)))

    async def cut_at(upto: int) -> None:
        path = target(prompt, idempotency_key=secrets.token_hex(8))
        _, before = await wire.events(path, upto)
        last = before[-1].id if before else None
        status, after = await wire.events(path, last=last)
        assert status in (200, 204)
        whole(before + after)

    cuts = range(1, length, 3)
    for at in range(0, len(cuts), 10):
        await asyncio.gather(*(cut_at(upto) for upto in cuts[at : at + 10]))
    assert len(await calls(emulator, prompt)) == len(cuts) + 1


async def test_a_long_stream_cut_two_hundred_times_is_whole(
    server: Running, emulator: Emulator
) -> None:
    """One long stream over two hundred connections, each cut at a random byte: one request."""
    chance = random.Random(42)
    wire, prompt = Wire(server), unique("[[words:1500]] [[chunk:16]] [[pace:0.001]]")
    path, seen, connections = target(prompt), list[Event](), 0
    while not seen or seen[-1].type != "done":
        last = seen[-1].id if seen else None
        upto = 450 + chance.randint(1, 800) if connections < 200 else None
        _, more = await wire.events(path, 2000 if last is None else upto, last)
        seen += more
        connections += 1
    assert connections >= 100
    whole(seen)
    assert len(seen[-1].data["result"]["text"]) > 5000
    assert len(await calls(emulator, prompt)) == 1


# The ids, and the headers of a stream.


async def test_an_id_needs_no_preflight(server: Running) -> None:
    """At most 128 bytes of what a cross-origin `Last-Event-ID` may hold."""
    _, seen = await finished(server)
    for event in seen:
        assert re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", event.id or "")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stream_has_the_headers_of_the_contract(
    client: httpx.AsyncClient, method: str
) -> None:
    """Not stored, not transformed, not buffered, not compressed; `retry` once."""
    body: dict[str, Any] = {"prompt": unique(SHORT)}
    more = {"params": body} if method == "GET" else {"json": body}
    headers = {"Accept-Encoding": "gzip, br", "Accept": "text/event-stream"}
    answer = await client.request(method, "/v1/text/stream", headers=headers, **more)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    assert answer.headers["generation-id"].startswith("gen_")
    assert answer.headers["x-request-id"]
    assert answer.content.count(b"retry: ") == 1
    assert answer.content.startswith(b"retry: 2000\n\n")


@pytest.fixture(scope="module")
async def pinging(emulator: Emulator) -> Any:
    """A server that breaks a silence soon."""
    async with running(emulator, ping_interval=0.03, attempt_timeout=0.8, retry_attempts=1) as it:
        yield it


HANG = "[[fault:hang]]"


async def test_silence_by_get_is_broken_by_an_event_without_an_id(pinging: Running) -> None:
    """`EventSource` cannot see comments; a ping must not move its cursor either."""
    async with http(pinging.url) as client:
        answer = await client.get("/v1/text/stream", params={"prompt": unique(HANG)})
    assert answer.content.count(b"event: ping\ndata: {}\n\n") >= 2
    assert b"\n: ping" not in answer.content


async def test_silence_by_post_is_broken_by_a_comment(emulator: Emulator) -> None:
    """A client that can POST can read comments, so it gets no empty events."""
    settings = {"ping_interval": 0.03, "attempt_timeout": 0.3, "stream_open_after": 0.01}
    async with running(emulator, retry_attempts=1, **settings) as it, http(it.url) as client:
        answer = await client.post("/v1/text/stream", json={"prompt": unique(HANG)})
    assert answer.content.count(b"\n\n: ping\n\n") >= 1
    assert b"event: ping" not in answer.content


# Where the cursor may stand, and where it may be given.


def addresses(generation: str) -> list[tuple[str, str]]:
    return [
        ("GET", f"/v1/generations/{generation}/events"),
        ("GET", "/v1/text/stream"),
        ("POST", "/v1/text/stream"),
        ("GET", "/v1/code/stream"),
        ("POST", "/v1/classification/stream"),
    ]


ADDRESSES = range(5)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_header_resumes_on_any_address(
    server: Running, client: httpx.AsyncClient, address: int
) -> None:
    """`Last-Event-ID` is enough on any of the streams; a body or parameters are not looked at."""
    generation, seen = await finished(server)
    method, path = addresses(generation)[address]
    answer = await client.request(method, path, headers={"Last-Event-ID": f"{generation}.2"})
    assert answer.status_code == 200
    assert parse(answer.content) == seen[2:]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_parameter_resumes_on_any_address(
    server: Running, client: httpx.AsyncClient, address: int
) -> None:
    """`?after=` with the whole id does the same."""
    generation, seen = await finished(server)
    method, path = addresses(generation)[address]
    answer = await client.request(method, path, params={"after": f"{generation}.1"})
    assert parse(answer.content) == seen[1:]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_behind_the_ending_there_is_nothing(
    server: Running, client: httpx.AsyncClient, address: int
) -> None:
    """When the last event seen is the ending: 204, which stops an `EventSource`."""
    generation, seen = await finished(server)
    method, path = addresses(generation)[address]
    answer = await client.request(method, path, headers={"Last-Event-ID": seen[-1].id or ""})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_failure_is_an_ending_too(server: Running, client: httpx.AsyncClient) -> None:
    """Behind `failed` and `cancelled` there is nothing either."""
    seen = (await by_get(server, unique("[[fault:400]]"))).events
    answer = await client.get("/v1/text/stream", headers={"Last-Event-ID": seen[-1].id or ""})
    assert answer.status_code == 204


async def test_a_number_is_enough_where_the_generation_is_named(
    server: Running, client: httpx.AsyncClient
) -> None:
    """`/events?after=3`."""
    generation, seen = await finished(server)
    answer = await client.get(f"/v1/generations/{generation}/events", params={"after": "3"})
    assert parse(answer.content) == seen[3:]


async def test_a_number_alone_resumes_nothing(client: httpx.AsyncClient) -> None:
    """On a task's stream `after` must name the generation; nothing is started instead."""
    answer = await client.get("/v1/text/stream", params={"prompt": "p", "after": "3"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_the_header_beats_the_parameter(server: Running, client: httpx.AsyncClient) -> None:
    """An `EventSource` keeps its address, and sends what it saw since in the header."""
    generation, seen = await finished(server)
    answer = await client.get(
        "/v1/text/stream",
        params={"after": f"{generation}.1"},
        headers={"Last-Event-ID": f"{generation}.4"},
    )
    assert parse(answer.content) == seen[4:]


async def test_an_empty_header_is_none(server: Running, client: httpx.AsyncClient) -> None:
    """`EventSource` sends none at first, and some libraries an empty one."""
    answer = await client.get(
        "/v1/text/stream", params={"prompt": unique(SHORT)}, headers={"Last-Event-ID": ""}
    )
    assert parse(answer.content)[0].type == "start"


async def test_an_id_of_another_generation_is_refused(
    server: Running, client: httpx.AsyncClient
) -> None:
    """The events of one generation are not resumed by the id of another."""
    (one, _), (other, _) = await finished(server), await finished(server)
    headers = {"Last-Event-ID": f"{other}.1"}
    answer = await client.get(f"/v1/generations/{one}/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


MALFORMED = [
    "x",
    "1",
    "gen_abc",
    "gen_abc.",
    "gen_abc.-1",
    "gen_abc.1.2",
    "gen_abc.01",
    "gen_abc.1e3",
    "gen_abc.99999999999",
    "gen_abc.1000000001",
    "gen_abc. 1",
    "gen_.1",
    "log_abc.1",
    "gen_../../etc.1",
    "gen_abc.\u0661",
    "gen_" + "a" * 65 + ".1",
    "a" * 5000,
    "%67en_abc.1",
]


@pytest.mark.parametrize("value", MALFORMED)
async def test_a_header_that_was_never_an_id_is_refused(
    client: httpx.AsyncClient, value: str
) -> None:
    """400 `invalid_header`: nothing is started in its place."""
    headers = [(b"Last-Event-ID", value.encode())]
    answer = await client.get("/v1/text/stream", params={"prompt": "p"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")


@pytest.mark.parametrize("value", ["", *(v for v in MALFORMED if v != "1")])
async def test_a_parameter_that_was_never_an_id_is_refused(
    client: httpx.AsyncClient, value: str
) -> None:
    """422 `invalid_request`: nothing is started in its place."""
    answer = await client.get("/v1/text/stream", params={"prompt": "p", "after": value})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("address", ADDRESSES)
async def test_what_was_never_yours_is_not_found(client: httpx.AsyncClient, address: int) -> None:
    """404, on every address."""
    method, path = addresses("gen_aaaaaaaaaaaaaaaaaaaaaa")[address]
    headers = {"Last-Event-ID": "gen_aaaaaaaaaaaaaaaaaaaaaa.1"}
    answer = await client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_cursor_beyond_the_end_is_a_failure(
    server: Running, client: httpx.AsyncClient
) -> None:
    """An id that this log never had gets a failure, not silence or a clean end."""
    generation, seen = await finished(server)
    answer = await client.get(
        "/v1/text/stream", headers={"Last-Event-ID": f"{generation}.{len(seen) + 5}"}
    )
    [event] = parse(answer.content)
    assert event.type == "failed"
    assert event.data["problem"]["code"] == "producer_lost"
    answer = await client.get("/v1/text/stream", headers={"Last-Event-ID": event.id or ""})
    assert answer.status_code == 204


async def test_an_expired_log_is_gone(emulator: Emulator) -> None:
    """410 once the log has had its time; 404 once its generation has been forgotten as well."""
    async with running(emulator, log_ttl=0.05, expired_ttl=1.0) as server, http(server.url) as it:
        generation, seen = await finished(server)
        path = f"/v1/generations/{generation}"
        logs: Any = server.parts.generations._logs
        await until(lambda: logs._sweep() or not logs._logs, "the log has expired")
        for method, address in [("GET", path), *addresses(generation), ("POST", path + "/cancel")]:
            headers = {"Last-Event-ID": seen[1].id or ""} if "stream" in address else {}
            answer = await it.request(method, address, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (410, "generation_expired")
        held = logs._generations._held
        await until(lambda: logs._sweep() or not held, "the generation is forgotten")
        assert (await it.get(path)).status_code == 404


# While it runs.


SLOW = "[[pace:0.05]] [[words:40]] [[chunk:32]]"


async def test_a_silent_stream_is_open_at_once(server: Running, client: httpx.AsyncClient) -> None:
    """A client that resumes a silent generation gets the status at once, not with the next
    event."""
    answer = await client.post(
        "/v1/text",
        json={"prompt": unique("[[fault:hang_after_text after=2]]")},
        headers={"Prefer": "respond-async"},
    )
    generation = answer.json()["id"]
    path = f"/v1/generations/{generation}"
    async with asyncio.timeout(5):
        while "result" not in (shown := (await client.get(path)).json()) or not shown["result"]:
            await asyncio.sleep(0.005)
    for n in (3, 4):
        headers = {"Last-Event-ID": f"{generation}.{n}"}
        async with (
            asyncio.timeout(0.25),
            client.stream("GET", "/v1/text/stream", headers=headers) as stream,
        ):
            assert stream.status_code == 200
    await client.delete(path)


async def test_two_read_one_generation(emulator: Emulator) -> None:
    """Any number of readers see the same, from wherever they begin."""
    async with running(emulator, **PATIENT) as server, http(server.url) as client:
        started = await client.post(
            "/v1/text", json={"prompt": unique(SLOW)}, headers={"Prefer": "respond-async"}
        )
        path = f"/v1/generations/{started.json()['id']}/events"
        answers = await asyncio.gather(
            *(client.get(path, params={"after": n}) for n in (0, 0, 2, 5))
        )
    all_of, again, *later = [parse(answer.content) for answer in answers]
    whole(all_of)
    assert again == all_of
    assert later == [all_of[2:], all_of[5:]]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/v1/text", "/v1/text/stream", "/v1/code/stream", "/v1/classification"]
)
async def test_looking_starts_nothing(
    server: Running, emulator: Emulator, client: httpx.AsyncClient, method: str, path: str
) -> None:
    """HEAD and OPTIONS ask no model."""
    prompt = unique()
    answer = await client.request(method, path, params={"prompt": prompt})
    assert answer.status_code in (200, 204, 405)
    assert answer.content == b""
    assert await calls(emulator, prompt) == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_looking_at_events_ends_nothing(
    server: Running, emulator: Emulator, client: httpx.AsyncClient, method: str
) -> None:
    """HEAD on the events of a running generation returns at once, and is no reader that leaves:
    a generation that ends with its last reader goes on."""
    prompt = unique(SLOW)
    body = {"prompt": prompt, "on_disconnect": "cancel"}
    async with client.stream("POST", "/v1/text/stream", json=body) as stream:
        lines = stream.aiter_lines()
        path = f"/v1/generations/{stream.headers['generation-id']}/events"
        async with asyncio.timeout(0.5):
            assert (await client.request(method, path)).content == b""
        text = "\n".join([line async for line in lines])
    assert "event: done" in text
    assert (await left(emulator, prompt))["outcome"] == "finished"


async def test_head_alone_does_not_let_go(
    server: Running, emulator: Emulator, client: httpx.AsyncClient
) -> None:
    """HEAD between two readers does not take the place of the one that left."""
    prompt = unique(SLOW)
    body = {"prompt": prompt, "on_disconnect": "continue"}
    async with client.stream("POST", "/v1/text/stream", json=body) as stream:
        generation = stream.headers["generation-id"]
    answer = await client.head(f"/v1/generations/{generation}/events")
    assert answer.status_code == 200
    assert (await left(emulator, prompt))["outcome"] == "finished"


async def test_the_same_key_joins_by_get(
    server: Running, emulator: Emulator, client: httpx.AsyncClient
) -> None:
    """A browser that lost the connection before its first event asks the same address again."""
    params = {"prompt": unique(SLOW), "idempotency_key": secrets.token_hex(8)}
    answers = await asyncio.gather(
        *(client.get("/v1/text/stream", params=params) for _ in range(5))
    )
    assert len({answer.headers["generation-id"] for answer in answers}) == 1
    assert len({answer.content for answer in answers}) == 1
    assert len(await calls(emulator, params["prompt"])) == 1


async def test_the_answer_is_the_same_wherever_it_is_read(
    server: Running, client: httpx.AsyncClient
) -> None:
    """The `done` event is the answer that the generation shows."""
    generation, seen = await finished(server)
    shown = (await client.get(f"/v1/generations/{generation}")).json()
    assert shown == seen[-1].data == json.loads(json.dumps(shown))
