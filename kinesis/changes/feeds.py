"""
The tree of paths: where components announce, and who is listened to.

A listener may take what is below its path too. So who wants the changes of a feed
is worked out when listeners come and go, by a walk over the tree below them, and
kept in plain attributes of the feed; announcing only looks at those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import blinker

from kinesis.changes.signals import COMPONENT, SIGNALS, STAGE, STATE

if TYPE_CHECKING:
    from kinesis.changes.delivery import Step
    from kinesis.changes.subscriptions import Callback, Listener, Seat, Wants
    from kinesis.concurrency import Queue, Threads

__all__ = ["Feed", "Node", "Outbox", "Tree"]

Counts = tuple[int, int, int]  # by kind

NONE: Counts = (0, 0, 0)

TellLost = Callable[["Feed", int, int], "Iterator[Step]"]


class Outbox:
    """
    What the feeds of a hub share: the way to the delivery thread.

    Args:
        queue: Of tuples, the makings of a change, and of errands to be called.
        bound: How many of them may wait; passed by as many as put at once.
        tell_lost: The errand of telling what found the queue full.
    """

    def __init__(
        self, threads: Threads, queue: Queue[object], bound: int, tell_lost: TellLost
    ) -> None:
        self.queue = queue
        self.bound = bound
        self.time = threads.time
        self.tell_lost = tell_lost
        self.lost = 0  # changes, in all
        self.books = threads.lock()  # held for counting what is lost


class _Lost:
    """How many changes of one kind a feed has lost in one place on the queue."""

    __slots__ = ("count", "told")

    def __init__(self) -> None:
        self.count = 0
        self.told = False


class Feed:
    """
    Where one component announces its changes.

    Each method is called by one thread at a time: stages and states by the state
    machine, content by whoever has the component's turn. They may overlap.

    Attributes:
        path: Of the component.
        watched: Whether somebody wants its component changes. While not, there is
            no need to take a snapshot, let alone to compare it.
        listening: Whether somebody wants its stage or state changes.
    """

    __slots__ = (
        "_lost",
        "_outbox",
        "_sequences",
        "listening",
        "node",
        "path",
        "route",
        "watched",
    )

    def __init__(self, node: Node, outbox: Outbox) -> None:
        self.path = node.path
        self.watched = False
        self.listening = False
        self.node = node
        # Kept by the delivery thread: who listens, as of which version.
        self.route = _NO_ROUTE
        self._outbox = outbox
        self._sequences = [0, 0, 0]  # by kind
        self._lost: dict[int, _Lost] = {}  # by kind, since the queue was full

    def __repr__(self) -> str:
        return f"<Feed {self.path}{' watched' if self.watched else ''}>"

    def stage_changed(self, previous: object, current: object) -> None:
        """Announce that the component went from stage *previous* to *current*."""
        self._sequences[STAGE] += 1
        if self.listening:
            self._announce(STAGE, previous, current)

    def state_changed(self, previous: object, current: object) -> None:
        """Announce that the component became *current*."""
        self._sequences[STATE] += 1
        if self.listening:
            self._announce(STATE, previous, current)

    def component_changed(self, previous: object, current: object) -> None:
        """Announce that the content became *current*; both are immutable."""
        if self.watched:
            self._sequences[COMPONENT] += 1
            self._announce(COMPONENT, previous, current)

    def _announce(self, kind: int, previous: object, current: object) -> None:
        """Put the makings of a change on the queue; the other end makes it."""
        outbox = self._outbox
        sequence = self._sequences[kind]
        if outbox.queue.qsize() >= outbox.bound:
            self._lose(kind)
            return
        if self._lost:  # what is lost from now on has another place
            self._lost.pop(kind, None)
        outbox.queue.put((self, kind, previous, current, sequence, outbox.time()))

    def _lose(self, kind: int) -> None:
        """Count a change for which there is no room, in its place on the queue."""
        outbox = self._outbox
        with outbox.books:
            outbox.lost += 1
            lost = self._lost.get(kind)
            if lost is None or lost.told:
                lost = self._lost[kind] = _Lost()
                outbox.queue.put(partial(self._tell_lost, kind, lost))
            lost.count += 1

    def _tell_lost(self, kind: int, lost: _Lost) -> Iterator[Step]:
        """Close the count, and tell of it; on the delivery thread."""
        with self._outbox.books:
            lost.told = True
        return self._outbox.tell_lost(self, kind, lost.count)

    def silence(self) -> None:
        """Announce nothing from now on."""
        self.watched = self.listening = False


_NO_ROUTE: tuple[int, list[Callback], list[Seat]] = (-1, [], [])  # never current


class Node:
    """A path in the tree: the feed there, if any, and who listens."""

    __slots__ = (
        "children",
        "deep",
        "feed",
        "limit",
        "listeners",
        "parent",
        "path",
        "shallow",
    )

    def __init__(self, path: str, parent: Node | None) -> None:
        self.path = path
        self.parent = parent
        self.children: dict[str, Node] = {}
        self.feed: Feed | None = None
        # How many listeners want each kind: from here alone, or from below too.
        self.shallow = self.deep = NONE
        # These two are the delivery thread's own.
        self.listeners: list[Listener] = []
        self.limit = 8  # listeners at which to look for dead ones

    def is_bare(self) -> bool:
        """Return whether nothing needs this node."""
        wanted = any(self.shallow) or any(self.deep)
        return self.feed is None and not self.children and not wanted

    def count(self, listener: Listener, difference: int) -> None:
        """Write *listener* down, or strike it out."""
        if listener.below:
            self.deep = _sum(self.deep, listener.wants, difference)
        else:
            self.shallow = _sum(self.shallow, listener.wants, difference)

    def ancestors(self) -> Iterator[Node]:
        """Yield the nodes above, the nearest first."""
        up = self.parent
        while up is not None:
            yield up
            up = up.parent


class Tree:
    """
    The nodes of one hub. ``"/"`` is the path of everything.

    Args:
        ready: Asked, before a feed is announced by a signal, whether there is
            somebody to call the receivers; called with a lock held.

    Thread safety: any thread may call any method.
    """

    def __init__(
        self, threads: Threads, outbox: Outbox, ready: Callable[[], bool]
    ) -> None:
        self.listeners: dict[Listener, None] = {}  # in the order they came
        self.closed = False
        self._root = Node("/", None)
        self._outbox = outbox
        self._ready = ready
        self._books = threads.lock()  # held around everything here

    def feed(self, path: str) -> Feed:
        """Return the feed at *path*, made if there is none."""
        with self._books:
            node = self._make(path)
            if node.feed is None:
                node.feed = Feed(node, self._outbox)
                if self.listeners or any(signal.receivers for signal in SIGNALS):
                    self._refresh(node)
            return node.feed

    def retire(self, path: str) -> Node | None:
        """Silence the feed at *path*; return its node, if there is one."""
        with self._books:
            node = self._find(path)
            if node is not None and node.feed is not None:
                node.feed.silence()
                node.feed = None
            return node

    def prune(self, node: Node) -> None:
        """Forget *node* and those above that nothing needs any more."""
        with self._books:
            self._prune(node)

    def join(self, listener: Listener) -> Node | None:
        """Enter *listener*; return its node, or None if this is closed."""
        with self._books:
            if self.closed:
                return None
            node = self._make(listener.path)
            node.count(listener, +1)
            self.listeners[listener] = None
            self._refresh(node)
            return node

    def strike(self, listener: Listener) -> Node | None:
        """Take *listener* out; return its node, or None if it is out already."""
        with self._books:
            if listener not in self.listeners:
                return None
            del self.listeners[listener]
            node = self._make(listener.path)
            node.count(listener, -1)
            self._refresh(node)
            self._prune(node)
            return node

    def look_again(self, feed: Feed) -> None:
        """Work out anew who listens to *feed*, and to those below it."""
        with self._books:
            if feed.node.feed is feed:
                self._refresh(feed.node)

    def on_signal(self, signal: object, *, sender: object, **_: object) -> None:
        """
        Somebody connected a receiver for *sender* to a signal.

        That one left is found out by the next change that nobody takes.
        """
        with self._books:
            if sender is blinker.ANY:
                self._refresh(self._root)
            elif isinstance(sender, str) and (node := self._find(sender)):
                self._refresh(node)

    def close(self) -> None:
        """Silence every feed, and let nobody join any more."""
        with self._books:
            self.closed = True
            for node, _ in _walk(self._root, [False] * 3):
                if node.feed is not None:
                    node.feed.silence()

    def clear(self) -> list[Listener]:
        """Take all listeners out and return them; the tree is closed."""
        with self._books:
            listeners, self.listeners = list(self.listeners), {}
            return listeners

    # The lock is held below.

    def _make(self, path: str) -> Node:
        """Return the node at *path*, made if need be."""
        node = self._root
        for part in _parts(path):
            child = node.children.get(part)
            if child is None:
                child = Node(f"{node.path.rstrip('/')}/{part}", node)
                node.children[part] = child
            node = child
        return node

    def _find(self, path: str) -> Node | None:
        """Return the node at *path* if there is one."""
        node = self._root
        for part in _parts(path):
            child = node.children.get(part)
            if child is None:
                return None
            node = child
        return node

    def _prune(self, node: Node) -> None:
        """Take *node* out if it is bare, and so on upwards."""
        while node.parent is not None and node.is_bare():
            name = node.path.rpartition("/")[2]
            if node.parent.children.get(name) is node:
                del node.parent.children[name]
            node = node.parent

    def _refresh(self, top: Node) -> None:
        """Work out anew which feeds, of *top* and those below, are listened to."""
        if self.closed:
            return
        heard = [False, False, False]
        for up in top.ancestors():
            heard = _either(heard, up.deep)
        for node, deep in _walk(top, heard):
            if node.feed is not None:
                by_signal = [signal.is_wanted(node.path) for signal in SIGNALS]
                wanted = _either(deep, node.shallow)
                if any(by_signal) and self._ready():
                    wanted = _either(wanted, by_signal)
                node.feed.listening = wanted[STAGE] or wanted[STATE]
                node.feed.watched = wanted[COMPONENT]


def _walk(top: Node, wanted: list[bool]) -> Iterator[tuple[Node, list[bool]]]:
    """Yield *top* and all below, each with what is *wanted* of it from above."""
    nodes = [(top, wanted)]
    while nodes:
        node, wanted = nodes.pop()
        wanted = _either(wanted, node.deep)
        nodes.extend((child, wanted) for child in node.children.values())
        yield node, wanted


def _sum(counts: Counts, wants: Wants, difference: int) -> Counts:
    """Return *counts* with *difference* more of each kind that is wanted."""
    stage, state, component = (
        count + difference * wanted for count, wanted in zip(counts, wants, strict=True)
    )
    return stage, state, component


def _either(wanted: list[bool], more: Counts | list[bool]) -> list[bool]:
    """Return, by kind, whether one or the other wants it."""
    return [a or b > 0 for a, b in zip(wanted, more, strict=True)]


def _parts(path: str) -> list[str]:
    """Return the names that *path* is made of, from the root."""
    return [part for part in path.split("/") if part]
