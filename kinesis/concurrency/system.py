"""
The real threads: those of the operating system.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from kinesis.concurrency.protocols import OnCrash, Queue

__all__ = ["FOREVER", "Empty", "SystemThreads"]

PARKED_SECONDS = 10.0  # a parked thread without a job for so long leaves
PARKED_MOST = 8  # parked threads; jobs are short, so few are ever needed at once
REST = 0.001  # seconds
_STARTED = "_started"  # see `_Thread`
FOREVER = threading.TIMEOUT_MAX  # seconds; the system refuses longer waits

_BATCH: int | None = getattr(os, "SCHED_BATCH", None)  # Linux has it
_NORMAL: int | None = getattr(os, "SCHED_OTHER", None)
_NO_PRIORITY = os.sched_param(0) if _BATCH is not None else None


class SystemThreads:
    """
    The real `Threads`: those of the operating system.

    Args:
        on_crash: Called with the thread's name and what it raised, on that
            thread. What it raises itself is printed by the interpreter.
    """

    def __init__(self, on_crash: OnCrash | None = None) -> None:
        self._on_crash = on_crash
        self._idle: deque[_Parked] = deque()
        self._parked: set[_Parked] = set()
        self._books = threading.Lock()
        self._closed = False
        self._made = 0

    # Bound straight to the standard library: no call of ours in between.
    lock = staticmethod(threading.Lock)
    event = staticmethod(threading.Event)
    queue: Callable[[], Queue[Any]] = staticmethod(SimpleQueue)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    time = staticmethod(time.time)  # last: from here on the name is this method
    get_ident = staticmethod(threading.get_ident)
    current = staticmethod(threading.current_thread)

    def rest(self) -> None:
        """Wait a millisecond; see `Threads.rest`."""
        time.sleep(REST)

    def start(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> threading.Thread:
        """Start a daemon thread; see `Threads.start`."""
        thread = _Thread(self, target, name)
        try:
            thread.start()
        except MemoryError as error:  # one error for all that the system may lack
            raise RuntimeError("can't start new thread: out of memory") from error
        return thread

    def guarded(self, target: Callable[[], object], name: str) -> None:
        """Run *target*; report what it raises."""
        try:
            target()
        except BaseException as error:
            if self._on_crash is None:
                raise
            self._on_crash(name, error)

    def batch(self, on: bool) -> None:
        """Make the calling thread SCHED_BATCH, or not; see `Threads.batch`."""
        if _BATCH is None or _NORMAL is None or _NO_PRIORITY is None:
            return
        now, then = (_NORMAL, _BATCH) if on else (_BATCH, _NORMAL)
        try:
            if os.sched_getscheduler(0) != now:
                return
            os.sched_setscheduler(0, then, _NO_PRIORITY)
        except (OSError, MemoryError):
            return  # some sandboxes refuse it: all works, with more interruptions
        thread = threading.current_thread()
        if isinstance(thread, _Thread):
            thread.is_batch = on

    def fresh(self, job: Callable[[], object], *, new: bool = False) -> None:
        """Run *job* on a thread with an empty stack; see `Threads.fresh`."""
        if not new:
            with contextlib.suppress(IndexError):
                self._idle.pop().jobs.put(job)
                return
        self._new_parked(job)

    def _new_parked(self, job: Callable[[], object]) -> None:
        """Start a thread for *job*; afterwards it parks for later ones."""
        parked = _Parked()
        parked.jobs.put(job)
        with self._books:
            self._made += 1
            number = self._made
            self._parked.add(parked)
        try:
            parked.thread = self.start(
                lambda: self._serve(parked), f"kinesis:transition-{number}"
            )
        except BaseException:
            with self._books:
                self._parked.discard(parked)
            raise

    def _serve(self, parked: _Parked) -> None:
        """Do jobs until none has come for a while, or this is closed."""
        self.batch(True)
        try:
            while (job := self._next_job(parked)) is not None:
                self.guarded(job, threading.current_thread().name)
                del job  # what it refers to must not live as long as we are idle
                if len(self._idle) >= PARKED_MOST:
                    return
                self._idle.append(parked)
                if self._closed and self._withdraw(parked):
                    return
        finally:
            with self._books:
                self._parked.discard(parked)

    def _next_job(self, parked: _Parked) -> Callable[[], object] | None:
        """Wait for a job; None once none can come any more."""
        while True:
            try:
                return parked.jobs.get(timeout=PARKED_SECONDS)
            except Empty:
                if self._withdraw(parked):
                    return None

    def _withdraw(self, parked: _Parked) -> bool:
        """Leave the idle ones; False if somebody has just taken us for a job."""
        try:
            self._idle.remove(parked)
        except ValueError:
            return False
        return True

    def in_main_thread(self) -> bool:
        """Return whether this is the main thread; see `Threads.in_main_thread`."""
        return threading.current_thread() is threading.main_thread()

    def names(self) -> dict[int, str]:
        """Return the names of all threads; see `Threads.names`."""
        return {t.ident: t.name for t in threading.enumerate() if t.ident is not None}

    def stack(self, ident: int | None) -> str:
        """Return the stack of a thread; see `Threads.stack`."""
        frame = sys._current_frames().get(ident) if ident is not None else None
        if frame is None:
            return "  (the thread does not run)\n"
        return "".join(traceback.format_stack(frame))

    def close(self, timeout: float) -> list[str]:
        """End the parked threads; see `Threads.close`."""
        self._closed = True
        deadline = time.monotonic() + timeout
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().jobs.put(None)
        late = []
        with self._books:
            threads = [parked.thread for parked in self._parked]
        for thread in threads:
            if thread is None or thread is threading.current_thread():
                continue
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                late.append(thread.name)
        return late


class _Begun:
    """
    Stands for the event on which `threading.Thread` waits for a thread to begin.

    Whoever starts the thread does not wait; whoever joins it does.
    """

    __slots__ = ("_gate", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._gate.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once: it will begin."""
        return True

    def wait_really(self, timeout: float | None) -> bool:
        """Wait until it has begun; false if that takes longer."""
        if self._is_set:
            return True
        if not self._gate.acquire(timeout=-1.0 if timeout is None else timeout):
            return False
        self._gate.release()  # for the next who waits
        return True

    def _at_fork_reinit(self) -> None:
        """In a forked child no thread of the parent begins: let nobody wait for it."""
        self._is_set = True


class _Thread(threading.Thread):
    """
    A daemon thread whose `start` does not wait for it to begin.

    It relies on one private name of the standard library, the event `_started`; a
    test looks whether it is still used as it is here. Without it, `start` waits.

    Attributes:
        is_batch: Whether it steps back when woken up. What it starts does not, though
            threads inherit that: a clock, say, that the first timer of a handler sets
            going.
    """

    def __init__(
        self, threads: SystemThreads, target: Callable[[], object], name: str
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._threads = threads
        self._job: Callable[[], object] | None = target
        self._begun: _Begun | None = None
        self.is_batch = getattr(threading.current_thread(), "is_batch", False)
        if hasattr(self, _STARTED):
            self._begun = _Begun()
            setattr(self, _STARTED, self._begun)

    def run(self) -> None:
        job, self._job = self._job, None  # what it refers to need not stay here
        if self.is_batch:  # inherited
            self._threads.batch(False)
        if job is not None:
            self._threads.guarded(job, self.name)

    def is_alive(self) -> bool:
        begun = self._begun
        return (begun is not None and not begun.is_set()) or super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        begun = self._begun
        if begun is not None and not begun.is_set():
            until = None if timeout is None else time.monotonic() + timeout
            begun.wait_really(timeout)
            if until is not None:
                timeout = max(0.0, until - time.monotonic())
            if not begun.is_set():
                return
        super().join(timeout)


class _Parked:
    """A thread that waits for jobs."""

    __slots__ = ("jobs", "thread")

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.thread: threading.Thread | None = None
