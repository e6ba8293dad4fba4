"""
The threads that run requests.

Waitress brings a dispatcher of its own; this one takes its threads and its queue
from a `Threads`, joins what it started, and can tell how much waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from kinesis.concurrency import Queue, Thread, Threads

log = logging.getLogger("kinesis.http")


class Job(Protocol):
    """What a pool runs: a channel that holds a whole request."""

    def service(self) -> object:
        """Do it."""
        ...


class Pool:
    """
    *count* threads that take jobs in the order in which they came.

    Thread safety: any thread may add jobs; start and stop it from one.
    """

    def __init__(self, threads: Threads, count: int, name: Callable[[int], str]):
        self._threads = threads
        self._count = count
        self._name = name
        self._queue: Queue[Job | None] = threads.queue()
        self._started: list[Thread] = []
        self._books = threads.lock()
        self._unfinished = 0  # jobs that wait or run

    @property
    def waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return self._queue.qsize()

    @property
    def busy(self) -> int:
        """How many threads are running a job, or about to."""
        return max(0, self._unfinished - self.waiting)

    def start(self) -> None:
        """
        Start the threads.

        Raises:
            RuntimeError: The system refuses one; `stop` ends the others.
        """
        for number in range(1, self._count + 1):
            thread = self._threads.start(self._work, self._name(number))
            self._started.append(thread)

    def _work(self) -> None:
        """Run jobs until told to end; on each thread."""
        while (job := self._queue.get()) is not None:
            try:
                job.service()
            except BaseException:  # the thread must outlive whatever a request does
                log.exception("a request failed outside of its handler")
            finally:
                with self._books:
                    self._unfinished -= 1
                del job  # an idle thread must not keep a request alive

    def add_task(self, job: Job) -> None:
        """Run *job* once a thread is free. (Waitress's name for it.)"""
        with self._books:
            self._unfinished += 1
        self._queue.put(job)

    def stop(self, timeout: float) -> list[str]:
        """
        Run what waits, end the threads; return the names of those still running.

        Args:
            timeout: Seconds for all of them together.
        """
        deadline = self._threads.monotonic() + timeout
        for _ in self._started:
            self._queue.put(None)
        for thread in self._started:
            thread.join(max(0.0, deadline - self._threads.monotonic()))
        return [thread.name for thread in self._started if thread.is_alive()]
