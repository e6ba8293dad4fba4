"""
Where work comes in from outside, and how that ends before the parts stop.

A load balancer should see a stop coming: first the program says that it is not
ready, then, after a delay, it refuses new work, and only when what it had taken
in is done its parts stop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from kinesis.concurrency import Threads
from kinesis.timers import Timers

log = logging.getLogger("kinesis")

LINGER = 5.0  # seconds that work which was taken in may take
LOOK_EVERY = 0.02  # seconds


class Door(Protocol):
    """Something that takes in work from outside, such as an HTTP server."""

    delay: float
    """Seconds between saying that the program is not ready, and refusing work."""

    def shut(self) -> None:
        """Refuse new work from now on; return at once."""
        ...

    def is_busy(self) -> bool:
        """Return whether work that was taken in is not done."""
        ...


class Doors:
    """
    All doors of one runtime.

    Thread safety: any thread may call any method.

    Attributes:
        stopping: Whether the runtime has been asked to stop, or has failed.
    """

    def __init__(self, threads: Threads, timers: Timers) -> None:
        self.stopping = False
        self._threads = threads
        self._timers = timers
        self._doors: tuple[Door, ...] = ()
        self._books = threads.lock()
        self._until = 0.0

    def add(self, door: Door) -> None:
        """Take in work through *door* from now on."""
        with self._books:
            self._doors = (*self._doors, door)

    def remove(self, door: Door) -> None:
        """Forget *door*, which takes nothing in any more."""
        with self._books:
            self._doors = tuple(each for each in self._doors if each is not door)

    @property
    def delay(self) -> float:
        """Seconds that a stop waits before it refuses work."""
        return max((door.delay for door in self._doors), default=0.0)

    def shut(self, then: Callable[[], object]) -> None:
        """
        Say that the program is not ready; wait; refuse work; finish what is there.

        Does not wait itself.

        Args:
            then: Called at the end, here or on the timer thread.
        """
        self.stopping = True
        if delay := self.delay:
            self._timers.call_later(delay, lambda: self._shut(then))
        else:
            self._shut(then)

    def _shut(self, then: Callable[[], object]) -> None:
        """Refuse work; then look until what was taken in is done."""
        for door in self._doors:
            try:
                door.shut()
            except Exception:  # the stop goes on whatever a door does
                log.exception("%r does not shut", door)
        self._until = self._threads.monotonic() + LINGER
        self._look(then)

    def _look(self, then: Callable[[], object]) -> None:
        """Go on if nothing is left to do, or look again soon."""
        late = self._threads.monotonic() >= self._until
        if late or not any(door.is_busy() for door in self._doors):
            then()
        else:
            self._timers.call_later(LOOK_EVERY, lambda: self._look(then))
