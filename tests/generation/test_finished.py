"""Which finished log gives way: pure, and compared with a plain search."""

import random

from streamapi.generation.finished import FinishedLogs


def test_the_oldest_log_of_the_owner_with_most_gives_way() -> None:
    """For any history, by number and by bytes, the choice is that of a search over all logs."""
    chance = random.Random(10)
    for _ in range(50):
        finished, logs = FinishedLogs(), dict[str, tuple[str, int]]()
        for n in range(200):
            if logs and chance.random() < 0.4:
                gone = chance.choice(list(logs))
                finished.remove(gone)
                del logs[gone]
            owner, size = chance.choice(["me", "you", "they"]), chance.randrange(1, 100)
            finished.add(f"{n}", float(n), size, owner)
            logs[f"{n}"] = owner, size
            most_logs = {o: sum(1 for it, _ in logs.values() if it == o) for o, _ in logs.values()}
            most_bytes = {o: sum(s for it, s in logs.values() if it == o) for o in most_logs}
            for by, most in (("logs", most_logs), ("bytes", most_bytes)):
                log = finished.gives_way(by)  # type: ignore[arg-type]
                assert log is not None
                loser = logs[log][0]
                assert most[loser] == max(most.values())
                assert log == next(it for it, (o, _) in logs.items() if o == loser)
        for log in list(logs):
            finished.remove(log)
        assert finished.gives_way("logs") is finished.gives_way("bytes") is None


def test_logs_without_a_hold_go_first_and_those_with_a_key_last() -> None:
    """A copy of another process's log can be had again; an answer under a key cannot."""
    finished = FinishedLogs()
    for n in range(3):
        finished.add(f"mine-{n}", float(n), 10, "me")
    finished.add("copy", 3.0, 10)
    finished.update("mine-0", 10, "me", True)
    order = []
    while (log := finished.gives_way("logs")) is not None:
        finished.remove(log)
        order.append(log)
    assert order == ["copy", "mine-1", "mine-2", "mine-0"]


def test_the_oldest_ending_expires_first() -> None:
    """Logs leave in the order in which they ended."""
    finished = FinishedLogs()
    finished.add("a", 1.0, 10, "me")
    finished.add("b", 2.0, 10, "you")
    assert finished.expired(0.5) is None
    assert finished.expired(1.0) == "a"
    finished.remove("a")
    assert finished.expired(1.5) is None
