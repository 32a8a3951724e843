"""The writer of log lines: it keeps their order, and never waits for their reader."""

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
    """Both ends of a pipe of one page."""
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


def test_lines_keep_their_order(pipe: tuple[int, int]) -> None:
    """All queued lines are written when the writer closes."""
    reading, writing = pipe
    writer = LineWriter(writing)
    wanted = [b"%d\n" % n for n in range(500)]
    for line in wanted:
        writer.write(line)
    writer.close()
    assert lines(reading) == wanted


async def test_a_line_is_written_soon(pipe: tuple[int, int]) -> None:
    """No line waits in the queue for another line, or for the end."""
    reading, writing = pipe
    writer = LineWriter(writing)
    found: list[bytes] = []
    for n in range(3):
        writer.write(b"%d\n" % n)
        await until(lambda: found.extend(lines(reading)) or len(found) > n, "the line came")  # noqa: B023
    assert found == [b"0\n", b"1\n", b"2\n"]
    writer.close()


async def test_lines_beyond_the_queue_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    """A reader that reads on finds whole lines, and how many are missing."""
    reading, writing = pipe
    writer = LineWriter(writing, 100 * len(LINE))
    for _ in range(1000):
        writer.write(LINE)
    found: list[bytes] = []

    def accounted() -> int:
        """The lines that arrived, and those that are reported as dropped."""
        found.extend(lines(reading))
        counts = (json.loads(line).get("dropped", 1) for line in found)
        return sum(counts)

    await until(lambda: accounted() == 1000, "every line is accounted for")
    assert writer.dropped == 1000 - found.count(LINE) > 0
    assert {json.loads(line).get("level", "") for line in found} == {"", "warning"}
    writer.write(LINE)
    writer.close()
    assert lines(reading) == [LINE]


def test_closing_does_not_wait_for_a_reader(pipe: tuple[int, int]) -> None:
    """Closing is bounded, and the thread that still waits is a daemon."""
    _, writing = pipe
    writer = LineWriter(os.dup(writing))
    for _ in range(1000):
        writer.write(LINE)
    writer.close(0.05)
    assert writer._thread is not None
    assert writer._thread.daemon


async def test_a_reader_that_is_gone_is_no_error() -> None:
    """Lines without a reader are dropped and counted."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing)
    writer.write(LINE)
    await until(lambda: writer.dropped == 1, "the line was dropped")
    writer.close()
    os.close(writing)


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Another process may have made a shared stdout non-blocking: no line is lost."""
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
