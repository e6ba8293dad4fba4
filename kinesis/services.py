"""
What all the components of one runtime share.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Literal
from weakref import WeakSet

import attrs

from kinesis.changes import Changes
from kinesis.concurrency import Lock, Thread, Threads
from kinesis.doors import Doors
from kinesis.errors import ForkedError
from kinesis.life import CURRENT, Life
from kinesis.mailbox import Overdue
from kinesis.timers import Timers
from kinesis.traces import TRACE
from kinesis.waits import WaitGraph

log = logging.getLogger("kinesis")

Transitions = Literal["parked", "new"]


def _nothing() -> None:
    """Be told, and do nothing."""


@attrs.define(eq=False)
class Services:
    """
    The threads, timers and books of one runtime.

    Attributes:
        name: The runtime's.
        threads: Where threads, locks and time come from.
        timers: Calls at a later time.
        overdue: Ends the waits of senders whose time is over.
        waits: Who waits for whom.
        transitions: ``parked``: a transition may run on a thread that has run
            others; ``new``: always on a new one.
        changes: Where changes are announced, and who listens.
        pid: The process that the threads live in; a forked child has none.
        forked: Whether this is such a child.
        ref_of: Makes the `Ref` of a cell; set by the runtime.
        on_ended: Called when a component has ended by itself.
        started: Numbers components in the order in which they reach STARTED.
        stopped: The paths stopped since the stop of the whole began, and the
            seconds each took.
        find: Returns the `Ref` at a path, seen from a cell; set by the runtime.
        crashes: How many exceptions reached the end of a thread of ours.
        doors: Where work comes in from outside.
    """

    name: str
    threads: Threads
    transitions: Transitions = "parked"
    pid: int = attrs.field(factory=os.getpid)
    forked: bool = attrs.field(default=False, init=False)
    crashes: int = attrs.field(default=0, init=False)
    timers: Timers = attrs.field(init=False)
    overdue: Overdue = attrs.field(init=False)
    doors: Doors = attrs.field(init=False)
    waits: WaitGraph = attrs.field(init=False)
    changes: Changes = attrs.field(init=False)
    ref_of: Callable[[Any], Any] = attrs.field(init=False)
    find: Callable[[Any, str], Any] = attrs.field(init=False)
    on_ended: Callable[[], object] = attrs.field(default=_nothing, init=False)
    started: itertools.count[int] = attrs.field(factory=itertools.count, init=False)
    stopped: deque[tuple[str, float]] = attrs.field(factory=deque, init=False)
    _ended: list[Thread] = attrs.field(factory=list, init=False)
    _unused: list[Thread] = attrs.field(factory=list, init=False)
    _books: Lock = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.timers = Timers(self.threads, self.name)
        self.overdue = Overdue(self.threads, self.name)
        self.doors = Doors(self.threads, self.timers)
        self.waits = WaitGraph(self.threads)
        self.changes = Changes(self.threads, self.name)
        self._books = self.threads.lock()
        _watch_forks()
        _living.add(self)

    def note_stopped(self, path: str, seconds: float) -> None:
        """Keep what a component took to stop, for the report on the whole stop."""
        if self.doors.stopping:
            self.stopped.append((path, seconds))

    def leave_behind(self, threads: list[Thread]) -> None:
        """Keep the threads of a component that is gone, to be joined at the end."""
        with self._books:
            self._ended = [t for t in (*self._ended, *threads) if t.is_alive()]

    def let_end(self, thread: Thread) -> None:
        """Keep a thread that has run no code of users, to be joined at the end."""
        with self._books:
            self._unused = [t for t in (*self._unused, thread) if t.is_alive()]

    def unused(self) -> list[Thread]:
        """Return the threads that were not needed, and have not ended yet."""
        with self._books:
            return [t for t in self._unused if t.is_alive()]

    def left_behind(self) -> list[Thread]:
        """Return the threads of components that are gone and that still run."""
        with self._books:
            return [t for t in self._ended if t.is_alive()]

    def crashed(self, where: str, error: BaseException) -> None:
        """Log and count what a thread of ours raised and nobody handled."""
        with self._books:
            self.crashes += 1
        report(logging.CRITICAL, where, "unhandled in a thread of kinesis", error)

    def inside(self) -> Life | None:
        """
        Return the component of this runtime whose code calls, None outside of them.

        That of another runtime is outside: the two may have paths in common, but
        do not wait for one another.

        Raises:
            ForkedError: As `check_process`: all who send or ask come by here.
        """
        if self.forked:
            self.check_process()
        life = CURRENT.get()
        return life if life is not None and life.services is self else None

    def check_process(self) -> None:
        """
        Refuse to work in a forked child, which has none of the threads.

        Raises:
            ForkedError: This is not the process that made the runtime.
        """
        if self.forked:
            raise ForkedError(
                f"the runtime '{self.name}' belongs to process {self.pid}: a forked "
                f"child has none of its threads. Make a Runtime after the fork, or "
                f"start the child with multiprocessing's 'spawn'."
            )


_living: WeakSet[Services] = WeakSet()


@cache
def _watch_forks() -> None:
    """Have every forked child know that it is one; once, with the first runtime."""
    os.register_at_fork(after_in_child=_note_fork)


def _note_fork() -> None:
    """Mark all runtimes: looking at a flag is for free, at the process id is not."""
    for services in _living:
        services.forked = True


def report(
    level: int,
    path: str,
    text: str,
    error: BaseException | None = None,
    **extra: object,
) -> None:
    """
    Write one log line about *path*; whatever fails in it stays in it.

    Logging is code of others: a full disk, a handler that raises or an exception
    whose ``__str__`` raises must not stop a lifecycle.
    """
    if not log.isEnabledFor(level):
        return
    try:
        info = (type(error), error, error.__traceback__) if error is not None else None
        if (trace := TRACE.get()) is not None:
            extra["trace"] = trace.id
        log.log(level, text, exc_info=info, extra={"path": path, **extra})
    except BaseException as second:  # said on stderr instead
        report_plainly(path, text, second)


def report_plainly(path: str, text: str, error: BaseException) -> None:
    """Say on stderr what the log could not take."""
    import sys  # lazy: this is the way out of a broken log

    try:
        stream = sys.__stderr__
        if stream is not None:
            stream.write(f"kinesis: {path}: {text} (log: {type(error).__name__})\n")
    except (OSError, ValueError):
        return  # stderr is closed: there is nobody left to tell
