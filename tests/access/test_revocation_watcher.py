"""The vigil: which keys are behind what runs here, and what becomes of it when they die."""

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
from streamapi.generation.memory_log import MemoryLogs
from streamapi.generation.request import Caller
from streamapi.records import keys as rows
from tests.access.conftest import Records
from tests.generation.scripted import QUICK
from tests.generation.test_generations import all_of, ask, hanging


@pytest.fixture
async def held() -> AsyncIterator[Generations]:
    held = Generations(MemoryLogs(), QUICK, 0.1)
    yield held
    await held.close(0.0)


async def test_readers_of_dead_keys_are_sent_away(
    records: Records, held: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the revoked, the expired and the deleted; however many keys one question holds. The
    living, and those who have left, are not."""
    monkeypatch.setattr(module, "AT_ONCE", 2)
    watch = RevocationWatcher(KeyCache(records, 30.0, 300.0), held, 10.0)
    _, living = await records.make()
    _, revoked = await records.make()
    _, expired = await records.make(expires=time.time() - 1)
    await rows.revoke(records, revoked.id, time.time())
    away: list[str] = []
    names = {living.id, revoked.id, expired.id, "key_deleted"}
    with ExitStack() as readers:
        for name in names:
            for _ in range(2):
                readers.enter_context(watch.reading(name, lambda name=name: away.append(name)))  # type: ignore[misc]
        with watch.reading(revoked.id, lambda: away.append("left")):
            pass
        with watch.reading(None, lambda: away.append("nobody")):
            await watch.look()
    assert sorted(away) == sorted([*(names - {living.id})] * 2)
    assert not watch._readers


async def test_a_key_that_died_elsewhere_begins_nothing_more(
    records: Records, held: Generations
) -> None:
    """Though it was seen a moment ago, and nothing of its runs: what it began at the end of the
    time for which it is remembered would outlive that time."""
    ring = KeyCache(records, 30.0, 300.0)
    watch = RevocationWatcher(ring, held, 10.0)
    dead, good = [await records.make() for _ in range(2)]
    for shown, _ in (dead, good):
        await ring.caller(shown)
    await rows.revoke(records, dead[1].id, time.time())
    await ring.caller(dead[0])
    await watch.look()
    with pytest.raises(Unauthenticated):
        await ring.caller(dead[0])
    assert (await ring.caller(good[0])).key == good[1].id
    assert ring.trusted == {good[1].id}


async def test_what_a_dead_key_began_ends(records: Records, held: Generations) -> None:
    """With an ending that says so; what another key began goes on."""
    ring = KeyCache(records, 30.0, 300.0)
    watch = RevocationWatcher(ring, held, 10.0)
    shown, dead = await records.make()
    _, living = await records.make()
    await ring.caller(shown)
    began = await held.start(Caller("acme", dead.id), ask(hanging()))
    other = await held.start(Caller("acme", living.id), ask(hanging()))
    await rows.revoke(records, dead.id, time.time())
    await watch.look()
    ending = (await all_of(held, began))[-1]
    assert isinstance(ending, Failed)
    assert ending.problem.code == "unauthenticated"
    assert not (await held.tail(other)).ended
    with pytest.raises(Unauthenticated):
        await ring.caller(shown)


async def test_not_to_know_is_not_to_have_been_told(records: Records, held: Generations) -> None:
    """While the database is away, nothing is ended."""
    watch = RevocationWatcher(KeyCache(records, 30.0, 300.0), held, 10.0)
    _, key = await records.make()
    records.leave()
    away: list[str] = []
    with watch.reading(key.id, lambda: away.append("gone")):
        with pytest.raises(StoreUnavailable):
            await watch.look()
        records.come_back()
        await watch.look()
    assert away == []
