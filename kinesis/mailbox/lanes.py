"""
What waits in a mailbox, and who takes it.

The messages are in a queue; **the control lane** is a list beside it. Each item
in that list is announced by a WAKE in the queue, and is taken before any message.
A WAKE too many does no harm.

Measured and rejected: `queue.Queue` and `Condition` (both ends slower), a deque
under a lock (to put takes twice the time), taking the whole queue at once (no
gain). Lists instead of deques, which take 0.6 KiB each: these are nearly always
empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from kinesis.concurrency import Empty, Threads
from kinesis.mailbox.envelopes import Asked, Envelope, wrap
from kinesis.mailbox.tally import Tally

__all__ = ["WAKE", "Gate", "Lanes"]

T = TypeVar("T")


class Gate(Protocol):
    """What is opened for one who waits: a shut lock, say."""

    def release(self) -> None:
        """Open it."""
        ...


class _Wake:
    """Stands in the queue for an item of the control lane."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "WAKE"


WAKE: Final = _Wake()


class Lanes:
    """
    Messages and control items that wait, and senders that wait for room.

    It belongs to no thread: one thread at a time takes, and that may be another
    after a restart.

    Attributes:
        put: Put an `Envelope`, or a bare message that nobody waits for: it gets
            its envelope when it is taken. No lock.
        length: How many things are in the queue, every WAKE included. No lock.
        get, held, sort: What `take` is made of without a timeout, for who cannot spare
            a call: while nothing is *held*, it is ``sort(get())``.

    Args:
        set_aside: Called when a message was put back, to wait for a control item:
            it is to be looked after as after a put.
    """

    __slots__ = (
        "_after_set_aside",
        "_control",
        "_doorstep",
        "_lock",
        "_new_lock",
        "_now",
        "_queue",
        "_tally",
        "_wakes",
        "get",
        "held",
        "length",
        "put",
    )

    def __init__(
        self, threads: Threads, tally: Tally, set_aside: Callable[[], object]
    ) -> None:
        queue = threads.queue()
        self.put, self.length = queue.put, queue.qsize
        self._queue, self.get = queue, queue.get
        self._now = threads.monotonic
        self._new_lock = threads.lock
        self._lock = threads.lock()  # over the number of WAKEs
        self._tally = tally
        self._after_set_aside = set_aside
        self._wakes = 0
        self._control: list[object] = []
        self.held: list[Envelope] = []  # taken, then a control item came first
        self._doorstep: list[Gate] = []  # gates of senders that wait for room

    @property
    def depth(self) -> int:
        """How many messages wait."""
        return max(0, self.length() + len(self.held) - self._wakes)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, not even a WAKE."""
        return not (self.length() or self.held)

    # -- taking -----------------------------------------------------------------

    def take(self, timeout: float | None = None) -> object:
        """
        Wait for the next control item or `Envelope`; None after *timeout* seconds.

        Control items come first. One thread at a time.
        """
        if self.held:
            return self._take_slowly(timeout)
        try:
            item = self.get() if timeout is None else self.get(True, max(0.0, timeout))
        except Empty:
            return None
        return self.sort(item, timeout)

    def sort(self, item: object, timeout: float | None = None) -> object:
        """Return what `take` does, where *item* is what was got, with nothing held."""
        if not self._control and item is not WAKE:
            if self._doorstep:
                self.let_one_in()
            # The class of nearly all first: to ask for bases takes longer.
            if type(item) is Asked or isinstance(item, Envelope):
                return item
            return wrap(item, self._tally)
        self._set_aside(item)
        return self._take_slowly(timeout)

    def _take_slowly(self, timeout: float | None) -> object:
        """Take a control item, or what is set aside, or what comes."""
        until = None if timeout is None else self._now() + timeout
        while True:
            if (item := _first_of(self._control)) is not None:
                return item
            if (envelope := _first_of(self.held)) is not None:
                self.let_one_in()
                return envelope
            left = None if until is None else max(0.0, until - self._now())
            try:
                self._set_aside(self.get(True, left))
            except Empty:
                return None

    def _set_aside(self, item: object) -> None:
        """Keep a message until the control lane is empty; forget a WAKE."""
        if item is WAKE:
            with self._lock:
                self._wakes -= 1
        else:
            self.held.append(self._envelope(item))
            self._after_set_aside()

    def _envelope(self, item: object) -> Envelope:
        """Return the envelope of what was in the queue."""
        return item if isinstance(item, Envelope) else wrap(item, self._tally)

    def take_oldest(self) -> Envelope | None:
        """
        Take the oldest message, past the control lane; None if there is none.

        For one who is not the worker and does not wait: whatever it takes must be
        turned away. Each WAKE in its way is made up for.
        """
        if (held := _first_of(self.held)) is not None:
            return held
        if not self.length():  # cheaper than the exception
            return None
        wakes = 0
        try:
            while (item := self._queue.get_nowait()) is WAKE:
                wakes += 1
        except Empty:
            return None
        finally:
            if wakes:
                self._announce_again(wakes)
        return self._envelope(item)

    def _announce_again(self, wakes: int) -> None:
        """Put back of *wakes*, which the worker has not seen, what it needs."""
        with self._lock:
            needed = min(wakes, len(self._control))
            self._wakes += needed - wakes
            for _ in range(needed):
                self.put(WAKE)

    # -- the control lane -------------------------------------------------------

    def put_control(self, item: object) -> None:
        """Put *item*, not None, ahead of all messages."""
        self._control.append(item)
        with self._lock:
            self._wakes += 1
            self.put(WAKE)

    def clear_control(self) -> list[object]:
        """Take all control items at once; for one who is not the worker too."""
        items: list[object] = []
        while (item := _first_of(self._control)) is not None:
            items.append(item)
        return items

    # -- waiting for room -------------------------------------------------------

    def wait_for_room(self, is_full: Callable[[], bool], until: float | None) -> bool:
        """
        Wait until there may be room, or `let_all_in`; false after *until*.

        Queue up, look again, wait for one who takes a message. The second look
        is for what happened before we had queued up.
        """
        gate = self._new_lock()
        gate.acquire()
        try:
            if self.knock(gate, is_full):
                left = -1.0 if until is None else max(0.0, until - self._now())
                return gate.acquire(True, left) or not self._leave(gate)
        except BaseException:  # KeyboardInterrupt: the place is for the next one
            self.turn_back(gate)
            raise
        return True

    def knock(self, gate: Gate, is_full: Callable[[], bool]) -> bool:
        """Queue *gate* up, to be opened; false if there is room, and no need to."""
        self._doorstep.append(gate)
        if is_full():
            return True
        self.turn_back(gate)
        return False

    def turn_back(self, gate: Gate) -> None:
        """Take *gate* out of the queue; if it was opened, open the next one's."""
        if not self._leave(gate):
            self.let_one_in()

    def _leave(self, gate: Gate) -> bool:
        """Stop queueing up; false if somebody has let us in."""
        try:
            self._doorstep.remove(gate)
        except ValueError:
            return False
        return True

    def let_one_in(self) -> None:
        """Wake the sender that has waited longest for room."""
        if (gate := _first_of(self._doorstep)) is not None:
            gate.release()

    def let_all_in(self) -> None:
        """Wake all senders that wait for room, to look again."""
        while self._doorstep:
            self.let_one_in()


def _first_of(items: list[T]) -> T | None:
    """Take the first of *items*, from which others take too; None if none is left."""
    if not items:  # mostly; and cheaper than the exception
        return None
    try:
        return items.pop(0)
    except IndexError:
        return None
