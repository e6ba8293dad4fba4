"""
Decides for a container's children: restart, give up, remove, stop in order.

`Books.decide` takes what happened and the time, changes the books, and returns
what to do. It starts no thread, waits for nothing and runs no code of users; the
supervisor's thread is the only one that calls it, and carries out the actions.

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

import itertools
from collections import deque
from collections.abc import Iterable
from enum import Enum

import attrs

from kinesis.cells import Cell, Kind, Report
from kinesis.errors import describe
from kinesis.restarts import Again, GiveUp, History, LetBe, Strategy, answer
from kinesis.stages import Outcome, Result, Stage

FINISHED_KEPT = 1_000  # children that finished by themselves, and are still shown


class Status(Enum):
    """What the supervisor has a child do."""

    QUEUED = "queued"  # waits for its turn to come up
    STARTING = "starting"
    UP = "up"
    ENDING = "ending"  # its run ends, for a restart
    WAITING = "waiting"  # quiet, until it starts again
    STOPPING = "stopping"
    STOPPED = "stopped"  # by hand, and stays so
    ENDED = "ended"  # torn down


class Phase(Enum):
    """What the container is doing with all of them."""

    IDLE = "idle"
    RUNNING = "running"
    ENDING = "ending"


@attrs.define(eq=False)
class Child:
    """One child, as the supervisor knows it."""

    cell: Cell
    status: Status = Status.QUEUED
    history: History = attrs.field(factory=History)
    delay: float = 0.0  # before the restart under way
    token: int = 0  # of the backoff wait that counts; older ones are void
    until_up: list[Reply] = attrs.field(factory=list)  # who waits for it to run
    until_down: list[Reply] = attrs.field(factory=list)  # who waits for it to end
    kept: bool = False  # came with the container, or has been up: comes up again
    removing: bool = False
    finished: bool = False
    failure: Outcome | None = None

    def __repr__(self) -> str:
        return f"<Child {self.cell.path} {self.status.value}>"


class Reply:
    """Who waits for a decision to be carried out; the shell answers."""

    def resolve(self) -> None:
        """It is done."""
        raise NotImplementedError

    def reject(self, error: BaseException) -> None:
        """It will not be done."""
        raise NotImplementedError


# -- what happens ---------------------------------------------------------------


@attrs.frozen
class Begin:
    """Bring up the children."""


@attrs.frozen
class End:
    """Take the children down, the last started first."""


@attrs.frozen
class Add:
    """
    Bring up a newcomer when its turn comes.

    At once while the child at the path *nested* comes up: that one waits for
    whoever adds the newcomer.
    """

    cell: Cell
    reply: Reply
    nested: object = None


class Wish(Enum):
    """What somebody may ask for one child."""

    REMOVE = "remove"
    STOP = "stop"
    START = "start"
    RESTART = "restart"


@attrs.frozen
class Ask:
    """Somebody asks for something to be done with one child."""

    wish: Wish
    cell: Cell
    reply: Reply
    by: str = "somebody"


@attrs.frozen
class Waited:
    """A backoff wait is over; *cell* is None for that of a group."""

    cell: Cell | None
    token: int


Happening = Begin | End | Add | Ask | Waited | Report

# -- what to do about it -----------------------------------------------------------


class Do(Enum):
    """An order to a child's lifecycle."""

    ACTIVATE = "activate"
    RESTART = "restart"
    START_AGAIN = "start again"
    FAIL = "fail"
    STOP = "stop"
    TEAR_DOWN = "tear down"
    FORGET = "forget"


@attrs.frozen
class Tell:
    """Give a child's lifecycle an order."""

    what: Do
    cell: Cell


@attrs.frozen
class Wait:
    """Come back with `Waited` in so many seconds."""

    cell: Cell | None
    seconds: float
    token: int


@attrs.frozen
class Settle:
    """Answer who waits: with *error*, or that it is done."""

    reply: Reply
    error: str | None = None
    outcome: Outcome | None = None
    cell: Cell | None = None
    stopping: bool = False


@attrs.frozen
class Began:
    """The children are up, or (*outcome*) one failed and all are down again."""

    outcome: Outcome | None = None
    cell: Cell | None = None


@attrs.frozen
class Ended:
    """All children are down."""


@attrs.frozen
class Escalate:
    """A child failed for good: the container has failed."""

    cell: Cell
    outcome: Outcome


@attrs.frozen
class Say:
    """Write down, and log, what was decided about a child."""

    cell: Cell
    text: str
    failure: bool = False


Action = Tell | Wait | Settle | Began | Ended | Escalate | Say


@attrs.define(eq=False)
class Group:
    """Children that are restarted together, in the order they came up."""

    members: list[Child]
    delay: float
    token: int
    step: str = "down"  # down, waiting, up


_EXPECTED = frozenset({Status.UP, Status.ENDING, Status.WAITING})  # to run on


class Books:
    """
    What a supervisor knows of its children.

    Only its thread calls `decide`; `children` and `order` are read by all.
    """

    def __init__(self, strategy: Strategy = "one-for-one") -> None:
        self.strategy = strategy
        self.phase = Phase.IDLE
        self.children: dict[str, Child] = {}
        self.order: dict[Child, None] = {}  # as they reached STARTED
        self.stack: list[Child] = []
        self.queue: deque[Child] = deque()
        self.group: Group | None = None
        self.stale = 0  # reports about a run that was over
        self.finished_now = False  # a child has finished by itself, just now
        self.covered = 0  # failures of what was being ended anyway
        self._by_cell: dict[Cell, Child] = {}
        self._finished: deque[Child] = deque()
        self._beginning: set[Child] | None = None
        self._rollback: tuple[Outcome, Cell] | None = None
        self._tokens = itertools.count(1)
        self._actions: list[Action] = []
        self._now = 0.0

    def decide(self, event: Happening, now: float) -> list[Action]:
        """Enter *event*, which happened *now*, and return what to do, in order."""
        self._now = now
        self.finished_now = False
        self._actions = actions = []
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
                self._end()
        self._next()
        return actions

    def child_of(self, cell: Cell) -> Child | None:
        """Return what is known of *cell*, None if it is no child, or no more."""
        return self._by_cell.get(cell)

    def all_finished(self) -> bool:
        """Whether there are children, and all of them have finished by themselves."""
        children = self.children.copy().values()
        return bool(children) and all(map(_is_finished, children))

    def in_order(self) -> list[Child]:
        """Return the children as they reached STARTED, then the others."""
        order = self.order.copy()
        rest = [c for c in self.children.copy().values() if c not in order]
        return [*order, *rest]

    # -- coming up --------------------------------------------------------------

    def register(self, cell: Cell) -> Child:
        """Enter a child that was given before the container began."""
        child = Child(cell, kept=self.phase is Phase.IDLE)
        self.children[cell.name] = child
        self._by_cell[cell] = child
        return child

    def _begin(self) -> None:
        """Queue every child that is not stopped by hand."""
        self.phase = Phase.RUNNING
        chosen = [c for c in self.in_order() if not c.cell.by_hand]
        self.order.clear()
        for child in chosen:
            child.status = Status.QUEUED
            child.history = History()
            child.finished = False
            self.queue.append(child)
        self._beginning = set(chosen)
        self._check_begun()

    def _check_begun(self) -> None:
        """Say that the children are up, once they all are."""
        if self._beginning is not None and not self._beginning:
            self._beginning = None
            self._do(Began())

    def _add(self, event: Add) -> None:
        """Take a newcomer in."""
        cell = event.cell
        if self.phase is Phase.ENDING:
            self._do(Settle(event.reply, "", cell=cell, stopping=True))
            return
        known = self.children.get(cell.name)
        if known is not None and known.status is not Status.ENDED:
            self._do(Settle(event.reply, "taken", cell=cell))
            return
        if known is not None:
            self._forget(known)
        child = self.register(cell)
        child.until_up.append(event.reply)
        if self.phase is Phase.IDLE:
            return  # it comes up with the container
        if self.stack and self.stack[-1].cell.path == event.nested:
            self._activate(child)
        else:
            self.queue.append(child)

    def _next(self) -> None:
        """Let the next one come up, or the group go on, if nobody is in the way."""
        if self.phase is not Phase.RUNNING or self.stack:
            return
        if self.group is not None:
            self._go_on()
        while self.queue and not self.stack and self.group is None:
            self._activate(self.queue.popleft())

    def _activate(self, child: Child) -> None:
        self.stack.append(child)
        child.status = Status.STARTING
        self._do(Tell(Do.ACTIVATE, child.cell))

    # -- reports ------------------------------------------------------------------

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
        self._resolve(child.until_up)
        if child not in self.stack:  # a restart: it keeps its place in the order
            self.order.setdefault(child)
            return
        self.stack.remove(child)
        self.order[child] = None
        if self._beginning is not None:
            self._beginning.discard(child)
            self._check_begun()

    def _run_over(self, child: Child, event: Report) -> None:
        """A run failed, or finished by itself: decide what follows."""
        failed = event.kind is Kind.FAILED
        if event.run != event.cell.run:
            self.stale += 1
        elif child.status not in (Status.UP, Status.STARTING) or self._covers(child):
            self.covered += 1
        elif child in self.stack:
            self._failed_to_start(child, event.outcome)
        elif event.outcome is not None and event.outcome.result is Result.HUNG:
            self._cannot_restart(child, event.outcome)
        else:
            self._weigh(child, failed, event)

    def _covers(self, child: Child) -> bool:
        """Whether the group's restart, which is under way, includes *child*."""
        group = self.group
        return group is not None and group.step != "up" and child in group.members

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
                self._give_up(child, event.outcome or _last_outcome(cell))
            case LetBe():
                self._let_be(child, failed, event.outcome)

    def _let_be(self, child: Child, failed: bool, outcome: Outcome | None) -> None:
        """It ended, and no restart is asked for."""
        child.finished = not failed
        child.failure = outcome
        child.status = Status.STOPPING
        if failed:
            self._do(Say(child.cell, "failed: its policy asks for no restart", True))
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
        self._beginning = None
        self._rollback = (outcome, child.cell)
        self._end()

    # -- restarts -------------------------------------------------------------------

    def _restart(self, child: Child, seconds: float) -> None:
        """Restart *child* in *seconds*, with those the strategy names."""
        members = self._affected(child)
        if len(members) == 1 and self.group is None:
            self._end_run(child, seconds)
            return
        if self.group is not None:  # one more, while another is under way
            together = {*self.group.members, *members}
            members = [c for c in self.in_order() if c in together]
        self.group = Group(members, seconds, next(self._tokens))

    def _affected(self, child: Child) -> list[Child]:
        """Return whom the strategy restarts when *child* ended, in order."""
        order = list(self.order)
        if self.strategy == "one-for-one" or child not in self.order:
            return [child]
        if self.strategy == "one-for-all":
            return order
        return order[order.index(child) :]

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
        if child is None or child.status is not Status.WAITING:
            return
        if child.token == event.token:
            self._start_again(child)

    def _start_again(self, child: Child) -> None:
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
                self._end_run(child, 0.0)
                return True
            if child.status in (Status.ENDING, Status.STOPPING):
                return True
        group.step = "waiting"
        if group.delay > 0:
            self._do(Wait(None, group.delay, group.token))
        else:
            group.step = "up"
        return False

    def _bring_up(self, group: Group) -> bool:
        """Start the first that is not up yet; true while there is one."""
        for child in group.members:
            if child.status is Status.STARTING:
                return True
            if child.status is Status.WAITING:
                self._start_again(child)
                return True
        self.group = None
        return False

    # -- by hand ----------------------------------------------------------------------

    def _ask(self, event: Ask) -> None:
        """Somebody wants something done with one child."""
        child = self._by_cell.get(event.cell)
        if child is None:
            gone = event.wish in (Wish.REMOVE, Wish.STOP)
            self._do(Settle(event.reply, None if gone else "gone", cell=event.cell))
            return
        if self.phase is Phase.ENDING and event.wish in (Wish.START, Wish.RESTART):
            self._do(Settle(event.reply, "", cell=event.cell, stopping=True))
            return
        match event.wish:
            case Wish.REMOVE:
                self._remove(child, event)
            case Wish.STOP:
                self._stop(child, event)
            case Wish.START | Wish.RESTART:
                self._start(child, event)

    def _remove(self, child: Child, event: Ask) -> None:
        """Tear it down and forget it."""
        child.removing = True
        if child.status is Status.ENDED:
            self._forget(child)
            self._do(Settle(event.reply))
            return
        self._do(Say(child.cell, f"removed by {event.by}"))
        if child.status is Status.QUEUED:
            self._unqueue(child)
            self._forget(child)
            self._do(Settle(event.reply))
            return
        child.until_down.append(event.reply)
        if self.phase is not Phase.ENDING:
            self._take_down(child)

    def _take_down(self, child: Child) -> None:
        """End its life, whatever it does now."""
        child.token = 0
        child.cell.next_attempt = None
        child.status = Status.STOPPING
        self._do(Tell(Do.TEAR_DOWN, child.cell))

    def _unqueue(self, child: Child) -> None:
        """Take back an add that was not begun."""
        if child in self.queue:
            self.queue.remove(child)
        self._reject(child, None)
        if self._beginning is not None:
            self._beginning.discard(child)
            self._check_begun()

    def _stop(self, child: Child, event: Ask) -> None:
        """Stop it, to stay stopped until somebody starts it."""
        cell = child.cell
        cell.by_hand = True
        if child.status is Status.QUEUED:
            self._unqueue(child)
            child.status = Status.STOPPED
        if child.status in (Status.STOPPED, Status.ENDED):
            self._do(Settle(event.reply))
            return
        self._do(Say(cell, f"stopped by {event.by}"))
        child.until_down.append(event.reply)
        if child.status is Status.STOPPING:
            return
        child.token = 0
        cell.next_attempt = None
        child.status = Status.STOPPING
        self._do(Tell(Do.STOP, cell))

    def _start(self, child: Child, event: Ask) -> None:
        """Start it, with a fresh budget; or end its run and start it again."""
        cell = child.cell
        restart = event.wish is Wish.RESTART
        if child.status is Status.STOPPING:
            self._do(Settle(event.reply, "stopping", cell=cell))
            return
        if child.status is Status.UP and not restart:
            self._do(Settle(event.reply))
            return
        cell.by_hand = False
        child.until_up.append(event.reply)
        self._do(Say(cell, f"{event.wish.value}ed by {event.by}"))
        match child.status:
            case Status.STOPPED if cell.stage is Stage.STOPPED:
                child.history = History()
                self._start_again(child)
            case Status.ENDED | Status.STOPPED:
                child.history = History()
                child.status = Status.QUEUED
                self.queue.append(child)
            case Status.WAITING if self.group is None:
                child.token = 0
                self._start_again(child)
            case Status.UP:
                self._restart(child, 0.0)

    def _stopped(self, child: Child) -> None:
        """It is STOPPED, and stays so."""
        if child.status is not Status.STOPPING:
            self.stale += 1
            return
        child.status = Status.STOPPED
        if child in self.stack:
            self._give_back(child)
        self._reject(child, None)
        self._resolve(child.until_down)

    # -- the end ------------------------------------------------------------------------

    def _end(self) -> None:
        """Take all down: refuse what waits, cut every wait short."""
        self.phase = Phase.ENDING
        self.group = None
        for child in self.queue:
            for reply in child.until_up:
                self._do(Settle(reply, "", cell=child.cell, stopping=True))
            child.until_up.clear()
            if not child.kept:
                self._forget(child)
        self.queue.clear()
        self._beginning = None
        self._end_next()

    def _end_next(self) -> None:
        """Take down the one that came up last; when all are, say so."""
        for child in self._last_first():
            if child.status in (Status.ENDED, Status.QUEUED):
                continue
            if child.status is Status.STOPPED and child.cell.stage is Stage.SUBMITTED:
                continue
            self._take_down(child)
            return
        self.phase = Phase.IDLE
        self.stack.clear()
        if self._rollback is not None:
            outcome, cell = self._rollback
            self._rollback = None
            self._do(Began(outcome, cell))
        else:
            self._do(Ended())

    def _last_first(self) -> Iterable[Child]:
        """Return those coming up, the newest first, then the others in reverse."""
        yield from reversed(self.stack)
        yield from reversed(self.order)
        for child in list(self.children.values()):
            if child not in self.order:
                yield child

    def _torn_down(self, child: Child, outcome: Outcome | None) -> None:
        """Its life is over."""
        was, child.status = child.status, Status.ENDED
        child.failure = child.failure or outcome
        if self.phase is Phase.RUNNING:
            self.order.pop(child, None)
        self._reject(child, child.failure)
        if child in self.stack:
            self._give_back(child)
        self._resolve(child.until_down)
        if child.removing:
            self._forget(child)
        elif child.finished:
            self.finished_now = True
            self._keep_finished(child)
        if self.phase is Phase.ENDING:
            self._end_next()
        elif was in _EXPECTED and not child.removing:
            text = "did not survive its restart, so its container fails"
            self._do(Say(child.cell, text, True))
            self._escalate(child, child.failure or _last_outcome(child.cell))

    def _give_back(self, child: Child) -> None:
        """An activation ended without STARTED."""
        self.stack.remove(child)
        if self._beginning is not None and child in self._beginning:
            self._roll_back(child, child.failure or _last_outcome(child.cell))
        elif not child.kept and not child.cell.by_hand and not child.removing:
            self._forget(child)

    def _keep_finished(self, child: Child) -> None:
        """Show what finished for a while, but not all of it for ever."""
        self._finished.append(child)
        if len(self._finished) > FINISHED_KEPT:
            oldest = self._finished.popleft()
            if oldest.status is Status.ENDED and oldest.finished:
                self._forget(oldest)

    def _forget(self, child: Child) -> None:
        """It is a child no more."""
        self.order.pop(child, None)
        self._by_cell.pop(child.cell, None)
        if self.children.get(child.cell.name) is child:
            del self.children[child.cell.name]
        self._do(Tell(Do.FORGET, child.cell))

    def _resolve(self, replies: list[Reply]) -> None:
        """Tell *replies* that what they wait for is so."""
        for reply in replies:
            self._do(Settle(reply))
        replies.clear()

    def _reject(self, child: Child, failure: Outcome | None) -> None:
        """Tell who waits for it to run that it will not."""
        for reply in child.until_up:
            self._do(Settle(reply, "failed", failure, child.cell))
        child.until_up.clear()

    def _do(self, action: Action) -> None:
        self._actions.append(action)

    def __repr__(self) -> str:
        return f"<Books {self.phase.value} {len(self.children)} children>"


def _is_finished(child: Child) -> bool:
    """Whether a child has finished, or everything in it has."""
    supervisor = child.cell.supervisor
    if supervisor is not None and child.status is Status.UP:
        return supervisor.books.all_finished()
    return child.status is Status.ENDED and child.finished


def _last_outcome(cell: Cell) -> Outcome:
    """Return how the last run of *cell* ended."""
    return cell.last or Outcome(Result.RETURNED, Stage.STARTED, "start")


def explain(outcome: Outcome | None) -> str:
    """Return ``start failed: ValueError: …`` for people."""
    if outcome is None:
        return "it was stopped"
    where = outcome.hook or str(outcome.stage)
    return f"{where} {outcome.result.value}: {describe(outcome.error)}"
