"""
The pages of the books that everything else writes on.
"""

from __future__ import annotations

import itertools
from collections import deque

from kinesis.cells import Cell
from kinesis.restarts import Strategy
from kinesis.stages import Outcome, Result, Stage
from kinesis.supervision.facts import (
    Action,
    Child,
    Do,
    Group,
    Phase,
    Reply,
    Settle,
    Status,
    Tell,
)


class Ledger:
    """
    What a supervisor knows of its children.

    One thread at a time writes; `children` and `order` are read by all.
    """

    def __init__(self, strategy: Strategy = "one-for-one") -> None:
        self.strategy = strategy
        self.phase = Phase.IDLE
        self.children: dict[str, Child] = {}
        self.lower: dict[str, Child] = {}  # by name in lower case, as in URLs
        self.order: dict[Child, None] = {}  # as they reached STARTED, ended or not
        self.stack: list[Child] = []
        self.queue: deque[Child] = deque()
        self.group: Group | None = None
        self.stale = 0  # reports about a run that was over
        self.ended_now = False  # a child has ended by itself, just now
        self.covered = 0  # failures of what was being ended anyway
        self._by_cell: dict[Cell, Child] = {}
        self._hidden: list[Child] = []  # whose names in lower case others have
        self._to_end: list[Child] = []  # while all are taken down, the next one last
        self._going: Child | None = None  # that is taken down now
        self._why_ending = ""
        self._ended: deque[Child] = deque()  # by themselves, the last one last
        self._lost_failures = False  # one of those that are not shown any more failed
        self._has_begun = False
        self._beginning: set[Child] | None = None
        self._rollback: tuple[Outcome, Cell] | None = None
        self._tokens = itertools.count(1)
        self._actions: list[Action] = []
        self._now = 0.0

    def child_of(self, cell: Cell) -> Child | None:
        """Return what is known of *cell*, None if it is no child, or no more."""
        return self._by_cell.get(cell)

    @property
    def holder(self) -> Child | None:
        """The child that is coming up, and that the next ones wait for."""
        if self.stack:
            return self.stack[-1]
        return self.group.coming if self.group is not None else None

    def all_ended(self) -> bool:
        """
        Whether there are children, and all of them have ended by themselves.

        They finished, or failed and are not restarted. Those that only serve others
        do not count.
        """
        some = False
        for child in list(self.children.values()):
            if not child.cell.component.background:
                if not _has_ended(child):
                    return False
                some = True
        return some

    def has_failures(self) -> bool:
        """Whether any of those that ended by themselves, at any depth, failed."""
        children = self.children.copy().values()
        return self._lost_failures or any(map(_has_failed, children))

    def in_order(self) -> list[Child]:
        """Return the children as they reached STARTED, then the others."""
        order = self.order.copy()
        rest = [c for c in self.children.copy().values() if c not in order]
        return [*order, *rest]

    def register(self, cell: Cell, kept: bool = True) -> Child:
        """Enter a child; one that is *kept* comes up with the container."""
        child = Child(cell, kept=kept)
        self.children[cell.name] = child
        if self.lower.setdefault(cell.name.lower(), child) is not child:
            self._hidden.append(child)
        self._by_cell[cell] = child
        return child

    def _resolve(self, replies: tuple[Reply, ...]) -> None:
        """Tell *replies* that what they wait for is so."""
        for reply in replies:
            self._do(Settle(reply))

    def _reject(self, child: Child, failure: Outcome | None) -> None:
        """Tell who waits for it to run that it will not."""
        stopping = failure is None and self.phase is not Phase.RUNNING
        starts = (event.reply for event in child.once_down)
        for reply in (*child.until_up, *child.until_again, *starts):
            self._do(Settle(reply, "failed", failure, child.cell, stopping))
        child.until_up = child.until_again = ()
        child.once_down = ()

    def _need_not_begin(self, child: Child) -> None:
        """The container begins without *child*, if it begins."""
        if self._beginning is not None:
            self._beginning.discard(child)

    def _forget(self, child: Child) -> None:
        """It is a child no more."""
        self.order.pop(child, None)
        self._by_cell.pop(child.cell, None)
        if self.children.get(child.cell.name) is child:
            del self.children[child.cell.name]
        self._hidden = [each for each in self._hidden if each is not child]
        lower = child.cell.name.lower()
        if self.lower.get(lower) is child:
            del self.lower[lower]
            for each in self._hidden:
                if each.cell.name.lower() == lower:
                    self.lower.setdefault(lower, each)
        self._do(Tell(Do.FORGET, child.cell))

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def __repr__(self) -> str:
        return f"<Books {self.phase.value} {len(self.children)} children>"


def _has_ended(child: Child) -> bool:
    """Whether a child has ended by itself, or everything in it has."""
    supervisor = child.cell.supervisor
    if supervisor is not None and child.status is Status.UP:
        return supervisor.books.all_ended()
    return child.status is Status.ENDED and child.let_be


def _has_failed(child: Child) -> bool:
    """Whether a child failed and is not restarted, or something in it."""
    supervisor = child.cell.supervisor
    if supervisor is not None and supervisor.books.has_failures():
        return True
    return child.let_be and not child.finished


def last_outcome(cell: Cell) -> Outcome:
    """Return how the last run of *cell* ended."""
    return cell.last or Outcome(Result.RETURNED, Stage.STARTED, "start")
