"""
Carry out one step after another, and leave behind the one that hangs.

Steps run on one thread at a time, the *line*. A second thread, the watch, wakes
when the step under way has outlived its deadline. Python cannot interrupt it; so
the watch starts another line, which takes over the rest of the steps and the
queue, and the stuck thread ends once its step returns, if ever::

    line 1   step a | step b ...................(returns: told, ends)
    watch                   deadline of b: start line 2
    line 2                                  report b | step c | step d ...

Who owns the steps is settled under one lock: a step that finishes just as its
deadline passes is either in time or abandoned, never both.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import chain
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kinesis.concurrency import Queue, Thread, Threads

__all__ = ["Delivery", "Step", "Worker"]

RETRY = 1.0  # seconds until a line is tried again that the system refused
GRACE = 0.1  # seconds that stuck threads get at the end, all together
LONGEST_WAIT = 3600.0  # seconds; some systems refuse to wait for years


class Worker(Protocol):
    """Whose step it is."""

    deadline: float

    def failed(self, error: BaseException, /) -> None:
        """Take what the step raised; it is called in the step's own time."""
        ...


Step = tuple[Any, Callable[[], object]]  # a Worker and what to call for it


class Delivery:
    """
    The threads that carry out the steps of what is put on the `queue`.

    Args:
        threads: Where they come from.
        name: Of the line; its successors are called ``name-2`` and so on.
        steps_of: Called on the line with each item; what it yields is carried
            out before it is resumed.
        abandoned: Called on the next line with the worker whose step hangs, and a
            function that returns the stuck thread's stack; yields steps to do
            before any other.
        returned: Called on the stuck thread when the step has ended after all.

    Thread safety: any thread may call any method, and put on the queue.
    """

    def __init__(
        self,
        threads: Threads,
        name: str,
        steps_of: Callable[[Any], Iterator[Step]],
        abandoned: Callable[[Any, Callable[[], str]], Iterator[Step]],
        returned: Callable[[Any], object],
    ) -> None:
        self.queue: Queue[Any] = threads.queue()
        self._threads = threads
        self._name = name
        self._steps_of = steps_of
        self._abandoned = abandoned
        self._returned = returned
        self._books = threads.lock()
        self._starting = threads.lock()
        self._line: _Line | None = None
        self._lines = 0
        self._stuck: list[_Line] = []
        self._watch: Thread | None = None
        self._watching = -math.inf  # until when the watch sleeps
        self._poke = threads.event()
        self._closing = False
        self._ended = False
        self._done = threads.event()

    @property
    def running(self) -> bool:
        """Whether a line has been started."""
        return self._line is not None

    def run(self, *, watched: bool) -> bool:
        """
        Start the line, and the watch if *watched*, unless they run; idempotent.

        Returns:
            False if this has been closed, and nothing is started any more.

        Raises:
            RuntimeError: The system refuses another thread.
        """
        with self._starting:
            if not self._closing:
                self._run(watched)
            return not self._closing

    def _run(self, watched: bool) -> None:
        """Start what does not run yet; one thread at a time is here."""
        if watched and self._watch is None:
            self._watch = self._threads.start(
                self._watch_over, f"{self._name}-deadlines", background=True
            )
        if self._line is None:
            self._line = line = self._new_line(iter(()))
            try:
                line.thread = self._threads.start(
                    lambda: self._serve(line), line.name, background=True
                )
            except BaseException:
                self._line = None
                raise

    def _new_line(self, steps: Iterator[Step]) -> _Line:
        """Make the books of another line, without its thread."""
        self._lines += 1
        number = f"-{self._lines}" if self._lines > 1 else ""
        return _Line(self._name + number, steps)

    # The line

    def _serve(self, line: _Line) -> None:
        """Carry out what is left of the steps, then the queue's, until its end."""
        line.ident = self._threads.get_ident()
        while self._carry_out_all(line):
            line.steps = iter(())  # nothing that was told lives while we wait
            if not self._next(line):
                self._finish(line)
                return

    def _next(self, line: _Line) -> bool:
        """
        Wait for the next item and take its steps; False at the end.

        Before it waits it rests, for whoever tells of many changes would have to wake
        it up for each, and would then wait for it: the two want the interpreter's lock.
        What comes meanwhile is carried out together.
        """
        if line.turn and self.queue.empty():
            self._threads.rest()
        item = self.queue.get()
        if item is not None:
            line.steps = self._steps_of(item)
        return item is not None

    def _carry_out_all(self, line: _Line) -> bool:
        """Carry out the steps; return whether the line goes on."""
        for worker, call in line.steps:
            if not self._carry_out(line, worker, call):
                return False
        return not line.deposed

    def _carry_out(
        self, line: _Line, worker: Worker, call: Callable[[], object]
    ) -> bool:
        """Call; return whether the steps are still ours afterwards."""
        self._begin(line, worker)
        _try(worker, call)
        with self._books:
            line.worker = None
            stuck = line.deposed
            if stuck and line in self._stuck:
                self._stuck.remove(line)
        if stuck:
            self._returned(worker)
        return not stuck

    def _begin(self, line: _Line, worker: Worker) -> None:
        """Write down until when *worker* has time, and see that the watch knows."""
        until = self._threads.monotonic() + worker.deadline
        with self._books:
            line.worker = worker
            line.until = until
            line.turn += 1
            sleeps_on = until < self._watching
        if sleeps_on:
            self._poke.set()

    def _finish(self, line: _Line) -> None:
        """Let the watch go, and whoever waits for the end."""
        with self._books:
            self._ended = True
            line.finished = True
        self._poke.set()
        self._done.set()

    # The watch

    def _watch_over(self) -> None:
        """Sleep until the step under way is late; then have it left behind."""
        while (until := self._next_deadline()) is not None:
            left = until - self._threads.monotonic()
            forever = until == math.inf
            self._poke.wait(None if forever else min(max(0.0, left), LONGEST_WAIT))
            self._poke.clear()
            self._look()

    def _next_deadline(self) -> float | None:
        """Return until when to sleep; None at the end."""
        with self._books:
            if self._ended:
                return None
            line = self._line
            busy = line is not None and line.worker is not None
            self._watching = line.until if busy and line else math.inf
            return self._watching

    def _look(self) -> None:
        """Start another line if the step under way is late."""
        with self._books:
            line = self._line
            now = self._threads.monotonic()
            if line is None or line.worker is None or now < line.until or self._ended:
                return
            line.until = now + RETRY  # should the thread be refused, or be slow
            turn = line.turn
            successor = self._new_line(line.steps)
        try:
            successor.thread = self._threads.start(
                lambda: self._succeed(line, turn, successor),
                successor.name,
                background=True,
            )
        except RuntimeError:
            return  # looked at again after RETRY

    def _succeed(self, line: _Line, turn: int, successor: _Line) -> None:
        """Take over from *line*, unless its step has ended meanwhile."""
        with self._books:
            worker = line.worker
            if worker is None or line.turn != turn or line.deposed or self._ended:
                return
            line.deposed = True
            self._stuck.append(line)
            self._line = successor
        first = self._abandoned(worker, lambda: self._threads.stack(line.ident))
        successor.steps = chain(first, successor.steps)
        del worker, first
        self._serve(successor)

    # The end

    def is_current(self) -> bool:
        """Return whether the caller is a step, of the line that runs now."""
        line = self._line
        return line is not None and line.ident == self._threads.get_ident()

    def close(self, timeout: float) -> list[str]:
        """
        Carry out what has been put so far, then end the threads.

        Idempotent. Called by a step, it returns at once, and the end comes behind
        what is on the queue.

        Args:
            timeout: Seconds for all of it; what is not carried out by then never
                is.

        Returns:
            The names of the threads that still run a step, which hangs.
        """
        deadline = self._threads.monotonic() + timeout
        with self._starting:
            first, self._closing = not self._closing, True
            line = self._line
        if line is None:
            self._end_watch(deadline)
            return []
        if first:
            self.queue.put(None)
        if self.is_current():
            return []
        self._done.wait(max(0.0, timeout))
        self._end_watch(deadline)
        return self._end_lines(deadline)

    def _end_watch(self, deadline: float) -> None:
        """Wake the watch up for the last time."""
        with self._books:
            self._ended = True
        self._poke.set()
        if self._watch is not None:
            self._watch.join(max(0.0, deadline - self._threads.monotonic()))

    def _end_lines(self, deadline: float) -> list[str]:
        """Join the line if it is through; return the names of those that are not."""
        with self._books:
            line = self._line
            if line is not None and not line.finished and not line.deposed:
                line.deposed = True
                self._stuck.append(line)
            stuck = list(self._stuck)
        if line is not None and line.finished:
            self._join(line, deadline)
        grace = min(deadline, self._threads.monotonic() + GRACE)
        return [each.name for each in stuck if not self._join(each, grace)]

    def _join(self, line: _Line, deadline: float) -> bool:
        """Wait for the thread of *line*; return whether it has ended."""
        if line.thread is None or line.ident == self._threads.get_ident():
            return False
        line.thread.join(max(0.0, deadline - self._threads.monotonic()))
        return not line.thread.is_alive()


class _Line:
    """The books of one thread that carries out steps."""

    __slots__ = (
        "deposed",
        "finished",
        "ident",
        "name",
        "steps",
        "thread",
        "turn",
        "until",
        "worker",
    )

    def __init__(self, name: str, steps: Iterator[Step]) -> None:
        self.name = name
        self.steps = steps
        self.thread: Thread | None = None
        self.ident: int | None = None
        self.worker: Worker | None = None  # whose step is under way
        self.until = math.inf  # when it is late
        self.turn = 0  # tells its steps apart
        self.deposed = False  # another line has taken over
        self.finished = False


def _try(worker: Worker, call: Callable[[], object]) -> None:
    """Call; what it raises ends the step, never the line."""
    try:
        _refuse_coroutine(call())
    except BaseException as error:
        # What takes the error may raise too (a log handler does); there is nobody
        # left to tell that.
        with contextlib.suppress(Exception):
            worker.failed(error)


def _refuse_coroutine(result: object) -> None:
    """Raise for what an async function returned: nobody would await it."""
    if type(result) is CoroutineType:
        result.close()
        raise TypeError(
            f"{result.__qualname__} is a coroutine function and was not run. Give a "
            f"plain function; it may hand over with loop.call_soon_threadsafe()."
        )
