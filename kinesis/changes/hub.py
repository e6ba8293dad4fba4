"""
The hub of a runtime: where its components get their feeds and others listen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kinesis.changes.delivery import Delivery
from kinesis.changes.feeds import Feed, Outbox, Tree
from kinesis.changes.signals import KINDS, SIGNALS, Change
from kinesis.changes.subscriptions import (
    Callback,
    Listener,
    Overflow,
    Seat,
    Subscription,
    Wants,
)
from kinesis.changes.telling import DEADLINE, Teller, log
from kinesis.errors import ComponentStoppedError, describe

if TYPE_CHECKING:
    from kinesis.concurrency import Threads

__all__ = ["QUEUE_BOUND", "Changes"]

QUEUE_BOUND = 100_000  # changes between the components and the delivery thread

L = TypeVar("L", bound=Listener)


class Changes:
    """
    The feeds of a runtime's components, and those who listen to them.

    A path of ``"/"`` is that of everything.

    Args:
        threads: Where threads, locks and queues come from.
        name: The runtime's; the delivery thread is ``kinesis:<name>:changes``.
        bound: How many changes may wait for the delivery thread.

    Attributes:
        errors: How many calls of callbacks and receivers raised.

    Thread safety: any thread may call any method, a callback too.
    """

    def __init__(
        self, threads: Threads, name: str, *, bound: int = QUEUE_BOUND
    ) -> None:
        self.name = name
        self.errors = 0
        self._threads = threads
        self._delivery = Delivery(
            threads,
            f"kinesis:{name}:changes",
            lambda item: self._teller.steps_of(item),
            lambda callback, stack: self._teller.abandoned(callback, stack),
            self._returned,
        )
        self._queue = self._delivery.queue
        self._outbox = Outbox(
            threads,
            self._queue,
            bound,
            lambda feed, kind, count: self._teller.tell_lost(feed, kind, count),
        )
        self._tree = Tree(threads, self._outbox, self._is_ready)
        self._teller = Teller(self._tree, self._failed)
        self._books = threads.lock()  # held for counting
        self._orders = 0
        for signal in SIGNALS:  # weakly: they outlive every hub
            signal.receiver_connected.connect(self._tree.on_signal)

    def __repr__(self) -> str:
        return f"<Changes {self.name} | {len(self._tree.listeners)} listeners>"

    @property
    def depth(self) -> int:
        """How many changes wait for the delivery thread, about."""
        return self._queue.qsize()

    @property
    def lost(self) -> int:
        """How many changes found the queue full."""
        return self._outbox.lost

    # For the runtime

    def feed(self, path: str) -> Feed:
        """Return the feed of the component at *path*; the same until it is gone."""
        return self._tree.feed(path)

    def gone(self, path: str) -> None:
        """
        Say that the component at *path* is no more, and has announced its last.

        Once that is delivered, its subscriptions end and its callbacks are
        closed; those of its container are not. Its feed is silent from now on, and
        the next component at *path* gets another. Never waits.
        """
        node = self._tree.retire(path)
        if node is None:
            return
        if self._delivery.running:
            self._queue.put(partial(self._teller.end, node))
        else:  # nobody has listened yet
            self._tree.prune(node)

    def close(self, timeout: float) -> list[str]:
        """
        Deliver what was announced so far, end every listener and the thread.

        Idempotent. Called by a callback, it does not wait.

        Args:
            timeout: Seconds; what is not delivered by then never is.

        Returns:
            The names of the threads that still run a callback, which hangs.
        """
        self._tree.close()
        if self._delivery.running:  # behind all that was announced
            self._queue.put(self._end_all)
        hung = self._delivery.close(timeout)
        if not self._delivery.is_current():
            self._end_all()
        return hung

    def _end_all(self) -> tuple[()]:
        """End every listener; no steps."""
        for listener in self._tree.clear():
            listener.end()
        return ()

    # For listeners

    def callback(
        self,
        path: str,
        function: Callable[[Any], object],
        first: bool = False,
        deadline: float = DEADLINE,
        below: bool = True,
        kinds: Collection[type[Change]] = KINDS,
    ) -> Callback:
        """
        Have *function* called with each change of the component at *path*.

        Callbacks are called one after another, each change by all of them before
        the next change, on the delivery thread. So while one takes its time, the
        others wait. It may call whatever it likes, close itself too.

        Args:
            function: Called with a change or a `Gap`. Held until it is closed.
            first: Call it before those that are there, not after.
            deadline: Seconds for one call; then it is left behind, as the package
                says.
            below: Take the changes of the components below *path* too.
            kinds: Take these kinds alone. What nobody takes costs nothing.

        Raises:
            ComponentStoppedError: The hub is closed.
            RuntimeError: The system refuses the delivery thread.
        """
        self._delivery_for(path, watched=True)
        order = self._next_order()
        callback = Callback(
            path=path,
            below=below,
            wants=_wants(kinds),
            order=-order if first else order,
            leave=self._leave,
            function=function,
            deadline=deadline,
            failed=self._failed,
        )
        return self._join(callback)

    def subscribe(
        self,
        path: str,
        max: int = 1000,
        overflow: Overflow = "drop-oldest",
        below: bool = True,
        kinds: Collection[type[Change]] = KINDS,
    ) -> Subscription:
        """
        Return a subscription to the changes of the component at *path*.

        Args:
            max: How many unread changes it holds.
            overflow: What becomes of those beyond; see `Subscription`.
            below: Take the changes of the components below *path* too.
            kinds: Take these kinds alone. What nobody takes costs nothing.

        Raises:
            ValueError: *max* or *overflow* is none that there is.
            ComponentStoppedError: The hub is closed.
            RuntimeError: The system refuses the delivery thread.
        """
        subscription = Subscription(self._threads, path, max, overflow)
        self._delivery_for(path, watched=False)
        seat = Seat(
            path=path,
            below=below,
            wants=_wants(kinds),
            order=self._next_order(),
            leave=self._leave,
            subscription=subscription,
        )
        subscription.seat = self._join(seat)
        return subscription

    def _delivery_for(self, path: str, *, watched: bool) -> None:
        """See that there is a delivery thread, for a listener to *path*."""
        if not self._delivery.run(watched=watched):
            raise self._too_late(path)

    def _next_order(self) -> int:
        """Return a number higher than all before."""
        with self._books:
            self._orders += 1
            return self._orders

    def _join(self, listener: L) -> L:
        """Have *listener* told of what is announced from now on."""
        node = self._tree.join(listener)
        if node is None:
            raise self._too_late(listener.path)
        self._queue.put(partial(self._teller.enter, node, listener))
        return listener

    def _too_late(self, path: str) -> ComponentStoppedError:
        """Return what a listener gets that comes after the end."""
        return ComponentStoppedError(
            f"cannot listen to '{path}': the runtime '{self.name}' has stopped. "
            f"Listen before it does.",
            path=path,
        )

    def _leave(self, listener: Listener) -> None:
        """Have *listener* taken out soon; takes no lock (see `Listener.close`)."""
        self._queue.put(partial(self._teller.leave, listener))

    # For the delivery

    def _is_ready(self) -> bool:
        """Return whether somebody calls receivers of signals; start it if need be."""
        try:
            return self._delivery.run(watched=True)
        except RuntimeError as error:
            log.error(
                "receivers of changes are not called: %s. They will be, once "
                "another one connects and a thread can be started.",
                describe(error),
                extra={"path": f"/{self.name}"},
            )
            return False

    def _returned(self, callback: object) -> None:
        """A call that was left behind has ended; on its own thread."""
        self._queue.put(partial(self._teller.take_back, callback))

    def _failed(self, callback: Callback, error: BaseException) -> None:
        """
        Count what a callback raised, and log it.

        Its 1st, 2nd, 4th, 8th, ... error is logged: one that raises each time
        must not spend the delivery thread's time on logging.
        """
        with self._books:
            self.errors += 1
        if callback.errors & (callback.errors - 1) == 0:
            log.error(
                "callback %s for changes of '%s' raised its error %d, and stays "
                "connected (error %d is logged next): %s",
                callback.name,
                callback.path,
                callback.errors,
                2 * callback.errors,
                describe(error),
                exc_info=error,
                extra={"path": callback.path},
            )


def _wants(kinds: Collection[type[Change]]) -> Wants:
    """Return, for each kind, whether it is among *kinds*."""
    stage, state, component = (kind in kinds for kind in KINDS)
    return stage, state, component
