"""
How a message is handled in its sender's own thread.

With ``dispatch="caller"`` a sender that finds the component idle runs the handler
itself: nothing has to wake up. All others go through the mailbox.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Final

from kinesis.access import Access
from kinesis.handlers import Handlers
from kinesis.life import CURRENT
from kinesis.mailbox import Mailbox
from kinesis.traces import TRACE

if TYPE_CHECKING:
    from kinesis.cells import Cell
    from kinesis.inside import Inside

DEEPEST = 50  # handlers that run inside one another in one sender's thread

DEPTH: ContextVar[int] = ContextVar("kinesis_depth", default=0)
"""How many handlers run inside one another in this thread."""

NOT_HERE: Final = object()
"""Instead of a reply: the message was not handled."""


class Direct(Access):
    """
    The mailbox of one component, and the way past it.

    Args:
        inside: What `CURRENT` is while the component's code runs.

    Attributes:
        direct: Whether a sender's thread may run a handler now.
    """

    def __init__(self, cell: Cell, mailbox: Mailbox, inside: Inside) -> None:
        super().__init__(cell)
        self.mailbox = mailbox
        self.handlers = Handlers(self.component, cell.path, self.publishing)
        self.direct = False
        # What is handled here now, and until when its sender waits.
        self._here: tuple[object, float | None] | None = None
        self._entered = mailbox.entered  # only with dispatch="caller"
        self._inside = inside
        self._context: Context | None = None  # to be used again; see `_run_here`
        self._get_ident = cell.services.threads.get_ident

    def handle_here(
        self, message: object, timeout: float | None, depth: int = 0
    ) -> object:
        """
        Handle *message* in the calling thread, if the component is idle.

        Written out where that saves a call: a thread that the system lets wait in
        the middle of this makes all other senders go through the mailbox.

        Args:
            timeout: Seconds that the sender has. Once begun, the handler takes as
                long as it takes, but what it sends on has no more than that.
            depth: How many handlers run around this one in this thread.

        Returns:
            The reply, or `NOT_HERE` if it was not handled.

        Raises:
            BaseException: What the handler raised.
        """
        entered, turn = self._entered, self.turn
        if depth >= DEEPEST or (timeout is not None and timeout <= 0.0):
            return NOT_HERE
        # What came before has been begun; if it has not ended, it has the turn.
        if entered is None or entered.count:
            return NOT_HERE
        try:
            turn.claim()
        except IndexError:
            return NOT_HERE
        turn.owner = self._get_ident()
        try:
            if not self.direct:
                return NOT_HERE
            began = self._now()
            self._here = (message, None if timeout is None else began + timeout)
            return self._run_here(message, depth, began)
        finally:
            self._here = None
            turn.give_back()

    def _run_here(self, message: object, depth: int, began: float) -> object:
        """Run the handler in a context of its own, and count it."""
        publishing, cell, tally = self.publishing, self.cell, self.mailbox.tally
        feed = publishing.feed
        cell.busy_since = began
        if feed.watched or began < publishing.expected_until:
            publishing.before(began)
        context = self._context
        if context is None:
            context = self._new_context()
        if depth or TRACE.get() is not None:
            context = _with_more(context, depth)
        try:
            value = context.run(self.handlers[type(message)], message)
            tally.here += 1
            return value
        except BaseException:
            tally.failed_here += 1
            raise
        finally:
            if len(context) > 1 and context is self._context:
                self._context = None  # the handler has left something there
            if publishing.holds or feed.watched or began < publishing.expected_until:
                publishing.after(began)
            cell.busy_since = None
            tally.busy_seconds_here += self._now() - began
            if cell.stalled is not None:
                cell.recovered()

    def _new_context(self) -> Context:
        """Return a context in which a handler is code of this component; no more."""
        context = self._context = Context()
        context.run(CURRENT.set, self._inside)
        return context


def _with_more(context: Context, depth: int) -> Context:
    """Return a copy of *context*, with the caller's trace and so many handlers."""
    context = context.copy()
    context.run(DEPTH.set, depth)
    context.run(TRACE.set, TRACE.get())
    return context
