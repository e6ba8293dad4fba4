"""
How a component's messages are handled: one at a time, each with an answer.

The loop runs on one of the component's workers. The *turn* is what makes it one
at a time: handlers and hooks hold it, and so does whoever edits the state from a
blocking `start` (`edit`) or is the first to look at it from outside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from enum import Enum
from typing import TYPE_CHECKING

from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    WaitTimeoutError,
    describe,
)
from kinesis.handlers import Handlers, updater
from kinesis.life import CURRENT
from kinesis.mailbox import Envelope, Mailbox
from kinesis.publishing import Publishing
from kinesis.routing import routes_of
from kinesis.services import report
from kinesis.snapshots import Snapshot, codec_of
from kinesis.timers import Timer

if TYPE_CHECKING:
    from kinesis.cells import Cell
    from kinesis.inside import Inside
    from kinesis.workers import Worker

DRAIN_SHARE = 0.8  # of the stop deadline; the rest is for `stop` itself
DEEPEST = 50  # handlers that run inside one another in one sender's thread

DEPTH: ContextVar[int] = ContextVar("kinesis_depth", default=0)
"""How many handlers run inside one another in this thread."""


class Lane(Enum):
    """What the loop is told through the mailbox's control lane."""

    LEAVE = "leave now"
    DRAIN = "leave once the mailbox is empty"
    RENEW = "go on, on a fresh loop"


class Renewed(Exception):
    """The loop was told to end, so that a fresh one goes on."""


class Scheduled:
    """
    A message that a timer posts, once or again and again.

    Args:
        of_run: It was set during a run, and ends with it.
    """

    __slots__ = ("_serving", "message", "of_run", "timer")

    def __init__(self, serving: Serving, message: object, of_run: bool) -> None:
        self._serving = serving
        self.message = message
        self.of_run = of_run
        self.timer: Timer | None = None

    def __call__(self) -> None:
        """Post the message; on the timer thread, so it never waits."""
        serving = self._serving
        if self.timer is None or self.timer.period is None:
            serving.timers.discard(self)
        try:
            serving.mailbox.post(self.message, timeout=0.0)
        except ComponentStoppedError:
            self.cancel()
        except MailboxFullError as error:
            report(logging.WARNING, serving.cell.path, f"a timer's message: {error}")

    def cancel(self) -> None:
        """Post no more; idempotent, from any thread."""
        self._serving.timers.discard(self)
        if self.timer is not None:
            self.timer.cancel()

    def __repr__(self) -> str:
        return f"<Scheduled {self.message!r} for {self._serving.cell.path}>"


class Serving:
    """
    The mailbox of one component, and the loop that handles it.

    Args:
        inside: What `CURRENT` is while the component's code runs.
        wanted: Called when a message came and nobody handles messages.
    """

    def __init__(
        self, cell: Cell, inside: Inside, wanted: Callable[[], object]
    ) -> None:
        component = cell.component
        threads = cell.services.threads
        self.cell = cell
        self.component = component
        self.mailbox = Mailbox(
            threads,
            cell.path,
            bound=component.mailbox_bound,
            overflow=component.overflow,
            waits=cell.services.waits,
        )
        self.publishing = Publishing(cell, cell.services.changes.feed(cell.path))
        update = updater(component, self.publishing)
        self.handlers = Handlers(component, cell.path, update)
        self.worker: Worker | None = None  # whose thread handles the messages now
        self.direct = False  # a sender's thread may run a handler
        self.envelope: Envelope | None = None  # being handled
        self.timers: set[Scheduled] = set()
        self._inside = inside
        self._wanted = wanted
        self._drains = component.on_stop == "drain"
        self._dispatch_in_caller = component.dispatch == "caller"
        self._stays = False
        self._threads = threads
        self._now = threads.monotonic
        self._turn = threads.lock()
        self._owner: int | None = None  # the thread that has the turn
        self._drain_until = float("inf")

    @property
    def has_work(self) -> bool:
        """Whether something may still come: a message, a timer or a request."""
        cls: type = type(self.component)
        return bool(self.handlers or self.timers or routes_of(cls))

    def handler_name(self) -> str:
        """Name the handler that runs now, for people."""
        envelope = self.envelope
        if envelope is None:
            return "its code"
        if envelope.batch is not None:
            return f"a transaction of {len(envelope.batch)} messages"
        return f"the handler of {type(envelope.message).__name__}"

    # -- the loop -------------------------------------------------------------------

    def begin(self, worker: Worker) -> None:
        """Note that *worker* handles the messages from now on."""
        self.mailbox.call_at_next(None)
        self.worker = worker
        self.direct = self._dispatch_in_caller

    def open_unserved(self) -> None:
        """`start` blocks: ask for a thread at the first message."""
        self.mailbox.call_at_next(self._wanted)

    def serve(self) -> None:
        """
        Handle what comes until told to leave; on the worker's thread.

        Raises:
            Renewed: It was told to begin afresh.
        """
        self._loop()
        if not self._stays:
            self.mailbox.refuse_rest()

    def _loop(self) -> None:
        """Handle what comes, until an order to leave."""
        take = self.mailbox.take
        draining = False
        while True:
            item = take(0.0) if draining else take()
            if isinstance(item, Envelope):
                self._handle(item)
                if draining and self._now() > self._drain_until:
                    return
            elif item is None or item is Lane.LEAVE:
                return
            elif item is Lane.DRAIN:
                draining = True
            elif item is Lane.RENEW:
                raise Renewed(f"'{self.cell.path}' goes on, on a fresh loop")

    def _handle(self, envelope: Envelope) -> None:
        """Handle one message, and answer it whatever happens."""
        if not envelope.begin():
            return
        self._turn.acquire()
        self._owner = self._threads.get_ident()
        self.envelope = envelope
        self.cell.busy_since = envelope.began_at
        publishing = self.publishing
        publishing.before()
        error = value = None
        try:
            if envelope.batch is None:
                message = envelope.message
                value = self.handlers.find(type(message))(message)
            else:
                value = self._handle_all(envelope.batch)
        except BaseException as raised:  # its sender's to handle
            error = raised
        publishing.after()
        self.cell.busy_since = None
        self.envelope = None
        self._owner = None
        self._turn.release()
        if self.cell.stalled is not None:
            self.cell.recovered()
        if error is None:
            envelope.answer(value)
        else:
            self._failed(envelope, error)

    def _handle_all(self, batch: tuple[object, ...]) -> list[object]:
        """Handle a transaction: all of them, or the state is as it was."""
        codec = codec_of(type(self.component))
        saved = codec.save(self.component)
        find = self.handlers.find
        try:
            return [find(type(message))(message) for message in batch]
        except BaseException:
            codec.restore(self.component, saved)
            raise

    def _failed(self, envelope: Envelope, error: BaseException) -> None:
        """Answer with *error*; nobody waits for a post, so that one is logged."""
        name = type(envelope.message).__name__
        if envelope.fail(error) and envelope.is_asked:
            return
        text = f"the handler of {name} failed: {describe(error)}"
        report(logging.ERROR, self.cell.path, text, error)

    # -- in the sender's thread -------------------------------------------------------

    def handle_here(self, message: object, depth: int) -> tuple[bool, object]:
        """
        Handle *message* in the calling thread, if the component is idle.

        Returns:
            Whether it was handled, and the reply.

        Raises:
            BaseException: What the handler raised.
        """
        if depth >= DEEPEST or self.mailbox.depth or not self._turn.acquire(False):
            return False, None
        try:
            if not self.direct:
                return False, None
            self._owner = self._threads.get_ident()
            publishing, tally = self.publishing, self.mailbox.tally
            began = self._now()
            publishing.before()
            failed = True
            try:
                function = self.handlers.find(type(message))
                value = Context().run(self._run_here, function, message, depth)
                failed = False
            finally:
                publishing.after()
                tally.count_here(self._now() - began, failed)
            return True, value
        finally:
            self._owner = None
            self._turn.release()

    def _run_here(
        self, function: Callable[[object], object], message: object, depth: int
    ) -> object:
        """Run a handler in a context of its own."""
        CURRENT.set(self._inside)
        DEPTH.set(depth)
        return function(message)

    # -- the end of a run ---------------------------------------------------------

    def leave(self, *, drain: bool, stay: bool) -> None:
        """
        Have the loop end.

        Args:
            drain: Handle what was accepted first, if the component says so.
            stay: Keep accepting: what comes is for the next run.
        """
        self.direct = False
        self.mailbox.call_at_next(None)
        self._stays = stay
        if not stay:
            self.mailbox.close()
        if self.worker is None:
            return
        if drain and self._drains:
            limit = self.cell.stop_deadline * DRAIN_SHARE
            self._drain_until = self._now() + limit
        self.mailbox.control(Lane.DRAIN if drain and self._drains else Lane.LEAVE)

    def left(self, stay: bool) -> None:
        """The run is over: nobody handles messages until the next one, if any."""
        self.worker = None
        if stay:
            self._cancel_timers(of_run=True)
        else:
            self.close()

    def close(self) -> None:
        """Answer all that is left; accept nothing more."""
        self.direct = False
        self.mailbox.refuse_rest()
        self._cancel_timers(of_run=False)
        envelope = self.envelope
        if envelope is not None:  # its handler hangs, and has been abandoned
            envelope.fail(
                ComponentStoppedError(
                    f"'{self.cell.path}' stopped while {self.handler_name()} hung: "
                    f"it has no answer. Its why() tells more.",
                    path=self.cell.path,
                )
            )

    def _cancel_timers(self, *, of_run: bool) -> None:
        """End all timers, or those that the run which ends has set."""
        for scheduled in self.timers.copy():
            if scheduled.of_run or not of_run:
                scheduled.cancel()

    def reopen(self) -> None:
        """Accept again, for another run."""
        self._drain_until = float("inf")
        self._stays = False
        self.mailbox.reopen()

    # -- the turn -------------------------------------------------------------------

    @contextmanager
    def turn(self, timeout: float | None, what: str = "edit") -> Iterator[None]:
        """
        Have the component to oneself for the block; free for who has it already.

        Raises:
            WaitTimeoutError: It was not to be had within *timeout* seconds.
        """
        ident = self._threads.get_ident()
        if self._owner == ident:
            yield
            return
        if not self._turn.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            raise WaitTimeoutError(
                f"cannot {what} '{self.cell.path}' within {timeout:g} s: "
                f"{self.handler_name()} still runs. Wait longer, or make it shorter.",
                path=self.cell.path,
                stage=self.cell.stage,
            )
        self._owner = ident
        try:
            yield
        finally:
            self._owner = None
            self._turn.release()

    @contextmanager
    def edit(self, timeout: float | None = None) -> Iterator[None]:
        """Change the state in the block; one change is announced at its end."""
        ident = self._threads.get_ident()
        if self._owner == ident:
            yield
            return
        with self.turn(timeout):
            self.publishing.before()
            try:
                yield
            finally:
                self.publishing.after()

    def touch(self) -> None:
        """The state may have changed outside of a turn: look at it anew."""
        with self.edit():
            return

    def snapshot(self, timeout: float | None) -> Snapshot:
        """
        Return the state; see `Publishing`. Who has the turn sees what it does itself.

        Raises:
            WaitTimeoutError: This is the first look, and a handler runs longer.
        """
        if self._owner == self._threads.get_ident():
            return self.publishing.present()
        snapshot = self.publishing.look()
        if snapshot is not None:
            return snapshot
        with self.turn(timeout, "look at"):
            return self.publishing.look() or self.publishing.publish()

    def __repr__(self) -> str:
        return f"<Serving {self.cell.path} {self.mailbox!r}>"
