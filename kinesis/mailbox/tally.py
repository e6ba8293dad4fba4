"""
What a mailbox counts, and in which thread.

The worker counts what it handles without a lock: it is the only writer. All that
is rare, or counted by several threads, goes through one lock.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from operator import add

import attrs

from kinesis.concurrency import Threads

__all__ = ["BATCH", "LATENCY_BOUNDS", "Counts", "Tally"]

# seconds, as upper bounds
LATENCY_BOUNDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
NONE_COUNTED = (0,) * (len(LATENCY_BOUNDS) + 1)
BATCH = 128  # latencies counted together: 4 KiB


@attrs.frozen
class Counts:
    """
    What a mailbox has counted, as a value.

    Attributes:
        accepted: Messages let in; a batch is one. It is ``answered`` and
            ``running`` and ``depth`` together.
        handled: Answered with a value.
        failed: Answered with an error.
        late: Begun, but the sender's time was over before the answer.
        expired: Never begun, because the sender's time was over.
        dropped: Never begun, to make room for newer ones.
        stopped: Never begun, because the component stopped.
        refused: Not let in: full, or closed. Not among the accepted.
        depth: Waiting now.
        running: Begun and not answered now.
        busy_seconds: Spent in handlers.
        latency_seconds: From accepted to answered, the sum over those of
            ``handled`` whose sender waits.
        latency_most: The longest of these.
        latency_buckets: How many of these were at most as long as each of
            `LATENCY_BOUNDS` and longer than the one before; the last: longer.
    """

    handled: int
    failed: int
    late: int
    expired: int
    dropped: int
    stopped: int
    refused: int
    depth: int
    running: int
    busy_seconds: float
    latency_seconds: float
    latency_most: float
    latency_buckets: tuple[int, ...]

    @property
    def answered(self) -> int:
        """How many of the accepted have their answer, each exactly one."""
        begun = self.handled + self.failed + self.late
        return begun + self.expired + self.dropped + self.stopped

    @property
    def accepted(self) -> int:
        """How many were let in; one of them may be on its way to the worker."""
        return self.answered + self.running + self.depth


class Tally:
    """
    The counters of one mailbox; see `Counts` for what they mean.

    Attributes:
        begun: Handed to a handler.
        busy_seconds: In handlers, but for those in the two that follow.
        busy_seconds_failed: In handlers that raised, or were abandoned.
        here, failed_here, busy_seconds_here: Of those that their sender's own thread
            has handled, past the mailbox. Counted by who has the component's turn:
            so one at a time, and without a lock.
        path: Of the component, for messages.
        now: The clock.
        latencies: Of one each, in seconds, not yet counted; whoever appends the last
            of `BATCH` calls `fold`.
    """

    __slots__ = (
        "_lock",
        "begun",
        "busy_seconds",
        "busy_seconds_failed",
        "busy_seconds_here",
        "dropped",
        "expired",
        "failed",
        "failed_here",
        "handled",
        "here",
        "late",
        "latencies",
        "latency_buckets",
        "latency_most",
        "latency_seconds",
        "now",
        "path",
        "refused",
        "stopped",
    )

    def __init__(self, threads: Threads, path: str) -> None:
        self.path = path
        self.now = threads.monotonic
        self._lock = threads.lock()
        self.begun = self.handled = self.failed = self.late = 0
        self.here = self.failed_here = 0
        self.busy_seconds_here = self.busy_seconds_failed = 0.0
        self.expired = self.dropped = self.stopped = self.refused = 0
        self.busy_seconds = self.latency_seconds = self.latency_most = 0.0
        self.latency_buckets = NONE_COUNTED
        self.latencies: list[float] = []

    def fold(self) -> None:
        """Count the latencies that have come together."""
        with self._lock:
            latencies = self.latencies[:]
            del self.latencies[: len(latencies)]
            if not latencies:
                return
            latencies.sort()  # all of one bucket at once: a quarter of the time
            self.latency_seconds += sum(latencies)
            self.latency_most = max(self.latency_most, latencies[-1])
            upto = [bisect_right(latencies, bound) for bound in LATENCY_BOUNDS]
            new = [end - begin for begin, end in pairwise([0, *upto, len(latencies)])]
            self.latency_buckets = tuple(map(add, self.latency_buckets, new))

    def count_failed(self, busy: float) -> None:
        """Count one answered with an error, after so many seconds of its handler."""
        with self._lock:
            self.failed += 1
            self.busy_seconds_failed += busy

    def count(self, counter: str) -> None:
        """Add one to the attribute called *counter*, one of the rare ones."""
        with self._lock:
            setattr(self, counter, getattr(self, counter) + 1)

    def counts(self, depth: int) -> Counts:
        """Return all as a value; while messages move, some may be one behind."""
        self.fold()
        return Counts(
            handled=self.handled + self.here,
            failed=self.failed + self.failed_here,
            late=self.late,
            expired=self.expired,
            dropped=self.dropped,
            stopped=self.stopped,
            refused=self.refused,
            depth=depth,
            running=max(0, self.begun - self.handled - self.failed - self.late),
            busy_seconds=self.busy_seconds
            + self.busy_seconds_here
            + self.busy_seconds_failed,
            latency_seconds=self.latency_seconds,
            latency_most=self.latency_most,
            latency_buckets=self.latency_buckets,
        )
