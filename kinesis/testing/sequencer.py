"""
Steps of several threads, forced into one order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from kinesis.concurrency import Event, Lock, SystemThreads, Threads

__all__ = ["Sequencer"]

PATIENCE = 5.0  # seconds that a step waits for its turn before it reports a hang


@attrs.define(eq=False)
class Sequencer:
    """
    Force steps in different threads into one order.

    ``with sequencer(1): ...`` runs after ``with sequencer(0): ...`` has finished,
    whichever thread each is in. The first step is 0, and each step runs once.

    Args:
        patience: Seconds that a step waits for its turn.
        threads: Where the waiting is done; a simulation's for virtual time.

    Thread safety: share one instance between all the threads of a test.

    Source: trio's ``testing.Sequencer``.
    """

    patience: float = PATIENCE
    threads: Threads = attrs.field(factory=SystemThreads)
    _lock: Lock = attrs.field(init=False)
    _next: int = attrs.field(default=0, init=False)
    _begun: set[int] = attrs.field(factory=set, init=False)
    _turns: dict[int, Event] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._lock = self.threads.lock()

    @contextmanager
    def __call__(self, step: int) -> Iterator[None]:
        """
        Wait for *step*'s turn, run the block, then let the next step go.

        The next step goes also if the block raises.

        Raises:
            ValueError: *step* is negative, or has been used already.
            AssertionError: The turn did not come within *patience* seconds.
        """
        if not self._claim(step).wait(self.patience):
            raise AssertionError(
                f"step {step} never came: still at step {self._next} after "
                f"{self.patience:g} s. Is an earlier step missing or blocked?"
            )
        try:
            yield
        finally:
            with self._lock:
                self._next += 1
                self._turn(self._next).set()

    def _claim(self, step: int) -> Event:
        """Return the event that lets *step* go; nobody else may wait for it."""
        with self._lock:
            if step < 0 or step in self._begun:
                why = "steps count from 0" if step < 0 else "it is in use already"
                raise ValueError(f"cannot run step {step}: {why}.")
            self._begun.add(step)
            turn = self._turn(step)
            if step == self._next:
                turn.set()
            return turn

    def _turn(self, step: int) -> Event:
        """Return the event of *step*; the lock is held."""
        return self._turns.setdefault(step, self.threads.event())
