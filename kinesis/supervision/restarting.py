"""
Restarts: of one child, or of a group of them.
"""

from __future__ import annotations

from kinesis.notices import Kind, Report
from kinesis.restarts import Again, GiveUp, LetBe, answer
from kinesis.stages import Outcome
from kinesis.supervision.facts import (
    Child,
    Do,
    Escalate,
    Group,
    Phase,
    Say,
    Status,
    Tell,
    Wait,
    Waited,
)
from kinesis.supervision.ledger import Ledger, last_outcome


class Restarting(Ledger):
    """Decides what follows when a run is over."""

    def _run_over(self, child: Child, event: Report) -> None:
        """A run failed, or finished by itself: decide what follows."""
        failed = event.kind is Kind.FAILED
        if event.run != event.cell.run:
            self.stale += 1
        elif self.phase is not Phase.RUNNING or self._covers(child):
            self.covered += 1
        elif child in self.stack:
            self._failed_to_start(child, event.outcome)
        elif event.cell.hung is not None:  # itself: not a child, if it is a container
            self._cannot_restart(child, event.outcome or last_outcome(event.cell))
        else:
            self._weigh(child, failed, event)

    def _covers(self, child: Child) -> bool:
        """Whether the run of *child* is being ended anyway."""
        group = self.group
        if group is not None and group.step != "up" and child in group.members:
            return True
        return child.status not in (Status.UP, Status.STARTING)

    def _failed_to_start(self, child: Child, outcome: Outcome | None) -> None:
        """The first start of a child failed: whoever adds it learns so."""
        child.failure = outcome
        self._do(Tell(Do.FAIL, child.cell))

    def _weigh(self, child: Child, failed: bool, event: Report) -> None:
        """Ask the child's policy, and do as it says."""
        cell = child.cell
        decision, child.history = answer(
            cell.policy, child.history, self._now, failed, override=event.again_after
        )
        match decision:
            case Again(seconds, attempt):
                why = "failed" if failed else "finished"
                text = f"{why}: restart {attempt} in {seconds:.2f} s"
                self._do(Say(cell, text, failed))
                self._restart(child, seconds)
            case GiveUp(count):
                window = cell.policy.window
                text = f"gave up: {count} restarts within {window:g} s are the limit"
                self._do(Say(cell, text, True))
                self._give_up(child, event.outcome or last_outcome(cell))
            case LetBe():
                asked = "its policy" if event.again_after is None else "restart_after"
                self._let_be(child, failed, event.outcome, asked)

    def _let_be(
        self,
        child: Child,
        failed: bool,
        outcome: Outcome | None,
        asked: str = "its policy",
    ) -> None:
        """It ended, and *asked* asks for no restart."""
        child.let_be, child.finished = True, not failed
        child.failure = outcome
        child.status = Status.STOPPING
        if failed:
            self._do(Say(child.cell, f"failed: {asked} asks for no restart", True))
            self._do(Tell(Do.FAIL, child.cell))
        else:
            self._do(Say(child.cell, "finished by itself"))
            self._do(Tell(Do.TEAR_DOWN, child.cell))

    def _cannot_restart(self, child: Child, outcome: Outcome) -> None:
        """Its thread is stuck in a hook: nothing can start on it again."""
        if child.cell.policy.wants(failed=True):
            text = "hung: it cannot be restarted, so its container fails"
            self._do(Say(child.cell, text, True))
            self._give_up(child, outcome)
        else:
            self._let_be(child, True, outcome)

    def _give_up(self, child: Child, outcome: Outcome) -> None:
        """The failure goes up."""
        child.status = Status.STOPPING
        child.failure = outcome
        self._do(Tell(Do.FAIL, child.cell))
        self._escalate(child, outcome)

    def _escalate(self, child: Child, outcome: Outcome) -> None:
        """The container has failed; if it is still coming up, take all down."""
        self.group = None
        if self._beginning is not None:
            self._roll_back(child, outcome)
        else:
            self._do(Escalate(child.cell, outcome))

    def _roll_back(self, child: Child, outcome: Outcome) -> None:
        """A child did not come up with the container: take down those that did."""
        raise NotImplementedError

    # -- one, or a group ----------------------------------------------------------

    def _restart(self, child: Child, seconds: float) -> None:
        """Restart *child* in *seconds*, with those the strategy names."""
        members, causes = self.affected(child), {child}
        if len(members) == 1 and self.group is None:
            self._end_run(child, seconds)
            return
        for member in members:
            if member is not child:
                text = f"restarts with '{child.cell.path}', as {self.strategy} asks"
                self._do(Say(member.cell, text))
        if self.group is not None:  # one more, while another is under way
            together = {*self.group.left, *members}
            members = [c for c in self.in_order() if c in together]
            causes |= self.group.causes
        for member in members:
            member.token = 0  # the wait of its own is over: the group's counts
        self.group = Group(members, causes, seconds, next(self._tokens))

    def affected(self, child: Child) -> list[Child]:
        """Return whom the strategy restarts when *child* ends, in order."""
        if self.strategy == "one-for-one" or child not in self.order:
            return [child]
        started = self.order.copy()  # others ask too
        order = [each for each in started if each.status is not Status.ENDED]
        if self.strategy == "one-for-all":
            return order
        return order[order.index(child) :] if child in order else [child]

    def _end_run(self, child: Child, seconds: float) -> None:
        """Have it end its run, to start again in *seconds*."""
        child.delay = seconds
        child.status = Status.ENDING
        self._do(Tell(Do.RESTART, child.cell))

    def _quiet(self, child: Child) -> None:
        """Its run has ended, for a restart."""
        if child.status is not Status.ENDING:
            self.stale += 1
            return
        child.status = Status.WAITING
        if self.phase is not Phase.RUNNING:
            return  # its end is next
        if self.group is not None and child in self.group.members:
            return  # `_next` goes on with the group
        if child.delay > 0:
            child.token = next(self._tokens)
            self._do(Wait(child.cell, child.delay, child.token))
        else:
            self._start_again(child)

    def _waited(self, event: Waited) -> None:
        """A backoff wait is over."""
        if event.cell is None:
            if self.group is not None and self.group.token == event.token:
                self.group.step = "up"
            return
        child = self._by_cell.get(event.cell)
        waits = child is not None and child.status is Status.WAITING
        if child is not None and waits and child.token == event.token:
            self._start_again(child)

    def _hurry(self, child: Child) -> None:
        """Cut the backoff of *child* short, or that of its group."""
        group = self.group
        if group is not None and child in group.members:
            group.delay = 0.0
            if group.step == "waiting":
                group.step = "up"
        elif child.status is Status.WAITING:
            self._start_again(child)
        else:
            child.delay = 0.0

    def _start_again(self, child: Child) -> None:
        """Begin another run of *child*."""
        child.token = 0
        child.failure = None
        child.status = Status.STARTING
        child.cell.restarts += 1
        self._do(Tell(Do.START_AGAIN, child.cell))

    def _go_on(self) -> None:
        """Take the group's restart one step further."""
        group = self.group
        while group is not None and self.group is group:
            if group.step == "down":
                busy = self._wind_down(group)
            elif group.step == "up":
                busy = self._bring_up(group)
            else:
                busy = True
            if busy:
                return

    def _wind_down(self, group: Group) -> bool:
        """End the last run that has not ended; true while there is one."""
        for child in reversed(group.members):
            if child.status in (Status.UP, Status.STARTING):
                self._end_member(child, group)
                return True
            if child.status in (Status.ENDING, Status.STOPPING):
                return True
        group.step = "waiting"
        if group.delay > 0:
            self._do(Wait(None, group.delay, group.token))
        else:
            group.step = "up"
        return False

    def _end_member(self, child: Child, group: Group) -> None:
        """End its run, for another one; its life, if it is never to be restarted."""
        if child.cell.policy.when != "never" or child in group.causes:
            self._end_run(child, 0.0)
            return
        self._do(Say(child.cell, "ends with them: it is never restarted"))
        child.let_be = child.finished = True
        child.status = Status.STOPPING
        self._do(Tell(Do.TEAR_DOWN, child.cell))

    def _bring_up(self, group: Group) -> bool:
        """Start the first that is not up yet; true while there is one."""
        for child in group.members:
            if child.status is Status.WAITING:
                self._start_again(child)
            if child.status is Status.STARTING:
                group.coming = child
                return True
        self.group = None
        return False
