"""
What a mailbox lets in, and how it ends.

**Accepting takes no lock**::

    closed or full?  ->  refuse, or do what *overflow* says
    put
    over now?        ->  sweep; whoever sweeps, answers

A mailbox is *open*, then *closed* (it accepts nothing; what it has is still
handled), then *over* (nobody takes from it any more). The look after the put makes
it safe, with or without a global interpreter lock. Put and sweep both go through
the queue's own lock: either the sweep comes after the put, and finds the message;
or the put comes after the sweep, and its sender sees *over*, and sweeps. So nothing
accepted is left unanswered.

Source: trio's ``EntryQueue`` for the idea that whatever is accepted is dealt with.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Literal, Protocol

from kinesis.concurrency import Lock, Threads
from kinesis.mailbox.counting import Entered
from kinesis.mailbox.envelopes import Envelope
from kinesis.mailbox.lanes import Gate, Lanes
from kinesis.mailbox.overdue import Nobody, Watch
from kinesis.mailbox.refusals import (
    dropped,
    left_behind,
    refused_closed,
    refused_full,
)
from kinesis.mailbox.tally import Counts, Tally

__all__ = ["DEFAULT_BOUND", "Door", "Overflow", "Waits"]

Overflow = Literal["refuse", "wait", "drop-oldest"]

DEFAULT_BOUND = 10_000  # messages
ALWAYS_FULL: Final = 0  # no queue is shorter
NOBODY: Final = Nobody()


class Waits(Protocol):
    """The part of a wait-for graph that a mailbox needs."""

    def add(self, waiter: Hashable, target: Hashable, /) -> None:
        """Note a wait, or raise `WouldDeadlockError`."""
        ...

    def remove(self, waiter: Hashable, target: Hashable, /) -> None:
        """Take it away when it has ended."""
        ...


class Door:
    """
    The part of a `Mailbox` that lets in, turns away and closes.

    Args:
        path: Whose mailbox this is.
        bound: How many messages may wait; as many more as there are senders at
            one moment may slip in. One that its sender took out holds its place
            until it is reached. Control items do not count.
        overflow: When it is full, ``"refuse"`` raises `MailboxFullError` at once
            (default); ``"wait"`` does so only after the timeout;
            ``"drop-oldest"`` makes room and tells the dropped one's sender.
        waits: The wait-for graph, where senders that are components note their
            waits.
        carry_context: Give each envelope, not only those that are sent as part of
            a trace (see `kinesis.traces`), a copy of its sender's context
            variables, if it has any.
        counted: Keep `entered`, for a worker that says when it begins with each.
        overdue: Ends the long waits of senders; without it the system does.

    Attributes:
        entered: What is let in and not begun yet, exactly; None if not *counted*.
        tally: The counters; `counts` returns them as a value.
        put, length, bare_limit, again, look_again: What `Mailbox.put_bare` is made
            of, for who cannot spare a call.
        take: Wait for the next control item, else `Envelope`; see `Lanes.take`.
        get, held, sort: What *take* is made of, for who cannot spare a call.
    """

    __slots__ = (
        "_books",
        "_carry_context",
        "_cause",
        "_closed",
        "_gates",
        "_lanes",
        "_limit",
        "_new_lock",
        "_now",
        "_over",
        "_overdue",
        "_overflow",
        "_threads",
        "_waits",
        "_wanted",
        "again",
        "bare_limit",
        "bound",
        "entered",
        "get",
        "held",
        "length",
        "path",
        "put",
        "sort",
        "take",
        "tally",
    )

    def __init__(
        self,
        threads: Threads,
        path: str,
        *,
        bound: int = DEFAULT_BOUND,
        overflow: Overflow = "refuse",
        waits: Waits | None = None,
        carry_context: bool = False,
        counted: bool = False,
        overdue: Watch | None = None,
    ) -> None:
        _check(path, bound, overflow)
        self.path = path
        self.bound = bound
        self._carry_context = carry_context
        self._set_limit(bound)
        self.tally = Tally(threads, path)
        self._overflow = overflow
        self._waits = waits
        self._threads = threads
        self._now, self._new_lock = threads.monotonic, threads.lock
        self._lanes = lanes = Lanes(threads, self.tally, self._after_set_aside)
        # Straight to the queue: a call in between would be felt.
        self.put, self.length, self.take = lanes.put, lanes.length, lanes.take
        self.get, self.held, self.sort = lanes.get, lanes.held, lanes.sort
        self.entered: Entered | None = None
        if counted:
            self.entered = Entered(threads, self.put)
            self.put = self.entered.put
        self._books = threads.lock()  # over the phases, and what control accepts
        self._closed = self._over = False
        self.again = False  # whether a sender has more to do after its put
        self._wanted: Callable[[], object] | None = None
        self._cause: BaseException | None = None
        self._overdue: Watch = overdue if overdue is not None else NOBODY
        self._gates: list[Lock] = []  # shut, for the next who asks: a new one is cold

    def control(self, item: object) -> bool:
        """
        Put *item*, not None, into the lane ahead of all messages.

        False if the mailbox is over: nobody would take it. One that is only
        closed still accepts control items.
        """
        with self._books:
            if not self._over:
                self._lanes.put_control(item)
            return not self._over

    def forget_control(self) -> None:
        """
        Forget the control items that nobody has taken.

        For who begins to take: they were meant for the one before.
        """
        self._lanes.clear_control()

    def call_at_next(self, wanted: Callable[[], object] | None) -> None:
        """
        Call *wanted* once, when a message waits: now, or after the next put.

        For a mailbox that nobody takes from yet. It runs on the sender's thread:
        keep it short. None takes an earlier one back.
        """
        with self._books:
            self._wanted = wanted
            self.again = self._over or wanted is not None
        if wanted is not None and self._lanes.depth:
            self.look_again()

    def look_again(self) -> None:
        """After a put: does somebody want to know, or is this over?"""
        with self._books:
            wanted, self._wanted = self._wanted, None
            self.again = self._over
        try:
            if wanted is not None:
                wanted()
        finally:
            if self._over:
                self._sweep()

    def _after_set_aside(self) -> None:
        """Look again: a sweep may have come between the taking and the putting."""
        if self._over:
            self._sweep()

    def let_leave(self, item: object | None, *, close: bool) -> None:
        """
        Have whoever takes stop doing so, in one step.

        Args:
            item: For the control lane, as `control`; None if nobody takes.
            close: Accept nothing more, as `close`.
        """
        with self._books:
            self._wanted = None
            self.again = self._over
            if close:
                self._closed = True
                self._set_limit(ALWAYS_FULL)
            if item is not None and not self._over:
                self._lanes.put_control(item)
        if close:
            self._lanes.let_all_in()

    # -- when there is no room --------------------------------------------------

    def _make_room(
        self, envelope: Envelope, since: float, span: float, waiter: Hashable
    ) -> float:
        """
        Return when there is room, with what is left of *span*; or raise.

        The short look of the senders also counts every WAKE, and finds a closed
        mailbox full: this look is exact.

        Args:
            since: The monotonic moment when *span* began.
            span: Seconds, as of `_span`.
        """
        until = since + span if span >= 0.0 else None
        while True:
            if self._closed:
                self.tally.count("refused")
                raise refused_closed(envelope)
            if not self._is_full():
                return -1.0 if until is None else max(0.0, until - self._now())
            if self._overflow == "drop-oldest":
                self._drop_oldest()
            elif self._overflow == "refuse" or not self._wait_for_room(until, waiter):
                self.tally.count("refused")
                raise refused_full(envelope, self.bound)

    def _is_full(self) -> bool:
        """Whether one should wait for room: not in front of a closed door."""
        return not self._closed and self._lanes.depth >= self.bound

    def _drop_oldest(self) -> None:
        """Take the oldest message out, if one is left, and tell its sender."""
        oldest = self._take_oldest()
        if oldest is not None:
            oldest.turn_away("dropped", partial(dropped, oldest, self.bound))

    def _wait_for_room(self, until: float | None, waiter: Hashable) -> bool:
        """Wait, with the wait noted in the graph while it lasts; false if late."""
        if waiter is None or self._waits is None:
            return self._lanes.wait_for_room(self._is_full, until)
        self._waits.add(waiter, self.path)
        try:
            return self._lanes.wait_for_room(self._is_full, until)
        finally:
            self._waits.remove(waiter, self.path)

    def knock(self, gate: Gate) -> bool:
        """
        Have *gate* opened once there may be room, for one who must not block.

        False, and nothing, if there is room now, or if a full mailbox makes nobody
        wait. Once it has been opened, there is room for one message: see `submit`.
        """
        if self._overflow != "wait":
            return False
        return self._lanes.knock(gate, self._is_full)

    def turn_back(self, gate: Gate) -> None:
        """Wait for room no more, after `knock`."""
        self._lanes.turn_back(gate)

    # -- the end ----------------------------------------------------------------

    def close(self) -> None:
        """
        Accept nothing more; what was accepted stays to be taken. Idempotent.

        Senders that wait for room are refused.
        """
        with self._books:
            self._closed = True
            self._set_limit(ALWAYS_FULL)
        self._lanes.let_all_in()

    def refuse_rest(self, cause: BaseException | None = None) -> None:
        """
        Close, and answer all that is left with `ComponentStoppedError`.

        Also what comes in after this, from senders that had seen the mailbox
        open. Control items stay to be taken: they may be what tells the worker to
        leave. Idempotent.

        Args:
            cause: Why the component stopped; the ``__cause__`` of the errors.
        """
        self.close()
        with self._books:
            self._cause = cause
            self._over = self.again = True
            self._wanted = None
        self._sweep()

    def reopen(self) -> list[object]:
        """
        Accept again, for a component that is started again. Idempotent.

        Returns:
            The control items that nobody has taken, if the mailbox was over: they
            were meant for the life before.
        """
        with self._books:
            items = self._lanes.clear_control() if self._over else []
            self._over = self._closed = self.again = False
            self._wanted = None
            self._cause = None
            self._set_limit(self.bound)
        return items

    def _set_limit(self, limit: int) -> None:
        """Let the short looks of the senders find it full from *limit* on."""
        self._limit = limit
        self.bare_limit = ALWAYS_FULL if self._carry_context else limit

    def _sweep(self) -> None:
        """Answer all that is left, for as long as the mailbox is over."""
        while self._over:
            left = self._take_oldest()
            if left is None:
                break
            left.turn_away("stopped", partial(left_behind, left, self._cause))

    def _take_oldest(self) -> Envelope | None:
        """Take the oldest message out, to turn it away."""
        oldest = self._lanes.take_oldest()
        if oldest is not None and self.entered is not None:
            self.entered.leave()
        return oldest

    # -- the books --------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether it accepts nothing more."""
        return self._closed

    @property
    def is_done(self) -> bool:
        """Whether `refuse_rest` has been here, and would find nothing more to do."""
        return self._over and self._lanes.is_empty

    @property
    def depth(self) -> int:
        """How many messages wait."""
        return self._lanes.depth

    def counts(self) -> Counts:
        """Return all counters; while messages move, some may be one behind."""
        return self.tally.counts(self.depth)

    def __repr__(self) -> str:
        phase = "over" if self._over else "closed" if self._closed else "open"
        waiting = f"{self.depth} of {self.bound} waiting"
        handled = f"{self.tally.handled} handled"
        return f"<Mailbox {self.path} [{phase} | {waiting}, {handled}]>"


def _check(path: str, bound: int, overflow: str) -> None:
    """Refuse a bound or an overflow that cannot work."""
    if bound < 1:
        raise ValueError(
            f"the mailbox of '{path}' cannot be bounded to {bound}: use 1 or more."
        )
    if overflow not in ("refuse", "wait", "drop-oldest"):
        raise ValueError(
            f"the mailbox of '{path}' does not know overflow={overflow!r}: "
            f"use 'refuse', 'wait' or 'drop-oldest'."
        )
