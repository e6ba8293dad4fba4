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

from kinesis.lifecycle.ending import Ending
from kinesis.lifecycle.machine import Body
from kinesis.stages import Event as Moves
from kinesis.stages import Outcome, Stage
from kinesis.workers import Order, Worker

__all__ = ["Body", "Lifecycle"]


class Lifecycle(Ending):
    """
    One life of one component, from SUBMITTED to TORN_DOWN.

    Every public method may be called from any thread, returns at once, and does
    nothing when it comes too late. None of them raises, but for `activate`. Those
    that a supervisor calls move the machine in place; see `Machine._signal_here`.
    """

    __slots__ = ()

    def activate(self, worker: Worker | None = None) -> None:
        """
        Begin the life.

        The component's new thread is as fresh as a thread can be: it makes the
        first transitions itself.

        Args:
            worker: A new one that is to be the component's thread, and will call
                `begin_here`. Without, one is made.

        Raises:
            RuntimeError: The system refuses another thread; the life is over.
        """
        self._pending.append((self._on_activate, None))
        self._moving = True
        if worker is not None:
            self._dedicated = worker
            self._used = (worker.thread,)
            return
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
        self._signal_here(self._on_stop, tear_down)

    def restart(self) -> None:
        """End the run, report QUIET, and wait for `start_again`."""
        self._signal_here(self._on_restart, None)

    def start_again(self) -> None:
        """Begin another run."""
        self._signal_here(self._on_start_again, None)

    def fail(self) -> None:
        """A run failed and nobody restarts it: end the life."""
        self._signal_here(self._on_fail, None)

    def body_failed(self, outcome: Outcome) -> None:
        """A child failed for good: this run of the container has failed."""
        self._signal_here(self._on_body_failed, outcome)

    def ready(self) -> None:
        """`start` says that it works; from any other hook it means nothing."""
        order = self._order
        if order is not None and order.hook == "start" and not self._ready_wanted:
            self._ready_said = order
            self._signal(self._on_ready, order)

    def finish(self) -> None:
        """The component says that its work is done."""
        self._signal(self._on_finish, None)

    def wanted(self) -> None:
        """A message waits, and nobody handles messages."""
        self._signal(self._on_wanted, None)

    def _on_ended(self, order: Order) -> None:
        """A stage's hooks have ended, one way or another."""
        if order.timer is not None:
            order.timer.cancel()
        if order.abandoned:
            self._came_back(order)
            return
        self._begun = self._begun or order.hook is not None
        outcome = order.outcome()
        self.cell.ended(outcome)
        if order in self._parts:
            self._part_ended(order, outcome)
        elif order is self._order:
            self._order = None
            self._up_ended(order, outcome)
        elif self.stage is Stage.TEARING_DOWN:
            self._go(Moves.FAILED if outcome.failed else Moves.DONE)


Lifecycle._arrivals = {
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
