"""
Deadlines: what is late is left behind, and may come back.

A hook that outlives its deadline cannot be ended in Python. Its thread is given
up on: logged once with its stack, and the component goes on to its end without
it.
"""

from __future__ import annotations

import logging

from kinesis.cells import Kind
from kinesis.errors import DeadlineError
from kinesis.lifecycle.machine import Machine
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
        order.call_off()
        worker = order.worker
        stack = worker.stack() if worker is not None else ""
        self.cell.hung = stack
        hook = self._what_runs(order, worker)
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
