"""
Calls at a later time: one thread for all the timers of a runtime.

The heap of what is due belongs to a lock; the calls are made outside it, on the
timer thread, in the order in which they fall due. A cancelled call costs one
flag; the heap is swept once most of it is cancelled.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable

from kinesis.concurrency import Empty, Thread, Threads

log = logging.getLogger("kinesis")

SWEEP = 1_000  # a heap below this many entries is never swept
LONGEST_SLEEP = 3_600.0  # seconds; a wait that is much longer is none for the system


class Timer:
    """
    A call that is due at *due*; `cancel` it from any thread, any number of times.

    With a *period* it is due again every so many seconds, counted from the first
    time, so it does not drift; times that were missed are left out.
    """

    __slots__ = ("_timers", "call", "due", "period")

    def __init__(
        self,
        due: float,
        call: Callable[[], object],
        timers: Timers,
        period: float | None = None,
    ) -> None:
        self.due = due
        self.period = period
        self.call: Callable[[], object] | None = call
        self._timers = timers

    def cancel(self) -> None:
        """Never make the call, unless it has begun."""
        if self.call is not None:
            self.call = None
            self._timers.count_cancelled()

    def __repr__(self) -> str:
        return f"<Timer due={self.due:.3f}{' cancelled' if self.call is None else ''}>"


class Timers:
    """
    Make calls later, on one thread that starts with the first of them.

    A call must be short and must not wait: what takes time belongs into a mailbox
    or onto a fresh thread. What it raises is logged.

    Thread safety: any thread may call any method.
    """

    def __init__(self, threads: Threads, name: str) -> None:
        self._threads = threads
        self._name = name
        self._lock = threads.lock()
        self._wake = threads.queue()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._sleeping_until = float("inf")
        self._thread: Thread | None = None
        self._closed = False

    def call_later(
        self,
        seconds: float,
        call: Callable[[], object],
        *,
        period: float | None = None,
    ) -> Timer:
        """Make *call* in *seconds*, and every *period*; return what cancels it."""
        return self.call_at(self._threads.monotonic() + seconds, call, period=period)

    def call_at(
        self,
        moment: float,
        call: Callable[[], object],
        *,
        period: float | None = None,
    ) -> Timer:
        """
        Make *call* at that *moment* of the monotonic clock, and every *period*.

        Raises:
            ValueError: A time is NaN, which comes neither before nor after another.
        """
        if moment != moment or (period is not None and not period > 0.0):
            raise ValueError(f"no time for a timer: {moment!r}, every {period!r}")
        timer = Timer(moment, call, self, period)
        self._push(timer)
        return timer

    def _push(self, timer: Timer) -> None:
        """Put *timer* on the heap; wake the thread if it is the next one due."""
        moment = timer.due
        with self._lock:
            if self._closed:
                return
            heapq.heappush(self._heap, (moment, next(self._order), timer))
            if self._thread is None:
                self._thread = self._threads.start(
                    self._run, f"kinesis:{self._name}:timers", background=True
                )
            if moment < self._sleeping_until:
                self._sleeping_until = moment
                self._wake.put(None)

    def count_cancelled(self) -> None:
        """Note that one more entry of the heap is dead; sweep when most are."""
        with self._lock:
            self._cancelled += 1
            if self._cancelled > SWEEP and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2].call]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def close(self, timeout: float) -> list[str]:
        """
        End the thread; calls that are not due yet are never made.

        Returns the thread's name if it did not end within *timeout* seconds.
        Idempotent.
        """
        with self._lock:
            self._closed = True
            self._heap.clear()
            thread, self._thread = self._thread, None
        self._wake.put(None)
        if thread is None or thread.ident == self._threads.get_ident():
            return []
        thread.join(timeout)
        return [thread.name] if thread.is_alive() else []

    def _run(self) -> None:
        """Sleep until the first is due, make the calls, and again."""
        while not self._closed:
            for timer in self._take_due():
                self._make(timer)
            self._sleep()

    def _take_due(self) -> list[Timer]:
        """Take the timers that are due off the heap, earliest first."""
        now = self._threads.monotonic()
        due = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                if timer.call is not None:
                    due.append(timer)
                else:
                    self._cancelled = max(0, self._cancelled - 1)
        return due

    def _make(self, timer: Timer) -> None:
        """Make one call; nothing it raises ends this thread."""
        call = timer.call
        if call is None:
            return
        if timer.period is None:
            timer.call = None
        else:
            missed = max(0.0, self._threads.monotonic() - timer.due) // timer.period
            timer.due += timer.period * (1 + missed)
            self._push(timer)
        try:
            call()
        except BaseException:
            log.exception("a timer's call failed", extra={"path": self._name})

    def _sleep(self) -> None:
        """Wait until the next is due, or an earlier one has come."""
        with self._lock:
            while self._heap and self._heap[0][2].call is None:
                heapq.heappop(self._heap)
                self._cancelled = max(0, self._cancelled - 1)
            until = self._heap[0][0] if self._heap else float("inf")
            self._sleeping_until = until
        now = self._threads.monotonic()
        if until <= now:
            return
        try:
            left = None if until == float("inf") else min(until - now, LONGEST_SLEEP)
            self._wake.get(timeout=left)
        except Empty:
            return
        finally:
            self._sleeping_until = float("-inf")  # awake: no need to wake us

    def __repr__(self) -> str:
        waiting = max(0, len(self._heap) - self._cancelled)
        return f"<Timers {self._name} [{waiting} waiting]>"
