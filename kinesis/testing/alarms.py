"""
Timed waits of simulated threads, the earliest first.
"""

from __future__ import annotations

from heapq import heappop, heappush

from kinesis.testing.tasks import Task

__all__ = ["Alarms"]

BARREN_JUMPS = 1_000  # leaps in time for background threads alone: then it is stuck


class Alarms:
    """
    Who is to be woken when; a wait that ended before its time is not among them.

    Thread safety: for the holder of the baton only.
    """

    __slots__ = ("_heap", "_tickets", "barren")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Task]] = []
        self._tickets = 0
        self.barren = 0  # leaps since a thread ran that is not in the background

    def set(self, task: Task, moment: float) -> None:
        """Have *task* woken at *moment*, if it still has this ticket then."""
        self._tickets = task.ticket = self._tickets + 1
        heappush(self._heap, (moment, task.ticket, task))

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()

    def first(self) -> tuple[float, Task] | None:
        """Return the earliest moment, and who waits for it."""
        heap = self._heap
        while heap:
            moment, ticket, task = heap[0]
            if task.ticket == ticket:
                return moment, task
            heappop(heap)  # was woken before its time
        return None

    def due(self, now: float) -> Task | None:
        """Take out one whose moment has come."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, ticket, task = heappop(heap)
            if task.ticket == ticket:
                return task
        return None

    def is_fruitful(self) -> bool:
        """
        Return whether time may pass for a background thread's sake.

        It may be a timer that is about to wake somebody; but a thousand times in
        a row without any other thread running, it is a watcher that watches
        nothing, unless another thread waits for a later moment.
        """
        self.barren += 1
        if self.barren <= BARREN_JUMPS:
            return True
        self.barren = 0
        return any(
            task.ticket == ticket and not task.background
            for _, ticket, task in self._heap
        )
