"""
How a component's messages are handled: one at a time, each with an answer.

The loop runs on one of the component's workers; the *turn* (see `kinesis.access`)
is what makes it one at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from kinesis.concurrency import Lock
from kinesis.direct import Direct
from kinesis.errors import ComponentStoppedError, describe
from kinesis.mailbox import Asked, Envelope, Mailbox, what
from kinesis.routing import routes_of
from kinesis.schedules import Scheduled
from kinesis.services import report
from kinesis.snapshots import codec_of
from kinesis.traces import TRACE

if TYPE_CHECKING:
    from contextvars import Context

    from kinesis.cells import Cell
    from kinesis.inside import Inside
    from kinesis.workers import Worker

DRAIN_SHARE = 0.8  # of the stop deadline; the rest is for `stop` itself


class Lane(Enum):
    """What the loop is told through the mailbox's control lane."""

    LEAVE = "leave now"
    DRAIN = "leave once the mailbox is empty"
    RENEW = "go on, on a fresh loop"


def mailbox_of(cell: Cell) -> Mailbox:
    """Make the mailbox of the component in *cell*, as its class wants it."""
    component = cell.component
    return Mailbox(
        cell.services.threads,
        cell.path,
        bound=component.mailbox_bound,
        overflow=component.overflow,
        waits=cell.services.waits,
        counted=component.dispatch == "caller",
        overdue=cell.services.overdue,
    )


class Serving(Direct):
    """
    The mailbox of one component, and the loop that handles it.

    Args:
        inside: What `CURRENT` is while the component's code runs.
        wanted: Called when a message came and nobody handles messages.
    """

    def __init__(
        self,
        cell: Cell,
        mailbox: Mailbox,
        inside: Inside,
        wanted: Callable[[], object],
    ) -> None:
        super().__init__(cell, mailbox, inside)
        self.worker: Worker | None = None  # whose thread handles the messages now
        self.envelope: Envelope | None = None  # being handled
        self._ident = 0  # of the thread that handles the messages
        self.timers: set[Scheduled] = set()
        self._wanted = wanted
        self._drains = self.component.on_stop == "drain"
        self._stays = False
        self._drain_until = float("inf")

    @property
    def has_work(self) -> bool:
        """Whether something may still come: a message, a timer or a request."""
        cls: type = type(self.component)
        return bool(self.handlers) or bool(self.timers) or bool(routes_of(cls))

    @property
    def deadline(self) -> float | None:
        """The moment when the sender of what the calling thread handles gives up."""
        if not self.turn.is_mine:  # a blocking `start`, beside the handler
            return None
        if self._here is not None:
            return self._here[1]
        return self.envelope.deadline if self.envelope is not None else None

    def handler_name(self) -> str:
        """Name the handler that runs now, for people."""
        if self.visitor is not None:
            return f"the route {getattr(self.visitor, '__name__', 'of somebody')}"
        envelope, here = self.envelope, self._here
        if here is not None:
            return f"the handler of {type(here[0]).__name__}"
        if envelope is None:
            return "its code"
        if envelope.batch is not None:
            return f"a transaction of {len(envelope.batch)} messages"
        return f"the handler of {type(envelope.message).__name__}"

    # -- the loop -------------------------------------------------------------------

    def begin(self, worker: Worker) -> None:
        """Note that *worker* handles the messages from now on."""
        self.mailbox.call_at_next(None)
        self.mailbox.forget_control()  # an order to leave is for the worker before
        self.worker = worker
        self.direct = self._entered is not None

    def open_unserved(self) -> None:
        """`start` blocks: ask for a thread at the first message."""
        self.mailbox.call_at_next(self._wanted)

    def serve(self) -> None:
        """Handle what comes until told to leave; on the worker's thread."""
        self._ident = self._get_ident()
        while self._loop() is Lane.RENEW:
            self.cell.note("its message handling begins afresh, as somebody asked")
        if self._entered is not None:  # a sender's thread may still run a handler
            self.turn.take()
            self.turn.give_back()
        if not self._stays:
            self.mailbox.refuse_rest()

    def _step_back(self) -> None:
        """Interrupt no sender from now on, unless the class wants to."""
        if self.worker is not None and type(self.component).scheduling == "batch":
            self.worker.step_back()

    def _loop(self) -> Lane:
        """Handle what comes, until an order to leave or to begin afresh."""
        # An Envelope, a Lane or None. By its exact type: isinstance takes longer.
        mailbox = self.mailbox
        take: Callable[..., Any] = mailbox.take
        get, held, sort = mailbox.get, mailbox.held, mailbox.sort
        draining = False
        item = take()
        if type(item) is not Lane:  # what is idle need not ask the system
            self._step_back()
        while True:
            gate = None  # of the sender that has its answer
            if item is not None and type(item) is not Lane:
                traced = item.context is not None
                gate = self._handle_traced(item) if traced else self._handle(item)
                item = None  # not to be kept until the next one comes
            elif item is None or item is Lane.LEAVE:
                return Lane.LEAVE
            elif item is Lane.DRAIN:
                draining = True
            elif not draining:
                return Lane.RENEW
            waits = not (draining or held)
            if gate is not None:
                gate.release()
            # With no call of ours in between: who wakes up has to sleep again until we
            # let go of the interpreter's lock.
            if waits:
                item = sort(get())
            elif self._now() > self._drain_until:
                return Lane.LEAVE
            else:
                item = take(0.0 if draining else None)

    def _handle_traced(self, envelope: Envelope) -> Lock | None:
        """Handle one message, with a context, as part of the trace that it is from."""
        token = TRACE.set(cast("Context", envelope.context).get(TRACE))
        try:
            return self._handle(envelope)
        finally:  # the loop may go on afresh, on this thread
            del envelope  # as in `_handle`
            TRACE.reset(token)

    def _handle(self, envelope: Envelope) -> Lock | None:  # noqa: C901  # see below
        """
        Handle one message, and answer it whatever happens.

        Returns the gate of a sender that has its answer, to be opened.

        Long, and written out where that saves a call: while this runs, a sender that
        is awake can only wait, and on a single processor the longer it takes, the more
        often the system switches to such a sender and back. The two calls that begin
        and answer, 100 ns, were a tenth of the time of a message with one sender.
        """
        turn, cell, publishing = self.turn, self.cell, self.publishing
        try:
            turn.claim()
        except IndexError:
            turn.take()
        turn.owner = self._ident
        if self._entered is not None:
            self._entered.leave()
        # As Envelope.begin; with the turn: who waits for it, waits in time.
        began = envelope.began_at = self._now()
        deadline, claimed = envelope.deadline, None
        try:
            if deadline is None or began < deadline:
                claimed = envelope.claim.pop()
        except IndexError:
            pass
        if not claimed:
            envelope.expire(claimed)
            turn.give_back()
            return None
        tally = self.mailbox.tally
        tally.begun += 1
        self.envelope = envelope
        cell.busy_since = began
        feed = publishing.feed
        if feed.watched or began < publishing.expected_until:
            publishing.before(began)
        error = value = None
        try:
            if envelope.batch is None:
                message = envelope.message
                value = self.handlers[type(message)](message)
            else:
                value = self._run_all(envelope.batch)
        except BaseException as raised:  # its sender's to handle
            error = raised
        if publishing.holds or feed.watched or began < publishing.expected_until:
            publishing.after(began)
        cell.busy_since = None
        self.envelope = None
        turn.give_back()
        if cell.stalled is not None:
            cell.recovered()
        if error is not None:
            self._failed(envelope, error)
            # The traceback leads to this frame: let it not lead on to the error.
            del envelope, error
        elif type(envelope) is not Asked:
            envelope.answer(value)
        else:  # As Asked.answer, but for the gate.
            envelope.answered_at = now = self._now()
            tally.busy_seconds += now - began
            try:
                envelope.claim.pop()
            except IndexError:  # the sender's time was over, or we were abandoned
                return None
            tally.handled += 1
            envelope.value = value
            return envelope.gate
        return None

    def _run_all(self, batch: tuple[object, ...]) -> list[object]:
        """Run a transaction: all of them, or the state is as it was."""
        codec = codec_of(type(self.component))
        saved = codec.save(self.component)
        handlers = self.handlers
        try:
            return [handlers[type(message)](message) for message in batch]
        except BaseException:
            codec.restore(self.component, saved)
            raise

    def _failed(self, envelope: Envelope, error: BaseException) -> None:
        """Answer with *error*; nobody waits for a post, so that one is logged."""
        if envelope.fail(error) and envelope.is_asked:
            return
        text = f"the handler of {what(envelope)} failed: {describe(error)}"
        report(logging.ERROR, self.cell.path, text, error)

    # -- the end of a run ---------------------------------------------------------

    def leave(self, *, drain: bool, stay: bool) -> None:
        """
        Have the loop end.

        Args:
            drain: Handle what was accepted first, if the component says so.
            stay: Keep accepting: what comes is for the next run.
        """
        self.direct = False
        self._stays = stay
        lane = None
        if self.worker is not None:
            lane = Lane.DRAIN if drain and self._drains else Lane.LEAVE
        if lane is Lane.DRAIN:
            limit = self.cell.stop_deadline * DRAIN_SHARE
            self._drain_until = self._now() + limit
        self.mailbox.let_leave(lane, close=not stay)

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
        if not self.mailbox.is_done:
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

    def __repr__(self) -> str:
        return f"<Serving {self.cell.path} {self.mailbox!r}>"
