"""
Threads that go on after the end of a run, whatever is raised in them.
"""

from __future__ import annotations

from typing import NoReturn

from kinesis.testing.errors import Abandoned
from kinesis.testing.tasks import Task

__all__ = ["Stragglers"]

SWALLOWED = 1_000  # times that a thread may go on after it was abandoned
LINGER = 0.05  # real seconds that each operation takes of a thread that was given up


class Stragglers:
    """
    Those that were given up: they are slowed down until they end.

    Thread safety: `swallow` is for the holder of the baton, the others are for any
    thread.
    """

    __slots__ = ("_lost",)

    def __init__(self) -> None:
        self._lost: dict[int, Task] = {}  # by real ident

    def swallow(self, task: Task) -> bool:
        """
        Count that *task* goes on though it was abandoned.

        Returns:
            True if it is given up from now on.
        """
        task.swallowed += 1
        if task.swallowed <= SWALLOWED:
            return False
        assert task.real is not None
        self._lost[task.real] = task
        return True

    def hold_up(self, ident: int) -> None:
        """Slow down the calling thread, whose ident it is, if it was given up."""
        if ident in self._lost:
            self.linger(self._lost[ident])

    def linger(self, task: Task) -> NoReturn:
        """Let the calling thread, that of *task*, wait a little and then end."""
        assert task.gate is not None
        task.gate.acquire(True, LINGER)
        raise Abandoned
