"""The revocation watcher: what ends in a process when a key is revoked or expires."""

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from streamapi.access import revocation_watcher as module
from streamapi.access.key_cache import KeyCache
from streamapi.access.revocation_watcher import RevocationWatcher
from streamapi.errors import StoreUnavailable, Unauthenticated
from streamapi.generation.event import Failed
from streamapi.generation.generations import Generations
from streamapi.generation.request import Caller
from streamapi.records import keys as rows
from tests.access.conftest import Records
from tests.generation import scripted
from tests.generation.defaults import memory_logs
from tests.generation.test_generations import all_of, ask, hanging


@pytest.fixture
async def generations() -> AsyncIterator[Generations]:
    generations = scripted.generations(memory_logs())
    yield generations
    await generations.close(0.0)


async def test_readers_of_inactive_keys_are_closed(
    records: Records, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of revoked, expired and deleted keys, however many keys one query holds. Readers of
    active keys, and readers that have left, are not."""
    monkeypatch.setattr(module, "KEYS_PER_QUERY", 2)
    watcher = RevocationWatcher(KeyCache(records, 30.0, 300.0), generations, 10.0)
    _, active = await records.make()
    _, revoked = await records.make()
    _, expired = await records.make(expires=time.time() - 1)
    await rows.revoke(records, revoked.id, time.time())
    closed: list[str] = []
    names = {active.id, revoked.id, expired.id, "key_deleted"}
    with ExitStack() as readers:
        for name in names:
            for _ in range(2):
                readers.enter_context(watcher.reading(name, lambda name=name: closed.append(name)))  # type: ignore[misc]
        with watcher.reading(revoked.id, lambda: closed.append("left")):
            pass
        with watcher.reading(None, lambda: closed.append("nobody")):
            await watcher.check()
    assert sorted(closed) == sorted([*(names - {active.id})] * 2)
    assert not watcher._readers


async def test_a_key_revoked_elsewhere_starts_nothing_more(
    records: Records, generations: Generations
) -> None:
    """A check also covers keys that are only cached: what such a key started just before its time
    to live is over would outlive that time."""
    key_cache = KeyCache(records, 30.0, 300.0)
    watcher = RevocationWatcher(key_cache, generations, 10.0)
    revoked, active = [await records.make() for _ in range(2)]
    for key, _ in (revoked, active):
        await key_cache.caller(key)
    await rows.revoke(records, revoked[1].id, time.time())
    await key_cache.caller(revoked[0])
    await watcher.check()
    with pytest.raises(Unauthenticated):
        await key_cache.caller(revoked[0])
    assert (await key_cache.caller(active[0])).key == active[1].id
    assert key_cache.trusted == {active[1].id}


async def test_generations_of_a_revoked_key_end(records: Records, generations: Generations) -> None:
    """They fail with `unauthenticated`; what another key started goes on."""
    key_cache = KeyCache(records, 30.0, 300.0)
    watcher = RevocationWatcher(key_cache, generations, 10.0)
    key, revoked = await records.make()
    _, active = await records.make()
    await key_cache.caller(key)
    began = await generations.start(Caller("acme", revoked.id), ask(hanging()))
    other = await generations.start(Caller("acme", active.id), ask(hanging()))
    await rows.revoke(records, revoked.id, time.time())
    await watcher.check()
    ending = (await all_of(generations, began))[-1]
    assert isinstance(ending, Failed)
    assert ending.problem.code == "unauthenticated"
    assert not (await generations.tail(other)).ended
    with pytest.raises(Unauthenticated):
        await key_cache.caller(key)


async def test_an_unreachable_database_ends_nothing(
    records: Records, generations: Generations
) -> None:
    """The next check that reaches the database decides."""
    watcher = RevocationWatcher(KeyCache(records, 30.0, 300.0), generations, 10.0)
    _, key = await records.make()
    records.go_away()
    closed: list[str] = []
    with watcher.reading(key.id, lambda: closed.append("gone")):
        with pytest.raises(StoreUnavailable):
            await watcher.check()
        records.come_back()
        await watcher.check()
    assert closed == []
