"""
How many messages have been let in and not been begun yet.

The length of the queue does not tell: a worker may have taken the last one out of
it, and not have begun with it. Who runs a handler past the mailbox must know of
that one too, or its message would overtake it.
"""

from __future__ import annotations

from collections.abc import Callable

from kinesis.concurrency import Threads

__all__ = ["Entered"]


class Entered:
    """
    A count that goes up before a message is put, and down once it is begun.

    Attributes:
        count: Zero says that everything put before has been begun, or turned away.
    """

    __slots__ = ("_lock", "_put", "count")

    def __init__(self, threads: Threads, put: Callable[[object], object]) -> None:
        self.count = 0
        self._lock = threads.lock()
        self._put = put

    def put(self, item: object) -> None:
        """Count *item*, then put it."""
        with self._lock:
            self.count += 1
        self._put(item)

    def leave(self) -> None:
        """One has been begun, or was turned away."""
        with self._lock:
            self.count -= 1
