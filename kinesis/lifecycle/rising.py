"""
The way up: from SUBMITTED to STARTED, and the run that follows.
"""

from __future__ import annotations

import logging

from kinesis.lifecycle.deadlines import Deadlines
from kinesis.notices import Kind
from kinesis.services import report
from kinesis.stages import Event as Moves
from kinesis.stages import Outcome, Result, Stage
from kinesis.workers import Order, Worker

RETRY_SECONDS = 1.0  # until a thread that was refused is asked for again


class Rising(Deadlines):
    """Brings the component up, and serves it while it runs."""

    __slots__ = ()

    def _on_activate(self, _: None) -> None:
        if self.stage is Stage.SUBMITTED:
            self._go(Moves.ACTIVATE)

    def _on_refused(self, error: BaseException) -> None:
        """The system refused the component's thread."""
        self._failure = Outcome(Result.RAISED, self.stage, None, error)
        self.cell.ended(self._failure)
        self._go(Moves.FAILED)

    def _arrive_up(self) -> Moves | None:
        """PREINITIALIZING, INITIALIZING: run the hooks, if there are any."""
        return None if self._run_hooks() else Moves.DONE

    def _arrive_between(self) -> Moves | None:
        """PREINITIALIZED, INITIALIZED: nothing to do here."""
        return Moves.NEXT

    def _arrive_starting(self) -> Moves | None:
        """STARTING: a run begins."""
        self.cell.run += 1
        self._wound = self._entered = False
        self._start_failed = self._body_failed = False
        self._ready_wanted = False
        self._failure = None
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
            self._ask_again if "restart_after" in self._hooks else None,
        )
        self._order = order
        order.timer = self.services.timers.call_later(
            self.cell.start_deadline, lambda: self._signal(self._on_late, order)
        )
        self._own_worker().give(order)
        return True

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
        if self._wound:
            return  # a container's, whose children end first
        if outcome.failed:
            if self._stop_wanted:
                self._go(Moves.STOP)
            else:
                self._tell(Kind.FAILED, outcome, order.again_after)
        elif self.stage is Stage.STARTED:
            if self._serve_or_finish():
                self._tell_finished()
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
        if run != self.cell.run or self._wound:
            return  # this run is being ended, and what keeps it busy is the end
        self._body_busy = False
        if outcome.failed:
            self._body_fails(outcome)
        else:
            self._go(Moves.DONE)

    def _body_fails(self, outcome: Outcome) -> None:
        """A child failed for good: so this run has failed."""
        self._body_failed = True
        self._failure = self.cell.last = outcome
        self._tell(Kind.FAILED, outcome)

    def _on_ready(self, order: Order) -> None:
        """`start` blocks, and says that it works."""
        if order is not self._order or self._ready_wanted or self._wound:
            return
        self._ready_wanted = True
        if order.timer is not None:
            order.timer.cancel()
        event = self._start_done()
        self._go(Moves.READY if event is Moves.DONE else event)

    # -- the run ---------------------------------------------------------------------

    def _arrive_started(self) -> Moves | None:
        """STARTED: serve the messages, and say so."""
        self._begun = True
        finished = self._finish_wanted
        try:
            if self._order is None:
                finished = self._serve_or_finish() or finished
            else:
                self.serving.open_unserved()
        finally:  # last: whoever waits for it wakes up when all is done here
            self._tell(Kind.STARTED)
        if finished:
            self._tell_finished()
        return None

    def _tell_finished(self) -> None:
        """Report, once a run, that the work is done."""
        if not self._finish_told:
            self._finish_told = True
            self._tell(Kind.FINISHED)

    def _serve_or_finish(self) -> bool:
        """
        `start` has returned: this thread handles the messages from now on.

        True if nothing can ever come: the component has finished by itself.
        """
        serving = self.serving
        has_work = serving.has_work
        if self.body is None and not has_work:
            return True
        if serving.worker is not None:
            return False  # the second thread, made while `start` blocked, goes on
        if has_work:
            self._serve_on(self._own_worker())
        else:  # a container that needs no thread, unless a message comes
            serving.open_unserved()
        return False

    def _serve_on(self, worker: Worker) -> None:
        """Handle messages on *worker* until told to leave."""
        hooks = (("", self.serving.serve),)
        order = self._serves = Order(self.stage, hooks, self._serve_ended)
        self.serving.begin(worker)
        worker.give(order)

    def _serve_ended(self, order: Order) -> None:
        """On the worker's thread, in a `finally`: the loop has ended."""
        if order.error is not None or order.abandoned:
            self._signal(self._on_serve_ended, order)
        elif order.awaited:
            self._hook_ended(order)

    def _on_serve_ended(self, order: Order) -> None:
        """The loop broke: go on with a fresh one. Or it came back from a hang."""
        if order.abandoned:
            self._came_back(order)
            return
        worker = self.serving.worker
        if worker is None or worker is not order.worker or order.error is None:
            return
        self.services.crashed(self.cell.path, order.error)
        if not self._wound:
            self._serve_on(worker)
        elif order in self._parts:
            self._part_ended(order, Outcome(Result.RETURNED, order.stage))

    def _on_wanted(self, _: None) -> None:
        """The first message came while `start` blocks: make the second thread."""
        if self.serving.worker is not None or self.stage is not Stage.STARTED:
            return
        try:
            if self._order is None:  # a container without code of its own
                worker = self._own_worker()
            else:
                worker = self._second = self._worker(" (messages)")
        except RuntimeError as error:
            text = f"no thread for its messages: they wait {RETRY_SECONDS:g} s"
            report(logging.ERROR, self.cell.path, text, error)
            self.services.timers.call_later(RETRY_SECONDS, self.wanted)
            return
        self._serve_on(worker)

    def _on_finish(self, _: None) -> None:
        if self._finish_wanted:
            return
        self._finish_wanted = True
        if self.stage is Stage.STARTED:
            self._tell_finished()

    def _on_body_failed(self, outcome: Outcome) -> None:
        """A child failed for good while this container was up."""
        failed = self._start_failed or self._body_failed
        if self.stage is Stage.STARTED and not failed:
            self._body_fails(outcome)
