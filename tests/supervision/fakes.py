"""A container for `Books` without a thread: lives that obey, when they are let."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Sequence

from kinesis import Component
from kinesis.cells import Cell
from kinesis.concurrency import SystemThreads
from kinesis.errors import DeadlineError
from kinesis.notices import Kind, Report
from kinesis.restarts import Backoff, Restart, Strategy
from kinesis.services import Services
from kinesis.stages import Outcome, Result, Stage
from kinesis.supervision import (
    Action,
    Add,
    Ask,
    Began,
    Begin,
    Books,
    Child,
    Close,
    Do,
    End,
    Ended,
    Escalate,
    Happening,
    Reply,
    Say,
    Settle,
    Status,
    Tell,
    Wait,
    Waited,
    Wish,
)

PLAIN = Restart(backoff=Backoff(first=1.0, factor=2.0, most=8.0, jitter=0.0))
"""Waits 1, 2, 4, 8 seconds, and gives up at the sixth failure in a minute."""


def plain(when: str = "on-failure", limit: int = 5, window: float = 60.0) -> Restart:
    """Return the policy `PLAIN` with these words."""
    return Restart(when=when, backoff=PLAIN.backoff, limit=limit, window=window)  # type: ignore[arg-type]  # its validator checks the word


class Asker(Reply):
    """Counts its answers: one is right."""

    def __init__(self) -> None:
        self.answers: list[Settle] = []

    @property
    def is_settled(self) -> bool:
        return bool(self.answers)

    @property
    def went_well(self) -> bool:
        return [answer.error for answer in self.answers] == [None]

    def __repr__(self) -> str:
        return f"<Asker {self.answers}>"


class Life:
    """
    One life, as `Lifecycle` lives it: obeys orders, and reports what became of it.

    *stage* is what matters to a supervisor: ``up`` (before its first run),
    ``starting``, ``started``, ``winding`` (its run ends, for a restart), ``quiet``,
    ``stopping``, ``stopped``, ``aborting``, ``torn``.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.stage = "up"
        self.orders: deque[Do] = deque()
        self.reports: deque[Report] = deque()
        self.told = False  # it failed or finished, and waits for an order
        self._stop = self._tear_down = False

    def tell(self, kind: Kind, outcome: Outcome | None = None) -> None:
        self.reports.append(Report(self.cell, kind, self.cell.run, outcome))

    # -- orders ----------------------------------------------------------------------

    def obey(self) -> None:
        """Obey the oldest order; one that comes too late does nothing."""
        match self.orders.popleft():
            case Do.RESTART if self.stage in ("starting", "started"):
                self.stage = "winding"
            case Do.START_AGAIN if self.stage in ("quiet", "stopped"):
                self._start()
            case Do.FAIL if self.stage in ("starting", "started", "winding", "quiet"):
                self.stage = "aborting"
            case Do.STOP:
                self._end(False)
            case Do.TEAR_DOWN:
                self._end(True)

    def _end(self, tear_down: bool) -> None:
        self._tear_down = self._tear_down or tear_down
        if self.stage == "stopped" and self._tear_down:
            self._torn()
        elif self.stage == "up":
            self._stop = True
        elif self.stage in ("starting", "started", "winding", "quiet"):
            self.stage = "stopping"

    # -- moves of its own ------------------------------------------------------------

    @property
    def moves(self) -> Sequence[str]:
        """What may happen to it now; the first is what happens if all is well."""
        if self.stage in ("starting", "started") and self.told:
            return ()
        return {
            "up": ("well", "fail"),
            "starting": ("well", "fail", "hang"),
            "started": ("fail", "hang", "finish"),
            "winding": ("well", "hang"),
            "stopping": ("well", "fail"),
            "aborting": ("well",),
        }.get(self.stage, ())

    def move(self, how: str = "well") -> None:
        """Do one of `moves`."""
        if how == "hang":
            self.cell.hung = "where it is"
        match self.stage, how:
            case "up", _ if self._stop or how == "fail":
                self._torn(how)
            case "up", _:
                self._start()
            case "starting", "well":
                self.stage = "started"
                self.tell(Kind.STARTED)
            case "started", "finish":
                self.told = True
                self.tell(Kind.FINISHED)
            case (("starting" | "started"), _):
                self.told = True
                self.tell(Kind.FAILED, outcome(how))
            case "winding", "well":
                self.stage = "quiet"
                self.tell(Kind.QUIET)
            case "stopping", "well" if not self._tear_down:
                self.stage = "stopped"
                self.tell(Kind.STOPPED)
            case _:
                self._torn(how)

    def _start(self) -> None:
        self.stage = "starting"
        self.cell.run += 1
        self.told = self._stop = False

    def _torn(self, how: str = "well") -> None:
        self.stage = "torn"
        self.tell(Kind.TORN_DOWN, None if how == "well" else outcome(how))

    def __repr__(self) -> str:
        return f"<Life {self.cell.path} {self.stage}>"


@functools.cache  # the same each time, to be compared
def outcome(how: str) -> Outcome:
    """Return how a run ended that failed, or hung."""
    if how == "hang":
        return Outcome(Result.HUNG, Stage.STARTING, "start", DeadlineError("late"))
    return Outcome(Result.RAISED, Stage.STARTING, "start", ValueError("no"))


class World:
    """
    A container: its books, the lives of its children, and who asked for what.

    Nothing happens but what is called. `decide` carries out what the books say,
    at once where it is an order: the life obeys when it is let.
    """

    def __init__(self, strategy: Strategy = "one-for-one") -> None:
        self.books = Books(strategy)
        self.services = Services("app", SystemThreads())
        self.root = Cell(Component(name="app"), "/app", self.services)
        self.now = 0.0
        self.lives: dict[Cell, Life] = {}
        self.all_lives: list[Life] = []
        self.waits: list[tuple[float, Waited]] = []
        self.askers: list[Asker] = []
        self.happened: list[Action] = []
        self.settled: list[Settle] = []
        self.cells: list[Cell] = []  # all that ever were
        self.container = "idle"  # begun, ending
        self._awaits_began = False

    # -- what happens ----------------------------------------------------------------

    def cell(self, name: str, policy: Restart = PLAIN) -> Cell:
        """Return a new cell called *name*."""
        component = Component(name=name, restart=policy)
        cell = Cell(component, f"/app/{name}", self.services, self.root)
        self.cells.append(cell)
        return cell

    def given(self, *names: str, policy: Restart = PLAIN) -> list[Child]:
        """Enter children that the container was given."""
        return [self.books.register(self.cell(name, policy)) for name in names]

    def begin(self) -> None:
        """Bring the container up."""
        assert self.container == "idle"
        self.container, self._awaits_began = "begun", True
        self.decide(Begin())

    def end(self) -> None:
        """Take the container down."""
        assert self.container == "begun"
        self.container, self._awaits_began = "ending", False
        self.decide(End())

    def add(self, name: str, policy: Restart = PLAIN, nested: object = None) -> Asker:
        """Ask for a newcomer."""
        asker = self._asker()
        self.decide(Add(self.cell(name, policy), asker, nested))
        return asker

    def ask(self, wish: Wish, cell: Cell) -> Asker:
        """Ask for something to be done with one child."""
        asker = self._asker()
        self.decide(Ask(wish, cell, asker, "a test"))
        return asker

    def _asker(self) -> Asker:
        self.askers.append(Asker())
        return self.askers[-1]

    # -- what the shell would do -----------------------------------------------------

    def decide(self, happening: Happening) -> list[Action]:
        """Have the books decide, and carry it out."""
        actions = self.books.decide(happening, self.now)
        self.happened += actions
        for action in actions:
            self._act(action)
        return actions

    def _act(self, action: Action) -> None:
        match action:
            case Tell(Do.ACTIVATE, cell):
                self._activate(cell)
            case Tell(what, cell) if cell in self.lives and what is not Do.FORGET:
                self.lives[cell].orders.append(what)
            case Wait(cell, seconds, token):
                assert seconds > 0.0
                self.waits.append((self.now + seconds, Waited(cell, token)))
            case Settle(reply):
                assert isinstance(reply, Asker)
                assert not reply.is_settled, f"answered twice: {reply}, {action}"
                reply.answers.append(action)
            case Began() | Ended() | Escalate():
                self._container(action)

    def _activate(self, cell: Cell) -> None:
        before = self.lives.get(cell)
        assert before is None or before.stage == "torn", f"two lives of {cell.path}"
        assert cell.hung is None, f"the last life of {cell.path} still runs"
        self.lives[cell] = Life(cell)
        self.all_lives.append(self.lives[cell])

    def _container(self, action: Began | Ended | Escalate) -> None:
        """Check that the container is told what it waits for, once."""
        if isinstance(action, Ended):
            assert self.container == "ending", "nobody waits for the end"
            assert not self.running(), "not all are down"
            self.container = "idle"
        elif isinstance(action, Began):
            assert self._awaits_began, "nobody waits for the beginning"
            assert action.outcome is None or not self.running(), "not all are down"
            self._awaits_began = False

    # -- going on --------------------------------------------------------------------

    def running(self) -> list[Life]:
        """Return the lives that are not over."""
        return [life for life in self.all_lives if life.stage != "torn"]

    def report(self, life: Life) -> list[Action]:
        """Let the oldest report of *life* arrive."""
        return self.decide(life.reports.popleft())

    def arrive(self, life: Life) -> None:
        """Let all of its reports arrive."""
        while life.reports:
            self.report(life)

    def wake(self, index: int = 0) -> list[Action]:
        """Let a wait be over: the first, or the one at *index* by time."""
        self.waits.sort(key=lambda wait: wait[0])
        at, waited = self.waits.pop(index)
        self.now = max(self.now, at)
        return self.decide(waited)

    def step(self) -> bool:
        """Let one thing happen, and let it go well; False if there is nothing."""
        for life in self.all_lives:
            if life.reports:
                self.report(life)
                return True
            if life.orders:
                life.obey()
                return True
            if life.moves and life.moves[0] == "well":
                life.move()
                return True
        return False

    def settle(self) -> None:
        """Let all go well until nothing moves but time."""
        for _ in range(10_000):
            if not self.step():
                return
        raise AssertionError("it never comes to rest")

    def rest(self) -> None:
        """Let all go well until nothing moves; waits pass."""
        self.settle()
        while self.waits:
            self.wake()
            self.settle()

    # -- how it is -------------------------------------------------------------------

    def life(self, name: str) -> Life:
        """Return the life of the child called *name*."""
        return self.lives[self.books.children[name].cell]

    def status(self, name: str) -> Status | None:
        """Return what the books say of the child called *name*."""
        child = self.books.children.get(name)
        return None if child is None else child.status

    def said(self, name: str) -> list[str]:
        """Return what was written down about the child called *name*."""
        return [
            action.text
            for action in self.happened
            if isinstance(action, Say) and action.cell.name == name
        ]

    def told(self, *whats: Do) -> list[str]:
        """Return the orders so far, as ``restart b``; only *whats*, if any."""
        return [
            f"{action.what.value} {action.cell.name}"
            for action in self.happened
            if isinstance(action, Tell) and (not whats or action.what in whats)
        ]

    @property
    def escalated(self) -> list[Escalate]:
        """Return the failures that went up."""
        return [action for action in self.happened if isinstance(action, Escalate)]

    def fail(self, name: str, how: str = "fail") -> None:
        """Let the run of a child fail, and the books hear of it."""
        life = self.life(name)
        life.move(how)
        self.arrive(life)

    @property
    def rolled_back(self) -> bool:
        """Whether a beginning failed."""
        return any(isinstance(a, Began) and a.outcome for a in self.happened)

    @property
    def holder(self) -> object:
        """Return the path of the child that the others wait for."""
        holder = self.books.holder
        return None if holder is None else holder.cell.path

    def shut(self) -> None:
        """Take all down, and close: the end of the container's life."""
        self.settle()
        if self.container == "begun":
            self.end()
            self.settle()
        assert self.container == "idle", "the end never ends"
        self.decide(Close())
