"""The wire has Google's shapes, for good requests and for bad ones."""

import gzip
import json

import pytest

PROMPT = "Write an essay about the tides of the sea"


async def test_models_are_listed_and_described(client):
    async with client.session.get(client.url + "/v1beta/models") as answer:
        names = [model["name"] for model in (await answer.json())["models"]]
    assert names == [
        "models/gemini-3.8-flash",
        "models/gemini-3.5-flash-lite",
        "models/gemini-3.5-flash",
    ]
    async with client.session.get(f"{client.url}/v1beta/{names[0]}") as answer:
        assert (await answer.json())["inputTokenLimit"] == 1_048_576


async def test_a_stream_is_the_answer_in_pieces(client):
    """Both methods give the same text; the finish reason is on the last message only."""
    stream, whole = await client.stream(PROMPT), await client.generate(PROMPT)
    assert stream.headers["Content-Type"] == "text/event-stream"
    assert stream.text == whole.text
    assert stream.finish == [None] * (len(stream.messages) - 1) + ["STOP"]
    assert whole.finish == ["STOP"]
    assert {m["modelVersion"] for m in stream.messages} == {"gemini-3.8-flash"}
    assert len({m["responseId"] for m in stream.messages}) == 1


async def test_usage_is_cumulative(client):
    stream = await client.stream(PROMPT, thinkingConfig={"includeThoughts": True})
    usages = [message["usageMetadata"] for message in stream.messages]
    for name in ("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"):
        counts = [usage.get(name, 0) for usage in usages]
        assert counts == sorted(counts)
        assert counts[-1] > 0
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    assert usages[-1]["totalTokenCount"] == sum(usages[-1][name] for name in names)
    assert stream.thoughts.startswith("**")


async def test_without_sse_a_stream_is_a_json_array(client):
    async with client.post(client.body(PROMPT), "streamGenerateContent") as answer:
        messages = json.loads(await answer.read())
    assert messages[-1]["candidates"][0]["finishReason"] == "STOP"
    assert len(messages) > 10


async def test_bounds_stop_an_answer(client):
    short = await client.stream(PROMPT, maxOutputTokens=10)
    assert (len(short.text), short.finish[-1]) == (40, "MAX_TOKENS")
    stopped = await client.stream(PROMPT, stopSequences=["##"])
    assert stopped.finish[-1] == "STOP"
    assert "##" not in stopped.text
    thinks = await client.stream(
        PROMPT, maxOutputTokens=5, thinkingConfig={"includeThoughts": True}
    )
    assert (len(thinks.thoughts), thinks.text, thinks.finish[-1]) == (20, "", "MAX_TOKENS")


async def test_tokens_are_counted(client):
    async with client.post(client.body("12345678"), "countTokens") as answer:
        assert (await answer.json())["totalTokens"] == 2


async def test_a_prompt_may_be_too_long(client):
    asked = await client.generate("x" * (4 * 1_048_576 + 1))
    assert asked.status == 400
    assert asked.json["error"] == {
        "code": 400,
        "message": "The input token count (1048577) exceeds the maximum number of tokens allowed "
        "(1048576).",
        "status": "INVALID_ARGUMENT",
    }


async def test_a_key_is_needed(client):
    async with client.session.post(
        f"{client.url}/v1beta/models/gemini-3.8-flash:generateContent",
        json=client.body("x"),
        headers={"x-goog-api-key": ""},
    ) as answer:
        assert (answer.status, (await answer.json())["error"]["status"]) == (
            403,
            "PERMISSION_DENIED",
        )


async def test_a_retired_model_is_not_found(client):
    async with client.post(client.body("x"), "generateContent", "gemini-2.0-flash") as answer:
        error = (await answer.json())["error"]
    assert (error["code"], error["status"]) == (404, "NOT_FOUND")
    assert "models/gemini-2.0-flash is not found" in error["message"]


GOOD = {"contents": [{"parts": [{"text": "x"}]}]}
DEEP = b'{"contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe{\x00}\x00",
        b'{"contents": NaN}',
        b'{"contents": [{"parts": [{"text": "\\ud800"}]}]}',
        DEEP,
        {},
        {"contents": []},
        {"contents": 5},
        {"contents": ["x"]},
        {"contents": [{"parts": [{"text": 5}]}]},
        {"contents": [{"parts": 5}]},
        {"contents": [{"parts": []}]},
        {"contents": [{"role": "system", "parts": [{"text": "x"}]}]},
        {"contents": [{"role": ["user"], "parts": [{"text": "x"}]}]},
        {"contents": [{"role": "model", "parts": [{"text": "x"}]}]},
        {**GOOD, "surprise": 1},
        {**GOOD, "systemInstruction": "x"},
        {**GOOD, "generationConfig": {"maxTokens": 5}},
        {**GOOD, "generationConfig": []} | {"generationConfig": "x"},
        {**GOOD, "generationConfig": {"maxOutputTokens": 0}},
        {**GOOD, "generationConfig": {"maxOutputTokens": "ten"}},
        {**GOOD, "generationConfig": {"maxOutputTokens": 10**30}},
        {**GOOD, "generationConfig": {"maxOutputTokens": [1]}},
        {**GOOD, "generationConfig": {"stopSequences": "x"}},
        {**GOOD, "generationConfig": {"stopSequences": ["x"] * 6}},
        {**GOOD, "generationConfig": {"responseMimeType": {}, "thinkingConfig": 5}},
        {**GOOD, "generationConfig": {"responseMimeType": ["x"]}},
        {**GOOD, "generationConfig": {"responseSchema": {"type": "STRING"}}},
        {
            **GOOD,
            "generationConfig": {"responseMimeType": "application/json", "responseSchema": "x"},
        },
        {"contents": [{"parts": [{"text": "[[fault:nonsense]]"}]}]},
        {"contents": [{"parts": [{"text": "[[fault:503 times=often]]"}]}]},
        {"contents": [{"parts": [{"text": "[[fault:503 name=x]]"}]}]},
    ],
    ids=lambda body: str(body)[:60],
)
async def test_bad_bodies_are_googles_400(client, body):
    async with client.post(body, "streamGenerateContent?alt=sse") as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")


async def test_an_unknown_name_is_named(client):
    async with client.post(
        {**GOOD, "generation_config": {"max_tokens": 5}}, "generateContent"
    ) as a:
        error = (await a.json())["error"]
    assert "\"maxTokens\" at 'generation_config': Cannot find field." in error["message"]
    assert error["details"][0]["fieldViolations"][0]["field"] == "generation_config.max_tokens"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
async def test_a_compressed_body_is_not_json(client, encoding):
    """Bodies are never decompressed, so a decompression bomb has no effect."""
    async with client.session.post(
        f"{client.url}/v1beta/models/gemini-3.8-flash:generateContent",
        data=gzip.compress(b" " * 1_000_000),
        headers={"Content-Encoding": encoding},
    ) as answer:
        assert "Invalid JSON" in (await answer.json())["error"]["message"]


async def test_a_body_may_be_too_large(client):
    async with client.post(b" " * 20_971_521, "generateContent") as answer:
        assert "payload size exceeds" in (await answer.json())["error"]["message"]


async def test_urls_that_are_not_there(client):
    for path in ("/", "/v1beta", "/v1beta/models/x:embedContent", "/v1/models"):
        async with client.session.post(client.url + path) as answer:
            assert answer.status in (404, 405)
            assert "error" in await answer.json()
