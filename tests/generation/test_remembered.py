"""The bound of generations that memory remembers: which gives way, and which is refused."""

import pytest

from streamapi.errors import Overloaded
from streamapi.generation.generation import Generation
from streamapi.generation.remembered import Held, Remembered


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Memory:
    """A `Remembered` of at most `most`, and what it forgot."""

    def __init__(self, most: int, promises: bool = True) -> None:
        self.clock = Clock()
        self.forgot: list[str] = []
        self.it = Remembered(most, 100.0, self.clock, promises, self._forgotten)

    def _forgotten(self, held: Held) -> None:
        self.forgot.append(held.generation.id)

    def add(self, name: str, owner: str = "me", promise: float = 0.0, ended: bool = True) -> None:
        self.it.make_room()
        generation = Generation(
            id=name, log=f"log_{name}", owner=owner, task="text", model="m", created=0.0,
            metadata={"a": "b"}, promise=promise,
        )  # fmt: skip
        self.it.add(generation, ended)


def test_generations_without_a_log_give_way_first() -> None:
    """A generation without a log can only answer 410; the others can still be read."""
    memory = Memory(3)
    for name in "abc":
        memory.add(name)
    memory.it.log_gone("b", "log_b")
    memory.add("d")
    memory.add("e")
    assert memory.forgot == ["b", "a"]


def test_running_and_promised_generations_are_never_forgotten() -> None:
    """When no other is left, a new one is refused."""
    memory = Memory(4)
    memory.add("runs", ended=False)
    memory.add("promised", promise=60.0)
    memory.it.log_gone("promised", "log_promised")
    for name in "abcde":
        memory.add(name)
    assert memory.forgot == ["a", "b", "c"]
    memory.it.forget("d")
    memory.it.forget("e")
    memory.add("more", ended=False)
    memory.add("most", ended=False)
    with pytest.raises(Overloaded):
        memory.add("refused")
    memory.it.ended("more")
    memory.add("fits")


def test_a_promise_ends_and_its_generation_gives_way() -> None:
    """After its time a promised generation is like any other."""
    memory = Memory(2)
    memory.add("promised", promise=60.0)
    memory.add("runs", ended=False)
    with pytest.raises(Overloaded):
        memory.add("a")
    memory.clock.now = 60.0
    memory.add("a")
    assert memory.forgot == ["promised"]


def test_a_name_that_is_taken_over_ends_the_promise() -> None:
    """After a failure a key stands for the next generation; the first need not stay."""
    memory = Memory(2)
    memory.add("failed", promise=60.0)
    held = memory.it.get("failed")
    assert held is not None
    held.names = ("key/1",)
    memory.it.unclaimed("failed", "key/1")
    memory.add("runs", ended=False)
    memory.add("a")
    assert memory.forgot == ["failed"]


def test_the_keys_of_one_owner_take_half_and_leave_room_for_others() -> None:
    """An owner's promises may be as many as there is room left for; the wait is an honest one."""
    memory = Memory(8)
    for n in range(4):
        memory.add(f"mine-{n}", promise=60.0)
        memory.clock.now += 10
    with pytest.raises(Overloaded) as refused:
        memory.add("mine-4", promise=60.0)
    assert refused.value.retry_after == 20.0
    memory.add("without a key")
    memory.add("theirs", owner="neighbour", promise=60.0)
    memory.clock.now = 60.0
    memory.add("mine-5", promise=60.0)


def test_every_ended_generation_gives_way_when_redis_keeps_the_promises() -> None:
    """A generation that Redis remembers may be forgotten here."""
    memory = Memory(2, promises=False)
    for name in "abc":
        memory.add(name, promise=60.0)
    assert memory.forgot == ["a"]


def test_a_generation_without_a_log_stays_for_its_time_without_metadata() -> None:
    """What only a reader of the log needs goes with the log."""
    memory = Memory(10)
    memory.add("a")
    memory.it.log_gone("a", "log_a")
    held = memory.it.get("a")
    assert held is not None
    assert held.generation.metadata == {}
    memory.clock.now = 99.0
    memory.it.sweep()
    assert memory.forgot == []
    memory.clock.now = 100.0
    memory.it.sweep()
    assert memory.forgot == ["a"]
