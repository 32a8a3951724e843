"""The pool of processes that check syntax: what a crash, a hang and an end cost."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamapi.tasks import syntax
from streamapi.tasks.syntax import Syntax, child, process
from streamapi.tasks.syntax import pool as bounds
from streamapi.tasks.syntax.pool import SyntaxPool
from tests.conftest import until

FINE = "echo 1\n"


class Watched(SyntaxPool):
    """A pool that remembers the outcomes."""

    def __init__(self, most: int = 1) -> None:
        self.outcomes: list[str] = []
        super().__init__(most, lambda language, outcome: self.outcomes.append(outcome))


@pytest.fixture(autouse=True)
def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language whose grammar crashes."""
    monkeypatch.setitem(syntax.GRAMMARS, "crash", "tests.tasks.crashing")


@pytest.fixture
async def pool() -> AsyncIterator[Watched]:
    pool = Watched()
    yield pool
    pids = pool.pids
    await pool.aclose()
    assert not [pid for pid in pids if alive(pid)]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_process_is_started_when_it_is_needed(pool: Watched) -> None:
    """The first check starts it, and the next ones use it too."""
    assert await pool.check("1", "cobol") is None
    assert pool.pids == []
    assert await pool.check(FINE, "bash") == Syntax(True)
    [pid] = pool.pids
    assert await pool.check("x = (", "python") == Syntax(False, 1, 1)
    assert pool.pids == [pid]
    assert pool.outcomes == ["valid", "invalid"]


async def test_a_crash_costs_one_check(pool: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """It has no verdict, and its log line does not show the code; the next check has a process."""
    assert await pool.check("secret", "crash") is None
    assert "syntax of crash is lost: SIGSEGV" in caplog.text
    assert "secret" not in caplog.text
    assert await pool.check(FINE, "bash") == Syntax(True)
    assert pool.outcomes == ["crashed", "valid"]


@pytest.mark.parametrize(
    ("language", "code"),
    [("bash", "{\u3000"), ("bash", "{\U000f0000"), ("rust", "%w(" * 1500), ("java", "*%w(" * 1700)],
)
async def test_code_that_crashed_a_grammar_costs_one_check_at_most(
    pool: Watched, language: str, code: str
) -> None:
    """tree-sitter-bash 0.25 passes a character after `{` to C's isdigit, which looks it up in a
    table without bounds: the outcome depends on the memory there. Others crash on nesting."""
    await pool.check(code, language)
    assert await pool.check(FINE, "bash") == Syntax(True)
    assert pool.outcomes[1] == "valid"


async def test_a_crash_does_not_disturb_other_checks() -> None:
    """Checks at the same time, and checks that wait, have their verdicts."""
    pool = Watched(2)
    languages = ["bash", "crash", "bash", "bash", "crash", "bash"]
    verdicts = await asyncio.gather(*(pool.check(FINE, language) for language in languages))
    assert verdicts == [Syntax(True) if name == "bash" else None for name in languages]
    await pool.aclose()


async def test_a_crash_loop_is_bounded(pool: Watched) -> None:
    """After `MOST_STARTS` crashes there is no verdict for a while, and no new process."""
    for _ in range(bounds.MOST_STARTS + 5):
        assert await pool.check("", "crash") is None
    assert pool.outcomes == ["crashed"] * bounds.MOST_STARTS + ["gave_up"] * 5
    assert pool.pids == []


async def test_a_process_that_hangs_is_killed(
    pool: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopped process costs one check, within its time."""
    await pool.check(FINE, "bash")
    [pid] = pool.pids
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(bounds, "CHECK_SECONDS", 0.1)
    assert await pool.check(FINE, "bash") is None
    assert "it took too long" in caplog.text
    assert not alive(pid)
    monkeypatch.undo()
    assert await pool.check(FINE, "bash") == Syntax(True)


async def test_the_wait_for_a_process_is_bounded(
    pool: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all processes are busy, a check ends in time, without a verdict or an error."""
    await pool.check(FINE, "bash")
    [pid] = pool.pids
    os.kill(pid, signal.SIGSTOP)
    busy = asyncio.create_task(pool.check(FINE, "bash"))
    await asyncio.sleep(0)
    monkeypatch.setattr(bounds, "CHECK_SECONDS", 0.05)
    assert await pool.check(FINE, "bash") is None
    assert pool.outcomes == ["valid", "gave_up"]
    os.kill(pid, signal.SIGCONT)
    assert await busy == Syntax(True)


async def test_a_cancelled_caller_costs_no_process(pool: Watched) -> None:
    """A caller that is cancelled leaves at once, and no other check gets its reply."""
    await pool.check(FINE, "bash")
    [pid] = pool.pids
    os.kill(pid, signal.SIGSTOP)
    left = asyncio.create_task(pool.check("x = (", "python"))
    waits = asyncio.create_task(pool.check("y", "python"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left.cancel()
    waits.cancel()
    await asyncio.wait({left, waits})
    assert left.cancelled()
    assert waits.cancelled()
    os.kill(pid, signal.SIGCONT)
    assert await pool.check(FINE, "bash") == Syntax(True)
    assert pool.pids == [pid]


async def test_a_text_beyond_the_bound_has_no_verdict(pool: Watched) -> None:
    """No parser reads it."""
    assert await pool.check("a" * (bounds.MAX_BYTES + 1), "python") is None
    assert (pool.outcomes, pool.pids) == (["gave_up"], [])


async def test_memory_is_bounded(pool: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parse that needs more than `MEMORY` ends its process, and nothing else."""
    monkeypatch.setattr(process, "MEMORY", 40_000_000)
    await pool.check("x = {" * 190_000, "tsx")
    assert pool.outcomes == ["crashed"]
    monkeypatch.undo()
    assert await pool.check(FINE, "bash") == Syntax(True)


async def test_an_idle_process_ends(pool: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """It frees its memory, and the next check starts another process."""
    monkeypatch.setattr(bounds, "IDLE_SECONDS", 0.02)
    await pool.check(FINE, "bash")
    await until(lambda: not pool.pids, "the process ended")
    assert await pool.check(FINE, "bash") == Syntax(True)


async def test_a_process_that_died_idle_costs_no_check(pool: Watched) -> None:
    """The next check starts another process."""
    await pool.check(FINE, "bash")
    os.kill(pool.pids[0], signal.SIGKILL)
    await until(lambda: not pool.pids, "the end was seen")
    assert await pool.check(FINE, "bash") == Syntax(True)
    assert pool.outcomes == ["valid", "valid"]


async def test_a_process_inherits_nothing(pool: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its socket and stderr, and no environment variable: those hold keys."""
    monkeypatch.setenv("GOOGLE_API_KEY", "secret")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    await pool.check(FINE, "bash")
    [pid] = pool.pids
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.readlink(f"/proc/{pid}/fd/1") != os.readlink("/proc/self/fd/1")
    os.close(reading)
    os.close(writing)


async def test_no_checks_without_processes() -> None:
    """With 0 there is no verdict, and no process."""
    pool = Watched(0)
    assert await pool.check(FINE, "bash") is None
    assert pool.pids == []
    await pool.aclose()


PARENT = """
import asyncio
from streamapi.tasks.syntax.pool import SyntaxPool

async def main():
    pool = SyntaxPool(1)
    await pool.check("1", "python")
    print(pool.pids[0], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_process_does_not_outlive_its_parent() -> None:
    """It ends even if its parent is killed."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(pid), "the process followed its parent")


LOOPS = f"""
import itertools, sys
sys.argv[1:] = ["{process.MEMORY}", *sys.path]
from streamapi.tasks.syntax import child
child.CPU_SECONDS = 0.05
child.check = lambda *_: [0 for _ in itertools.count() if False]
child.main()
"""


async def test_the_kernel_ends_a_parser_that_loops_for_ever() -> None:
    """The process ends even if no parent is left to kill it."""
    looping = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOOPS, stdin=asyncio.subprocess.PIPE
    )
    await looping.communicate(child.REQUEST.pack(1, 1) + b"xx")
    assert looping.returncode == -signal.SIGPROF
