"""
What an application counts: requests, by route, method and status, and their time.

The threads that answer only append to a list; who reads, or finds it long, counts
what has come together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import attrs

from kinesis.concurrency import Threads

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets, in seconds."""

BATCH = 256  # requests counted together
MOST_ROUTES = 1_000  # further ones are counted together: nothing grows for ever

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

OTHER = "other"
"""A method that is none of HTTP, and the route beyond `MOST_ROUTES`."""

NOWHERE = ""
"""The route of requests for what is not there."""


@attrs.frozen
class Durations:
    """
    How long requests took.

    Attributes:
        buckets: How many took at most as long as each of `BOUNDS` and longer than
            the one before; the last: longer.
        seconds: What all took together.
    """

    buckets: tuple[int, ...]
    seconds: float


@attrs.frozen
class Requests:
    """
    What has been counted.

    Attributes:
        number: By route, method and status.
        durations: By route and method.
    """

    number: Mapping[tuple[str, str, int], int]
    durations: Mapping[tuple[str, str], Durations]


class Tally:
    """
    Counts requests.

    Thread safety: any thread may call any method.
    """

    def __init__(self, threads: Threads) -> None:
        self._lock = threads.lock()
        self._samples: list[tuple[str, str, int, float]] = []
        self._routes: set[str] = set()
        self._number: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """
        Count one request.

        Args:
            route: A rule, never a path as it was sent; `NOWHERE` for none.
        """
        samples = self._samples
        samples.append((route, method, status, seconds))
        if len(samples) >= BATCH:
            self._fold()

    def _fold(self) -> None:
        """Count what has come together."""
        with self._lock:
            batch = self._samples[:]
            del self._samples[: len(batch)]
            for route, method, status, seconds in batch:
                key = self._known(route), method if method in METHODS else OTHER
                number = (*key, status)
                self._number[number] = self._number.get(number, 0) + 1
                buckets = self._buckets.get(key)
                if buckets is None:
                    buckets = self._buckets[key] = [0] * (len(BOUNDS) + 1)
                buckets[bisect_left(BOUNDS, seconds)] += 1
                self._seconds[key] = self._seconds.get(key, 0.0) + seconds

    def _known(self, route: str) -> str:
        """Return *route*, if there is room for it."""
        if route not in self._routes:
            if len(self._routes) >= MOST_ROUTES:
                return OTHER
            self._routes.add(route)
        return route

    def read(self) -> Requests:
        """Return all as a value."""
        self._fold()
        with self._lock:
            durations = {
                key: Durations(tuple(buckets), self._seconds[key])
                for key, buckets in self._buckets.items()
            }
            return Requests(dict(self._number), durations)
