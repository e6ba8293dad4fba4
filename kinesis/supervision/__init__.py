"""
Decides for a container's children: restart, give up, remove, stop in order.

`Books.decide` takes what happened and the time, changes the books, and returns
what to do. It starts no thread, waits for nothing and runs no code of users; one
thread at a time calls it, and carries out the actions: see `kinesis.supervisor`.

Three things go on in a container, and the books keep them apart:

- **Activation**, one child at a time. `stack` holds those being brought up: more
  than one only while the one below waits for the one above (an ``add`` from
  inside an activation). The rest wait in `queue`.
- **Restarts.** A child that ended is told to end its run (RESTARTING), reports
  QUIET, waits out its backoff and starts again: alone, or with its `Group` of
  siblings where the strategy says so.
- **The end.** Children are torn down one by one, the last started first.

Source: the strategies, and what follows from each kind of end, are those of
Erlang/OTP's ``supervisor``.
"""

from __future__ import annotations

from collections import deque

from kinesis.errors import describe
from kinesis.notices import Kind, Report
from kinesis.restarts import History
from kinesis.stages import Outcome, Stage
from kinesis.supervision.ending import STOPPED_PHASES
from kinesis.supervision.facts import (
    Action,
    Add,
    Ask,
    Began,
    Begin,
    Child,
    Close,
    Do,
    End,
    Ended,
    Escalate,
    Group,
    Happening,
    Phase,
    Reply,
    Rest,
    Say,
    Settle,
    Status,
    Tell,
    Wait,
    Waited,
    Wish,
)
from kinesis.supervision.ledger import last_outcome
from kinesis.supervision.wishes import Wishes

__all__ = [
    "Action",
    "Add",
    "Ask",
    "Began",
    "Begin",
    "Books",
    "Child",
    "Close",
    "Do",
    "End",
    "Ended",
    "Escalate",
    "Group",
    "Happening",
    "Phase",
    "Reply",
    "Rest",
    "Say",
    "Settle",
    "Status",
    "Tell",
    "Wait",
    "Waited",
    "Wish",
    "explain",
]


class Books(Wishes):
    """
    What a supervisor knows of its children, and what it decides about them.

    One thread at a time calls `decide`; `children` and `order` are read by all.
    """

    def decide(self, event: Happening, now: float) -> list[Action]:
        """Enter *event*, which happened *now*, and return what to do, in order."""
        self._now = now
        self.ended_now = False
        actions: list[Action] = []
        self._actions = actions
        match event:
            case Report():
                self._report(event)
            case Add():
                self._add(event)
            case Ask():
                self._ask(event)
            case Waited():
                self._waited(event)
            case Begin():
                self._begin()
            case End():
                self._rollback = None  # who waits for the end, waits for nothing else
                self._end()
            case Rest():
                self._rest()
            case Close():
                self._close()
        self._check_begun()
        self._next()
        return actions

    # -- coming up --------------------------------------------------------------

    def _begin(self) -> None:
        """Queue every child that is not stopped by hand."""
        self.phase, self._has_begun = Phase.RUNNING, True
        chosen = [c for c in self.in_order() if not c.cell.by_hand]
        self.order.clear()
        self.queue = deque(chosen)  # what was asked for meanwhile is among them
        for child in chosen:
            child.status = Status.QUEUED
            child.history = History()
        self._beginning = set(chosen)

    def _check_begun(self) -> None:
        """Say that the children are up, once they all are."""
        if self._beginning is not None and not self._beginning:
            self._beginning = None
            self._do(Began())

    def _add(self, event: Add) -> None:
        """Take a newcomer in."""
        cell = event.cell
        if self.phase in STOPPED_PHASES:
            self._do(Settle(event.reply, "", cell=cell, stopping=True))
            return
        known = self.children.get(cell.name)
        if known is not None and _shows_its_end(known):
            self._torn_down(known, None)
        if known is not None and not self._is_over(known):
            self._do(Settle(event.reply, "taken", cell=cell))
            return
        if known is not None:
            self._forget(known)
        child = self.register(cell, kept=not self._has_begun)
        child.until_up += (event.reply,)
        if self.phase is Phase.IDLE:
            return  # it comes up with the container
        if self.holder is not None and self.holder.cell.path == event.nested:
            self._activate(child)
        else:
            self.queue.append(child)

    def _is_over(self, child: Child) -> bool:
        """Whether a child has ended, and nothing but a request starts it again."""
        if self.phase is not Phase.RUNNING:  # they all have, and come up again
            return False
        return child.status is Status.ENDED and not child.cell.by_hand

    def _next(self) -> None:
        """Let the next one come up, or the group go on, if nobody is in the way."""
        if self.phase is not Phase.RUNNING or self.stack:
            return
        if self.group is not None:
            self._go_on()
        while self.queue and not self.stack and self.group is None:
            self._activate(self.queue.popleft())

    def _activate(self, child: Child) -> None:
        """Begin a life of *child*, its first or another one."""
        child.failure = None
        child.let_be = child.finished = False
        self.stack.append(child)
        if child.cell.hung is not None:  # two lives of it would run at once
            text = "not started: code of its last life still runs, and cannot be ended"
            self._do(Say(child.cell, text, True))
            self._torn_down(child, last_outcome(child.cell))
            return
        child.status = Status.STARTING
        self._do(Tell(Do.ACTIVATE, child.cell))

    def _report(self, event: Report) -> None:
        """A child says what became of it."""
        child = self._by_cell.get(event.cell)
        if child is None:
            self.stale += 1
            return
        match event.kind:
            case Kind.STARTED:
                self._started(child)
            case Kind.FAILED | Kind.FINISHED:
                self._run_over(child, event)
            case Kind.QUIET:
                self._quiet(child)
            case Kind.STOPPED:
                self._stopped(child)
            case Kind.TORN_DOWN:
                self._torn_down(child, event.outcome)

    def _started(self, child: Child) -> None:
        """It runs."""
        if child.status is not Status.STARTING:
            self.stale += 1
            return
        child.status = Status.UP
        child.kept = True
        child.history = child.history.started_at(self._now)
        if child.cell.supervisor is not None:
            self.ended_now = True  # what is in it may have finished before
        self._resolve(child.until_up)
        child.until_up = ()
        if child in self.stack:  # a life: it is the last one now; a run keeps its place
            self.stack.remove(child)
            self.order.pop(child, None)
            self.order[child] = None
            self._need_not_begin(child)
        elif child not in self.order:  # stopped while it came up, and started later
            self.order[child] = None
        if child.until_again and self.phase is Phase.RUNNING:
            child.until_up, child.until_again = child.until_again, ()
            self._restart(child, 0.0)


def _shows_its_end(child: Child) -> bool:
    """Whether it has ended by itself, as all can see; only the report is to come."""
    ending = child.let_be and child.status is Status.STOPPING
    return ending and child.cell.stage is Stage.TORN_DOWN


def explain(outcome: Outcome | None) -> str:
    """Return ``start failed: ValueError: …`` for people."""
    if outcome is None:
        return "it was stopped"
    where = outcome.hook or str(outcome.stage)
    return f"{where} {outcome.result.value}: {describe(outcome.error)}"
