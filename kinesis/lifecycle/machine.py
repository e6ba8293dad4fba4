"""
The machine inside a lifecycle: what happens to it, and who moves it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Protocol

from kinesis.cells import Cell
from kinesis.component import Component
from kinesis.concurrency import Event, Thread
from kinesis.inside import Inside
from kinesis.life import CURRENT
from kinesis.notices import Kind, Report
from kinesis.restarts import Override, override_from
from kinesis.services import log, report
from kinesis.serving import Serving, mailbox_of
from kinesis.stages import HOOKS, Outcome, Stage, advance
from kinesis.stages import Event as Moves
from kinesis.timers import Timer
from kinesis.workers import Hook, Order, Worker

Item = tuple[Callable[[Any], object], Any]

_NO_PARTS: frozenset[Order] = frozenset()


class Body(Protocol):
    """What a container has and a plain component has not: children."""

    def begin(self, done: Callable[[Outcome], object]) -> None:
        """Bring the children up; call *done* once, from any thread."""
        ...

    def end(self, done: Callable[[], object]) -> None:
        """Take the children down; call *done* once, from any thread."""
        ...

    def rest(self) -> None:
        """The container stays STOPPED, until somebody starts it."""
        ...

    def close(self) -> None:
        """The container's life is over."""
        ...

    def threads(self) -> list[Thread]:
        """Return the threads that it has."""
        ...


class Machine:
    """
    The state of one life, its inbox, and the threads it runs on.

    What happens queues up in `_pending`; one thread at a time works that off.
    Attributes with an underscore belong to that thread.
    """

    # Slots: a program may have ten thousand of these.
    __slots__ = (
        "_begun",
        "_body_busy",
        "_body_failed",
        "_body_up",
        "_dedicated",
        "_entered",
        "_failure",
        "_finish_told",
        "_finish_wanted",
        "_hooks",
        "_late_timer",
        "_lock",
        "_moving",
        "_order",
        "_owes",
        "_parts",
        "_pending",
        "_ready_said",
        "_ready_wanted",
        "_second",
        "_serves",
        "_start_failed",
        "_stop_asked",
        "_stop_wanted",
        "_stopping",
        "_stuck",
        "_tear_down_wanted",
        "_used",
        "_wound",
        "body",
        "cell",
        "component",
        "inside",
        "services",
        "serving",
        "stage",
    )

    _arrivals: ClassVar[dict[Stage, Callable[[Any], Moves | None]]]
    """By stage, what begins there; it returns what follows at once."""

    def __init__(self, cell: Cell, body: Body | None = None) -> None:
        self.cell = cell
        self.component: Component = cell.component
        self.services = cell.services
        self.body = body
        self.inside = Inside(self)
        # Not made in there: the deeper the calls, the more memory each stack takes.
        self.serving = Serving(cell, mailbox_of(cell), self.inside, self.wanted)
        self.stage = Stage.SUBMITTED
        self._hooks = cell.hooks
        self._lock = self.services.threads.lock()
        self._pending: list[Item] = []  # nearly always of one: no deque, 0.6 KiB
        self._moving = False
        self._dedicated: Worker | None = None
        self._second: Worker | None = None
        self._used: tuple[Thread, ...] = ()
        # What follows belongs to the machine: only `_move` touches it.
        self._order: Order | None = None  # of the way up, while it runs
        self._serves: Order | None = None  # the messages, or did last
        # Of the way down, while they run. Mostly none: these are replaced, not changed.
        self._parts = _NO_PARTS
        self._begun = False  # a hook of this life has, so there is one to end
        self._wound = False  # this run is being ended, or has been
        self._entered = False  # this run has something that `stop` can stop
        self._start_failed = False
        self._body_failed = False
        self._body_up = False
        self._body_busy = False
        self._stop_wanted = False
        self._tear_down_wanted = False
        self._finish_wanted = False
        self._finish_told = False
        self._ready_wanted = False
        self._ready_said: Order | None = None  # in this one, by its own thread
        self._stuck: tuple[Order, ...] = ()  # abandoned, and still running
        self._owes = False  # a `tear_down`, behind what is stuck
        self._failure: Outcome | None = None
        self._late_timer: Timer | None = None
        self._stopping: Event | None = None
        self._stop_asked = False

    # -- commands, from any thread --------------------------------------------------

    def stop(self, tear_down: bool) -> None:
        """End the run; with *tear_down* the whole life."""
        raise NotImplementedError

    def fail(self) -> None:
        """A run failed and nobody restarts it: end the life."""
        raise NotImplementedError

    def ready(self) -> None:
        """`start` says that it works."""
        raise NotImplementedError

    def finish(self) -> None:
        """The component says that its work is done."""
        raise NotImplementedError

    def wanted(self) -> None:
        """A message waits, and nobody handles messages."""
        raise NotImplementedError

    # -- what others ask ---------------------------------------------------------

    def running(self) -> Order | None:
        """Return the order whose hook runs now, if one does."""
        for worker in (self._dedicated, self._second):
            if worker is not None and (order := worker.busy) and order.hook:
                return order
        return None

    def threads(self) -> list[Thread]:
        """Return the threads that run this component's code, or did last."""
        return [*self._used, *(self.body.threads() if self.body is not None else ())]

    @property
    def stopping(self) -> Event:
        """The event of this run; the touch of it inside `start` is READY."""
        with self._lock:
            if self._stopping is None:
                self._stopping = self.services.threads.event()
                if self._stop_asked:
                    self._stopping.set()
            stopping = self._stopping
        self.ready()  # a touch inside `start` is the sign that it works
        return stopping

    def node(self) -> Hashable:
        """Return what the calling thread is in the wait-for graph."""
        worker, order = self._dedicated, self._order
        ready = self._ready_wanted or (order is not None and order is self._ready_said)
        if not ready or worker is None:
            return self.cell.path
        if self.serving.worker is worker:  # `start` has returned
            return self.cell.path
        ident = self.services.threads.get_ident()
        return worker if worker.ident == ident else self.cell.path

    # -- the inbox ------------------------------------------------------------------

    def _signal(
        self, handler: Callable[[Any], object], value: Any, *, new: bool = False
    ) -> None:
        """Queue what happened; have a fresh thread work it off, unless one does."""
        with self._lock:
            self._pending.append((handler, value))
            if self._moving:
                return
            self._moving = True
        self._hand_on(new)

    def _signal_here(self, handler: Callable[[Any], object], value: Any) -> None:
        """
        Queue what happened, and work it off in place, unless one does.

        For threads whose stack holds no code of users: a supervisor's, and a
        worker's that has run no hook. They are as good as fresh, and it saves two
        context switches. With ``transitions="new"`` they are not used.
        """
        if self.services.transitions == "new":
            self._signal(handler, value)
            return
        with self._lock:
            if self._moving:
                self._pending.append((handler, value))
                return
            self._moving = True
        self._move(handler, value)

    def _hand_on(self, new: bool) -> None:
        """Run `_move` on a fresh thread; in place if the system refuses one."""
        new = new or self.services.transitions == "new"
        try:
            self.services.threads.fresh(self._move, new=new)
        except (RuntimeError, MemoryError) as error:
            # In place it cannot recurse: it only queues the next order.
            self._move()
            text = "a transition ran in place: no thread to be had"
            report(logging.WARNING, self.cell.path, text, error)

    def _move(
        self, handler: Callable[[Any], object] | None = None, value: Any = None
    ) -> None:
        """Call *handler*, then work off what is pending; one thread at a time does."""
        while True:
            if handler is not None:
                try:
                    handler(value)
                except BaseException as error:  # ours, never the component's
                    self.services.crashed(self.cell.path, error)
            with self._lock:
                if not self._pending:
                    self._moving = False
                    return
                handler, value = self._pending.pop(0)

    def _go(self, event: Moves | None) -> None:
        """Step by the table, and on through every stage without a need to wait."""
        cell, arrivals = self.cell, self._arrivals
        in_detail = log.isEnabledFor(logging.DEBUG)
        while event is not None:
            previous = self.stage
            self.stage = stage = advance(previous, event, cell.path)
            cell.enter(stage)
            if in_detail:
                text = f"{previous} -> {stage} ({event})"
                report(logging.DEBUG, cell.path, text)
            event = arrivals[stage](self)

    def _on_ended(self, order: Order) -> None:
        """A stage's hooks have ended, one way or another."""
        raise NotImplementedError

    def _on_late(self, order: Order) -> None:
        """A hook has outlived its deadline."""
        raise NotImplementedError

    def _part_ended(self, order: Order, outcome: Outcome) -> None:
        """One of what had to end has ended."""
        raise NotImplementedError

    # -- hooks, and the threads they run on -------------------------------------------

    def _hooks_of(self, stage: Stage) -> list[Hook]:
        """Return the hooks of *stage* that the component's class has code for."""
        if not self._hooks:
            return []
        component = self.component
        return [
            (name, self._with_turn(name, getattr(type(component), name)))
            for name in HOOKS.get(stage, ())
            if name in self._hooks
        ]

    def _with_turn(
        self, name: str, function: Callable[[Any], object]
    ) -> Callable[[], object]:
        """Return what runs a hook: all but `start` have the state to themselves."""
        component, serving = self.component, self.serving

        def run() -> None:
            if name == "start":
                try:
                    function(component)
                finally:
                    serving.touch()
            elif self._stuck:  # code that was abandoned may have the turn for ever
                function(component)
            else:
                with serving.edit():
                    function(component)

        return run

    def _ask_again(self, order: Order) -> Override:
        """Ask the component's own `restart_after`; on its thread, after a raise."""
        if order.stage is not Stage.STARTING:
            return None
        if order.timer is not None:
            order.timer.cancel()
        order.timer = self.services.timers.call_later(
            self.cell.start_deadline, lambda: self._signal(self._on_late, order)
        )
        try:
            return override_from(self.component.restart_after(order.outcome()))
        except BaseException as error:
            text = "restart_after failed: the component's policy decides instead"
            report(logging.ERROR, self.cell.path, text, error)
            return None

    def _hook_ended(self, order: Order) -> None:
        """On the worker's thread, in a `finally`: hand the outcome to a fresh one."""
        if order.returned and self._is_clean(order.worker):
            self._signal_here(self._on_ended, order)
        else:
            self._signal(self._on_ended, order, new=not order.returned)

    def _is_clean(self, worker: Worker | None) -> bool:
        """Whether no code of users has ever run on that thread."""
        tally = self.serving.mailbox.tally
        return worker is not None and not (worker.used or tally.begun)

    def _needs_thread(self) -> bool:
        """Whether this component has code of its own to run."""
        return bool(self._hooks) or self.serving.has_work or self.body is None

    def _worker(self, suffix: str, first: bool = False) -> Worker:
        """Start a thread for this component's code."""
        self.services.check_process()

        def enter(worker: Worker) -> None:
            if first:  # of this life: as fresh as a thread can be
                self._dedicated = worker
                self.begin_here()
            else:
                CURRENT.set(self.inside)

        name = f"{self.cell.thread_name}{suffix}"
        worker = Worker(self.services.threads, name, enter)
        alive = (thread for thread in self._used if thread.is_alive())
        self._used = (*alive, worker.thread)
        return worker

    def is_run_by(self, worker: Worker) -> bool:
        """Whether *worker* is the dedicated one."""
        return self._dedicated is worker

    def begin_here(self) -> None:
        """Make the first transitions; on the dedicated thread, which is new."""
        CURRENT.set(self.inside)
        self._move()

    def _own_worker(self) -> Worker:
        """Return the dedicated thread, made now if there was no need for it yet."""
        if self._dedicated is None:
            self._dedicated = self._worker("")
        return self._dedicated

    def _tell(
        self,
        kind: Kind,
        outcome: Outcome | None = None,
        again_after: Override = None,
    ) -> None:
        """Report to whoever decides; without anybody, a failure ends the life."""
        cell = self.cell
        taken = cell.tell(Report(cell, kind, cell.run, outcome, again_after))
        if not taken and kind is Kind.FAILED:
            self.fail()
        elif not taken and kind is Kind.FINISHED:
            self.stop(tear_down=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cell.path} [{self.cell.status()}]>"
