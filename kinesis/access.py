"""
Who may change a component's state, and who sees it.

The *turn* makes it one at a time: handlers and hooks have it while they run, and so
has whoever edits the state from a blocking `start`, or is the first to look at it
from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinesis.component import Component
from kinesis.errors import WaitTimeoutError
from kinesis.life import at_most
from kinesis.publishing import Publishing
from kinesis.snapshots import Snapshot
from kinesis.turns import Turn

if TYPE_CHECKING:
    from kinesis.cells import Cell


class Access:
    """
    The turn of one component, and what needs it.

    Thread safety: any thread may call any method.
    """

    def __init__(self, cell: Cell) -> None:
        threads = cell.services.threads
        self.cell = cell
        self.component: Component = cell.component
        self.turn = Turn(threads)
        self.publishing = Publishing(cell, cell.services.changes.feed(cell.path))
        self.visitor: Callable[..., object] | None = None  # a route, while it runs
        self._now = threads.monotonic

    def handler_name(self) -> str:
        """Name the handler that runs now, for people."""
        raise NotImplementedError

    @contextmanager
    def edit(self, timeout: float | None = None) -> Iterator[None]:
        """
        Change the state in the block; one change is announced at its end.

        Free for who has the turn already.

        Raises:
            WaitTimeoutError: The turn was not to be had within *timeout* seconds.
        """
        if self.turn.is_mine:
            yield
            return
        self._take_turn(timeout, "edit")
        began = self._now()
        self.publishing.before(began)
        try:
            yield
        finally:
            self.publishing.after(began)
            self.turn.give_back()

    def touch(self) -> None:
        """
        The state may have changed outside of a turn: look at it anew.

        Never waits: whoever has the turn looks at the state when giving it back.
        """
        if self.turn.is_mine or not self.turn.take_now():
            return
        began = self._now()
        self.publishing.before(began)
        self.publishing.after(began)
        self.turn.give_back()

    def snapshot(self, timeout: float | None) -> Snapshot:
        """
        Return the state; see `Publishing`. Who has the turn sees what it does itself.

        Raises:
            InvalidStateError: A value of the state cannot be encoded.
            WaitTimeoutError: This is the first look, and a handler runs longer.
            WouldDeadlockError: It is, and the handler waits for the caller.
        """
        if self.turn.is_mine:
            return self.publishing.present()
        snapshot = self.publishing.look(self._now())
        if snapshot is not None:
            return snapshot
        if self.turn.take_now():
            return self._publish()
        inside = self.cell.services.inside()
        if inside is None or inside.path == self.cell.path:
            return self._first_look(timeout)
        with self.cell.services.waits.edge(inside.node, self.cell.path):
            return self._first_look(at_most(inside, timeout))

    def _first_look(self, timeout: float | None) -> Snapshot:
        """Wait for the turn, then look."""
        self._take_turn(timeout, "look at")
        return self._publish()

    def _publish(self) -> Snapshot:
        """Publish the state, unless somebody just has; then give the turn back."""
        try:
            return self.publishing.look(self._now()) or self.publishing.publish()
        finally:
            self.turn.give_back()

    def _take_turn(self, timeout: float | None, what: str) -> None:
        """Take the turn, or raise `WaitTimeoutError`."""
        if self.turn.take(timeout):
            return
        raise WaitTimeoutError(
            f"cannot {what} '{self.cell.path}' within {timeout:g} s: "
            f"{self.handler_name()} still runs. Wait longer, or make it shorter.",
            path=self.cell.path,
            stage=self.cell.stage,
        )
