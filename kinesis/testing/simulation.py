"""
The real threads of a simulation, which carry the simulated ones.

This is the second place, beside `kinesis.concurrency`, that imports `threading`.
The carriers are `Thread` objects, so that logging, debuggers and coverage see them,
under the name of what they carry. One whose simulated thread has ended carries the
next; with `keep_carriers` also that of the next simulation, which makes short runs
several times as fast.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from kinesis.testing.scheduler import Scheduler
from kinesis.testing.tasks import Gate, Task

__all__ = ["Carriers", "Taker", "keep_carriers", "threads_alive", "untraced"]

PATIENCE = 30.0  # real seconds that a carrier has to end


def shut_gate() -> Gate:
    """Return a lock that is taken: whoever releases it lets one thread pass."""
    gate = threading.Lock()
    gate.acquire()
    return gate


def threads_alive() -> list[threading.Thread]:
    """Return the real threads of this process."""
    return threading.enumerate()


class Carrier(threading.Thread):
    """A real thread, for one simulated thread after the other."""

    def __init__(self, pool: Carriers) -> None:
        super().__init__(name="kinesis-simulation", daemon=True)
        self.gate = shut_gate()
        self.task: Task | None = None
        self.scheduler: Scheduler | None = None
        self._pool = pool

    def run(self) -> None:
        """Wait at the gate; carry what is there; end when nothing is."""
        while True:
            self.gate.acquire()
            task, self.task = self.task, None
            if task is None or self.scheduler is None:
                return
            if not self._carry(self.scheduler, task):
                return

    def _carry(self, scheduler: Scheduler, task: Task | None) -> bool:
        """
        Run *task*, and those not begun that follow it; then pass the baton on.

        Returns:
            False if the simulation went to its end without waiting for *task*.
        """
        while task is not None:
            self.name = task.name
            task = scheduler.carry(self, task)
        gate = scheduler.current.gate
        if scheduler.over:
            return False
        self.name = "kinesis-simulation"
        self.scheduler = None
        self._pool.idle.append(self)
        if gate is not None:
            gate.release()
        return True


class Carriers:
    """Real threads that are kept for later ones."""

    def __init__(self) -> None:
        self.idle: list[Carrier] = []

    def close(self) -> None:
        """End those that carry nothing."""
        ending, self.idle = self.idle, []
        for carrier in ending:
            carrier.gate.release()
        for carrier in ending:
            carrier.join(PATIENCE)


@contextlib.contextmanager
def on_one_cpu() -> Iterator[None]:
    """
    Keep the calling thread, and those it starts, on the processor it is on.

    Only one of them runs at a time anyhow, and handing over on one processor takes
    half as long as waking another. Does nothing where the system has no such call.
    """
    allowed = _pin()
    try:
        yield
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)


def _pin() -> set[int]:
    """Bind the calling thread to its processor; return those it had, if it could."""
    try:
        allowed = os.sched_getaffinity(0)
        with open("/proc/thread-self/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(") ")[2].split()
        os.sched_setaffinity(0, {int(fields[36])})
    except (AttributeError, OSError):
        return set()
    return allowed


_kept: list[Carriers] = []  # the pool of the outermost `keep_carriers`, or nothing


@contextlib.contextmanager
def keep_carriers() -> Iterator[None]:
    """
    Let the simulations of this block share their real threads, and end them after.

    Simulations one after the other, not at the same time.
    """
    if _kept:
        yield
        return
    pool = Carriers()
    _kept.append(pool)
    try:
        with on_one_cpu():
            yield
    finally:
        _kept.remove(pool)
        pool.close()


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """
    Hide the calling thread, and those it starts, from coverage and debuggers.

    Those that run already are traced as before: so enter `keep_carriers` inside.
    """
    here, new = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(new)
        sys.settrace(here)
        _be_called()


def _be_called() -> None:
    """
    Do nothing.

    A trace function is told of calls only, until it has been told of one; coverage
    then takes over, and keeps count of the returns from there on.
    """


class Taker:
    """Gives one scheduler its real threads: kept ones, or some of its own."""

    gate = staticmethod(shut_gate)
    get_ident = staticmethod(threading.get_ident)

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        self._own = not _kept
        self._pool = Carriers() if self._own else _kept[0]

    def take(self) -> Carrier:
        """Return a carrier that waits at its gate."""
        pool = self._pool
        if pool.idle:
            carrier = pool.idle.pop()
        else:
            carrier = Carrier(pool)
            carrier.start()
        carrier.scheduler = self.scheduler
        return carrier

    def close(self) -> None:
        """End the carriers, unless others are to have them."""
        self.scheduler = None
        if self._own:
            self._pool.close()
