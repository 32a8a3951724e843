"""The cache of keys: which keys are looked up, and which work while the database is away."""

import asyncio
import threading
import time

import pytest

from streamapi.access import key_cache as module
from streamapi.access import keys
from streamapi.access.key_cache import KeyCache
from streamapi.errors import KeyExpired, StoreUnavailable, Unauthenticated
from streamapi.generation.request import Allowance
from streamapi.records import keys as rows
from tests.access.conftest import Clock, Records
from tests.conftest import until


@pytest.fixture
def key_cache(records: Records, clock: Clock) -> KeyCache:
    return KeyCache(records, ttl=30.0, grace=300.0, clock=clock)


async def test_a_key_gives_its_caller(key_cache: KeyCache, records: Records) -> None:
    """The owner, scopes, models and limits of its record, without an address."""
    key, record = await records.make(
        owner="acme", scopes=("text", "usage"), models=("m",), tokens_per_day=9
    )
    caller = await key_cache.caller(key)
    assert (caller.owner, caller.key) == ("acme", record.id)
    assert caller.scopes == {"text", "usage"}
    assert caller.models == {"m"}
    assert caller.allowance == Allowance(tokens_per_day=9)
    assert caller.address is None


async def test_a_cached_key_is_not_looked_up(
    key_cache: KeyCache, records: Records, clock: Clock
) -> None:
    """It is looked up again once its time to live is over."""
    key, _ = await records.make()
    for _ in range(50):
        await key_cache.caller(key)
    clock.now += 29.9
    await key_cache.caller(key)
    assert records.reads == 1
    clock.now += 0.2
    await key_cache.caller(key)
    assert records.reads == 2


async def test_requests_with_one_key_share_a_lookup(key_cache: KeyCache, records: Records) -> None:
    """A request that leaves does not cancel the look-up of the others."""
    key, _ = await records.make()
    requests = [asyncio.create_task(key_cache.caller(key)) for _ in range(100)]
    await asyncio.sleep(0)
    requests[0].cancel()
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert sum(isinstance(result, BaseException) for result in results) == 1
    assert records.reads == 1


async def test_closing_waits_for_lookups_without_a_request(
    records: Records, key_cache: KeyCache
) -> None:
    """A client that leaves during the look-up of its key leaves no connection open."""
    threads = set(threading.enumerate())
    key, _ = await records.make()
    await records.aclose()  # so that the look-up connects
    request = asyncio.create_task(key_cache.caller(key))
    await until(lambda: key_cache._lookups, "the look-up is under way")
    request.cancel()
    await asyncio.wait({request})
    await key_cache.aclose()
    await records.aclose()
    await until(lambda: set(threading.enumerate()) <= threads, "no connection is left")


async def test_a_malformed_key_is_not_looked_up(key_cache: KeyCache, records: Records) -> None:
    """Its form and its checksum refuse it."""
    for wrong in ("", "x" * 100_000, keys.make()[:-1] + "!", "' OR 1=1 --", "\0"):
        with pytest.raises(Unauthenticated):
            await key_cache.caller(wrong)
    assert records.reads == 0


async def test_an_unknown_key_is_remembered_briefly(
    key_cache: KeyCache, records: Records, clock: Clock
) -> None:
    """Showing it again costs no look-up; after five seconds it is looked up again."""
    unknown = keys.make()
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await key_cache.caller(unknown)
    assert records.reads == 1
    clock.now += module.UNKNOWN_TTL
    with pytest.raises(Unauthenticated):
        await key_cache.caller(unknown)
    assert records.reads == 2


async def test_made_up_keys_do_not_push_out_real_ones(
    key_cache: KeyCache, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known and unknown keys have a bound each."""
    monkeypatch.setattr(module, "MOST_KEYS", 5)
    key, _ = await records.make()
    await key_cache.caller(key)
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await key_cache.caller(keys.make())
    reads = records.reads
    await key_cache.caller(key)
    assert records.reads == reads
    assert len(key_cache._unknown_until) == 5
    for _ in range(10):
        await key_cache.caller((await records.make())[0])
    assert len(key_cache._known) == len(key_cache._last_used) == 5


async def test_a_revoked_key_is_refused_within_its_time(
    key_cache: KeyCache, records: Records, clock: Clock
) -> None:
    """Within the time to live if another process revoked it, at once if this one did."""
    key, record = await records.make()
    await key_cache.caller(key)
    await rows.revoke(records, record.id, time.time())
    await key_cache.caller(key)
    clock.now += 30
    with pytest.raises(Unauthenticated):
        await key_cache.caller(key)
    mine, other = await records.make()
    await key_cache.caller(mine)
    key_cache.forget(other.id)
    with pytest.raises(Unauthenticated):
        await key_cache.caller(mine)


async def test_an_expired_key_is_refused(key_cache: KeyCache, records: Records) -> None:
    """It expires by the calendar, also while it is cached."""
    expires = time.time() + 1.0
    key, _ = await records.make(expires=expires)
    await key_cache.caller(key)
    await until(lambda: time.time() > expires, "the key has expired")
    with pytest.raises(KeyExpired):
        await key_cache.caller(key)


async def test_without_the_database_known_keys_work(
    key_cache: KeyCache, records: Records, clock: Clock
) -> None:
    """For the grace time; an unknown key gets a 503, because nobody knows whether it exists."""
    key, _ = await records.make()
    other, _ = await records.make()
    await key_cache.caller(key)
    records.go_away()
    clock.now += 31
    await key_cache.caller(key)
    for unknown in (other, keys.make()):
        with pytest.raises(StoreUnavailable):
            await key_cache.caller(unknown)
    reads = records.reads
    await key_cache.caller(key)
    assert records.reads == reads  # a database that is away is not asked at every request
    clock.now += 300
    with pytest.raises(StoreUnavailable):
        await key_cache.caller(key)
    records.come_back()
    clock.now += module.PAUSE
    await key_cache.caller(key)
    await key_cache.caller(other)


async def test_a_known_key_does_not_wait_for_the_database(
    key_cache: KeyCache, records: Records, clock: Clock
) -> None:
    """While the database is away, the look-up runs beside the request. Once it is back, its answer
    counts again."""
    key, record = await records.make()
    await key_cache.caller(key)
    records.go_away()
    clock.now += 31
    await key_cache.caller(key)
    clock.now += module.PAUSE
    reads = records.reads
    await key_cache.caller(key)
    assert records.reads == reads  # no wait: the look-up has not even begun
    await until(lambda: records.reads == reads + 1 and not key_cache._lookups, "it is asked")
    records.come_back()
    await rows.revoke(records, record.id, time.time())
    clock.now += module.PAUSE
    await key_cache.caller(key)
    await until(lambda: not key_cache._lookups, "it has answered")
    with pytest.raises(Unauthenticated):
        await key_cache.caller(key)


async def test_lookups_are_bounded(key_cache: KeyCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up keys with good checksums get a 503 beyond the bound."""
    monkeypatch.setattr(module, "MOST_LOOKUPS", 10)
    results = await asyncio.gather(
        *(key_cache.caller(keys.make()) for _ in range(30)), return_exceptions=True
    )
    assert sum(isinstance(result, Unauthenticated) for result in results) == 10
    assert sum(isinstance(result, StoreUnavailable) for result in results) == 20
    assert not key_cache._lookups


async def test_the_last_use_is_written_once_a_minute(
    key_cache: KeyCache, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request does not wait for it."""
    key, record = await records.make()

    async def written() -> float | None:
        found = await rows.by_hash(records, record.hash)
        assert found is not None
        return found.last_used

    await key_cache.caller(key)
    assert await written() is None
    await key_cache.write_last_used()
    first = await written()
    assert first is not None
    await key_cache.caller(key)
    await key_cache.write_last_used()
    assert await written() == first
    monkeypatch.setattr(module, "WRITE_EVERY", 0.0)
    await key_cache.write_last_used()
    later = await written()
    assert later is not None
    assert later > first
