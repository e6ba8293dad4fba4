"""
The end of one child, and of all.
"""

from __future__ import annotations

from collections.abc import Iterable

from kinesis.stages import Outcome
from kinesis.supervision.facts import (
    Began,
    Child,
    Do,
    Ended,
    Phase,
    Say,
    Status,
    Tell,
)
from kinesis.supervision.ledger import last_outcome
from kinesis.supervision.restarting import Restarting

STOPPED_PHASES = frozenset({Phase.ENDING, Phase.RESTING})  # in which none comes up
ENDED_KEPT = 1_000  # children that ended by themselves, and are still shown

_EXPECTED = frozenset({Status.UP, Status.ENDING, Status.WAITING})  # to run on


class Ending(Restarting):
    """Takes children down, the last started first."""

    def _end(self, why: str = "stopped with its container") -> None:
        """Take all down: refuse what waits, cut every wait short."""
        self.phase, self._why_ending = Phase.ENDING, why
        self.group = self._beginning = None
        self._refuse_queued()
        for child in self.children.values():
            child.token = 0
        # What is on its way down already ends before another one begins to.
        self._to_end = sorted(self._first_last(), key=_is_stopping)
        self._end_next()

    def _refuse_queued(self) -> None:
        """Let nobody wait for what has not begun to come up."""
        self.queue.clear()
        queued = (c for c in self.children.values() if c.status is Status.QUEUED)
        for child in list(queued):
            self._reject(child, None)
            if not child.kept:
                self._forget(child)

    def _rest(self) -> None:
        """The container stays STOPPED: answer who waits for its children to run."""
        if self.phase is not Phase.IDLE:
            return  # somebody starts it again already
        self.phase = Phase.RESTING
        self._refuse_queued()
        for child in self.children.values():
            self._reject(child, None)

    def _close(self) -> None:
        """The container's life is over: answer who still waits."""
        self.phase = Phase.IDLE
        self._refuse_queued()
        for child in self.children.values():
            child.until_up += child.until_down  # of what the runtime gave up on
            child.until_down = ()
            self._reject(child, None)

    def _roll_back(self, child: Child, outcome: Outcome) -> None:
        """A child did not come up with the container: take down those that did."""
        self._beginning = None
        self._rollback = (outcome, child.cell)
        self._end(f"stopped, as '{child.cell.path}' did not start")

    def _end_next(self) -> None:
        """Take down the one that came up last; when all are, say so."""
        if self._going is not None and self._going.status is not Status.ENDED:
            return
        while self._to_end:
            self._going = child = self._to_end.pop()
            if child.status not in (Status.ENDED, Status.QUEUED):
                if child.status is not Status.STOPPING:
                    self._do(Say(child.cell, self._why_ending, quiet=True))
                self._take_down(child)
                return
        self._going = None
        self.phase = Phase.IDLE
        self.stack.clear()
        if self._rollback is not None:
            outcome, cell = self._rollback
            self._rollback = None
            self._do(Began(outcome, cell))
        else:
            self._do(Ended())

    def _first_last(self) -> Iterable[Child]:
        """Return them all: those up as they came up, those coming up last."""
        coming = set(self.stack)
        for child in self.children.values():
            if child not in self.order and child not in coming:
                yield child
        yield from self.order
        yield from self.stack

    def _take_down(self, child: Child) -> None:
        """End its life, whatever it does now."""
        child.token = 0
        child.cell.next_attempt = None
        child.status = Status.STOPPING
        self._do(Tell(Do.TEAR_DOWN, child.cell))

    def _torn_down(self, child: Child, outcome: Outcome | None) -> None:
        """Its life is over."""
        was, child.status = child.status, Status.ENDED
        child.failure = child.failure or outcome
        self._reject(child, child.failure)
        if child in self.stack:
            self._give_back(child)
        self._resolve(child.until_down)
        child.until_down = ()
        if child.removing:
            self._forget(child)
        elif child.let_be:
            self.ended_now = True
            self._keep_ended(child)
        if self.phase is Phase.ENDING:
            self._end_next()
        elif was in _EXPECTED and not child.removing:
            text = "did not survive its restart, so its container fails"
            self._do(Say(child.cell, text, True))
            self._escalate(child, child.failure or last_outcome(child.cell))

    def _give_back(self, child: Child) -> None:
        """An activation ended without STARTED: it failed, or somebody stopped it."""
        self.stack.remove(child)
        asked = child.cell.by_hand or child.removing
        beginning = self._beginning is not None and child in self._beginning
        if asked:
            self._need_not_begin(child)
        elif beginning:
            self._roll_back(child, child.failure or last_outcome(child.cell))
        if not asked and not child.kept:
            self._forget(child)

    def _keep_ended(self, child: Child) -> None:
        """Show what ended by itself for a while, but not all of it for ever."""
        self._ended.append(child)
        if len(self._ended) > ENDED_KEPT:
            oldest = self._ended.popleft()
            if oldest.status is Status.ENDED and oldest.let_be:
                self._lost_failures = self._lost_failures or not oldest.finished
                self._forget(oldest)


def _is_stopping(child: Child) -> bool:
    """Whether somebody has it stop, or it has failed for good."""
    return child.status is Status.STOPPING
