"""
What the operating system's signals ask of a runtime.

The handler does one thing: it puts the signal's number into a queue. It takes no
lock, writes no log and raises nothing: it may interrupt the main thread anywhere,
also inside a lock. (`Event.set` in a handler was seen to deadlock, an exception
from one to leave locks held.) The main thread waits on that queue for as long as
the program runs.

A forked child has the handlers too, but nobody who waits on the queue, so it could
not be ended. In it the first signal puts the old handlers back, and is raised anew.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from kinesis.concurrency import Queue

Handler = Callable[[int, FrameType | None], Any] | int | None

STOPS = (signal.SIGINT, signal.SIGTERM)
RELOAD = signal.SIGHUP
DUMP = signal.SIGUSR1

TWICE = 0.25  # seconds within which two signals to stop are one


class Interrupts:
    """
    Puts the numbers of *signals* into *queue* while the block runs.

    Only in the main thread, as Python has it. The handlers from before are put
    back at the end.
    """

    def __init__(
        self,
        queue: Queue[Any],
        signals: Iterable[signal.Signals] = (*STOPS, RELOAD, DUMP),
    ) -> None:
        self._queue = queue
        self._signals = tuple(signals)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        put, process = self._queue.put, os.getpid()

        def handle(number: int, _: FrameType | None) -> None:
            if os.getpid() == process:
                put(number)
            else:
                self._put_back()
                signal.raise_signal(number)

        for each in self._signals:
            self._before[each] = signal.signal(each, handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._put_back()

    def _put_back(self) -> None:
        """Have the handlers again that were there before."""
        for each, before in self._before.items():
            # None: it was not set from Python, and cannot be put back from it.
            signal.signal(each, signal.SIG_DFL if before is None else before)


class Patience:
    """
    Tells a second wish to stop from an echo of the first.

    Supervisors of processes often send the same signal twice at once.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    def is_first(self, now: float) -> bool:
        """Note a signal to stop at *now*; true if none came before."""
        if self._first is None:
            self._first = now
            return True
        return False

    def is_second(self, now: float) -> bool:
        """Whether one at *now* is more than an echo of the first."""
        return self._first is not None and now - self._first > TWICE


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15."""
    return signal.Signals(number).name
