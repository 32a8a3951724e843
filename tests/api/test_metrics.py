"""What an operator measures: counted at the endings, read when someone asks."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamapi.emulator import Emulator
from tests.api.wire import by_get, by_json, follow_later, http, unique
from tests.conftest import RedisServer, Running, running, until


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and labels, as Prometheus's own parser reads them."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_every_ending_is_counted_once(emulator: Emulator) -> None:
    """By task, and by what it was; with the tokens that the model reported."""
    async with running(emulator, retry_attempts=1) as server, http(server.url) as client:
        answer = await by_json(server, unique("[[words:3]]"))
        await by_json(server, unique("[[fault:safety_before_text]]"))
        generation = await follow_later(server, unique("[[fault:hang]]"))
        await client.post(f"/v1/generations/{generation}/cancel")
        found = await scraped(client)
    for ending in ("done", "content_blocked", "cancelled"):
        assert found["streamapi_generations_total", ending, "text"] == 1
    usage = answer.body["usage"]
    assert found["streamapi_tokens_total", "input", "text"] >= usage["input_tokens"]
    assert found["streamapi_tokens_total", "output", "text"] >= usage["output_tokens"] > 0


async def test_what_shares_a_log_is_counted_once(emulator: Emulator) -> None:
    """A hit has no log of its own, so nothing ends again, and nothing is spent again."""
    async with running(emulator) as server, http(server.url) as client:
        prompt = unique("[[words:3]]")
        for _ in range(3):
            await by_get(server, prompt, cache="use")
        found = await scraped(client)
    assert found["streamapi_generations_total", "done", "text"] == 1


async def test_the_metrics_count_what_runs(emulator: Emulator) -> None:
    """A gauge, that goes down again."""
    async with running(emulator) as server, http(server.url) as client:
        generation = await follow_later(server, unique("[[fault:hang]]"))
        assert (await scraped(client))["streamapi_running",] == 1
        await client.post(f"/v1/generations/{generation}/cancel")
        await until(lambda: server.parts.generations.running == 0, "it has ended")
        assert (await scraped(client))["streamapi_running",] == 0


async def test_the_metrics_show_a_store_that_is_away(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """0 while Redis is away, 1 when it is back; and the metrics themselves do not wait for it."""
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    try:
        async with running(emulator, redis_url=redis.url) as server, http(server.url) as client:
            assert (await scraped(client))["streamapi_store_up",] == 1
            redis.stop()
            await until(lambda: not server.parts.logs.available, "it is missed")
            assert (await scraped(client))["streamapi_store_up",] == 0
            redis.start()
            await until(lambda: server.parts.logs.available, "it is back")
            assert (await scraped(client))["streamapi_store_up",] == 1
    finally:
        redis.stop()


async def test_the_store_of_one_process_is_there(server: Running) -> None:
    """Logs in memory cannot be away."""
    async with http(server.url) as client:
        assert (await scraped(client))["streamapi_store_up",] == 1
