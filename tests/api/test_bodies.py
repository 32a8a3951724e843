"""Hostile requests: whatever a client sends, it gets the right 4xx, as problem+json, never a 500.

Bodies go out as bytes, so that nothing between the test and the server mends them.
"""

import asyncio
import gzip
import json
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamapi.emulator import Emulator
from streamapi.tasks import every_task
from tests.api.wire import calls, http, unique
from tests.conftest import Running, running

JSON = {"Content-Type": "application/json"}
PATHS = ["/v1/text", "/v1/text/stream", "/v1/code", "/v1/classification/stream"]


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem, whole and by the contract; its body."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = dict(answer.json())
    assert problem["status"] == status
    assert problem["type"] == f"/errors/{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert isinstance(problem["retryable"], bool)
    assert answer.headers["x-should-retry"] == str(problem["retryable"]).lower()
    assert "Traceback" not in answer.text
    assert len(answer.content) < 20_000
    return problem


MALFORMED = {
    "nothing": b"",
    "spaces": b"  \r\n\t ",
    "a word": b"prompt",
    "cut in a string": b'{"prompt": "a',
    "cut after a value": b'{"prompt": "a"',
    "cut in an escape": b'{"prompt": "\\u00',
    "two objects": b'{"prompt": "a"}{"prompt": "b"}',
    "trailing text": b'{"prompt": "a"} x',
    "trailing comma": b'{"prompt": "a",}',
    "single quotes": b"{'prompt': 'a'}",
    "a comment": b'{"prompt": "a"} // b',
    "an array": b'[{"prompt": "a"}]',
    "a string": b'"prompt"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "NaN": b'{"prompt": "a", "temperature": NaN}',
    "Infinity": b'{"prompt": "a", "temperature": Infinity}',
    "1e999": b'{"prompt": "a", "temperature": 1e999}',
    "-1e999": b'{"prompt": "a", "temperature": -1e999}',
    "a huge number": b'{"prompt": "a", "max_output_tokens": ' + b"9" * 5000 + b"}",
    "a leading zero": b'{"prompt": "a", "max_output_tokens": 01}',
    "a hexadecimal": b'{"prompt": "a", "max_output_tokens": 0x10}',
    "a plus": b'{"prompt": "a", "temperature": +1}',
    "a lone high surrogate": b'{"prompt": "\\ud800"}',
    "a lone low surrogate": b'{"prompt": "\\udc00"}',
    "surrogates in reverse": b'{"prompt": "\\udc00\\ud800"}',
    "a surrogate in a key": b'{"\\ud800": 1, "prompt": "a"}',
    "an encoded surrogate": b'{"prompt": "\xed\xa0\x80"}',
    "invalid UTF-8": b'{"prompt": "\xff\xfe"}',
    "overlong UTF-8": b'{"prompt": "\xc0\xaf"}',
    "beyond Unicode": b'{"prompt": "\xf4\x90\x80\x80"}',
    "cut UTF-8": b'{"prompt": "\xe2\x82"}',
    "Latin-1": '{"prompt": "é"}'.encode("latin-1"),
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "UTF-16LE": '{"prompt": "a"}'.encode("utf-16-le"),
    "UTF-32": '{"prompt": "a"}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"prompt": "a"}',
    "a raw control character": b'{"prompt": "a\nb"}',
    "a raw NUL": b'{"prompt": "a\0b"}',
    "a NUL behind": b'{"prompt": "a"}\0',
    "a bad escape": b'{"prompt": "\\x41"}',
    "deep arrays": b'{"prompt": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep and unclosed": b"[" * 100_000,
    "33 levels": b'{"prompt": ' + b"[" * 33 + b"]" * 33 + b"}",
    "a form": b"prompt=a",
    "multipart": b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n--x--\r\n',
}


@pytest.mark.parametrize("path", ["/v1/text", "/v1/text/stream"])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_not_a_json_object_is_malformed(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    """400 `malformed_json`, whatever is wrong with it."""
    is_problem(await client.post(path, content=body, headers=JSON), 400, "malformed_json")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/problem+json",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "garbage",
        "application/xml",
    ],
)
async def test_only_json_is_read(client: httpx.AsyncClient, kind: str | None) -> None:
    """415 for every other content type, and for other charsets."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await client.post("/v1/text", content=b'{"prompt": "a"}', headers=headers)
    is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "APPLICATION/JSON",
        "application/json; other=1",
    ],
)
async def test_json_is_read_however_it_is_written(client: httpx.AsyncClient, kind: str) -> None:
    """Parameters and case do not matter."""
    body = json.dumps({"prompt": unique("[[words:3]]")}).encode()
    answer = await client.post("/v1/text", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
async def test_no_content_encoding_is_read(client: httpx.AsyncClient, encoding: str) -> None:
    """415: a small body cannot unfold into a large one."""
    body = gzip.compress(b'{"prompt": "' + b"a" * 1_000_000 + b'"}')
    headers = {**JSON, "Content-Encoding": encoding}
    answer = await client.post("/v1/text", content=body, headers=headers)
    is_problem(answer, 415, "unsupported_media_type")


async def test_a_large_body_is_refused(client: httpx.AsyncClient) -> None:
    """413 for what says that it is too large, without reading it."""
    body = json.dumps({"prompt": "a" * 5_000_000}).encode()
    is_problem(await client.post("/v1/text", content=body, headers=JSON), 413, "too_large")


async def raw(server: Running, request: bytes) -> bytes:
    """The answer to bytes that no client library would send."""
    url = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            return await reader.read(65_536)
    finally:
        writer.close()


HEAD = b"POST /v1/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_a_large_body_that_does_not_say_so_is_refused(server: Running) -> None:
    """413 for a chunked body, as soon as it is too large."""
    piece = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
    answer = await raw(
        server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + piece * 10 + b"1\r\n \r\n0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer


async def test_a_request_ends_in_one_place(server: Running) -> None:
    """One with two lengths is refused, and what follows on its connection is not answered: a proxy
    may have taken it for a part of the first."""
    smuggling = (
        b"POST /v1/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    url = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(smuggling)
    async with asyncio.timeout(5):
        answers = await reader.read()  # until the server closes
    writer.close()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answers.lower()
    assert b'"code":"invalid_header"' in answers


async def test_a_body_that_does_not_come_is_not_waited_for(emulator: Emulator) -> None:
    """A body that stops in the middle is given up after `BODY_TIMEOUT`."""
    async with running(emulator, body_timeout=0.1) as server:
        answer = await raw(server, HEAD + b'Content-Length: 100\r\n\r\n{"prompt"')
    status = int(answer.split(b" ")[1])
    assert 400 <= status < 500
    assert b"application/problem+json" in answer


FIELDS = [
    ("/v1/text", {}, [""]),
    ("/v1/text", {"prompt": ""}, ["/prompt"]),
    ("/v1/text", {"prompt": "a\0b"}, ["/prompt"]),
    ("/v1/text", {"prompt": "a", "x": 1, "y": 2}, ["/x", "/y"]),
    ("/v1/text", {"prompt": "a", "a/b~c": 1}, ["/a~1b~0c"]),
    ("/v1/text", {"prompt": "a", "": 1}, ["/"]),
    ("/v1/text", {"prompt": "a", "\n\u2028<script>": 1}, ["/\n\u2028<script>"]),
    ("/v1/text", {"prompt": "a", "__class__": 1}, ["/__class__"]),
    ("/v1/text", {"prompt": "a", "temperature": "hot"}, ["/temperature"]),
    ("/v1/text", {"prompt": "a", "temperature": True}, ["/temperature"]),
    ("/v1/text", {"prompt": "a", "temperature": 9, "max_output_tokens": 0}, None),
    ("/v1/text", {"prompt": "a", "max_output_tokens": 10**30}, ["/max_output_tokens"]),
    ("/v1/text", {"prompt": "a", "max_output_tokens": 2**63}, ["/max_output_tokens"]),
    ("/v1/text", {"prompt": "a", "stop": ["b", ""]}, ["/stop/1"]),
    ("/v1/text", {"prompt": "a", "metadata": {"k": 1}}, ["/metadata/k"]),
    ("/v1/text", {"messages": [{"role": "user", "content": ""}]}, ["/messages/0/content"]),
    ("/v1/text", {"messages": [{"role": "root", "content": "a"}]}, ["/messages/0/role"]),
    ("/v1/text", {"messages": [{"role": "user", "content": "a", "x": 1}]}, ["/messages/0/x"]),
    ("/v1/code", {"prompt": "a", "language": "a b"}, ["/language"]),
    ("/v1/classification", {"text": "a", "labels": ["a"]}, ["/labels"]),
    ("/v1/classification", {"text": "a", "labels": ["a", "a"]}, ["/labels"]),
    ("/v1/classification", {"labels": ["a", "b"]}, ["/text"]),
    ("/v1/classification", {"text": "a"}, ["/labels"]),
]


@pytest.mark.parametrize(("path", "body", "pointers"), FIELDS, ids=lambda v: repr(v)[:40])
@pytest.mark.parametrize("suffix", ["", "/stream"])
async def test_a_wrong_field_is_pointed_at(
    client: httpx.AsyncClient,
    path: str,
    body: dict[str, Any],
    pointers: list[str] | None,
    suffix: str,
) -> None:
    """422 `invalid_request`, with one error per field and where it stands (RFC 6901)."""
    problem = is_problem(await client.post(path + suffix, json=body), 422, "invalid_request")
    assert all(error["detail"] for error in problem["errors"])
    if pointers is not None:
        assert sorted(error["pointer"] for error in problem["errors"]) == sorted(pointers)


async def test_a_wrong_label_is_pointed_at_once(client: httpx.AsyncClient) -> None:
    """A label that may be a string or an object is pointed at by its place, not by its kind."""
    body = {"text": "a", "labels": ["a", {"name": "b", "x": 1}, 3]}
    problem = is_problem(await client.post("/v1/classification", json=body), 422, "invalid_request")
    for error in problem["errors"]:
        assert re.match(r"/labels/[12](/|$)", error["pointer"]), error


async def test_ten_thousand_wrong_fields_are_a_short_answer(client: httpx.AsyncClient) -> None:
    """Only the first errors are reported, and long names are cut."""
    body = {"prompt": "a", **{f"{n}" + "x" * 50: n for n in range(10_000)}}
    problem = is_problem(await client.post("/v1/text", json=body), 422, "invalid_request")
    assert len(problem["errors"]) <= 50
    body = {"prompt": "a", "x" * 500_000: 1}
    is_problem(await client.post("/v1/text", json=body), 422, "invalid_request")


async def test_errors_do_not_echo_what_was_sent(client: httpx.AsyncClient) -> None:
    """A prompt is not in the answer that refuses it, nor is any other value."""
    secret = secrets.token_hex(12)
    body = {"prompt": secret * 5000, "temperature": secret, "stop": [secret * 20]}
    answer = await client.post("/v1/text", json=body)
    is_problem(answer, 422, "invalid_request")
    assert secret not in answer.text


async def test_a_model_that_there_is_not(client: httpx.AsyncClient) -> None:
    """422 `model_not_found`. The name in the problem is escaped."""
    for name in ("gpt-4", "gemini-3.8-flash/../x", "\u2028<b>", "x" * 200):
        answer = await client.post("/v1/text", json={"prompt": "a", "model": name})
        is_problem(answer, 422, "model_not_found")


async def test_of_two_keys_the_last_counts(emulator: Emulator, client: httpx.AsyncClient) -> None:
    """Duplicate keys are no 500; as in most readers, the last counts."""
    first, second = unique("[[words:3]]"), unique("[[words:3]]")
    body = f'{{"prompt": "{first}", "prompt": "{second}"}}'.encode()
    assert (await client.post("/v1/text", content=body, headers=JSON)).status_code == 200
    assert (len(await calls(emulator, first)), len(await calls(emulator, second))) == (0, 1)


# Parameters.


async def get(client: httpx.AsyncClient, query: str) -> httpx.Response:
    return await client.get(f"/v1/text/stream?{query}")


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("", [""]),
        ("prompt=", ["/prompt"]),
        ("prompt=a&x=1", ["/x"]),
        ("prompt=a&prompt=b", ["/prompt"]),
        ("prompt=a&temperature=1&temperature=2", ["/temperature"]),
        ("prompt=a&metadata=b", ["/metadata"]),
        ("prompt=a&messages=b", ["/messages"]),
        ("prompt=a&temperature=hot", ["/temperature"]),
        ("prompt=a&temperature=nan", ["/temperature"]),
        ("prompt=a&temperature=inf", ["/temperature"]),
        ("prompt=a&temperature=1e999", ["/temperature"]),
        ("prompt=a&max_output_tokens=1.5", ["/max_output_tokens"]),
        ("prompt=a&max_output_tokens=" + "9" * 5000, ["/max_output_tokens"]),
        ("prompt=a&include_thoughts=perhaps", ["/include_thoughts"]),
        ("prompt=a%00b", ["/prompt"]),
        ("prompt=a&cache=perhaps", ["/cache"]),
        ("prompt=a&" + "&".join("stop=b" for _ in range(6)), ["/stop"]),
        ("prompt=a&%00=1", ["/\0"]),
        ("prompt=a&a%2Fb~=1", ["/a~1b~0"]),
        ("prompt=a&=1", ["/"]),
        ("prompt=a&__proto__=1", ["/__proto__"]),
        ("=&&&==&", None),
    ],
    ids=lambda v: repr(v)[:40],
)
async def test_a_wrong_parameter_is_pointed_at(
    client: httpx.AsyncClient, query: str, pointers: list[str] | None
) -> None:
    """422 `invalid_request`, as for a body."""
    problem = is_problem(await get(client, query), 422, "invalid_request")
    if pointers is not None:
        assert sorted(error["pointer"] for error in problem["errors"]) == pointers


@pytest.mark.parametrize("query", ["prompt=" + "a" * 8000, "x=" + "b" * 20_000, "a=&" * 4000])
async def test_too_many_parameters_are_for_a_body(client: httpx.AsyncClient, query: str) -> None:
    """414 beyond 8,000 characters."""
    is_problem(await get(client, query), 414, "uri_too_long")


async def test_seven_thousand_characters_are_not_too_many(client: httpx.AsyncClient) -> None:
    """Also when each takes nine in the address."""
    for char in ("a", "€"):
        params = {"prompt": char * 7000 + " [[words:3]]"}
        assert (await client.get("/v1/text/stream", params=params)).status_code == 200


@pytest.mark.parametrize("escape", ["%ff", "%ed%a0%80", "%c0%af", "%", "%zz", "%u0041", "+"])
async def test_escapes_that_are_none_are_no_failure(client: httpx.AsyncClient, escape: str) -> None:
    """What cannot be decoded is replaced, or taken as it is; never a 500."""
    answer = await get(client, f"prompt=a{escape}b%5B%5Bwords:3%5D%5D")
    assert answer.status_code in (200, 400, 422)


# Headers.


@pytest.mark.parametrize("given", ["a", "A-Z.0_9~", "x" * 128, "req-1"])
async def test_a_sane_request_id_is_echoed(client: httpx.AsyncClient, given: str) -> None:
    """In the header, and in the problem."""
    answer = await client.post("/v1/text", json={}, headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given == answer.json()["request_id"]


@pytest.mark.parametrize(
    "given",
    ["", "a b", "x" * 129, "a\tb", "é", "<script>", "a;b", "a,b", '"', "a/b", "%0d%0a"],
)
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    """What could forge a log line or a header is not echoed."""
    headers = [(b"X-Request-Id", given.encode("latin-1"))]
    answer = await client.post("/v1/text", json={}, headers=headers)
    assert re.fullmatch(r"req_[A-Za-z0-9_-]{8,}", answer.headers["x-request-id"])


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "a\tb"])
async def test_an_idempotency_key_must_be_one(client: httpx.AsyncClient, key: str) -> None:
    """400 `invalid_header`; no key is made up, for then nothing would be promised."""
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await client.post("/v1/text", json={"prompt": "a"}, headers=headers)
    is_problem(answer, 400, "invalid_header")


async def test_another_body_under_a_key_is_refused(client: httpx.AsyncClient) -> None:
    """422 `idempotency_key_reused`; the same body in another order is the same body."""
    headers, prompt = {"Idempotency-Key": secrets.token_hex(8)}, unique("[[words:3]]")
    body = {"prompt": prompt, "temperature": 0.5}
    first = await client.post("/v1/text", json=body, headers=headers)
    again = {"temperature": 0.5, "prompt": prompt}
    assert (await client.post("/v1/text", json=again, headers=headers)).json() == first.json()
    other = {**body, "temperature": 0.6}
    answer = await client.post("/v1/text", json=other, headers=headers)
    is_problem(answer, 422, "idempotency_key_reused")


async def test_the_same_body_for_another_task_is_another_request(
    client: httpx.AsyncClient,
) -> None:
    """A key used for text is not one for code."""
    headers, body = {"Idempotency-Key": secrets.token_hex(8)}, {"prompt": unique("[[words:3]]")}
    await client.post("/v1/text", json=body, headers=headers)
    answer = await client.post("/v1/code", json=body, headers=headers)
    is_problem(answer, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 200, None),
        ("POST", "/v1/text/", 404, "not_found"),
        ("GET", "/v1/text", 405, "method_not_allowed"),
        ("PUT", "/v1/text/stream", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PATCH", "/v1/generations/gen_x", 405, "method_not_allowed"),
        ("GET", "/v1/models/none", 404, "not_found"),
        ("GET", "/v1/generations/none", 404, "not_found"),
        ("POST", "/v1/generations/none/cancel", 404, "not_found"),
        ("DELETE", "/v1/generations/none", 404, "not_found"),
        ("GET", "/v1/generations/none/events", 404, "not_found"),
        ("GET", "/v1/generations/%00", 404, "not_found"),
        ("GET", "/v1/generations/%ff", 404, "not_found"),
        ("GET", "/v1/generations/..%2f..", 404, "not_found"),
        ("GET", "/static/../streamapi/settings.py", 404, "not_found"),
        ("GET", "/static/..%2fpyproject.toml", 404, "not_found"),
        ("GET", "/static/%2e%2e/pyproject.toml", 404, "not_found"),
        ("GET", "/errors/none", 404, "not_found"),
        ("BREW", "/v1/text", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    server: Running, method: str, path: str, status: int, code: str | None
) -> None:
    """Unknown addresses and methods have the one body; 405 says what is allowed."""
    async with http() as client:
        answer = await client.send(
            httpx.Request(method, httpx.URL(server.url).copy_with(raw_path=path.encode()))
        )
    if code is None:
        assert answer.status_code == status
        return
    is_problem(answer, status, code)
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_socket_asked_by_get_is_a_problem(client: httpx.AsyncClient) -> None:
    """A GET without an upgrade gets a problem with a 4xx status."""
    answer = await client.get("/v1/ws")
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] != "malformed_json"


# Fuzz.

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=12,
)
names = st.sampled_from(
    sorted({name for task in every_task().values() for name in task.request.model_fields})
)
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(path=st.sampled_from(PATHS), body=st.dictionaries(names, values, min_size=1, max_size=4))
@FUZZ
async def test_any_values_are_an_answer_or_a_4xx(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    """Any JSON in any known field: never a 500."""
    answer = await client.post(path, json=body)
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"


@given(path=st.sampled_from(PATHS), body=st.binary(max_size=80))
@FUZZ
async def test_any_bytes_are_a_4xx(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    """Any bytes at all: never a 500."""
    answer = await client.post(path, content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@given(st.dictionaries(names, st.text(max_size=20), max_size=4))
@FUZZ
async def test_any_parameters_are_an_answer_or_a_4xx(
    client: httpx.AsyncClient, params: dict[str, str]
) -> None:
    """Any text in any parameter: never a 500."""
    query = "&".join(
        f"{name}=" + "".join(f"%{byte:02x}" for byte in value.encode("utf-8", "surrogatepass"))
        for name, value in params.items()
    )
    answer = await client.get(f"/v1/text/stream?{query}")
    assert answer.status_code in (200, 400, 422), answer.text
