"""
The words of supervision: what happens, what to do about it, who is a child.
"""

from __future__ import annotations

from enum import Enum

import attrs

from kinesis.cells import Cell
from kinesis.notices import Report
from kinesis.restarts import History
from kinesis.stages import Outcome


class Status(Enum):
    """What the supervisor has a child do."""

    QUEUED = "queued"  # waits for its turn to come up
    STARTING = "starting"
    UP = "up"
    ENDING = "ending"  # its run ends, for a restart
    WAITING = "waiting"  # quiet, until it starts again
    STOPPING = "stopping"
    STOPPED = "stopped"  # by hand, and stays so
    ENDED = "ended"  # torn down, or stopped before it began


class Phase(Enum):
    """What the container is doing with all of them."""

    IDLE = "idle"  # before it begins, and between two of its runs
    RESTING = "resting"  # stopped by hand, until somebody starts it
    RUNNING = "running"
    ENDING = "ending"


@attrs.define(eq=False)
class Child:
    """One child, as the supervisor knows it."""

    cell: Cell
    status: Status = Status.QUEUED
    history: History = History()
    delay: float = 0.0  # before the restart under way
    token: int = 0  # of the backoff wait that counts; older ones are void
    until_up: tuple[Reply, ...] = ()  # who waits for it to run
    until_again: tuple[Reply, ...] = ()  # ... to run once more then
    until_down: tuple[Reply, ...] = ()  # who waits for it to end
    once_down: tuple[Ask, ...] = ()  # starts of what is STOPPED, though not told yet
    kept: bool = False  # came with the container, or has been up: comes up again
    removing: bool = False
    let_be: bool = False  # its run is over, and it is not restarted
    finished: bool = False  # let be, and not because it failed
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
class Rest:
    """The container stays STOPPED: nobody comes up until somebody starts it."""


@attrs.frozen
class Close:
    """The container's life is over: nobody is brought up any more."""


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


Happening = Begin | End | Rest | Close | Add | Ask | Waited | Report

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
    """Write down, and log unless it is *quiet*, what was decided about a child."""

    cell: Cell
    text: str
    failure: bool = False
    quiet: bool = False


Action = Tell | Wait | Settle | Began | Ended | Escalate | Say


@attrs.define(eq=False)
class Group:
    """
    Children that are restarted together, in the order they came up.

    *causes* are those of them that failed, or were asked to restart: the others
    restart with them, unless their policy is never to.
    """

    members: list[Child]
    causes: set[Child]
    delay: float
    token: int
    step: str = "down"  # down, waiting, up
    coming: Child | None = None  # whose next run begins

    @property
    def left(self) -> list[Child]:
        """Those of them that have not been restarted yet."""
        if self.step != "up":
            return self.members
        return [child for child in self.members if child.status is not Status.UP]
