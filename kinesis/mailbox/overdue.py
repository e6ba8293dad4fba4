"""
Ends the waits of senders whose time is over.

A wait with a timeout makes the system set a clock and take it back, a microsecond of
the ten that a message and its answer take. So those who wait for long do so without
one, and are entered here meanwhile. One thread for all of them looks when the first
is due; nearly always it finds them answered and gone.

**Nobody is overlooked**: a sender enters itself, then looks whether the thread will
look in time. The thread says that it will not look any more, then looks who is
entered. So at least one of the two sees the other, with or without a global
interpreter lock: the set has a lock of its own.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from kinesis.concurrency import Empty, Thread, Threads

__all__ = ["LONG", "Overdue", "Waiting", "Watch"]

LONG = 0.5  # seconds; for less it is not worth it, and the system is on time
LONGEST_SLEEP = 3_600.0  # seconds; a wait that is much longer is none for the system
NEVER = float("inf")


class Waiting(Protocol):
    """One that waits for an answer, until *deadline* on the monotonic clock."""

    deadline: float | None

    @property
    def is_answered(self) -> bool:
        """Whether it has its answer, or is being given it."""
        ...

    def run_out(self) -> None:
        """Have it raise that its time is over, unless it has its answer."""
        ...


class Watch(Protocol):
    """What a mailbox needs of an `Overdue`."""

    def watch(self, waiting: Waiting, /) -> bool:
        """Whether its wait will be ended for it."""
        ...

    def discard(self, waiting: Waiting, /) -> None:
        """It does not wait any more."""
        ...


class Overdue:
    """
    Has those who wait for too long give up, on a thread of its own.

    The thread starts with the first that waits. It runs nothing but this: no code
    of users, no log. It ends with `close`, once nobody waits any more.

    Attributes:
        discard: Call it with one whose wait has ended. Idempotent.

    Thread safety: any thread may call any method.
    """

    __slots__ = (
        "_bell",
        "_closed",
        "_lock",
        "_name",
        "_next_look",
        "_now",
        "_thread",
        "_threads",
        "_waiting",
        "discard",
    )

    def __init__(self, threads: Threads, name: str) -> None:
        self._threads = threads
        self._name = name
        self._now = threads.monotonic
        self._waiting: set[Waiting] = set()
        self.discard = self._waiting.discard
        # Never later than the first deadline of those who have been told "watched".
        self._next_look = NEVER
        self._lock = threads.lock()  # over the next look, the thread and the end
        self._bell = threads.queue()
        self._thread: Thread | None = None
        self._closed = False

    def watch(self, waiting: Waiting, /) -> bool:
        """
        End the wait of *waiting* at its deadline; it calls `discard` afterwards.

        False if nobody will: it has no deadline, this is closed, or the system
        refuses a thread. Then it has to see to that itself.
        """
        deadline = waiting.deadline
        if deadline is None:
            return False
        self._waiting.add(waiting)
        if deadline >= self._next_look or self._look_by(deadline):
            return True
        self.discard(waiting)
        return False

    def _look_by(self, moment: float) -> bool:
        """Look at *moment* at the latest; false if nobody will."""
        with self._lock:
            if self._closed:
                return False
            if self._thread is None:
                try:
                    self._thread = self._threads.start(
                        self._run, f"kinesis:{self._name}:overdue", background=True
                    )
                except RuntimeError:
                    return False
            self._next_look = min(self._next_look, moment)
        self._bell.put(None)
        return True

    def close(self, timeout: float) -> list[str]:
        """
        End the thread once nobody waits any more; whoever comes later is not watched.

        Returns the thread's name if it did not end within *timeout* seconds.
        Idempotent.
        """
        with self._lock:
            self._closed = True
            thread = self._thread
        self._bell.put(None)
        if thread is None:
            return []
        thread.join(timeout)
        return [thread.name] if thread.is_alive() else []

    def _run(self) -> None:
        """Look, sleep until the first is due, and again."""
        while True:
            self._look()
            left = self._next_look - self._now()
            if left == NEVER and self._closed:
                return
            if left > 0.0:
                nap = None if left == NEVER else min(left, LONGEST_SLEEP)
                with contextlib.suppress(Empty):
                    self._bell.get(timeout=nap)

    def _look(self) -> None:
        """End the waits that are over; plan the next look."""
        with self._lock:
            self._next_look = NEVER  # first: who enters itself now rings the bell
        now, soonest = self._now(), NEVER
        for waiting in tuple(self._waiting):
            deadline = waiting.deadline
            if deadline is None or waiting.is_answered:  # or it was interrupted
                self.discard(waiting)
            elif deadline > now:
                soonest = min(soonest, deadline)
            else:
                self.discard(waiting)
                waiting.run_out()
        with self._lock:
            self._next_look = min(self._next_look, soonest)

    def __repr__(self) -> str:
        return f"<Overdue {self._name} [{len(self._waiting)} waiting]>"


class Nobody:
    """Stands for an `Overdue` where there is none: everybody is on their own."""

    __slots__ = ()

    def watch(self, waiting: Waiting, /) -> bool:
        """Tell *waiting* to see to its own timeout."""
        return False

    def discard(self, waiting: Waiting, /) -> None:
        """Nobody was entered."""
