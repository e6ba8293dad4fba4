"""
A thread that does what it is ordered to, one order after another.

A component's code runs on workers and nowhere else. An order's end is handed on
from a ``finally``, so whatever the code does (return, raise anything at all,
delete its own attributes), somebody learns of it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from kinesis.concurrency import Thread, Threads
from kinesis.restarts import Override
from kinesis.stages import Outcome, Result, Stage
from kinesis.timers import Timer

Hook = tuple[str, Callable[[], object]]


class Order:
    """
    The hooks of one stage, to be run on one worker.

    Made before any hook runs: once the system is out of memory or threads there
    is nothing left to allocate for handing on how it ended.
    """

    __slots__ = (
        "abandoned",
        "_called_off",
        "_entry",
        "_never",
        "again_after",
        "awaited",
        "began",
        "error",
        "hook",
        "hooks",
        "on_end",
        "is_over",
        "on_failure",
        "returned",
        "skipped",
        "stage",
        "timer",
        "worker",
    )

    def __init__(
        self,
        stage: Stage,
        hooks: Sequence[Hook],
        on_end: Callable[[Order], object],
        on_failure: Callable[[Order], Override] | None = None,
    ) -> None:
        self.stage = stage
        self.hooks = tuple(hooks)
        self.on_end = on_end  # called on the worker's thread, in a `finally`
        self.on_failure = on_failure  # asked on the worker's thread after a raise
        self.hook: str | None = None  # the one that runs, or ran last
        self._called_off = False
        # Who takes it decides whether `start` is entered.
        self._entry = [True] if stage is Stage.STARTING else None
        self._never = False
        self.began: float | None = None
        self.returned = False
        self.is_over = False  # for all who ask: it is being handed on
        self.skipped = False
        self.error: BaseException | None = None
        self.again_after: Override = None  # what *on_failure* returned
        self.abandoned = False
        self.awaited = False  # whether the end of a run waits for its end
        self.timer: Timer | None = None
        self.worker: Worker | None = None

    def run(self) -> None:
        """Run the hooks, but those that are called off before they begin."""
        for name, function in self.hooks:
            if self._called_off or (name == "start" and not self._take_entry()):
                self.skipped = True
                return
            self.hook = name
            function()

    def call_off(self) -> bool:
        """
        Let no more hooks begin; return whether `start` has begun.

        Exact, whatever the worker does meanwhile: after False it never begins. For
        one thread at a time, any number of times.
        """
        self._called_off = True
        if not self._never:
            self._never = self._take_entry()
        return not self._never

    def _take_entry(self) -> bool:
        """Take the one permission to enter `start`; False if it is gone."""
        if self._entry is None:  # there is no `start` among them
            return True
        try:
            return self._entry.pop()
        except IndexError:
            return False

    @property
    def at(self) -> str | None:
        """The hook whose code runs, or ran last."""
        asking = self.on_failure is not None and self.error is not None
        return "restart_after" if asking and not self.is_over else self.hook

    def outcome(self) -> Outcome:
        """Return how it ended."""
        if self.returned:
            return Outcome(Result.RETURNED, self.stage, self.hook)
        return Outcome(Result.RAISED, self.stage, self.hook, self.error)

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self.hooks)
        return f"<Order {self.stage}: {names or 'no hooks'}>"


class Worker:
    """
    One thread and the orders that wait for it.

    Args:
        threads: Where the thread comes from.
        name: The thread's name; says the component's path.
        enter: Run first, on the new thread.

    Raises:
        RuntimeError: The system refuses another thread.

    Attributes:
        used: Whether it has run a hook; that may have done anything to its thread.
        ident: The thread's number, once it runs: `thread` may come a moment later.

    Thread safety: any thread may give orders; `busy` may be stale.
    """

    __slots__ = (
        "_enter",
        "_batch",
        "_orders",
        "_threads",
        "busy",
        "ident",
        "_process",
        "name",
        "thread",
        "used",
    )

    def __init__(
        self, threads: Threads, name: str, enter: Callable[[Worker], object]
    ) -> None:
        self._threads = threads
        self._orders = threads.queue()
        self._enter = enter
        self.busy: Order | None = None
        self._batch = False
        self._process = os.getpid()
        self.used = False
        self.name = name
        self.ident: int | None = None
        self.thread: Thread = threads.start(self._run, name)

    def give(self, order: Order) -> None:
        """Run *order* after those given before."""
        order.worker = self
        self._orders.put(order)

    def end(self) -> None:
        """End the thread after the orders given before."""
        self._orders.put(None)

    def step_back(self) -> None:
        """Interrupt nobody when woken up, until the next hook; on this thread."""
        self._batch = True
        self._threads.batch(True)

    def stack(self) -> str:
        """Return where the thread is now, as a traceback prints it."""
        return self._threads.stack(self.ident)

    def _run(self) -> None:
        """Do orders until told to end."""
        self.ident = self._threads.get_ident()
        self._enter(self)
        self._enter = _entered  # what the other refers to need not stay
        while (order := self._orders.get()) is not None:
            self.busy = order
            self._perform(order)
            self.busy = order = None

    def _perform(self, order: Order) -> None:
        """Run one order; hand on how it ended, however it did."""
        if order.hooks and order.hooks[0][0]:
            self.used = True
            if self._batch:
                self._batch = False
                self._threads.batch(False)
        try:
            order.began = self._threads.monotonic()
            order.run()
            order.returned = True
        except BaseException as error:  # an outcome: the lifecycle handles it
            order.error = error
            if order.on_failure is not None:
                order.again_after = order.on_failure(order)
        finally:
            if os.getpid() != self._process:
                _end_child(order.error)
            order.is_over = True
            order.on_end(order)

    def __repr__(self) -> str:
        return f"<Worker {self.name} {self.busy or 'idle'}>"


def _end_child(error: BaseException | None) -> NoReturn:
    """
    End a forked child that came out of the hook which made it.

    Of the runtime it has this thread alone: there is nobody to hand on to, and it
    would sleep for ever, with the files and sockets of its parent.
    """
    with contextlib.suppress(Exception):  # whatever somebody made of these
        if error is not None:
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0 if error is None else 1)


def _entered(_: Worker) -> None:
    """Stand for what is run first, once that has run."""
