"""
Who waits for whom: the graph that refuses a wait which would wait for itself.

A node is anything hashable: the path of a component, or an object of one's own
for something that is not a whole component (the thread of a blocking ``start``,
say). An edge leads from one who waits to what it waits for. That may be a
*token*, an object with the attribute ``holder``: then the edge leads to whoever
holds it at the moment the graph is walked, or nowhere while nobody does.

A component has up to two threads and each may wait, so a node may have several
edges, and the same edge may be there twice.

All edges are under one lock. A check without it would be wrong in a way no test
finds: two threads would each store an edge, each look before the other's is to
be seen, and both wait for ever.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager

from kinesis.concurrency import Lock, Threads
from kinesis.errors import WouldDeadlockError

__all__ = ["Edges", "WaitGraph"]


class Edges:
    """
    The books: edges, and the question whether one node leads to another.

    Pure and without a lock; `WaitGraph.locked` lends it to one thread at a time.
    """

    __slots__ = ("_targets",)

    def __init__(self) -> None:
        self._targets: dict[Hashable, list[Hashable]] = {}

    def add(self, waiter: Hashable, target: Hashable) -> None:
        """
        Note that *waiter* waits for *target*.

        Raises:
            WouldDeadlockError: *target* waits for *waiter* already, directly or
                through others; nothing is noted. Its *chain* begins and ends
                with *waiter*.
        """
        chain = self.reaches(target, waiter)
        if chain is not None:
            raise _would_deadlock(waiter, chain)
        self._targets.setdefault(waiter, []).append(target)

    def remove(self, waiter: Hashable, target: Hashable) -> None:
        """
        Take one edge from *waiter* to *target* away.

        Raises:
            KeyError: There is none: it was never added, or removed twice.
        """
        targets = self._targets[waiter]
        if target not in targets:
            raise KeyError(target)
        targets.remove(target)
        if not targets:
            del self._targets[waiter]

    def reaches(self, start: Hashable, goal: Hashable) -> tuple[Hashable, ...] | None:
        """
        Return the shortest chain of waits from *start* to *goal*, both included.

        None if there is none. A node reaches itself. Tokens are not in the
        chain, their holders are.
        """
        first = _holder(start)
        came_from: dict[Hashable, Hashable] = {first: None}
        to_visit = deque([first])
        while to_visit:
            node = to_visit.popleft()
            if node is None:  # a token that nobody holds
                continue
            if node == goal:
                return _chain(came_from, node)
            for target in self._targets.get(node, ()):
                following = _holder(target)
                if following not in came_from:
                    came_from[following] = node
                    to_visit.append(following)
        return None

    def __len__(self) -> int:
        """Return how many edges there are."""
        return sum(len(targets) for targets in self._targets.values())


class WaitGraph:
    """
    The wait-for graph of one runtime: `Edges` and their lock.

    Thread safety: any thread may call any method. The lock is held for as long
    as the graph is walked, never while anybody waits.
    """

    __slots__ = ("_edges", "_lent", "_lock")

    def __init__(self, threads: Threads) -> None:
        self._lock = threads.lock()
        self._edges = Edges()
        self._lent = _Lent(self._lock, self._edges)

    def add(self, waiter: Hashable, target: Hashable) -> None:
        """Note a wait; see `Edges.add`. Pair it with `remove`, or use `edge`."""
        with self._lock:
            self._edges.add(waiter, target)

    def remove(self, waiter: Hashable, target: Hashable) -> None:
        """Take a wait away when it has ended; see `Edges.remove`."""
        with self._lock:
            self._edges.remove(waiter, target)

    @contextlib.contextmanager
    def edge(self, waiter: Hashable, target: Hashable) -> Iterator[None]:
        """
        Note, for the block, that *waiter* waits for *target*.

        Raises:
            WouldDeadlockError: See `Edges.add`; the block does not run.
        """
        self.add(waiter, target)
        try:
            yield
        finally:
            self.remove(waiter, target)

    def reaches(self, start: Hashable, goal: Hashable) -> tuple[Hashable, ...] | None:
        """Return the chain from *start* to *goal* now; see `Edges.reaches`."""
        with self._lock:
            return self._edges.reaches(start, goal)

    def locked(self) -> AbstractContextManager[Edges]:
        """
        Hold the lock for the block and lend the `Edges`: look, then add, as one.

        Whoever gives a token to another holder does that in here too. Only the
        lent `Edges` may be used inside: the graph's own methods would wait for
        the lock that this thread holds.
        """
        return self._lent

    def __len__(self) -> int:
        """Return how many waits are noted now."""
        with self._lock:
            return len(self._edges)


class _Lent:
    """The edges of one graph, while its lock is held: one for all who borrow them."""

    __slots__ = ("_edges", "_lock")

    def __init__(self, lock: Lock, edges: Edges) -> None:
        self._lock = lock
        self._edges = edges

    def __enter__(self) -> Edges:
        self._lock.acquire()
        return self._edges

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _holder(target: Hashable) -> Hashable:
    """Return who holds *target* if it is a token, else *target* itself."""
    if type(target) is str:  # nearly all are paths
        return target
    holder: Hashable = getattr(target, "holder", target)
    return holder


def _chain(came_from: dict[Hashable, Hashable], node: Hashable) -> tuple[Hashable, ...]:
    """Walk back from *node* to where the search began."""
    chain = [node]
    while (previous := came_from[node]) is not None:
        chain.append(previous)
        node = previous
    return tuple(reversed(chain))


def _would_deadlock(
    waiter: Hashable, chain: tuple[Hashable, ...]
) -> WouldDeadlockError:
    """Say who would wait for whom, as paths."""
    paths = tuple(_name(node) for node in (waiter, *chain))
    if len(paths) == 2:
        what = f"'{paths[0]}' would wait for itself"
    else:
        what = f"'{paths[0]}' would wait for itself: {' -> '.join(paths)}"
    return WouldDeadlockError(
        f"{what}. Use post(), which does not wait, or let the last one answer first.",
        chain=paths,
    )


def _name(node: Hashable) -> str:
    """Return the path of *node*, or what it says of itself."""
    return node if isinstance(node, str) else str(getattr(node, "path", node))
