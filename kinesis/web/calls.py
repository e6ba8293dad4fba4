"""
Running a component's route, and saying when it cannot be run.

A route runs on the server's thread, with the component's turn: no handler and no
hook but a blocking `start` runs meanwhile. `stop` and `tear_down` take the turn
too, so a route that has it and finds the component STARTED answers for a live
one, to its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from kinesis.cells import Cell
from kinesis.errors import (
    ActivationError,
    ComponentStoppedError,
    ContainerStoppingError,
    HungError,
    MailboxFullError,
    PeerMessagingDisabledError,
    ReplyTimeoutError,
    TooManyReadersError,
    WaitTimeoutError,
    WouldDeadlockError,
)
from kinesis.inside import Inside
from kinesis.life import CURRENT
from kinesis.stages import Stage
from kinesis.turns import Turn
from kinesis.web.answers import Problem, tell

TURN_TIMEOUT = 5.0  # seconds that a route waits for a running handler
TRIES = 20  # that a route makes to take the turn before it queues up

RETRY = 1  # seconds, where nobody knows better

COMING = frozenset(
    {
        Stage.SUBMITTED,
        Stage.PREINITIALIZING,
        Stage.PREINITIALIZED,
        Stage.INITIALIZING,
        Stage.INITIALIZED,
        Stage.STARTING,
        Stage.RESTARTING,
    }
)
GONE = frozenset({Stage.STOPPED, Stage.TORN_DOWN})

BUSY: Mapping[type[BaseException], int] = {
    ActivationError: 503,
    ComponentStoppedError: 503,
    ContainerStoppingError: 503,
    HungError: 503,
    MailboxFullError: 503,
    PeerMessagingDisabledError: 503,
    ReplyTimeoutError: 504,
    TooManyReadersError: 503,
    WaitTimeoutError: 503,
}
"""Errors that say: not now. They are nobody's fault, and no secret."""


class Visit(Inside):
    """
    What `CURRENT` is while a route runs beside everything else in its component.

    It has a node of its own among those who wait: it keeps no handler waiting, so
    it may send messages to its own component.
    """

    __slots__ = ()

    @property
    def node(self) -> Hashable:
        """What waits, when this waits."""
        return self

    @property
    def deadline(self) -> float | None:
        """None: no message is handled here."""
        return None


def run_alone(
    cell: Cell,
    function: Any,
    arguments: tuple[object, ...],
    named: Mapping[str, Any],
) -> object:
    """
    Call *function* of the component in *cell*, with its turn.

    Raises:
        Problem: It is not up: 503 if it comes or stops, 404 if it has stopped. Or
            a handler has run all the time that there was: 503.
    """
    life = cell.life
    if life is None or cell.stage is not Stage.STARTED:
        raise unavailable(cell)
    CURRENT.set(life.inside)
    serving = life.serving
    turn, publishing = serving.turn, serving.publishing
    if not turn.take_now() and not take(turn, cell.services.threads.sleep):
        raise behind(cell, serving.handler_name())
    began = serving.mailbox.tally.now()
    cell.busy_since, serving.visitor = began, function
    publishing.before(began)
    try:
        if cell.stage is not Stage.STARTED:  # stopped while this waited
            raise unavailable(cell)
        return function(cell.component, *arguments, **named)
    finally:
        publishing.after(began)
        cell.busy_since = serving.visitor = None
        turn.give_back()
        if cell.stalled is not None:
            cell.recovered()


def take(turn: Turn, sleep: Callable[[float], object]) -> bool:
    """
    Wait for the turn; false if it did not come within `TURN_TIMEOUT`.

    At first without queueing up for it. A turn that is handed over is nobody's
    until the thread that gets it has woken up; when many requests come at once,
    each next one then queues up as well, and costs a wake-up more, for as long as
    they come. A route takes microseconds: to let the others run a few times is
    enough, and who has queued up goes before.
    """
    for _ in range(TRIES):
        sleep(0)
        if turn.take_now():
            return True
    return turn.take(TURN_TIMEOUT)


def run_beside(
    cell: Cell,
    function: Any,
    arguments: tuple[object, ...],
    named: Mapping[str, Any],
) -> object:
    """
    Call *function* of the component in *cell*, beside whatever it does.

    Raises:
        Problem: It is not up, or stopped meanwhile, and the call failed.
    """
    life = cell.life
    if life is None or cell.stage is not Stage.STARTED:
        raise unavailable(cell)
    CURRENT.set(Visit(life))
    try:
        return function(cell.component, *arguments, **named)
    except Exception:
        if cell.stage is Stage.STARTED:
            raise
        raise unavailable(cell) from None  # what it used was taken away


def behind(cell: Cell, what: str) -> Problem:
    """Return how to say that the component has been busy all the time."""
    return Problem(
        503,
        f"'{cell.path}' is busy: {what} still runs after {TURN_TIMEOUT:g} s.",
        [("Retry-After", str(RETRY))],
    )


def unavailable(cell: Cell) -> Problem:
    """Return how to say that the routes of a component do not answer now."""
    stage = cell.stage
    if stage in GONE:
        return Problem(404, f"'{cell.path}' has stopped: its routes are gone.")
    word = "comes up" if stage in COMING else "stops"
    return Problem(
        503,
        f"'{cell.path}' {word} ({stage}). Try again later.",
        [("Retry-After", str(retry_after(cell)))],
    )


def retry_after(cell: Cell) -> int:
    """Return the seconds after which a component may be up again."""
    attempt = cell.next_attempt
    if attempt is None:
        return RETRY
    return max(RETRY, math.ceil(attempt - cell.services.threads.monotonic()))


def busy(error: BaseException) -> Problem | None:
    """Return the problem for an error that says: not now; None for others."""
    for kind in type(error).__mro__:
        status = BUSY.get(kind)
        if status is not None:
            headers = [("Retry-After", str(RETRY))] if status == 503 else []
            return Problem(status, tell(error), headers)
    if isinstance(error, WouldDeadlockError):
        return Problem(409, tell(error))
    return None
