"""
A clock that stands still.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

import attrs

from kinesis.concurrency import Lock, SystemThreads, Threads

__all__ = ["FakeClock"]


@attrs.define(eq=False)
class FakeClock:
    """
    A clock that moves only when a test moves it.

    Code under test asks for time as a call ("in 15 s, put Resume in my mailbox"),
    so advancing the clock is all that a test does to make time pass.

    Args:
        threads: Where the lock comes from.

    Thread safety: any thread may call any method. Callbacks run in the thread that
    calls `advance`, outside the lock; two advances at a time are a mistake of the
    test's, and would run callbacks side by side.
    """

    threads: Threads = attrs.field(factory=SystemThreads)
    _now: float = attrs.field(default=0.0, init=False)
    _lock: Lock = attrs.field(init=False)
    _calls: int = attrs.field(default=0, init=False)
    _due: list[tuple[float, int]] = attrs.field(factory=list, init=False)
    _callbacks: dict[int, Callable[[], object]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._lock = self.threads.lock()

    def now(self) -> float:
        """Return the time, in seconds since an arbitrary start."""
        with self._lock:
            return self._now

    def call_later(
        self, seconds: float, callback: Callable[[], object]
    ) -> Callable[[], bool]:
        """
        Call *callback* once the clock has moved *seconds* forward.

        Calls that are due at the same time run in the order they were asked for.

        Returns:
            A function that cancels the call; False if that was too late.
        """
        with self._lock:
            self._calls += 1
            number = self._calls
            heappush(self._due, (self._now + seconds, number))
            self._callbacks[number] = callback
        return lambda: self._cancel(number)

    def _cancel(self, number: int) -> bool:
        """Forget a call, unless it has begun."""
        with self._lock:
            return self._callbacks.pop(number, None) is not None

    def advance(self, seconds: float) -> None:
        """
        Move time forward by *seconds*, running what falls due, earliest first.

        What a callback raises comes out of here, with the clock at that moment;
        the calls after it stay due.

        Raises:
            ValueError: *seconds* is negative.
        """
        if seconds < 0:
            raise ValueError(
                f"cannot advance by {seconds:g} s: time only moves forward. "
                f"Make a new FakeClock for an earlier time."
            )
        target = self.now() + seconds
        while (callback := self._next_due(target)) is not None:
            callback()
        with self._lock:
            self._now = max(self._now, target)

    def _next_due(self, target: float) -> Callable[[], object] | None:
        """Move to the earliest call due by *target*, and return it."""
        with self._lock:
            while self._due and self._due[0][0] <= target:
                moment, number = heappop(self._due)
                callback = self._callbacks.pop(number, None)
                if callback is not None:
                    self._now = max(self._now, moment)
                    return callback
            return None
