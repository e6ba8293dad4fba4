"""
What an application counts: requests, by method and status, and how long they took.

The threads that answer only append to a list; who reads, or finds it long, counts
what has come together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import attrs

from kinesis.concurrency import Threads

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets, in seconds."""

BATCH = 256  # requests counted together

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@attrs.frozen
class Requests:
    """
    What has been counted.

    Attributes:
        by_method_and_status: A method that is none of HTTP counts as ``other``.
        buckets: How many took at most as long as each of `BOUNDS` and longer than
            the one before; the last: longer.
        seconds: What all took together.
    """

    by_method_and_status: dict[tuple[str, int], int]
    buckets: tuple[int, ...]
    seconds: float


class Tally:
    """
    Counts requests.

    Thread safety: any thread may call any method.
    """

    def __init__(self, threads: Threads) -> None:
        self._lock = threads.lock()
        self._samples: list[tuple[str, int, float]] = []
        self._counts: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def add(self, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        samples = self._samples
        samples.append((method, status, seconds))
        if len(samples) >= BATCH:
            self._fold()

    def _fold(self) -> None:
        """Count what has come together."""
        with self._lock:
            batch = self._samples[:]
            del self._samples[: len(batch)]
            for method, status, seconds in batch:
                known = method if method in METHODS else "other"
                self._counts[known, status] += 1
                self._buckets[bisect_left(BOUNDS, seconds)] += 1
                self._seconds += seconds

    def read(self) -> Requests:
        """Return all as a value."""
        self._fold()
        with self._lock:
            return Requests(dict(self._counts), tuple(self._buckets), self._seconds)
