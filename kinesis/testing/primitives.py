"""
Locks, events, queues and threads of a simulation.

Each takes the arguments, returns the values and raises the errors of its
counterpart in the standard library. Whatever can wait, or tell somebody else
something, is a point at which the seed may let another thread run: a wait before
it looks, a signal both before and after it is given.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any

from kinesis.concurrency import Empty
from kinesis.testing.scheduler import Scheduler
from kinesis.testing.tasks import Task

__all__ = [
    "SimulatedEvent",
    "SimulatedLock",
    "SimulatedQueue",
    "SimulatedThread",
]

TIMEOUT_MAX = 9_223_372_036.0  # seconds: more is an OverflowError in `threading`


def deadline_in(scheduler: Scheduler, timeout: float | None) -> float | None:
    """Return the moment *timeout* seconds from now; None for no timeout."""
    if timeout is None:
        return None
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return scheduler.now + timeout


class SimulatedLock:
    """A `threading.Lock`; who of several gets it, the seed says."""

    __slots__ = ("__weakref__", "_holder", "_locked", "_scheduler", "_waiters", "label")

    def __init__(self, scheduler: Scheduler) -> None:
        self.label = scheduler.new_label("lock")
        self._scheduler = scheduler
        self._locked = False
        self._holder: Task | None = None
        self._waiters: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; see `threading.Lock.acquire`."""
        if timeout != -1:
            self._check(blocking, timeout)
        scheduler = self._scheduler
        me = scheduler.point("acquire", self)
        if self._locked:
            if not blocking or timeout == 0:
                return False
            limit = None if timeout == -1 else deadline_in(scheduler, timeout)
            while self._locked:
                if not scheduler.block(me, "acquire", self, self._waiters, limit):
                    return False
        self._locked = True
        self._holder = me
        return True

    def _check(self, blocking: bool, timeout: float) -> None:
        """Refuse what `threading.Lock` refuses."""
        if not blocking:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0:
            raise ValueError("timeout value must be a non-negative number")
        if timeout > TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")

    def release(self) -> None:
        """Give the lock back, from any thread."""
        self._scheduler.signal("release", self)
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False
        self._holder = None
        if self._waiters:
            self._scheduler.wake(self._waiters)
        self._scheduler.signal("released", self)

    def locked(self) -> bool:
        """Return whether somebody has taken the lock."""
        self._scheduler.point("locked", self)
        return self._locked

    def holder(self) -> str:
        """Return who took the lock, for reports."""
        return f", taken by '{self._holder.name}'" if self._holder else ""

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "locked" if self._locked else "unlocked"
        return f"<{state} simulated {self.label}>"


class SimulatedEvent:
    """A `threading.Event`."""

    __slots__ = ("__weakref__", "_scheduler", "_set", "_waiters", "label")

    def __init__(self, scheduler: Scheduler) -> None:
        self.label = scheduler.new_label("event")
        self._scheduler = scheduler
        self._set = False
        self._waiters: list[Task] = []

    def set(self) -> None:
        """Set the event; whoever waits goes on."""
        self._scheduler.signal("set", self)
        self._set = True
        self._scheduler.wake_all(self._waiters)
        self._scheduler.signal("has set", self)

    def clear(self) -> None:
        """Reset the event."""
        self._scheduler.signal("clear", self)
        self._set = False

    def is_set(self) -> bool:
        """Return whether the event is set."""
        self._scheduler.point("is_set", self)
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set; False after *timeout* seconds."""
        scheduler = self._scheduler
        me = scheduler.point("wait", self)
        if self._set:
            return True
        limit = deadline_in(scheduler, timeout)
        if timeout is not None and timeout <= 0:
            return False
        # Woken counts, even if it was cleared since: as with `threading.Event`.
        return scheduler.block(me, "wait", self, self._waiters, limit)

    def holder(self) -> str:
        """Return nothing: nobody holds an event."""
        return ""

    def __repr__(self) -> str:
        return f"<simulated {self.label}: {'set' if self._set else 'unset'}>"


class SimulatedQueue:
    """A `queue.SimpleQueue`."""

    __slots__ = ("__weakref__", "_items", "_scheduler", "_waiters", "label")

    def __init__(self, scheduler: Scheduler) -> None:
        self.label = scheduler.new_label("queue")
        self._scheduler = scheduler
        self._items: deque[Any] = deque()
        self._waiters: list[Task] = []

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append *item*; never waits, as the queue has no bound."""
        self._scheduler.signal("put", self)
        self._items.append(item)
        if self._waiters:
            self._scheduler.wake(self._waiters)
        self._scheduler.signal("has put", self)

    put_nowait = put

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """
        Return the oldest item, waiting for one.

        Raises:
            Empty: None came within *timeout* seconds, or at all if not *block*.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        scheduler = self._scheduler
        me = scheduler.point("get", self)
        if not self._items:
            if not block or timeout == 0:
                raise Empty
            limit = deadline_in(scheduler, timeout)
            while not self._items:
                if not scheduler.block(me, "get", self, self._waiters, limit):
                    raise Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        """Return the oldest item, or raise `Empty`."""
        return self.get(False)

    def qsize(self) -> int:
        """Return the number of items."""
        self._scheduler.point("qsize", self)
        return len(self._items)

    def empty(self) -> bool:
        """Return whether there is no item."""
        self._scheduler.point("empty", self)
        return not self._items

    def holder(self) -> str:
        """Return nothing: nobody holds a queue."""
        return ""

    def __repr__(self) -> str:
        return f"<simulated {self.label}: {len(self._items)} items>"


class SimulatedThread:
    """A started thread; *ident* is its number in the simulation, 1 is main."""

    __slots__ = ("__weakref__", "_scheduler", "_task")

    def __init__(self, scheduler: Scheduler, task: Task) -> None:
        self._scheduler = scheduler
        self._task = task

    @property
    def name(self) -> str:
        """The name it was started with."""
        return self._task.name

    @property
    def ident(self) -> int:
        """Its number; `Threads.stack` takes it."""
        return self._task.number

    def is_alive(self) -> bool:
        """Return whether it has not ended yet."""
        self._scheduler.point("is_alive", self._task)
        return self._task.alive

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most *timeout* seconds."""
        scheduler, task = self._scheduler, self._task
        me = scheduler.point("join", task)
        if me is task:
            raise RuntimeError("cannot join current thread")
        limit = deadline_in(scheduler, timeout)
        while task.alive and (limit is None or limit > scheduler.now):
            if not scheduler.block(me, "join", task, task.joiners, limit):
                return

    def __repr__(self) -> str:
        state = "started" if self._task.alive else "ended"
        return f"<simulated thread {self.name!r}: {state}>"
