"""The thread that tells of changes is not woken up for each of many."""

from __future__ import annotations

import threading

from kinesis.changes import Changes
from kinesis.concurrency import SystemThreads
from kinesis.testing import Simulation
from tests.changes.listeners import PATIENCE, Heard


class Resting(SystemThreads):
    """Threads whose rests begin when they say so, and end when somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.rests = 0
        self._begun = threading.Semaphore(0)
        self._over = threading.Semaphore(0)

    def rest(self) -> None:
        """Rest until it is over."""
        self.rests += 1
        self._begun.release()
        assert self._over.acquire(timeout=PATIENCE)

    def wait_for_rest(self) -> None:
        """Wait until somebody rests."""
        assert self._begun.acquire(timeout=PATIENCE)

    def end_rest(self) -> None:
        """Let it end."""
        self._over.release()


def test_changes_that_come_while_it_rests_are_told_together() -> None:
    """
    It rests after it has told of something, not before, and once for all of them.
    """
    threads = Resting()
    hub = Changes(threads, "app")
    heard = Heard()
    hub.callback("/app/a", heard)
    feed = hub.feed("/app/a")

    feed.stage_changed(0, 1)
    assert [each.current for each in heard.wait_for(1)] == [1]
    threads.wait_for_rest()
    for number in range(1, 50):
        feed.stage_changed(number, number + 1)
    assert len(heard.items) == 1
    threads.end_rest()

    threads.wait_for_rest()
    assert heard.values() == [*range(1, 51)]
    assert threads.rests == 2
    threads.end_rest()
    assert hub.close(PATIENCE) == []


def test_what_is_told_one_by_one_is_told_at_once() -> None:
    """
    After its rest it waits, and is woken up by the next change.
    """
    threads = Resting()
    hub = Changes(threads, "app")
    heard = Heard()
    hub.callback("/app/a", heard)
    feed = hub.feed("/app/a")

    for number in range(3):
        feed.stage_changed(number, number + 1)
        heard.wait_for(number + 1)
        threads.wait_for_rest()
        threads.end_rest()

    assert heard.values() == [1, 2, 3]
    assert threads.rests == 3
    assert hub.close(PATIENCE) == []


def test_a_simulation_takes_no_time_to_tell(simulation: Simulation) -> None:
    """
    To rest is no time of the program's.
    """
    hub = Changes(simulation.threads, "app")
    told: list[object] = []
    hub.callback("/app/a", told.append)
    feed = hub.feed("/app/a")

    for number in range(3):
        feed.stage_changed(number, number + 1)
        simulation.settle()
        assert len(told) == number + 1

    assert simulation.now == 0.0
    assert hub.close(PATIENCE) == []
