"""
Simulated threads as the scheduler sees them, and what it asks of the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Carrier", "Carriers", "Gate", "Task", "Waitable"]


class Gate(Protocol):
    """A raw lock that its own thread waits at, and another one opens."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until it is open, pass, and shut it; False after *timeout* seconds."""
        ...

    def release(self) -> None:
        """Let one thread pass."""
        ...


class Carrier(Protocol):
    """A real thread that waits at *gate*, then runs *task*."""

    task: Task | None

    @property
    def gate(self) -> Gate:
        """What it waits at."""
        ...

    @property
    def ident(self) -> int | None:
        """What the operating system calls it."""
        ...


class Carriers(Protocol):
    """The real threads: where a new task gets one from, and which is calling."""

    def take(self) -> Carrier:
        """Return a thread that waits at its gate."""
        ...

    def gate(self) -> Gate:
        """Return a gate that is shut."""
        ...

    def get_ident(self) -> int:
        """Return what the operating system calls the calling thread."""
        ...


class Waitable(Protocol):
    """What a thread can wait for; shown in traces and reports."""

    @property
    def label(self) -> str:
        """Its name, such as ``lock-3``."""
        ...

    def holder(self) -> str:
        """Return ``, taken by 'x'``, or nothing."""
        ...


class Task:
    """One simulated thread, as the scheduler sees it."""

    __slots__ = (
        "alive",
        "background",
        "base",
        "gate",
        "joiners",
        "label",
        "stalled",
        "name",
        "number",
        "pending",
        "real",
        "reported",
        "swallowed",
        "target",
        "ticket",
        "timed_out",
        "waiters",
        "waits",
    )

    def __init__(
        self, name: str, number: int, target: Callable[[], object] | None, stalled: bool
    ) -> None:
        self.name = name
        self.number = number
        self.target = target
        self.stalled = stalled
        self.label = f"thread-{number}"
        self.background = False
        self.base = 0  # outermost lines of its stack that are not the program's
        self.alive = True
        self.reported = False  # a deadlock named it already: not named again
        self.gate: Gate | None = None  # None: has not run yet
        self.real: int | None = None  # ident of the operating system
        self.pending: BaseException | None = None  # to raise as soon as it runs
        self.swallowed = 0
        self.joiners: list[Task] = []
        self.ticket = 0  # number of its timed wait; 0: none
        self.timed_out = False
        self.waiters: list[Task] | None = None  # the list that it waits in
        self.waits: tuple[str, Waitable] | None = None

    def holder(self) -> str:
        """Return nothing: nobody holds a thread."""
        return ""
