"""The keyring: who is asked when, what is remembered, and what holds while the database is away."""

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
from tests.access.conftest import Records
from tests.conftest import until


class Clock:
    """A clock of our own."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(records: Records, clock: Clock) -> KeyCache:
    return KeyCache(records, ttl=30.0, grace=300.0, clock=clock)


async def test_a_key_says_who_asks(ring: KeyCache, records: Records) -> None:
    """Its owner, what it may do, and how much."""
    shown, record = await records.make(
        owner="acme", scopes=("text", "usage"), models=("m",), tokens_per_day=9
    )
    caller = await ring.caller(shown)
    assert (caller.owner, caller.key) == ("acme", record.id)
    assert caller.scopes == {"text", "usage"}
    assert caller.models == {"m"}
    assert caller.allowance == Allowance(tokens_per_day=9)
    assert caller.address is None


async def test_a_key_seen_lately_is_not_looked_up(
    ring: KeyCache, records: Records, clock: Clock
) -> None:
    """For thirty seconds; then once more."""
    shown, _ = await records.make()
    for _ in range(50):
        await ring.caller(shown)
    clock.now += 29.9
    await ring.caller(shown)
    assert records.asked == 1
    clock.now += 0.2
    await ring.caller(shown)
    assert records.asked == 2


async def test_many_who_show_one_key_ask_once(ring: KeyCache, records: Records) -> None:
    """They wait for one look-up; one of them who leaves does not take it along."""
    shown, _ = await records.make()
    asks = [asyncio.create_task(ring.caller(shown)) for _ in range(100)]
    await asyncio.sleep(0)
    asks[0].cancel()
    results = await asyncio.gather(*asks, return_exceptions=True)
    assert sum(isinstance(result, BaseException) for result in results) == 1
    assert records.asked == 1


async def test_a_look_up_that_everybody_left_ends_before_the_database(
    records: Records, ring: KeyCache
) -> None:
    """A client that leaves in the moment of its key's look-up leaves no connection open."""
    threads = set(threading.enumerate())
    shown, _ = await records.make()
    await records.aclose()  # so that the look-up connects
    asking = asyncio.create_task(ring.caller(shown))
    await until(lambda: ring._asking, "the look-up is under way")
    asking.cancel()
    await asyncio.wait({asking})
    await ring.aclose()
    await records.aclose()
    await until(lambda: set(threading.enumerate()) <= threads, "no connection is left")


async def test_what_was_never_a_key_is_not_looked_up(ring: KeyCache, records: Records) -> None:
    """The checksum says so."""
    for wrong in ("", "x" * 100_000, keys.make()[:-1] + "!", "' OR 1=1 --", "\0"):
        with pytest.raises(Unauthenticated):
            await ring.caller(wrong)
    assert records.asked == 0


async def test_an_unknown_key_is_remembered_briefly(
    ring: KeyCache, records: Records, clock: Clock
) -> None:
    """So that showing it again costs nothing; but one that is made meanwhile is found."""
    unknown = keys.make()
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await ring.caller(unknown)
    assert records.asked == 1
    clock.now += module.UNKNOWN_TTL
    with pytest.raises(Unauthenticated):
        await ring.caller(unknown)
    assert records.asked == 2


async def test_made_up_keys_do_not_push_out_real_ones(
    ring: KeyCache, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And neither are remembered without bound."""
    monkeypatch.setattr(module, "MOST_KEYS", 5)
    shown, _ = await records.make()
    await ring.caller(shown)
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await ring.caller(keys.make())
    asked = records.asked
    await ring.caller(shown)
    assert records.asked == asked
    assert len(ring._unknown) == 5
    for _ in range(10):
        await ring.caller((await records.make())[0])
    assert len(ring._known) == len(ring._used) == 5


async def test_a_revoked_key_dies_within_its_time(
    ring: KeyCache, records: Records, clock: Clock
) -> None:
    """Where another process revoked it; where this one did, at once."""
    shown, record = await records.make()
    await ring.caller(shown)
    await rows.revoke(records, record.id, time.time())
    await ring.caller(shown)
    clock.now += 30
    with pytest.raises(Unauthenticated):
        await ring.caller(shown)
    mine, other = await records.make()
    await ring.caller(mine)
    ring.forget(other.id)
    with pytest.raises(Unauthenticated):
        await ring.caller(mine)


async def test_an_expired_key_says_so(ring: KeyCache, records: Records) -> None:
    """By the calendar, whatever is remembered."""
    shown, _ = await records.make(expires=time.time() + 0.05)
    await ring.caller(shown)
    await asyncio.sleep(0.06)
    with pytest.raises(KeyExpired):
        await ring.caller(shown)


async def test_without_the_database_known_keys_work(
    ring: KeyCache, records: Records, clock: Clock
) -> None:
    """For a time; unknown ones are neither let in nor called wrong."""
    shown, _ = await records.make()
    other, _ = await records.make()
    await ring.caller(shown)
    records.leave()
    clock.now += 31
    await ring.caller(shown)
    for unknown in (other, keys.make()):
        with pytest.raises(StoreUnavailable):
            await ring.caller(unknown)
    asked = records.asked
    await ring.caller(shown)
    assert records.asked == asked  # a database that is away is not asked at every request
    clock.now += 300
    with pytest.raises(StoreUnavailable):
        await ring.caller(shown)
    records.come_back()
    clock.now += module.AWAY
    await ring.caller(shown)
    await ring.caller(other)


async def test_who_is_known_does_not_wait_for_the_database(
    ring: KeyCache, records: Records, clock: Clock
) -> None:
    """Once it is known to be away, it is asked beside the request; and when it is back, what it
    says counts again."""
    shown, record = await records.make()
    await ring.caller(shown)
    records.leave()
    clock.now += 31
    await ring.caller(shown)
    clock.now += module.AWAY
    asked = records.asked
    await ring.caller(shown)
    assert records.asked == asked  # nobody waited: the look-up has not even begun
    await until(lambda: records.asked == asked + 1 and not ring._asking, "it is asked")
    records.come_back()
    await rows.revoke(records, record.id, time.time())
    clock.now += module.AWAY
    await ring.caller(shown)
    await until(lambda: not ring._asking, "it has answered")
    with pytest.raises(Unauthenticated):
        await ring.caller(shown)


async def test_lookups_that_wait_are_bounded(
    ring: KeyCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up keys with good checksums cannot queue without end."""
    monkeypatch.setattr(module, "MOST_LOOKUPS", 10)
    results = await asyncio.gather(
        *(ring.caller(keys.make()) for _ in range(30)), return_exceptions=True
    )
    assert sum(isinstance(result, Unauthenticated) for result in results) == 10
    assert sum(isinstance(result, StoreUnavailable) for result in results) == 20
    assert not ring._asking


async def test_the_last_use_is_noted_once_a_minute(
    ring: KeyCache, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And off the way of the request."""
    shown, record = await records.make()

    async def noted() -> float | None:
        found = await rows.by_hash(records, record.hash)
        assert found is not None
        return found.last_used

    await ring.caller(shown)
    assert await noted() is None
    await ring.note()
    first = await noted()
    assert first is not None
    await ring.caller(shown)
    await ring.note()
    assert await noted() == first
    monkeypatch.setattr(module, "NOTE_EVERY", 0.0)
    await ring.note()
    later = await noted()
    assert later is not None
    assert later > first
