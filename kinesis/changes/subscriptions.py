"""
The two kinds of listener: callbacks, called, and subscriptions, read.

Both see each component's changes in order. Where changes are missing, a `Gap`
stands in their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from weakref import ref

from kinesis.changes.signals import Change, Gap
from kinesis.errors import ComponentStoppedError, WaitTimeoutError

if TYPE_CHECKING:
    from kinesis.concurrency import Threads

__all__ = [
    "Callback",
    "Failed",
    "Listener",
    "Overflow",
    "Seat",
    "Subscription",
    "Wants",
    "weight",
]

BACKLOG = 10_000  # changes that wait behind those a "wait" subscription holds

Overflow = Literal["drop-oldest", "wait"]
Wants = tuple[bool, bool, bool]  # of stage, state and component changes
Failed = Callable[["Callback", BaseException], object]


class Closable:
    """What is closed at the end of a ``with`` block."""

    def close(self) -> None:
        """Be told of nothing more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Listener(Closable):
    """
    Somebody who is told of changes, until `close`.

    Args:
        path: Of whose changes.
        below: Of those below *path* too.
        wants: Which kinds.
        order: Who has the lower one is told first.
        leave: Called at the first `close`, with this listener; must not wait.
    """

    def __init__(
        self,
        path: str,
        below: bool,
        wants: Wants,
        order: int,
        leave: Callable[[Listener], object],
    ) -> None:
        self.path = path
        self.below = below
        self.wants = wants
        self.order = order
        self.closed = False
        self._leave = leave

    def close(self) -> None:
        """
        Be told of nothing more, from the next change on.

        A call that is under way is not waited for. Idempotent; from any thread,
        from inside the callback and from a ``__del__`` too: it takes no lock.
        """
        if not self.closed:
            self.closed = True
            self._leave(self)

    def end(self) -> None:
        """Note that nothing more is told: the component is gone."""
        self.closed = True


class Callback(Listener):
    """
    A function that is called with each change, on the delivery thread.

    Attributes:
        errors: How many calls raised.
        strikes: How many calls outlived the deadline.
        hung: Whether such a call still runs; meanwhile changes pass it by.
        missed: How many have passed it by and are still to be told as a `Gap`.
    """

    def __init__(
        self,
        path: str,
        below: bool,
        wants: Wants,
        order: int,
        leave: Callable[[Listener], object],
        function: Callable[..., object],
        deadline: float,
        failed: Failed,
    ) -> None:
        super().__init__(path, below, wants, order, leave)
        self.function = function
        self.deadline = deadline
        self._failed = failed
        self.name = getattr(function, "__qualname__", None) or repr(function)
        self.errors = 0
        self.strikes = 0
        self.hung = False
        self.missed = 0

    def __repr__(self) -> str:
        mark = " hung" if self.hung else " closed" if self.closed else ""
        return f"<Callback {self.name} of {self.path}{mark}>"

    def failed(self, error: BaseException) -> None:
        """Count what a call raised, and have it reported."""
        self.errors += 1
        self._failed(self, error)


class Seat(Listener):
    """
    What the hub holds of a subscription: weakly, the subscription itself.

    One that nobody refers to any more, such as that of a ``for`` loop left by
    ``break``, cannot be read; so it must not cost its component anything.
    """

    def __init__(
        self,
        path: str,
        below: bool,
        wants: Wants,
        order: int,
        leave: Callable[[Listener], object],
        subscription: Subscription,
    ) -> None:
        super().__init__(path, below, wants, order, leave)
        self.subscription = ref(subscription)

    def end(self) -> None:
        """Let the subscription end behind what it holds."""
        super().end()
        if (subscription := self.subscription()) is not None:
            subscription.end()


class Subscription(Closable):
    """
    Changes to be read, by iterating or with `get`.

    Iteration waits for the next change, and ends when the component is gone (its
    last changes are read first) or when the subscription is closed. A reader that
    is too slow, or never reads, keeps nobody waiting:

    - ``overflow="drop-oldest"``: of the unread changes the newest *max* are kept.
    - ``overflow="wait"``: the *max* oldest are kept, and 10 000 newer ones wait
      behind them; only those that come after these are dropped.

    Either way the reader gets a `Gap` where the dropped ones would have been.

    Several threads may read; each change goes to one of them. Dropping the last
    reference closes it.

    Attributes:
        path: Of whose changes.
        dropped: How many this subscription has dropped so far.
    """

    def __init__(
        self, threads: Threads, path: str, max: int, overflow: Overflow
    ) -> None:
        if max < 1:
            raise ValueError(
                f"cannot subscribe to '{path}' with max={max}: a subscription "
                f"holds at least 1 change. Leave max out for 1000."
            )
        if overflow not in ("drop-oldest", "wait"):
            raise ValueError(
                f"cannot subscribe to '{path}' with overflow={overflow!r}. "
                f"Write 'drop-oldest' or 'wait'."
            )
        self.path = path
        self.dropped = 0
        self._keep_oldest = overflow == "wait"
        self._bound = max + BACKLOG if self._keep_oldest else max
        self._monotonic = threads.monotonic
        self._lock = threads.lock()
        self._ready = threads.event()
        self._readers = 0  # how many wait for _ready
        self._items: deque[Change | Gap] = deque()
        self._missed = 0  # dropped ahead of _items, not yet told
        self._ended = False
        self.seat: Listener | None = None

    def __repr__(self) -> str:
        end = " ended" if self._ended else ""
        return f"<Subscription {self.path}{end} | {len(self)} unread>"

    def __len__(self) -> int:
        """Return how many values can be read without waiting."""
        return len(self._items) + (self._missed > 0)

    def __bool__(self) -> bool:
        return True  # an empty one is still a subscription

    @property
    def ended(self) -> bool:
        """Whether nothing more is added; what is unread can still be read."""
        return self._ended

    def get(self, timeout: float | None = None) -> Change | Gap:
        """
        Wait for the next change and return it.

        Args:
            timeout: Seconds; 0 does not wait, None waits forever.

        Raises:
            WaitTimeoutError: None came in time.
            ComponentStoppedError: None will come: the component is gone, or the
                subscription is closed.
        """
        deadline = None if timeout is None else self._monotonic() + timeout
        while (item := self._take()) is None:
            try:
                left = None if deadline is None else deadline - self._monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeoutError(
                        f"no change of '{self.path}' within {timeout:g} s. "
                        f"Wait longer, or look whether it still runs.",
                        path=self.path,
                    )
                self._ready.wait(left)
            finally:
                with self._lock:
                    self._readers -= 1
        return item

    def _take(self) -> Change | Gap | None:
        """Return the next value; without one, enlist as one who waits."""
        with self._lock:
            if self._missed:
                count, self._missed = self._missed, 0
                return Gap(self.path, count)
            if self._items:
                return self._items.popleft()
            if not self._ended:
                self._readers += 1
                self._ready.clear()
                return None
        raise ComponentStoppedError(
            f"no more changes of '{self.path}': it is gone, or this subscription "
            f"was closed. Subscribe again once it is back.",
            path=self.path,
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change | Gap:
        try:
            return self.get()
        except ComponentStoppedError:
            raise StopIteration from None

    def close(self) -> None:
        """
        Drop what is unread and end; whoever waits for a change is let go.

        Idempotent, from any thread.
        """
        with self._lock:
            self._ended = True
            self._missed = 0
            unread, self._items = self._items, deque()
        self._ready.set()
        del unread  # outside the lock: what goes with it may run anything
        if self.seat is not None:
            self.seat.close()

    # What follows is for the hub.

    def put(self, item: Change | Gap) -> None:
        """Add *item* for the reader; never waits for it."""
        with self._lock:
            if self._ended:
                return
            dropped = None
            if len(self._items) < self._bound:
                self._items.append(item)
            else:
                dropped = self._overflow(item)
            readers = self._readers
        if readers:
            self._ready.set()
        del dropped  # outside the lock, as in `close`

    def _overflow(self, item: Change | Gap) -> Change | Gap:
        """Make room for *item*, or refuse it; return what was dropped."""
        dropped = item if self._keep_oldest else self._items.popleft()
        count = weight(dropped)
        self.dropped += count
        if not self._keep_oldest:
            self._missed += count
            self._items.append(item)
        elif isinstance(last := self._items[-1], Gap):
            self._items[-1] = Gap(self.path, last.count + count)
        else:
            self._items.append(Gap(self.path, count))
        return dropped

    def end(self) -> None:
        """Let the reader read what is there, and nothing after it."""
        with self._lock:
            self._ended = True
        self._ready.set()

    def leave(self) -> None:
        """End as `end` does, before the hub says so."""
        self.end()
        if self.seat is not None:
            self.seat.close()


def weight(item: Change | Gap) -> int:
    """Return how many changes *item* stands for."""
    return item.count if isinstance(item, Gap) else 1
