"""
A message on its way, and who may answer it.

**One token per right.** Every envelope carries a list, ``[END, BEGIN]``. To take
BEGIN is the right to begin it, or to take it out of the queue; to take END is the
right to answer it. ``list.pop`` gives each to exactly one thread of those that
may want it: the worker, the sender whose time is over, whoever sweeps the queue,
a supervisor that abandons a handler which hangs. Who takes END also counts the
message: so the counters add up.

Those who want to be first to begin use ``pop()``, those who answer ``pop(0)``.
So a sender whose time is over while its message is being refused takes BEGIN,
and learns, rightly, that it never ran. Who refuses it takes BEGIN as well, and tells
the sender only then. So each sender is told once, and its gate opened once: it is
used again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Final

from kinesis.concurrency import Lock, Threads
from kinesis.futures import Future
from kinesis.mailbox.refusals import late, what
from kinesis.mailbox.tally import BATCH, Tally

__all__ = [
    "Asked",
    "AskedWithMore",
    "Envelope",
    "Pending",
    "Posted",
    "Submitted",
]

END: Final = False
BEGIN: Final = True

log = logging.getLogger("kinesis")


class Envelope:
    """
    A message on its way, and the duty to answer it. This one's sender has gone on.

    The worker calls `begin`; if that is true it runs the handler, then calls
    `answer` or `fail`, once. That of a component (`kinesis.serving`) does as `begin`
    and `Asked.answer` do without calling them: who changes the one changes both.

    Attributes:
        message: What was sent; None in an envelope with a *batch*.
        batch: Messages to be handled as one transaction, answered with the list
            of replies; else None.
        sender: The path of the component whose thread sent it, or None.
        deadline: The monotonic moment when nobody waits any more, or None.
        context: The sender's context variables, or None.
        accepted_at: Monotonic; None for a post that carries nothing but itself.
        began_at: Monotonic; set by `begin`.
        is_asked: Whether somebody waits for the answer.

    Thread safety: any thread may call any method but `answer`; the first to
    answer wins.
    """

    # No __init__: assigning the slots where one is made takes half the time. What
    # most do not carry is a default of the class, and a slot in those that do.
    __slots__ = ("began_at", "claim", "message", "tally")

    message: object
    began_at: float
    claim: list[bool]
    tally: Tally

    batch: tuple[object, ...] | None = None
    sender: str | None = None
    deadline: float | None = None
    context: Context | None = None
    accepted_at: float | None = None
    is_asked: bool = False

    @property
    def path(self) -> str:
        """Whom it is sent to."""
        return self.tally.path

    def begin(self) -> bool:
        """
        Claim the message for its handler.

        False if it must not run: its sender took it out, or its deadline has
        passed; then it is answered here with `ReplyTimeoutError`.
        """
        self.began_at = now = self.tally.now()
        claimed = None
        if self.deadline is None or now < self.deadline:
            with contextlib.suppress(IndexError):  # answered already
                claimed = self.claim.pop()
        if not claimed:
            self.expire(claimed)
            return False
        self.tally.begun += 1
        return True

    def expire(self, claimed: bool | None) -> None:
        """
        Have it never begin; answer it with `ReplyTimeoutError` if it has no answer.

        Args:
            claimed: END if that was claimed, as its sender had taken BEGIN, and
                the message with it. None if nothing was claimed.
        """
        if claimed is END:
            self.tally.count("expired")
        else:
            self.turn_away("expired", lambda: late(self, began=False))

    def answer(self, value: object = None) -> bool:
        """
        Answer a message that has begun with *value*; false if it has an answer.

        Only by the thread that handles the messages: it counts without a lock.
        """
        tally = self.tally
        now = tally.now()
        tally.busy_seconds += now - self.began_at
        try:
            self.claim.pop()
        except IndexError:  # the sender's time was over, or we were abandoned
            return False
        tally.handled += 1
        if self.accepted_at is not None:
            tally.latencies.append(now - self.accepted_at)
            if len(tally.latencies) >= BATCH:
                tally.fold()
        return True

    def fail(self, error: BaseException) -> bool:
        """
        Answer with *error*; false if it has an answer.

        The sender raises that same object. Also for a supervisor that abandons a
        handler which hangs: what the handler answers after that is ignored. One
        that has not begun counts as stopped.
        """
        began_at: float | None = getattr(self, "began_at", None)
        if began_at is None:
            return self.turn_away("stopped", lambda: error)
        try:
            self.claim.pop(0)
        except IndexError:
            return False
        self.tally.count_failed(self.tally.now() - began_at)
        self.deliver(None, error)
        return True

    def turn_away(self, counter: str, why: Callable[[], BaseException]) -> bool:
        """
        Answer a message that will not begin, and count it as *counter*.

        False if it has an answer.

        Whoever calls this has taken it out of the queue.

        Args:
            why: Makes the error, if somebody waits for it.
        """
        taken_out = False
        try:
            if self.claim.pop(0) is not END:
                return False
        except IndexError:
            return False
        try:
            self.claim.pop()
        except IndexError:  # who took BEGIN knows, or has told its sender
            taken_out = True
        self.tally.count("expired" if taken_out else counter)
        if self.is_asked and not taken_out:
            self.deliver(None, why())
        return True

    def give_up(self) -> bool | None:
        """
        Take the message out: its sender's time is over.

        Returns:
            False if it will never run, True if it was running, None if it is
            being answered at this moment.
        """
        try:
            began = self.claim.pop() is END
        except IndexError:
            return None
        if began:
            self.tally.count("late")
        return began

    def deliver(self, value: object, error: BaseException | None) -> None:
        """Hand the answer over; here nobody waits for it."""

    def __repr__(self) -> str:
        sender = f" from {self.sender}" if self.sender is not None else ""
        return f"<{type(self).__name__} {what(self)}{sender} to {self.path}>"


class Posted(Envelope):
    """One whose sender has gone on, with more than the message."""

    __slots__ = ("accepted_at", "context", "deadline", "sender")

    accepted_at: float
    context: Context | None
    deadline: float | None
    sender: str | None


class Asked(Envelope):
    """One whose sender waits on the raw lock *gate*; *error* is None from the start."""

    __slots__ = ("accepted_at", "answered_at", "deadline", "error", "gate", "value")

    accepted_at: float
    answered_at: float
    deadline: float | None
    gate: Lock
    value: object
    error: BaseException | None

    is_asked = True

    def answer(self, value: object = None) -> bool:
        """
        Do as `Envelope.answer`.

        Written out, as every call less is felt: while the worker runs, a sender
        that it wakes can only wait. So it is the sender who counts how long it took.
        """
        tally = self.tally
        self.answered_at = now = tally.now()
        tally.busy_seconds += now - self.began_at
        try:
            self.claim.pop()
        except IndexError:
            return False
        tally.handled += 1
        self.value = value
        self.gate.release()
        return True

    def deliver(self, value: object, error: BaseException | None) -> None:
        """Open the gate: only who has taken END comes here, so only once."""
        self.value = value
        self.error = error
        self.gate.release()

    @property
    def is_answered(self) -> bool:
        """Whether it has its answer, or is being given it."""
        return not self.claim

    def run_out(self) -> None:
        """Have its sender raise that its time is over, unless it has its answer."""
        began = self.give_up()
        if began is not None:
            self.deliver(None, late(self, began=began))


class AskedWithMore(Asked):
    """One that carries more than the message."""

    __slots__ = ("batch", "context", "sender")

    batch: tuple[object, ...] | None
    context: Context | None
    sender: str | None


class Submitted(Envelope):
    """One whose answer goes to a `Pending`."""

    __slots__ = ("accepted_at", "batch", "context", "deadline", "pending", "sender")

    accepted_at: float
    batch: tuple[object, ...] | None
    context: Context | None
    deadline: float | None
    sender: str | None
    pending: Pending

    is_asked = True

    def answer(self, value: object = None) -> bool:
        """Do as `Envelope.answer`."""
        answered = super().answer(value)
        if answered:
            self.deliver(value, None)
        return answered

    def deliver(self, value: object, error: BaseException | None) -> None:
        """Set the result; a callback that raises is logged, with the path."""
        try:
            if error is None:
                self.pending.set_result(value)
            else:
                self.pending.set_exception(error)
        except BaseException:  # of a callback, say of a loop that is closed: not ours
            path = self.path
            log.exception(
                "a callback on an answer of '%s' raised", path, extra={"path": path}
            )


def wrap(message: object, tally: Tally) -> Envelope:
    """Return the envelope of a *message* that was posted bare."""
    envelope = Envelope()
    envelope.message = message
    envelope.claim = [END, BEGIN]
    envelope.tally = tally
    return envelope


class Pending(Future[object]):
    """
    The answer to a submitted message, once there is one.

    Callbacks run on the thread that answers; what they raise is logged.
    """

    __slots__ = ("_envelope",)

    def __init__(self, threads: Threads, envelope: Envelope) -> None:
        super().__init__(threads, f"the answer of '{envelope.path}'")
        self._envelope = envelope

    def withdraw(self) -> bool:
        """
        Stop waiting; true if the message never runs.

        Unless it is being answered at this moment it fails with
        `ReplyTimeoutError`, whose *began* says whether it was running. For an
        asyncio caller that is cancelled, or whose time is over. Idempotent, by
        one thread.
        """
        if self.done():
            return False
        began = self._envelope.give_up()
        if began is not None:
            self.set_exception(late(self._envelope, began=began))
        return began is False
