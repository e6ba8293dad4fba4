"""
`Threads`, simulated: real threads of which exactly one runs at a time.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from kinesis.concurrency import OnCrash
from kinesis.testing.baton import FOREVER
from kinesis.testing.errors import Abandoned
from kinesis.testing.primitives import (
    SimulatedEvent,
    SimulatedLock,
    SimulatedQueue,
    SimulatedThread,
    deadline_in,
)
from kinesis.testing.reports import crashed, is_over, left, stack_of
from kinesis.testing.scheduler import Scheduler
from kinesis.testing.simulation import Taker
from kinesis.testing.tasks import Task

__all__ = ["SimulatedThreads"]

EPOCH = 1_000_000_000.0  # seconds: `time` at the start, the 9th of September 2001
GRACE = 60.0  # virtual seconds that threads may go on after the main one
LIMIT = 1_000_000  # operations of one run
PATIENCE = 30.0  # real seconds without an operation


class _Clock:
    """What a sleeper waits for."""

    label = "the clock"

    def holder(self) -> str:
        return ""


class _Slot:
    """A parked simulated thread, and the job that it is to do next."""

    def __init__(self, job: Callable[[], object]) -> None:
        self.job: Callable[[], object] | None = job
        self.label = "a job"
        self.waiters: list[Task] = []
        self.thread: SimulatedThread | None = None

    def holder(self) -> str:
        return ""


class SimulatedThreads:
    """
    `Threads` whose every choice is made by *seed*, in virtual time.

    The thread that makes it becomes the simulated main thread: what it does with
    locks, events and queues from here is part of the run. `finish` ends the run.

    Simulated: everything that comes from this object, and nothing else. Between
    two operations a thread is never interrupted, so a race on plain attributes
    shows only if there is an operation between the two steps of it; say
    ``sleep(0)`` where you want one.

    Args:
        seed: The same seed, the same run, to the line.
        on_crash: Called with the name of a thread and what it raised, on that
            thread. Without it, `finish` raises it.
        step_seconds: Virtual seconds that each operation takes at most; the seed
            says how many. With 0 no time passes while anybody can run, so a
            timeout never comes early; with a little, timeouts take part in races.
        limit: Operations after which the run is a `LivelockError`.
        patience: Real seconds without an operation after which it is a
            `StuckError`.

    Thread safety: from threads of the simulation only; others get a
    `SimulationError`.
    """

    def __init__(
        self,
        seed: int = 0,
        on_crash: OnCrash | None = None,
        *,
        step_seconds: float = 0.0,
        limit: int = LIMIT,
        patience: float = PATIENCE,
    ) -> None:
        self.seed = seed
        self._on_crash = on_crash
        self._taker = Taker()
        self._scheduler = self._taker.scheduler = Scheduler(
            seed,
            self._taker,
            step_seconds=step_seconds,
            limit=limit,
            patience=patience,
        )
        self._clock = _Clock()
        self._idle: list[_Slot] = []
        self._parked: list[_Slot] = []
        self._closed = False
        self._refusals = 0
        self._made = 0

    # ---------------------------------------------------- the Threads protocol

    def start(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> SimulatedThread:
        """Start a simulated thread; see `Threads.start`."""
        scheduler = self._scheduler
        if scheduler.over:
            raise is_over(scheduler, f"start '{name}'")
        scheduler.point("start", scheduler.current)
        if self._refusals > 0:
            self._refusals -= 1
            raise RuntimeError("can't start new thread")
        run = contextvars.Context().run  # a new thread has an empty context
        task = scheduler.add(lambda: run(self._guarded, target, name), name, background)
        scheduler.point("started", task)
        return SimulatedThread(scheduler, task)

    def _guarded(self, target: Callable[[], object], name: str) -> None:
        """Run *target*; report what it raises."""
        try:
            target()
        except Abandoned:
            raise
        except BaseException as error:
            if self._on_crash is None:
                self._scheduler.crashes.append((name, error))
            else:
                self._on_crash(name, error)

    def fresh(self, job: Callable[[], object], *, new: bool = False) -> None:
        """Run *job* on a new simulated thread or a parked one; see `Threads.fresh`."""
        if new or not self._idle:
            self._new_parked(job)
            return
        slot = self._idle.pop()
        self._scheduler.signal("fresh", slot)
        self._give(slot, job)
        self._scheduler.signal("has given", slot)

    def _new_parked(self, job: Callable[[], object]) -> None:
        """Start a thread for *job*; afterwards it parks for later ones."""
        slot = _Slot(job)
        number = self._made + 1
        self._parked.append(slot)
        try:
            slot.thread = self.start(
                lambda: self._serve(slot), f"kinesis:transition-{number}"
            )
        except BaseException:
            self._parked.remove(slot)
            raise
        self._made = number

    def _give(self, slot: _Slot, job: Callable[[], object] | None) -> None:
        """Let a parked thread go on with *job*, or end."""
        slot.job = job
        self._scheduler.wake_all(slot.waiters)

    def _serve(self, slot: _Slot) -> None:
        """Do jobs until this is closed."""
        scheduler = self._scheduler
        me = scheduler.current
        try:
            while slot.job is not None:
                job, slot.job = slot.job, None
                self._guarded(job, me.name)
                del job  # what it refers to must not live as long as we are idle
                if self._closed:
                    return
                self._idle.append(slot)
                me.background = True
                scheduler.block(me, "park for", slot, slot.waiters, None)
                me.background = False
        finally:
            self._parked.remove(slot)

    def current(self) -> SimulatedThread:
        """Return the calling thread."""
        return SimulatedThread(self._scheduler, self._scheduler.current)

    def batch(self, on: bool) -> None:
        """Do nothing: who goes on is the seed's choice; see `Threads.batch`."""

    def lock(self) -> SimulatedLock:
        """Return a new lock, not re-entrant."""
        return SimulatedLock(self._scheduler)

    def event(self) -> SimulatedEvent:
        """Return a new event, not set."""
        return SimulatedEvent(self._scheduler)

    def queue(self) -> SimulatedQueue:
        """Return a new unbounded first-in-first-out queue."""
        return SimulatedQueue(self._scheduler)

    def monotonic(self) -> float:
        """Return virtual seconds since the start."""
        self._scheduler.tick()
        return self._scheduler.now

    def time(self) -> float:
        """Return virtual seconds since the epoch; the start is always the same."""
        self._scheduler.tick()
        return EPOCH + self._scheduler.now

    def sleep(self, seconds: float) -> None:
        """Wait *seconds* of virtual time; with 0, only let others run."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        scheduler = self._scheduler
        me = scheduler.point("sleep", self._clock)
        if seconds > 0:
            limit = deadline_in(scheduler, seconds)
            scheduler.block(me, "sleep on", self._clock, None, limit)

    def rest(self) -> None:
        """Do nothing; see `Threads.rest`."""

    def get_ident(self) -> int:
        """Return the number of the calling thread: 1 for main, 2 for the next."""
        return self._scheduler.current.number

    def in_main_thread(self) -> bool:
        """Return whether the caller is the simulated main thread."""
        return self._scheduler.current.number == 1

    def names(self) -> dict[int, str]:
        """Return the names of the simulated threads, by number."""
        return {task.number: task.name for task in self._scheduler.tasks}

    def stack(self, ident: int | None) -> str:
        """Return the stack of a simulated thread; see `Threads.stack`."""
        for task in self._scheduler.tasks:
            if task.number == ident:
                return stack_of(task)
        return "  (the thread does not run)\n"

    def close(self, timeout: float) -> list[str]:
        """End the parked threads; see `Threads.close`."""
        self._closed = True
        deadline = self.monotonic() + timeout
        while self._idle:
            self._give(self._idle.pop(), None)
        late = []
        me = self.get_ident()
        for slot in self._parked[:]:
            thread = slot.thread
            if thread is None or thread.ident == me:
                continue
            thread.join(max(0.0, deadline - self.monotonic()))
            if thread.is_alive():
                late.append(thread.name)
        return late

    # --------------------------------------------------------- for those who test

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._scheduler.now

    @property
    def steps(self) -> int:
        """Operations so far."""
        return self._scheduler.steps

    @property
    def trace(self) -> list[tuple[str, str]]:
        """What happened: (name of the thread, operation), in order."""
        return [
            (name, f"{operation} {label}")
            for name, operation, label in self._scheduler.log
        ]

    @property
    def crashes(self) -> list[tuple[str, BaseException]]:
        """What threads raised: (name of the thread, error), in order."""
        return self._scheduler.crashes

    @property
    def interrupt(self) -> BaseException | None:
        """What broke off the main thread's wait from outside, such as ctrl-c."""
        return self._scheduler.interrupt

    def alive(self) -> list[str]:
        """Return the names of the threads that have not ended, oldest first."""
        return [task.name for task in self._scheduler.tasks]

    def refuse(self, count: int) -> None:
        """Let the next *count* starts fail, as on a system that is out of threads."""
        self._refusals = count

    def settle(self) -> None:
        """Let the others run until all of them wait; no time passes."""
        scheduler = self._scheduler
        me = scheduler.point("settle", self._clock)
        scheduler.block(me, "settle on", self._clock, None, scheduler.now)

    def join_all(self, grace: float = GRACE) -> None:
        """
        Wait until all threads have ended but background and parked ones.

        Args:
            grace: Virtual seconds to wait at most.

        Raises:
            ThreadsLeftError: Some have not ended by then.
            DeadlockError: Some never will.
        """
        scheduler = self._scheduler
        scheduler.horizon = scheduler.now + grace
        try:
            while (task := self._unfinished()) is not None:
                SimulatedThread(scheduler, task).join()
        finally:
            scheduler.horizon = FOREVER

    def _unfinished(self) -> Task | None:
        """Return a thread that should end by itself and has not."""
        scheduler = self._scheduler
        for task in scheduler.tasks:
            if task is not scheduler.main and not (task.background or task.reported):
                return task
        return None

    def finish(self, *, wait: bool = True) -> None:
        """
        End the run; no real thread is left.

        Args:
            wait: Let the threads come to their end first. Without, each is made
                to raise `Abandoned` at its next operation.

        Raises:
            ThreadCrashedError: A thread raised.
            ThreadsLeftError: Threads did not end by themselves within a minute of
                virtual time, or not even when they were abandoned.
            DeadlockError: Threads never will.

        Idempotent.
        """
        if self._scheduler.over:
            return
        try:
            if wait:
                self.join_all()
        finally:
            survivors = self._scheduler.abandon()
            self._taker.close()
        if wait and self.crashes:
            raise crashed(self._scheduler)
        if survivors:
            raise left(self._scheduler, "not even ended by force")
