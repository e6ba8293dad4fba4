"""
What everything above the seam knows of threads, locks, queues and clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

OnCrash = Callable[[str, BaseException], None]


class Lock(Protocol):
    """What `threading.Lock` offers."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class Event(Protocol):
    """What `threading.Event` offers."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Queue(Protocol[T]):
    """What `queue.SimpleQueue` offers; `get` raises `Empty` after *timeout* seconds."""

    def put(self, item: T, /) -> None: ...
    def get(self, block: bool = True, timeout: float | None = None) -> T: ...
    def get_nowait(self) -> T: ...
    def qsize(self) -> int: ...
    def empty(self) -> bool: ...


class Thread(Protocol):
    """
    A started thread; `ident` is what `sys._current_frames` calls it.

    It may not have begun: `ident` is None then. It is alive, and can be joined.
    """

    @property
    def name(self) -> str: ...
    @property
    def ident(self) -> int | None: ...
    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...


class Threads(Protocol):
    """
    Where threads, locks and time come from.

    Every method may be called from any thread.
    """

    def start(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> Thread:
        """
        Start a daemon thread called *name* that runs *target*.

        What *target* raises is reported to the crash handler, never lost.

        Args:
            background: This thread only serves others (timers, watchers). A
                simulation in which only such threads could still run is stuck.

        Raises:
            RuntimeError: The system refuses another thread.
        """
        ...

    def fresh(self, job: Callable[[], object], *, new: bool = False) -> None:
        """
        Run *job* soon, on a thread with an empty stack.

        Args:
            job: Short; it must not wait for other jobs.
            new: Never a parked thread, always one that is made for *job*.

        Raises:
            RuntimeError: The system refuses another thread; *job* has not run.
        """
        ...

    def lock(self) -> Lock:
        """Return a new lock, not re-entrant."""
        ...

    def event(self) -> Event:
        """Return a new event, not set."""
        ...

    def queue(self) -> Queue[Any]:
        """Return a new unbounded first-in-first-out queue."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def time(self) -> float:
        """Return seconds since the epoch, for people to read."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait *seconds* of this clock."""
        ...

    def rest(self) -> None:
        """
        Wait for about a millisecond, to wait for what comes next less often.

        For who may be late by that much. It is no time of the program's: a simulation
        goes on at once.
        """
        ...

    def get_ident(self) -> int:
        """Return the number of the calling thread."""
        ...

    def in_main_thread(self) -> bool:
        """Return whether the caller is the thread that gets the signals."""
        ...

    def current(self) -> Thread:
        """Return the calling thread, which `start` has made."""
        ...

    def batch(self, on: bool) -> None:
        """
        Let the calling thread wait for its turn when something wakes it up.

        Else it interrupts, on its processor, who woke it up: mostly a thread that
        holds the interpreter's lock, so that it can only wait. Linux calls that
        SCHED_BATCH. Does nothing where there is no such thing, where the system
        refuses it, or where somebody has given the thread another policy. Idempotent.

        Args:
            on: False takes it back.
        """
        ...

    def names(self) -> dict[int, str]:
        """Return the names of the threads that run now, by number."""
        ...

    def stack(self, ident: int | None) -> str:
        """Return the stack of that thread now, as a traceback prints it."""
        ...

    def close(self, timeout: float) -> list[str]:
        """
        End the parked threads; return the names of those that did not end.

        Idempotent. After it, `fresh` still works, on new threads.
        """
        ...
