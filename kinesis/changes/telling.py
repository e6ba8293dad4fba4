"""
What happens on the delivery thread: who is told of a change, and in which order.

The delivery thread alone knows which listeners there are. It learns of those that
come and go through the queue, in order with the changes: so a listener gets what
was announced after it came, exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from kinesis.changes.signals import KINDS, SIGNALS, Change, Gap, identity
from kinesis.changes.subscriptions import Callback, Listener, Seat, weight

if TYPE_CHECKING:
    from kinesis.changes.delivery import Step
    from kinesis.changes.feeds import Feed, Node, Tree
    from kinesis.changes.subscriptions import Failed

__all__ = ["DEADLINE", "STRIKES", "Teller", "log"]

log = logging.getLogger("kinesis")

DEADLINE = 4.0  # seconds that a callback has for one change
STRIKES = 3  # calls of one callback that may outlive it


class Teller:
    """
    The delivery thread's books, and the steps it takes.

    Its methods are called by one thread at a time, in the order of the queue.

    Args:
        tree: The listeners to take out, when they end.
        failed: Told of each call that raised.
    """

    def __init__(self, tree: Tree, failed: Failed) -> None:
        self._tree = tree
        self._failed = failed
        self._version = 0  # goes up whenever a listener comes or goes
        self._late: dict[tuple[int, Hashable], _Receiver] = {}

    def steps_of(self, item: Any) -> Iterator[Step]:
        """Return the steps for one *item* of the queue: a change, or an errand."""
        if type(item) is not tuple:
            steps: Iterator[Step] = item()
            return steps
        feed, kind, previous, current, sequence, time = item
        change = KINDS[kind](feed.path, previous, current, sequence, time)
        return self._tell(feed, kind, change)

    def tell_lost(self, feed: Feed, kind: int, count: int) -> Iterator[Step]:
        """Tell of *count* changes of *feed* that found the queue full."""
        return self._tell(feed, kind, Gap(feed.path, count))

    def _tell(self, feed: Feed, kind: int, item: Change | Gap) -> Iterator[Step]:
        """Tell those who listen to *feed* of *item*: callbacks, signal, the rest."""
        callbacks, seats = self._route(feed)
        told = False
        for callback in callbacks:
            if callback.wants[kind] and not callback.closed:
                told = True
                yield from self._call(callback, item)
        if SIGNALS[kind].receivers:
            for receiver in SIGNALS[kind].receivers_for(feed.path):
                told = True
                yield from self._send(kind, feed.path, receiver, item)
        for seat in seats:
            if seat.wants[kind] and not seat.closed:
                told = True
                _put(seat, item)
        if not told:
            # Weak receivers die without a word: this is how a feed gets to know.
            self._tree.look_again(feed)

    def _route(self, feed: Feed) -> tuple[list[Callback], list[Seat]]:
        """Return who listens to *feed*, in order; kept until somebody comes or goes."""
        version, callbacks, seats = feed.route
        if version != self._version:
            found = list(feed.node.listeners)
            for up in feed.node.ancestors():
                found += [each for each in up.listeners if each.below]
            found.sort(key=lambda listener: listener.order)
            callbacks = [each for each in found if isinstance(each, Callback)]
            seats = [each for each in found if isinstance(each, Seat)]
            feed.route = (self._version, callbacks, seats)
        return callbacks, seats

    def _call(self, callback: Callback, item: Change | Gap) -> Iterator[Step]:
        """Call *callback*, or count what passes it by."""
        if callback.hung:
            callback.missed += weight(item)
        else:
            yield callback, partial(callback.function, item)

    def _send(
        self,
        kind: int,
        path: str,
        receiver: Callable[..., object],
        item: Change | Gap,
    ) -> Iterator[Step]:
        """Call a receiver of a signal, as its `send` would, or count as above."""
        if SIGNALS[kind].is_muted:
            return
        key = (kind, identity(receiver))
        record = self._late.get(key) or _Receiver(key, path, receiver, self._failed)
        if record.hung:
            record.pass_by(path, item)
            return
        yield record, partial(receiver, path, change=item)
        record.hold(receiver)

    # Coming and going

    def enter(self, node: Node, listener: Listener) -> Iterator[Step]:
        """Let *listener* have what comes behind this on the queue."""
        self._version += 1
        node.listeners.append(listener)
        if len(node.listeners) > node.limit:
            dead = [each for each in node.listeners if _is_dead(each)]
            node.limit = 2 * (len(node.listeners) - len(dead)) + 8
            self._strike(dead)
        return iter(())

    def leave(self, listener: Listener) -> Iterator[Step]:
        """Tell *listener* nothing more."""
        self._strike([listener])
        return iter(())

    def end(self, node: Node) -> Iterator[Step]:
        """End those who listened to the component at *node*: it is gone."""
        listeners = list(node.listeners)
        self._strike(listeners)
        for listener in listeners:
            listener.end()
        self._tree.prune(node)
        return iter(())

    def _strike(self, listeners: Collection[Listener]) -> None:
        """Take *listeners* out; those that are out already stay out."""
        for listener in listeners:
            node = self._tree.strike(listener)
            if node is not None and listener in node.listeners:
                node.listeners.remove(listener)
                self._version += 1
            if isinstance(listener, Callback):  # the routes hold it for a while yet
                listener.function = _nothing

    # Calls that hang

    def abandoned(self, callback: Any, stack: Callable[[], str]) -> Iterator[Step]:
        """Keep a callback whose call hangs from being called; report it."""
        if isinstance(callback, _Reporter):
            return  # a log handler hangs: nowhere to say so
        callback.hung = True
        callback.strikes += 1
        if isinstance(callback, _Receiver):
            self._late[callback.key] = callback
            for key, each in list(self._late.items()):
                if not each.hung and not each.is_on():
                    del self._late[key]
        yield _Reporter(), partial(_report_hung, callback, stack())

    def take_back(self, callback: Any) -> Iterator[Step]:
        """Call *callback* again from now on, unless that was its last chance."""
        if isinstance(callback, _Reporter):
            return
        callback.hung = False
        missed, callback.missed = callback.missed, 0
        if callback.strikes >= STRIKES:
            callback.close()
        if isinstance(callback, _Receiver):
            if callback.closed:
                self._late.pop(callback.key, None)
            receiver, callback.receiver = callback.receiver, None
            if missed and receiver is not None and callback.is_on():
                path, gap = callback.path, Gap(callback.path, missed)
                yield from self._send(callback.key[0], path, receiver, gap)
        elif missed and not callback.closed:
            yield from self._call(callback, Gap(callback.path, missed))


class _Receiver(Callback):
    """
    The books of a receiver of a signal.

    Kept from its first late call on; made for the one call before that.
    """

    def __init__(
        self,
        key: tuple[int, Hashable],
        path: str,
        receiver: Callable[..., object],
        failed: Failed,
    ) -> None:
        super().__init__(
            path, False, (True,) * 3, 0, _disconnect, receiver, DEADLINE, failed
        )
        self.function = _nothing  # not held: it may be connected weakly
        self.key = key
        self.receiver: Callable[..., object] | None = None  # while a call hangs

    def hold(self, receiver: Callable[..., object]) -> None:
        """Keep *receiver* if its call hangs, only then: it may be weakly connected."""
        if self.hung:
            self.receiver = receiver

    def pass_by(self, path: str, item: Change | Gap) -> None:
        """Count what it is not called with; of several paths, as of everything."""
        self.path = path if not self.missed or path == self.path else "/"
        self.missed += weight(item)

    def is_on(self) -> bool:
        """Return whether it is connected still."""
        found = SIGNALS[self.key[0]].receivers_for(self.path)
        return any(identity(each) == self.key[1] for each in found)


def _disconnect(listener: Listener) -> None:
    """Take a receiver off its signal; it has been late too often."""
    if isinstance(listener, _Receiver) and listener.receiver is not None:
        SIGNALS[listener.key[0]].disconnect(listener.receiver)


def _nothing(item: object) -> None:
    """Do nothing: the steps of a receiver carry what to call."""


class _Reporter:
    """Whose step it is to write a report to the log, which may hang as well."""

    deadline = DEADLINE

    def failed(self, error: BaseException) -> None:
        """Leave it: a log handler that raises has been told already."""


def _report_hung(callback: Callback, stack: str) -> None:
    """Log that a call of *callback* was left behind."""
    last = callback.strikes >= STRIKES
    then = (
        f"It will be closed: that was the {STRIKES}rd time."
        if last
        else "It misses what comes until the call returns."
    )
    log.error(
        "callback %s for changes of '%s' has not returned within %g s; the others "
        "go on without it. %s It is here:\n%s",
        callback.name,
        callback.path,
        callback.deadline,
        then,
        stack,
        extra={"path": callback.path},
    )


def _put(seat: Seat, item: Change | Gap) -> None:
    """Put *item* into the subscription of *seat*; leave, if nobody holds that."""
    if (subscription := seat.subscription()) is None:
        seat.close()
    else:
        subscription.put(item)


def _is_dead(listener: Listener) -> bool:
    """Return whether *listener* is a subscription that nobody holds."""
    return isinstance(listener, Seat) and listener.subscription() is None
