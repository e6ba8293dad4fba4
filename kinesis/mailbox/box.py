"""
What senders do at a mailbox: post, send, send_all, submit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextvars import Context, copy_context

from kinesis.futures import Future
from kinesis.mailbox.door import Door
from kinesis.mailbox.envelopes import (
    BEGIN,
    END,
    Asked,
    AskedWithMore,
    Pending,
    Posted,
    Submitted,
)
from kinesis.mailbox.overdue import LONG
from kinesis.mailbox.refusals import late
from kinesis.mailbox.tally import BATCH
from kinesis.traces import carried

__all__ = ["Mailbox"]

DEFAULT_TIMEOUT = 5.0  # seconds
LONGEST = 1e9  # seconds; what is longer, some 31 years, is for ever


class Mailbox(Door):
    """
    What is sent to one component, in the order accepted.

    How it is made, what it lets in and how it ends: see `Door`.

    Thread safety: any thread may send, close, or count. One at a time takes; a
    mailbox belongs to no thread, so that may be another after a restart.
    """

    __slots__ = ()

    # -- senders ----------------------------------------------------------------

    def post(
        self,
        message: object,
        sender: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        deadline: float | None = None,
        waiter: Hashable = None,
    ) -> None:
        """
        Let *message* in and do not wait for its handler.

        Args:
            sender: The path of the component whose thread calls, if any.
            timeout: Seconds to wait for room, where *overflow* is ``"wait"``;
                None waits for ever.
            deadline: The monotonic moment after which it must not begin.
            waiter: As in `send`.

        Raises:
            ComponentStoppedError: The mailbox is closed.
            MailboxFullError: There is no room.
            WouldDeadlockError: There will only be room when *sender* goes on.
        """
        if sender is None and deadline is None and self.put_bare(message):
            return
        node = waiter if waiter is not None else sender
        self._post_more(message, sender, timeout, deadline, node)
        if self.again:
            self.look_again()

    def put_bare(self, message: object) -> bool:
        """
        Let *message* in as it is; false, and nothing, unless there is room at once.

        What `post` comes to for senders outside of components. Whoever takes the
        message makes its envelope.
        """
        if self.length() >= self.bare_limit:
            return False
        self.put(message)
        if self.again:
            self.look_again()
        return True

    def _post_more(
        self,
        message: object,
        sender: str | None,
        timeout: float | None,
        deadline: float | None,
        node: Hashable,
    ) -> None:
        """Let *message* in, in an envelope, once there is room."""
        envelope = Posted()
        envelope.message = message
        envelope.sender = sender
        envelope.deadline = deadline
        envelope.context = _context() if self._carry_context else carried()
        envelope.accepted_at = self._now()
        envelope.claim = [END, BEGIN]
        envelope.tally = self.tally
        if self.length() >= self._limit:
            self._make_room(envelope, envelope.accepted_at, _span(timeout), node)
        self.put(envelope)

    def send(
        self,
        message: object,
        timeout: float | None = DEFAULT_TIMEOUT,
        sender: str | None = None,
        *,
        waiter: Hashable = None,
    ) -> object:
        """
        Send *message*, wait for the handler's answer and return it.

        Args:
            timeout: Seconds, waiting for room included; None waits for ever.
            sender: The path of the component whose thread calls, if any; then
                the wait is noted in the wait-for graph.
            waiter: The node that waits, where it is not *sender* as a whole: the
                thread of a blocking ``start`` keeps no message from its handler.

        Raises:
            BaseException: What the handler raised: that same object.
            ComponentStoppedError: Closed, or it stopped before handling it.
            MailboxFullError: There is no room, or it was dropped to make some.
            ReplyTimeoutError: No answer in time; *began* says whether the handler
                was running. If not, it never will.
            WouldDeadlockError: The component waits for the sender.
        """
        if sender is None and waiter is None and not self._carry_context:
            return self.ask(Asked(), message, timeout)
        return self._ask_with_more(message, None, timeout, sender, waiter)

    def send_all(
        self,
        messages: Iterable[object],
        timeout: float | None = DEFAULT_TIMEOUT,
        sender: str | None = None,
        *,
        waiter: Hashable = None,
    ) -> object:
        """
        Send *messages* as one transaction, in one envelope; else as `send`.

        Returns:
            What the worker answers for the batch: the list of replies.
        """
        return self._ask_with_more(None, tuple(messages), timeout, sender, waiter)

    def _ask_with_more(
        self,
        message: object,
        batch: tuple[object, ...] | None,
        timeout: float | None,
        sender: str | None,
        waiter: Hashable,
    ) -> object:
        """Ask, with the wait noted in the graph while it lasts."""
        envelope = AskedWithMore()
        envelope.batch = batch
        envelope.sender = sender
        envelope.context = _context() if self._carry_context else carried()
        node = waiter if waiter is not None else sender
        if node is None or self._waits is None:
            return self.ask(envelope, message, timeout)
        self._waits.add(node, self.path)
        try:
            return self.ask(envelope, message, timeout)
        finally:
            self._waits.remove(node, self.path)

    def ask(self, envelope: Asked, message: object, timeout: float | None) -> object:
        """
        Let *message* in, wait at the gate, return or raise the answer.

        What `send` comes to; by itself, with a new *envelope*, for senders outside
        of components, which are in a hurry.
        """
        if timeout is None or not 0.0 <= timeout <= LONGEST:
            timeout = _span(timeout)
        envelope.message = message
        envelope.error = None
        envelope.accepted_at = now = self._now()
        envelope.deadline = now + timeout if timeout >= 0.0 else None
        envelope.claim = [END, BEGIN]
        envelope.tally = self.tally
        try:
            envelope.gate = gate = self._gates.pop()
        except IndexError:
            envelope.gate = gate = self._new_lock()
            gate.acquire()
        if self.length() >= self._limit:
            timeout = self._make_room(envelope, now, timeout, None)
        watched = timeout >= LONG and self._overdue.watch(envelope)
        self.put(envelope)
        if self.again:
            self.look_again()
        if watched:
            gate.acquire()  # opened at the deadline at the latest
            self._overdue.discard(envelope)
        elif not gate.acquire(True, timeout):
            _stop_waiting(envelope)
        self._gates.append(gate)  # shut again, by us
        error = envelope.error
        if error is None:
            latencies = self.tally.latencies
            latencies.append(envelope.answered_at - now)
            if len(latencies) >= BATCH:
                self.tally.fold()
            return envelope.value
        try:  # type: ignore[unreachable]  # another thread has set it
            raise error
        finally:  # no cycle through the error's own traceback
            del error, envelope

    def submit(
        self,
        message: object,
        timeout: float | None = None,
        sender: str | None = None,
        *,
        batch: Iterable[object] | None = None,
        let_in: bool = False,
        then: Callable[[Future[object]], object] | None = None,
    ) -> Pending:
        """
        Let *message* in and return its answer to come; never block.

        For callers that must not hold their thread up, such as coroutines.
        Nothing is noted in the wait-for graph.

        Args:
            timeout: Seconds after which it must not begin. Nothing happens at
                that moment: the caller has a clock, and calls `Pending.withdraw`.
            batch: Messages of one transaction, instead of *message*.
            let_in: There is room for it: its gate was opened; see `knock`.
            then: Called with the answer, on the thread that answers.

        Raises:
            ComponentStoppedError: The mailbox is closed.
            MailboxFullError: There is no room; where *overflow* is ``"wait"`` too,
                since this must not.
        """
        span = _span(timeout)
        envelope = Submitted()
        envelope.message = message
        envelope.batch = None if batch is None else tuple(batch)
        envelope.sender = sender
        envelope.context = _context() if self._carry_context else carried()
        envelope.accepted_at = now = self._now()
        envelope.deadline = now + span if span >= 0.0 else None
        envelope.claim = [END, BEGIN]
        envelope.tally = self.tally
        envelope.pending = pending = Pending(self._threads, envelope)
        if then is not None:
            pending.add_done_callback(then)
        if self._closed or (not let_in and self.length() >= self._limit):
            self._make_room(envelope, now, 0.0, None)
        self.put(envelope)
        if self.again:
            self.look_again()
        return pending


def _span(timeout: float | None) -> float:
    """Return *timeout* as locks want it: -1.0 is for ever, below zero is zero."""
    if timeout is None or timeout > LONGEST:
        return -1.0
    if timeout != timeout:
        raise ValueError("a timeout cannot be NaN: use seconds, or None for ever.")
    return max(0.0, timeout)


def _context() -> Context | None:
    """Return a copy of the caller's context variables, None if it has none."""
    context = copy_context()
    return context if len(context) else None


def _stop_waiting(envelope: Asked) -> None:
    """Raise `ReplyTimeoutError`, unless the answer comes at this moment."""
    began = envelope.give_up()
    if began is not None:
        raise late(envelope, began=began)
    envelope.gate.acquire()  # END is taken, so the release is the next thing to come
