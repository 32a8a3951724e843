"""Log lines on their way out: in their order, and nobody waits for who reads them."""

import fcntl
import json
import os
from collections.abc import Iterator

import pytest

from streamapi.telemetry.line_writer import LineWriter
from tests.conftest import until

LINE = b'{"n": 123}\n'


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of one page; both ends."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    os.close(writing)
    os.close(reading)


def lines(reading: int) -> list[bytes]:
    """The lines that a pipe holds now."""
    os.set_blocking(reading, False)
    found = b""
    while True:
        try:
            found += os.read(reading, 65_536)
        except BlockingIOError:
            return found.splitlines(keepends=True)


def test_lines_come_in_their_order(pipe: tuple[int, int]) -> None:
    """All that were taken are written when it closes."""
    reading, writing = pipe
    writer = LineWriter(writing)
    wanted = [b"%d\n" % n for n in range(500)]
    for line in wanted:
        writer.write(line)
    writer.close()
    assert lines(reading) == wanted


async def test_a_line_comes_without_another_one(pipe: tuple[int, int]) -> None:
    """It does not wait in the queue for more, nor for the end; not even the second one."""
    reading, writing = pipe
    writer = LineWriter(writing)
    found: list[bytes] = []
    for n in range(3):
        writer.write(b"%d\n" % n)
        await until(lambda: found.extend(lines(reading)) or len(found) > n, "the line came")  # noqa: B023
    assert found == [b"0\n", b"1\n", b"2\n"]
    writer.close()


async def test_what_is_not_read_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    """The writer never waits; whoever reads on finds whole lines, and how many are missing."""
    reading, writing = pipe
    writer = LineWriter(writing, 100 * len(LINE))
    for _ in range(1000):
        writer.write(LINE)
    found: list[bytes] = []

    def told() -> int:
        """The lines that came, and those that are said to be missing."""
        found.extend(lines(reading))
        counts = (json.loads(line).get("dropped", 1) for line in found)
        return sum(counts)

    await until(lambda: told() == 1000, "the counts came")
    assert writer.dropped == 1000 - found.count(LINE) > 0
    assert {json.loads(line).get("level", "") for line in found} == {"", "warning"}
    writer.write(LINE)
    writer.close()
    assert lines(reading) == [LINE]


def test_an_end_does_not_wait_for_a_reader(pipe: tuple[int, int]) -> None:
    """Closing has a bound, and the thread that still waits holds nothing up."""
    _, writing = pipe
    writer = LineWriter(os.dup(writing))
    for _ in range(1000):
        writer.write(LINE)
    writer.close(0.05)
    assert writer._thread is not None
    assert writer._thread.daemon


async def test_a_reader_that_is_gone_is_no_error() -> None:
    """Lines that nobody can read are dropped, and counted."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing)
    writer.write(LINE)
    await until(lambda: writer.dropped == 1, "the line was dropped")
    writer.close()
    os.close(writing)


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Someone who shares stdout may have made it so: no line is lost."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing)
    for _ in range(1000):
        writer.write(LINE)
    found: list[bytes] = []
    while len(found) < 1000:
        found += lines(reading)
    writer.close()
    assert b"".join(found) == LINE * 1000
