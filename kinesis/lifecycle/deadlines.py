"""
Deadlines: what is late is left behind, and may come back.

A hook that outlives its deadline cannot be ended in Python. Its thread is given
up on: logged once with its stack, and the component goes on to its end without
it.
"""

from __future__ import annotations

import logging

from kinesis.errors import DeadlineError, describe
from kinesis.lifecycle.machine import Machine
from kinesis.notices import Kind
from kinesis.services import report
from kinesis.stages import Event as Moves
from kinesis.stages import Outcome, Result, Stage
from kinesis.workers import Order, Worker

_HINT = (
    " If `start` is meant to run for as long as the component lives, it must wait "
    "on self.stopping, or call self.ready(), to say that it works."
)
_STOP_HINT = (
    " A `start` that blocks must return once self.stopping is set, or the component "
    "needs a `stop` that makes it return."
)
_ABORT = {Stage.ABORTING: Moves.TEAR_DOWN}  # what a late end leads to; else FAILED


class Deadlines(Machine):
    """Gives up on what is late."""

    __slots__ = ()

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
        if order.abandoned or order.is_over:
            return
        failed = order.error is not None  # and hangs in `restart_after`
        if order is self._order and (failed or not self._ready_wanted):
            outcome = self._abandon(order, self.cell.start_deadline)
            self._order = None
            self._failure = outcome
            if order.stage is Stage.STARTING and not self._stop_wanted:
                self._start_failed = True
                self._tell(Kind.FAILED, outcome)
            else:
                self._go(Moves.FAILED)
        elif order.stage is Stage.TEARING_DOWN and self.stage is Stage.TEARING_DOWN:
            outcome = self._abandon(order, self.cell.stop_deadline)
            self._failure = self._failure or outcome
            self._go(Moves.FAILED)

    def _on_stop_late(self, _: None) -> None:
        """What had to end for the stop has not ended in time."""
        limit = self.cell.stop_deadline
        running = {*self._parts, *([self._order] if self._order is not None else [])}
        late = {order for order in running if not order.is_over}
        for order in late:
            outcome = self._abandon(order, limit)
            self._failure = self._failure or outcome
        self._parts -= late
        if self._order in late:
            self._order = None
        if late:
            self._go(_ABORT.get(self.stage, Moves.FAILED))

    def _abandon(self, order: Order, limit: float) -> Outcome:
        """Give up on the thread of *order*: it cannot be ended, only left behind."""
        self._begun = order.abandoned = True
        order.call_off()
        if order.error is not None:  # `restart_after` hangs: why was it asked?
            self.cell.ended(order.outcome())
        worker = order.worker
        stack = worker.stack() if worker is not None else ""
        self.cell.hung = stack
        stuck = self._what_runs(order, worker)
        stuck.abandoned = True
        self._stuck = (*self._stuck, stuck)
        hook = self._name_of(stuck)
        path = self.cell.path
        hint = "" if hook != "start" else _STOP_HINT if self._wound else _HINT
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

    def _what_runs(self, order: Order, worker: Worker | None) -> Order:
        """Return what the stuck thread runs: *order*, or one that is before it."""
        busy = worker.busy if worker is not None else None
        return order if busy is None else busy

    def _name_of(self, order: Order) -> str:
        """Name the hook, or the handler, that is stuck."""
        return order.at or self.serving.handler_name()

    def _came_back(self, order: Order) -> None:
        """What was given up on has ended after all."""
        cell = self.cell
        if order not in self._stuck:  # it waited behind what was stuck
            if order.stage is Stage.TEARING_DOWN:
                cell.note("tear_down ran late")
                cell.ended(order.outcome())
                self._owes = False
                self._look_if_hung()
            return
        self._stuck = tuple(other for other in self._stuck if other is not order)
        self._look_if_hung()
        how = f" and raised {describe(order.error)}" if order.error is not None else ""
        text = f"{order.hook or 'a handler'} came back after it was abandoned{how}"
        cell.note(text)
        report(logging.WARNING, cell.path, text, order.error)

    def _look_if_hung(self) -> None:
        """Nothing is stuck any more, or still to run on the thread that was?"""
        if not self._stuck and not self._owes:
            self.cell.hung = None
