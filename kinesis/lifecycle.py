"""
Drives one component through its stages.

**The rule that gives the project its name.** The hooks of a stage run on the
component's own thread inside ``try/finally``; the ``finally`` hands the outcome
to a *fresh* thread (empty stack) that moves the machine on. So whatever a hook
does, the machine moves, and it never recurses. After a hook that returned, a
parked thread may be used again; after one that raised it is always a new one.

The machine is the only writer of the stage. What happens to it (a hook ended, a
deadline passed, somebody wants a stop) queues up in `_pending`, and one thread
at a time works that off (`_move`). It decides nothing about restarts: it
reports to whoever supervises, and does as it is told.

Threads of a component: the *dedicated* one runs the hooks and, once `start` has
returned, the messages. While `start` blocks, a second one handles the messages;
it is made at the first of them and ends with the run.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from kinesis.cells import Cell, Kind, Report
from kinesis.component import CURRENT, Component, overridden_hooks
from kinesis.concurrency import Event, Thread
from kinesis.errors import DeadlineError
from kinesis.inside import Inside
from kinesis.services import log, report
from kinesis.serving import Serving
from kinesis.stages import HOOKS, Outcome, Result, Stage, advance
from kinesis.stages import Event as Moves
from kinesis.timers import Timer
from kinesis.workers import Hook, Order, Worker

Item = tuple[Callable[[Any], object], Any]

_HINT = (
    " If `start` is meant to run for as long as the component lives, it must wait "
    "on self.stopping, or call self.ready(), to say that it works."
)


class Body(Protocol):
    """What a container has and a plain component has not: children."""

    def begin(self, done: Callable[[Outcome], object]) -> None:
        """Bring the children up; call *done* once, from any thread."""
        ...

    def end(self, done: Callable[[], object]) -> None:
        """Take the children down; call *done* once, from any thread."""
        ...

    def close(self) -> None:
        """The container's life is over."""
        ...

    def threads(self) -> list[Thread]:
        """Return the threads that it has."""
        ...


class Lifecycle:
    """
    One life of one component, from SUBMITTED to TORN_DOWN.

    Every public method may be called from any thread, returns at once, and does
    nothing when it comes too late. None of them raises, but for `activate`.
    """

    def __init__(self, cell: Cell, body: Body | None = None) -> None:
        self.cell = cell
        self.component: Component = cell.component
        self.services = cell.services
        self.body = body
        self.inside = Inside(self)
        self.serving = Serving(cell, self.inside, self.wanted)
        self.stage = Stage.SUBMITTED
        self._hooks = overridden_hooks(type(self.component))
        self._lock = self.services.threads.lock()
        self._pending: deque[Item] = deque()
        self._moving = False
        self._dedicated: Worker | None = None
        self._second: Worker | None = None
        self._used: list[Thread] = []
        # What follows belongs to the machine: only `_move` touches it.
        self._order: Order | None = None  # of the way up, while it runs
        self._parts: set[Order] = set()  # of the way down, while they run
        self._wound = False  # this run is being ended, or has been
        self._entered = False  # this run has something that `stop` can stop
        self._start_failed = False
        self._body_up = False
        self._body_busy = False
        self._stop_wanted = False
        self._tear_down_wanted = False
        self._finish_wanted = False
        self._finish_told = False
        self._ready_wanted = False
        self._owed = False  # tear_down waits for a thread that is stuck
        self._failure: Outcome | None = None
        self._late_timer: Timer | None = None
        self._stopping: Event | None = None
        self._stop_asked = False

    # -- commands, from any thread --------------------------------------------

    def activate(self) -> None:
        """
        Begin the life.

        The component's new thread is as fresh as a thread can be: it makes the
        first transitions itself.

        Raises:
            RuntimeError: The system refuses another thread; the life is over.
        """
        self._pending.append((self._on_activate, None))
        self._moving = True
        if not self._needs_thread():
            self._hand_on(new=False)
            return
        try:
            self._worker("", first=True)
        except RuntimeError as error:
            self._pending.clear()
            self._pending.append((self._on_refused, error))
            self._move()
            raise

    def stop(self, tear_down: bool) -> None:
        """End the run; with *tear_down* the whole life."""
        self._signal(self._on_stop, tear_down)

    def restart(self) -> None:
        """End the run, report QUIET, and wait for `start_again`."""
        self._signal(self._on_restart, None)

    def start_again(self) -> None:
        """Begin another run."""
        self._signal(self._on_start_again, None)

    def fail(self) -> None:
        """A run failed and nobody restarts it: end the life."""
        self._signal(self._on_fail, None)

    def body_failed(self, outcome: Outcome) -> None:
        """A child failed for good: this run of the container has failed."""
        self._signal(self._on_body_failed, outcome)

    def ready(self) -> None:
        """`start` says that it works."""
        self._signal(self._on_ready, None)

    def finish(self) -> None:
        """The component says that its work is done."""
        self._signal(self._on_finish, None)

    def wanted(self) -> None:
        """A message waits, and nobody handles messages."""
        self._signal(self._on_wanted, None)

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
        if self.stage is Stage.STARTING and not self._ready_wanted:
            order = self._order
            if order is not None and order.hook == "start":
                self.ready()  # a touch inside `start` is the sign that it works
        return stopping

    def node(self) -> Hashable:
        """Return what the calling thread is in the wait-for graph."""
        worker = self._dedicated
        if not self._ready_wanted or worker is None:
            return self.cell.path
        if self.serving.worker is worker:  # `start` has returned
            return self.cell.path
        ident = self.services.threads.get_ident()
        return worker if worker.thread.ident == ident else self.cell.path

    # -- the machine's inbox ------------------------------------------------------

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

    def _move(self) -> None:
        """Work off what is pending; one thread at a time does."""
        while True:
            with self._lock:
                if not self._pending:
                    self._moving = False
                    return
                handler, value = self._pending.popleft()
            try:
                handler(value)
            except BaseException as error:  # ours, never the component's
                self.services.crashed(self.cell.path, error)

    def _step(self, event: Moves) -> None:
        """Take one step of the table, and publish it."""
        previous = self.stage
        self.stage = advance(previous, event, self.cell.path)
        self.cell.enter(self.stage)
        if log.isEnabledFor(logging.DEBUG):
            text = f"{previous} -> {self.stage} ({event})"
            report(logging.DEBUG, self.cell.path, text)

    def _go(self, event: Moves | None) -> None:
        """Step, and on through every stage that has nothing to wait for."""
        while event is not None:
            self._step(event)
            event = self._arrive()

    def _arrive(self) -> Moves | None:
        """Begin what the stage just entered is for; return what follows at once."""
        return _ARRIVE[self.stage](self)

    # -- the way up -----------------------------------------------------------------

    def _on_activate(self, _: None) -> None:
        if self.stage is Stage.SUBMITTED:
            self._go(Moves.STOP if self._stop_wanted else Moves.ACTIVATE)

    def _on_refused(self, error: BaseException) -> None:
        """The system refused the component's thread."""
        self._failure = Outcome(Result.RAISED, self.stage, None, error)
        self.cell.ended(self._failure)
        self._go(Moves.FAILED)

    def _arrive_up(self) -> Moves | None:
        """PREINITIALIZING, INITIALIZING: run the hooks, if there are any."""
        if self._stop_wanted:
            return Moves.STOP
        return None if self._run_hooks() else Moves.DONE

    def _arrive_between(self) -> Moves | None:
        """PREINITIALIZED, INITIALIZED: nothing to do here."""
        return Moves.STOP if self._stop_wanted else Moves.NEXT

    def _arrive_starting(self) -> Moves | None:
        """STARTING: a run begins."""
        self.cell.run += 1
        self._wound = self._entered = self._start_failed = False
        self._ready_wanted = self._finish_wanted = self._finish_told = False
        self._failure = None
        if self._stop_wanted:
            return Moves.STOP
        if self._run_hooks():
            return None
        return self._start_done()

    def _run_hooks(self) -> bool:
        """Order the stage's hooks on the dedicated thread; False if it has none."""
        hooks = self._hooks_of(self.stage)
        if not hooks:
            return False
        order = Order(
            self.stage,
            hooks,
            self._hook_ended,
            lambda: self._stop_wanted,
            self._ask_again if "restart_after" in self._hooks else None,
        )
        self._order = order
        order.timer = self.services.timers.call_later(
            self.cell.start_deadline, lambda: self._signal(self._on_late, order)
        )
        self._give_dedicated(order)
        return True

    def _hooks_of(self, stage: Stage) -> list[Hook]:
        """Return the hooks of *stage* that the component's class has code for."""
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
            else:
                with serving.edit():
                    function(component)

        return run

    def _ask_again(self, order: Order) -> float | None:
        """Ask the component's own `restart_after`; on its thread, after a raise."""
        if order.stage is not Stage.STARTING:
            return None
        try:
            return self.component.restart_after(order.outcome())
        except BaseException as error:
            text = "restart_after failed: the component's policy decides instead"
            report(logging.ERROR, self.cell.path, text, error)
            return None

    def _hook_ended(self, order: Order) -> None:
        """On the worker's thread, in a `finally`: hand the outcome to a fresh one."""
        self._signal(self._on_ended, order, new=not order.returned)

    def _on_ended(self, order: Order) -> None:
        """A stage's hooks have ended, one way or another."""
        if order.timer is not None:
            order.timer.cancel()
        if order.abandoned:
            self._came_back(order)
            return
        outcome = order.outcome()
        self.cell.ended(outcome)
        if order in self._parts:
            self._part_ended(order, outcome)
        elif order is self._order:
            self._order = None
            self._up_ended(order, outcome)
        elif self.stage is Stage.TEARING_DOWN:
            self._go(Moves.FAILED if outcome.failed else Moves.DONE)

    def _up_ended(self, order: Order, outcome: Outcome) -> None:
        """The hooks of a stage on the way up have ended."""
        if order.stage is Stage.STARTING:
            self._run_ended(order, outcome)
        elif outcome.failed:
            self._failure = outcome
            self._go(Moves.FAILED)
        else:
            self._go(Moves.STOP if self._stop_wanted else Moves.DONE)

    def _run_ended(self, order: Order, outcome: Outcome) -> None:
        """`start` has ended: it failed, it returned early, or its run is over."""
        if outcome.failed:
            self._start_failed = True
            self._failure = outcome
            if self._stop_wanted:
                self._go(Moves.STOP)
            else:
                self._tell(Kind.FAILED, outcome, order.again_after)
        elif self.stage is Stage.STARTED:
            self._start_returned()
        elif self._stop_wanted:
            self._entered = not order.skipped
            self._go(Moves.STOP)
        else:
            self._go(self._start_done())

    def _start_done(self) -> Moves | None:
        """The hooks say that it runs: now the children, if there are any."""
        self._entered = True
        if self.body is None:
            return Moves.DONE
        if not self._body_busy and not self._body_up:
            self._body_busy = self._body_up = True
            run = self.cell.run
            self.body.begin(
                lambda outcome: self._signal(self._on_body_began, (run, outcome))
            )
        return None

    def _on_body_began(self, told: tuple[int, Outcome]) -> None:
        """The children are up, or one of them failed."""
        run, outcome = told
        if run != self.cell.run:
            return
        self._body_busy = False
        if self.stage is not Stage.STARTING or self._wound:
            return
        if outcome.failed:
            self._failure = outcome
            self._start_failed = True
            self.cell.last = outcome
            self._tell(Kind.FAILED, outcome)
        else:
            self._go(Moves.DONE)

    def _arrive_started(self) -> Moves | None:
        """STARTED: serve the messages, and say so."""
        self._tell(Kind.STARTED)
        if self._order is None:
            self._start_returned()
        else:
            self.serving.open_unserved()
        if self._finish_wanted:
            self._tell_finished()
        return None

    def _tell_finished(self) -> None:
        """Report, once a run, that the work is done."""
        if not self._finish_told:
            self._finish_told = True
            self._tell(Kind.FINISHED)

    def _start_returned(self) -> None:
        """`start` has returned: this thread handles the messages from now on."""
        if self._second is not None or self.stage is not Stage.STARTED:
            return
        if self.serving.has_work:
            self._serve_on(self._dedicated)
        elif self.body is None:
            self._tell_finished()

    def _serve_on(self, worker: Worker | None) -> None:
        """Handle messages on *worker* until told to leave."""
        if worker is None:
            worker = self._dedicated = self._worker("")
        hooks = (("", self.serving.serve),)
        order = Order(self.stage, hooks, self._serve_ended, _never)
        self.serving.begin(worker)
        worker.give(order)

    def _serve_ended(self, order: Order) -> None:
        """On the worker's thread, in a `finally`: the loop has ended."""
        if order.error is not None or order.abandoned:
            self._signal(self._on_serve_ended, order)

    def _on_serve_ended(self, order: Order) -> None:
        """The loop broke: go on with a fresh one. Or it came back from a hang."""
        if order.abandoned:
            self._came_back(order)
        elif order.error is not None and order.worker is self.serving.worker:
            self.services.crashed(self.cell.path, order.error)
            if not self._wound:
                self._serve_on(order.worker)

    def _on_wanted(self, _: None) -> None:
        """The first message came while `start` blocks: make the second thread."""
        if self.serving.worker is not None or self.stage is not Stage.STARTED:
            return
        try:
            self._second = self._worker(" (messages)")
        except RuntimeError as error:
            text = "no thread for its messages: they wait until `start` returns"
            report(logging.ERROR, self.cell.path, text, error)
            return
        self._serve_on(self._second)

    def _on_ready(self, _: None) -> None:
        if self.stage is not Stage.STARTING or self._order is None or self._wound:
            return
        if self._ready_wanted:
            return
        self._ready_wanted = True
        if self._order.timer is not None:
            self._order.timer.cancel()
        event = self._start_done()
        self._go(Moves.READY if event is Moves.DONE else event)

    def _on_finish(self, _: None) -> None:
        if self._finish_wanted:
            return
        self._finish_wanted = True
        if self.stage is Stage.STARTED:
            self._tell_finished()

    # -- the way down -----------------------------------------------------------------

    def _on_stop(self, tear_down: bool) -> None:
        """Stop was asked for; what runs now may have to end first."""
        self._tear_down_wanted = tear_down or self._tear_down_wanted
        stage = self.stage
        if stage is Stage.STOPPED:
            if self._tear_down_wanted:
                self._go(Moves.TEAR_DOWN)
            return
        if self._stop_wanted or stage in _ENDING:
            return
        self._stop_wanted = True
        if stage in _UP and self._order is not None:
            self._ask_to_stop()
            self._arm_late()
        elif stage is Stage.STARTING and not self._start_entered():
            self._ask_to_stop()
            self._arm_late()
        else:
            self._go(Moves.STOP)

    def _start_entered(self) -> bool:
        """Whether `start` itself runs, so that a stop has something to stop."""
        order = self._order
        return order is None or order.hook == "start"

    def _on_restart(self, _: None) -> None:
        if self.stage in _RUNNING and not self._stop_wanted:
            self._go(Moves.RESTART)

    def _on_start_again(self, _: None) -> None:
        """Begin another run; the supervisor says when."""
        if self.stage not in _STARTABLE or self._parts or self._body_busy:
            return
        if self.stage is Stage.STOPPED and self._tear_down_wanted:
            return
        self._stop_wanted = self._stop_asked = False
        self._stopping = None
        self.serving.reopen()
        self._go(Moves.START)

    def _on_fail(self, _: None) -> None:
        if self.stage in _RUNNING or self.stage is Stage.RESTARTING:
            self._tear_down_wanted = True
            self._go(Moves.FAILED)

    def _on_body_failed(self, outcome: Outcome) -> None:
        """A child failed for good while this container was up."""
        if self.stage is not Stage.STARTED or self._start_failed:
            return
        self._start_failed = True
        self._failure = outcome
        self.cell.last = outcome
        self._tell(Kind.FAILED, outcome)

    def _ask_to_stop(self) -> None:
        """Set the event that a blocking `start` waits on."""
        with self._lock:
            self._stop_asked = True
            stopping = self._stopping
        if stopping is not None:
            stopping.set()

    def _arrive_down(self) -> Moves | None:
        """STOPPING, RESTARTING, ABORTING: end the run."""
        if self._wound:  # begun in another stage, and goes on in this one
            return None if self._is_winding() else self._wound_down()
        self._wound = True
        self._ask_to_stop()
        if self.body is not None and self._body_up:
            self._body_up, self._body_busy = False, True
            self.body.end(lambda: self._signal(self._on_body_ended, None))
            return None
        return self._end_own()

    def _on_body_ended(self, _: None) -> None:
        self._body_busy = False
        if self.stage in _WINDING:
            self._go(self._end_own())

    def _end_own(self) -> Moves | None:
        """End what this component itself runs: messages, `stop`, `start`."""
        serving = self.serving
        worker = serving.worker
        serving.leave(drain=self.stage is Stage.STOPPING, stay=self._stays_open())
        if self._order is not None:  # a `start` that blocks
            self._entered = self._entered or self._order.hook == "start"
            self._parts.add(self._order)
            self._order = None
        hooks = self._hooks_of(self.stage) if self._must_stop() else []
        if hooks or worker is not None:
            order = Order(self.stage, hooks, self._hook_ended, _never)
            self._parts.add(order)
            if not self._give_stop(order, worker):
                self._parts.discard(order)
        if not self._parts:
            return self._wound_down()
        self._arm_late()
        return None

    def _stays_open(self) -> bool:
        """Whether waiting messages are for the next run."""
        return self.stage is Stage.RESTARTING

    def _must_stop(self) -> bool:
        """Whether `stop` has a run to stop: one that was entered and did not fail."""
        if self.stage is Stage.ABORTING:
            return False
        return self._entered and not self._start_failed

    def _give_stop(self, order: Order, worker: Worker | None) -> bool:
        """Run *order* where the messages are handled; False without a thread."""
        try:
            if worker is None and self._parts - {order}:  # `start` has the first one
                worker = self._second = self._worker(" (messages)")
            self._give(worker, order)
        except RuntimeError as error:
            text = "no thread for its stop: it is left out"
            report(logging.ERROR, self.cell.path, text, error)
            return False
        return True

    def _part_ended(self, order: Order, outcome: Outcome) -> None:
        """One of what had to end has ended."""
        self._parts.discard(order)
        if outcome.failed:
            self._failure = outcome
        if not self._is_winding() and self.stage in _WINDING:
            self._go(self._wound_down())

    def _is_winding(self) -> bool:
        return bool(self._parts) or self._body_busy

    def _wound_down(self) -> Moves | None:
        """The run has ended; return what follows."""
        self._cancel_late()
        self.serving.left(self.stage is Stage.RESTARTING)
        if self._second is not None:
            self._second.end()
            self._second = None
        if self.stage is Stage.ABORTING:
            return Moves.TEAR_DOWN
        if self.stage is Stage.RESTARTING:
            self._tell(Kind.QUIET)
            return None
        failed = self._failure is not None and self._failure.stage is Stage.STOPPING
        return Moves.FAILED if failed else Moves.DONE

    def _arrive_stopped(self) -> Moves | None:
        """STOPPED: stay here, or go on to the end."""
        if self._tear_down_wanted:
            return Moves.TEAR_DOWN
        self._tell(Kind.STOPPED)
        return None

    def _arrive_tearing_down(self) -> Moves | None:
        """TEARING_DOWN: give resources back, on the thread that took them."""
        hooks = self._hooks_of(self.stage)
        if not hooks:
            return Moves.DONE
        busy = self._dedicated.busy if self._dedicated is not None else None
        stuck = busy is not None and busy.abandoned
        order = Order(self.stage, hooks, self._hook_ended, _never)
        order.abandoned = stuck
        self._give_dedicated(order)
        if stuck:  # it runs if the thread ever comes back
            return Moves.FAILED
        order.timer = self.services.timers.call_later(
            self.cell.stop_deadline, lambda: self._signal(self._on_late, order)
        )
        return None

    def _arrive_torn_down(self) -> Moves | None:
        """TORN_DOWN: the end."""
        self._cancel_late()
        self.serving.close()
        if self.body is not None:
            self.body.close()
        for worker in (self._dedicated, self._second):
            if worker is not None:
                worker.end()
        self._tell(Kind.TORN_DOWN, self._failure)
        return None

    # -- deadlines ---------------------------------------------------------------------

    def _arm_late(self) -> None:
        """Give what must end the stop deadline."""
        self._cancel_late()
        self._late_timer = self.services.timers.call_later(
            self.cell.stop_deadline, lambda: self._signal(self._on_stop_late, None)
        )

    def _cancel_late(self) -> None:
        if self._late_timer is not None:
            self._late_timer.cancel()
            self._late_timer = None

    def _on_late(self, order: Order) -> None:
        """A hook on the way up, or `tear_down`, outlived its deadline."""
        if order.abandoned or order.returned or order.error is not None:
            return
        if order is self._order and not self._ready_wanted:
            outcome = self._abandon(order, self.cell.start_deadline)
            self._order = None
            self._failure = outcome
            if order.stage is Stage.STARTING:
                self._start_failed = True
                self._tell(Kind.FAILED, outcome)
            else:
                self._go(Moves.FAILED)
        elif order.stage is Stage.TEARING_DOWN and self.stage is Stage.TEARING_DOWN:
            self._failure = self._abandon(order, self.cell.stop_deadline)
            self._go(Moves.FAILED)

    def _on_stop_late(self, _: None) -> None:
        """What had to end for the stop has not ended in time."""
        limit = self.cell.stop_deadline
        late = [*self._parts, *([self._order] if self._order is not None else [])]
        for order in late:
            self._failure = self._abandon(order, limit)
        self._parts.clear()
        self._order = None
        if late:
            self._go(_ABORT.get(self.stage, Moves.FAILED))

    def _abandon(self, order: Order, limit: float) -> Outcome:
        """Give up on the thread of *order*: it cannot be ended, only left behind."""
        order.abandoned = True
        worker = order.worker
        stack = worker.stack() if worker is not None else ""
        self.cell.hung = stack
        hook = self._what_runs(order, worker)
        path = self.cell.path
        hint = _HINT if order.stage is Stage.STARTING and hook == "start" else ""
        error = DeadlineError(
            f"{hook} of '{path}' has not returned within {limit:g} s and is "
            f"abandoned: its thread cannot be ended.{hint}",
            path=path,
            hook=hook,
            stack=stack,
        )
        outcome = Outcome(Result.HUNG, order.stage, hook, error)
        self.cell.last = outcome
        self.cell.failures += 1
        self.cell.note(f"hung: {hook} has not returned within {limit:g} s")
        text = f"hung: {error}\nIt is here:\n{stack}"
        report(logging.ERROR, path, text, hung=True)
        return outcome

    def _what_runs(self, order: Order, worker: Worker | None) -> str:
        """Name what the stuck thread runs: a hook, or a handler before it."""
        busy = worker.busy if worker is not None else None
        if busy is not None and busy is not order:
            busy.abandoned = True
            return busy.hook or self.serving.handler_name()
        return order.hook or "its messages"

    def _came_back(self, order: Order) -> None:
        """A hook that was given up on has ended after all."""
        if order.error is not None:
            self.cell.ended(order.outcome())
        self.cell.hung = None
        text = f"{order.hook or order.stage} came back after it was abandoned"
        self.cell.note(text)
        report(logging.WARNING, self.cell.path, text)

    # -- threads -----------------------------------------------------------------------

    def _needs_thread(self) -> bool:
        """Whether this component has code of its own to run."""
        return bool(self._hooks) or self.serving.has_work or self.body is None

    def _worker(self, suffix: str, first: bool = False) -> Worker:
        """Start a thread for this component's code."""
        self.services.check_process()

        def enter(worker: Worker) -> None:
            CURRENT.set(self.inside)
            if first:  # of this life: as fresh as a thread can be
                self._dedicated = worker
                self._move()

        name = f"kinesis:{self.cell.path}{self.cell.suffix}{suffix}"
        worker = Worker(self.services.threads, name, enter)
        self._used = [t for t in self._used if t.is_alive()]
        self._used.append(worker.thread)
        return worker

    def _give_dedicated(self, order: Order) -> None:
        """Run *order* on the dedicated thread, made now if there was no need yet."""
        self._give(self._dedicated, order)

    def _give(self, worker: Worker | None, order: Order) -> None:
        if worker is None:
            worker = self._dedicated
        if worker is None:
            worker = self._dedicated = self._worker("")
        worker.give(order)

    def _tell(
        self,
        kind: Kind,
        outcome: Outcome | None = None,
        again_after: float | None = None,
    ) -> None:
        """Report to whoever decides; without anybody, a failure ends the life."""
        cell = self.cell
        taken = cell.tell(Report(cell, kind, cell.run, outcome, again_after))
        if not taken and kind is Kind.FAILED:
            self.fail()
        elif not taken and kind is Kind.FINISHED:
            self.stop(tear_down=True)


def _never() -> bool:
    """Leave no hook out."""
    return False


_UP = frozenset({Stage.PREINITIALIZING, Stage.INITIALIZING})
_RUNNING = frozenset({Stage.STARTING, Stage.STARTED})
_STARTABLE = frozenset({Stage.RESTARTING, Stage.STOPPED})
_WINDING = frozenset({Stage.STOPPING, Stage.RESTARTING, Stage.ABORTING})
_ENDING = frozenset(
    {Stage.STOPPING, Stage.ABORTING, Stage.TEARING_DOWN, Stage.TORN_DOWN}
)
_ABORT = {stage: Moves.FAILED for stage in _WINDING} | {Stage.ABORTING: Moves.TEAR_DOWN}
_ARRIVE: dict[Stage, Callable[[Lifecycle], Moves | None]] = {
    Stage.PREINITIALIZING: Lifecycle._arrive_up,
    Stage.PREINITIALIZED: Lifecycle._arrive_between,
    Stage.INITIALIZING: Lifecycle._arrive_up,
    Stage.INITIALIZED: Lifecycle._arrive_between,
    Stage.STARTING: Lifecycle._arrive_starting,
    Stage.STARTED: Lifecycle._arrive_started,
    Stage.RESTARTING: Lifecycle._arrive_down,
    Stage.STOPPING: Lifecycle._arrive_down,
    Stage.ABORTING: Lifecycle._arrive_down,
    Stage.STOPPED: Lifecycle._arrive_stopped,
    Stage.TEARING_DOWN: Lifecycle._arrive_tearing_down,
    Stage.TORN_DOWN: Lifecycle._arrive_torn_down,
}
