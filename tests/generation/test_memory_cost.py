"""What logs are counted to cost, beside what they really take."""

import gc
import secrets
import tracemalloc

import msgspec
import pytest

from streamapi.generation.event import Delta, Done, Served, Start, Timings, Usage
from streamapi.generation.generation import Generation
from streamapi.generation.memory_log import MemoryLogs
from tests.generation.defaults import log_bounds

ENDLESS = log_bounds(max_logs=10**6, max_total_bytes=10**10)


def piece(letter: str, size: int) -> str:
    """A text that shares its memory with no other."""
    return (letter * (size - 1) + " ").encode().decode()


async def one(logs: MemoryLogs, deltas: int, letter: str, size: int, metadata: int) -> None:
    """A finished log, as a request with a key leaves it."""
    token = secrets.token_urlsafe(16)
    generation = Generation(
        id=f"gen_{token}", log=f"log_{token}", owner="me", task="text", model="gemini", created=1.5,
        metadata={f"name-{n}": piece("v", 50) for n in range(metadata)}, promise=3600.0,
        digest=secrets.token_hex(32),
    )  # fmt: skip
    await logs.append(generation.log, 1, [Start("text", 1.5)])
    await logs.hold(generation)
    await logs.claim(f"key/me/1-{secrets.token_hex(32)}", generation.id, 3600.0)
    for n in range(2, deltas + 2):
        await logs.append(generation.log, n, [Delta(piece(letter, size), "text")])
    done = Done(
        {"text": piece(letter, size * deltas)}, Usage(9, 9), "stop", Served("m"), Timings(), 1.5
    )
    await logs.append(generation.log, deltas + 2, [done])


@pytest.mark.parametrize(
    ("logs", "deltas", "letter", "size", "metadata"),
    [
        (500, 1, "w", 5, 0),
        (200, 1, "w", 5, 16),
        (300, 10, "w", 5, 0),
        (50, 300, "w", 5, 0),
        (50, 100, "w", 24, 0),
        (50, 20, "w", 2000, 0),
        (50, 100, "é", 24, 0),
        (50, 100, "語", 24, 0),
        (50, 100, "🙂", 24, 0),
    ],
)
async def test_the_count_is_within_a_fifth_of_the_truth(
    logs: int, deltas: int, letter: str, size: int, metadata: int
) -> None:
    """`LOGS_MAX_BYTES` is memory: short answers, long ones and any script are counted as they
    weigh."""
    memory = MemoryLogs(ENDLESS)
    await one(memory, deltas, letter, size, metadata)
    gc.collect()
    counted = memory._size
    tracemalloc.start()
    try:
        for _ in range(logs):
            await one(memory, deltas, letter, size, metadata)
        gc.collect()
        took = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 < (memory._size - counted) / took < 1.25


async def test_a_forgotten_log_gives_all_its_bytes_back() -> None:
    """However a log and its generations go, nothing stays counted."""
    memory = MemoryLogs(ENDLESS)
    for _ in range(4):
        await one(memory, 3, "w", 5, 3)
    logs = list(memory._logs)
    generations = [memory.holders(log)[0] for log in logs]
    other = msgspec.structs.replace(generations[0], id="gen_other")
    await memory.hold(other)
    await memory.forget(other)
    memory.forget_generation(generations[1].id)
    for generation in generations:
        await memory.forget(generation)
        memory.drop(generation.log)
    assert (memory._size, memory._logs) == (0, {})
