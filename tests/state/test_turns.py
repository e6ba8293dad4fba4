"""The turn: one thread has it, first come, first served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.testing import Simulation
from kinesis.turns import Turn
from tests.messages.parts import PATIENCE, in_thread, wait_until


def test_one_thread_has_it_and_knows_so() -> None:
    """
    Nobody else, and nobody at all once it is given back.
    """
    turn = Turn(SystemThreads())
    mine = [turn.is_mine]
    assert turn.take()
    mine.append(turn.is_mine)
    others = in_thread(lambda: (turn.is_mine, turn.take_now(), turn.take(0.0)))

    assert others.result() == (False, False, False)
    turn.give_back()
    mine.append(turn.is_mine)
    assert mine == [False, True, False]
    assert turn.take_now()
    assert "waiting" in repr(turn)


def test_it_is_handed_to_who_has_waited_longest() -> None:
    """
    Also when who gives it back wants it again at once.
    """
    turn = Turn(SystemThreads())
    order: list[int] = []

    def wait(number: int) -> None:
        assert turn.take(PATIENCE)
        order.append(number)
        turn.give_back()

    turn.take()
    waiters = []
    for number in range(3):
        waiters.append(in_thread(partial(wait, number)))
        wait_until(lambda: len(turn._waiting) == len(waiters))
    turn.give_back()
    turn.take()
    order.append(99)
    turn.give_back()
    for waiter in waiters:
        waiter.result()

    assert order == [0, 1, 2, 99]


def hold_and_count(simulation: Simulation, turn: Turn, seen: list[int]) -> None:
    """Take the turn in every way; note how many have it at once."""
    for timeout in (None, 0.002, 0.0, None, 0.02):
        taken = turn.take_now() if timeout == 0.0 else turn.take(timeout)
        if taken:
            seen[0] += 1
            seen[1] = max(seen[1], seen[0])
            simulation.sleep(0.003)
            seen[0] -= 1
            turn.give_back()


def let_others_run_around_the_token(turn: Turn, simulation: Simulation) -> None:
    """Have the simulation choose who runs next before and after each use of it."""
    switch = simulation.threads.lock()

    def wrapped(use: Callable[..., Any]) -> Callable[..., Any]:
        def with_others(*arguments: Any) -> Any:
            with switch:  # a point at which the seed chooses
                pass
            try:
                return use(*arguments)
            finally:
                with switch:
                    pass

        return with_others

    turn.claim = wrapped(turn.claim)
    turn._lay_down = wrapped(turn._lay_down)


@pytest.mark.seeds(200, step_seconds=0.001)
def test_it_is_never_lost_nor_had_twice(simulation: Simulation) -> None:
    """
    With waits that end at the very moment at which it is handed over.
    """
    turn = Turn(simulation.threads)
    let_others_run_around_the_token(turn, simulation)
    seen = [0, 0]
    threads = [
        simulation.threads.start(
            partial(hold_and_count, simulation, turn, seen), f"t{number}"
        )
        for number in range(4)
    ]
    for thread in threads:
        thread.join()

    assert seen == [0, 1]
    assert turn.take_now()


class Interrupted:
    """A gate at which the wait is broken off, by ctrl-c for one."""

    def __init__(self, first: Any) -> None:
        self._lock = threading.Lock()
        self._first = first

    def acquire(self, blocking: bool = True, timeout: float = -1.0) -> bool:
        if not self._lock.locked():
            return self._lock.acquire()
        self._first()
        raise KeyboardInterrupt

    def release(self) -> None:
        self._lock.release()


class Gates(SystemThreads):
    """Threads whose locks are gates that are interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Any = lambda: None

    def lock(self) -> Any:
        return Interrupted(self.first)


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_wait_that_is_interrupted_keeps_nobody_waiting(handed_over: bool) -> None:
    """
    Also one to whom it has just been handed over: it goes to the next.
    """
    gates = Gates()
    turn = Turn(gates)
    gates.first = turn.give_back if handed_over else (lambda: None)
    assert turn.take()
    with pytest.raises(KeyboardInterrupt):
        turn.take()
    if not handed_over:
        turn.give_back()

    assert turn.take_now()
    assert turn._waiting == []
