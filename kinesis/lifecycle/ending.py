"""
The way down: the end of a run, for a restart or for good, and of the life.
"""

from __future__ import annotations

import logging

from kinesis.lifecycle.rising import Rising
from kinesis.notices import Kind
from kinesis.services import report
from kinesis.stages import Event as Moves
from kinesis.stages import Outcome, Stage
from kinesis.workers import Order, Worker

_RUNNING = frozenset({Stage.STARTING, Stage.STARTED})
_STARTABLE = frozenset({Stage.RESTARTING, Stage.STOPPED})
_WINDING = frozenset({Stage.STOPPING, Stage.RESTARTING, Stage.ABORTING})
_ENDING = frozenset(
    {Stage.STOPPING, Stage.ABORTING, Stage.TEARING_DOWN, Stage.TORN_DOWN}
)


class Ending(Rising):
    """Ends runs, and the life."""

    __slots__ = ()

    # -- orders ----------------------------------------------------------------

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
        if self.serving.mailbox.depth:  # accepted before: to be handled yet
            self._on_wanted(None)
        if self._order is None or self._order.call_off():
            self._go(Moves.STOP)
        else:  # an earlier hook runs: it ends first, and is the last one
            self._ask_to_stop()
            self._arm_late()

    def _on_restart(self, _: None) -> None:
        if self.stage in _RUNNING and not self._stop_wanted:
            self._go(Moves.RESTART)

    def _on_start_again(self, _: None) -> None:
        """Begin another run; the supervisor says when."""
        if self.stage not in _STARTABLE or self._parts or self._body_busy:
            return
        self._stop_wanted = self._stop_asked = False
        self._finish_wanted = self._finish_told = False
        self._stopping = None
        self.serving.reopen()
        self._go(Moves.START)

    def _on_fail(self, _: None) -> None:
        if self.stage in _RUNNING or self.stage is Stage.RESTARTING:
            self._tear_down_wanted = True
            self._go(Moves.FAILED)

    def _ask_to_stop(self) -> None:
        """Set the event that a blocking `start` waits on."""
        with self._lock:
            self._stop_asked = True
            stopping = self._stopping
        if stopping is not None:
            stopping.set()

    # -- the end of a run ---------------------------------------------------------

    def _arrive_down(self) -> Moves | None:
        """STOPPING, RESTARTING, ABORTING: end the run."""
        if self._wound:  # begun in another stage, and goes on in this one
            return None if self._is_winding() else self._wound_down()
        self._wound = True
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
        self._ask_to_stop()
        worker = self.serving.worker
        if self._order is not None:  # a `start` that blocks
            self._entered = self._order.call_off() or self._entered
            self._parts |= {self._order}
            self._order = None
        hooks = self._hooks_of(Stage.STOPPING) if self._must_stop() else []
        order = self._serves if worker is not None else None
        if hooks:  # they run behind what serves the messages
            order = Order(self.stage, hooks, self._hook_ended)
        if order is not None:
            order.awaited = True  # before it is told to leave
            self._parts |= {order}
        if self._parts:
            self._arm_late()  # before somebody wakes up, who would only wait for us
        stay = self.stage is Stage.RESTARTING  # what waits is for the next run
        self.serving.leave(drain=self.stage is Stage.STOPPING, stay=stay)
        if hooks and order is not None and not self._give_stop(order, worker):
            self._parts -= {order}
        if not self._parts:
            return self._wound_down()
        if not hooks and worker is not None and self._is_last():
            worker.end()  # it need not wait to be told, and be woken up for that
        return None

    def _is_last(self) -> bool:
        """Whether this component has no code to run behind what runs now."""
        return (
            self.stage is Stage.STOPPING
            and self._tear_down_wanted
            and "tear_down" not in self._hooks
        )

    def _must_stop(self) -> bool:
        """
        Whether `stop` has a run to stop: one that was entered and did not fail.

        A failure leaves it out, unless it was a child's, and the container's own
        `start` blocks: that one has to be asked to return.
        """
        if self.stage is Stage.ABORTING:
            return self._entered and bool(self._parts)
        return self._entered and not self._start_failed

    def _give_stop(self, order: Order, worker: Worker | None) -> bool:
        """Run *order* where the messages are handled; False without a thread."""
        try:
            if worker is None and self._parts - {order}:  # `start` has the first one
                worker = self._second = self._worker(" (messages)")
            (worker or self._own_worker()).give(order)
        except RuntimeError as error:
            text = "no thread for its stop: it is left out"
            report(logging.ERROR, self.cell.path, text, error)
            return False
        return True

    def _part_ended(self, order: Order, outcome: Outcome) -> None:
        """One of what had to end has ended."""
        self._parts -= {order}
        if outcome.failed and (self._failure is None or order.stage is Stage.STOPPING):
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

    # -- the end of the life ------------------------------------------------------

    def _arrive_stopped(self) -> Moves | None:
        """STOPPED: stay here, or go on to the end."""
        if self._tear_down_wanted:
            return Moves.TEAR_DOWN
        if self.body is not None:
            self.body.rest()  # before anybody is told that it is STOPPED
        self._tell(Kind.STOPPED)
        return None

    def _arrive_tearing_down(self) -> Moves | None:
        """TEARING_DOWN: give resources back, on the thread that took them."""
        hooks = self._hooks_of(self.stage) if self._begun else []
        if not hooks:
            return Moves.DONE
        busy = self._dedicated.busy if self._dedicated is not None else None
        stuck = busy is not None and busy.abandoned
        order = Order(self.stage, hooks, self._hook_ended)
        order.abandoned = self._owes = stuck
        self._own_worker().give(order)
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
