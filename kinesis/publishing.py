"""
How a component's state is looked at while its handlers change it.

Nothing is computed per message unless somebody looks. Each handled message,
`edit` and hook counts up `touched`, one number that only the holder of the turn
writes. A reader returns what was published last if that is as new; else it takes
the turn and encodes; else, while a handler runs, it gets the state from before
it: as long as readers come, that is published before each handler. Only the very
first reader may have to wait for a running handler.

With a listener there is one encoding after each message, compared as bytes: that
is cheaper than to track what was assigned, and misses nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kinesis.errors import describe
from kinesis.services import report
from kinesis.snapshots import Snapshot, codec_of

if TYPE_CHECKING:
    from kinesis.cells import Cell
    from kinesis.changes import Feed

READERS_STAY = 1_000  # messages without a reader after which none is expected


class Publishing:
    """
    The state of one component, as others see it.

    Methods that say so are called by who has the component's turn.
    """

    __slots__ = ("_codec", "_expected", "_published", "cell", "feed", "touched")

    def __init__(self, cell: Cell, feed: Feed) -> None:
        self.cell = cell
        self.feed = feed
        self.touched = 0
        self._codec = codec_of(type(cell.component))
        self._published: tuple[int, Snapshot] | None = None
        self._expected = 0  # messages for which readers are still expected

    def before(self) -> None:
        """A handler or hook begins: keep what it may change, if somebody looks."""
        if self._expected > 0:
            self._expected -= 1
        elif not self.feed.watched:
            return
        published = self._published
        if published is None or published[0] != self.touched:
            self._try_publish()

    def after(self) -> None:
        """It has ended: announce what it changed, if somebody listens."""
        known, before = self._published, self.touched
        self.touched += 1
        if not self.feed.watched:
            return
        current = self._try_publish()
        if current is None or known is None or known[0] != before:
            return  # the listener came in the middle: what was before is not known
        previous = known[1]
        if current.content != previous.content:
            self.feed.component_changed(previous, current)

    def _try_publish(self) -> Snapshot | None:
        """Publish the state; with the turn. None if it cannot be encoded."""
        try:
            return self.publish()
        except Exception as error:  # a value of the component's own making
            text = f"its state cannot be announced: {describe(error)}"
            report(logging.ERROR, self.cell.path, text)
            return None

    def publish(self) -> Snapshot:
        """
        Encode the state and publish it; with the turn.

        Raises:
            InvalidStateError: A value cannot be encoded.
        """
        snapshot = self.present()
        self._published = (self.touched, snapshot)
        return snapshot

    def present(self) -> Snapshot:
        """
        Return the state as it is in the middle of a handler; with the turn.

        It is not published: others get the state from before, and `after` compares
        with that.

        Raises:
            InvalidStateError: A value cannot be encoded.
        """
        known = self._published
        content = self._codec.encode(self.cell.component)
        if known is not None and known[1].content == content:
            return self._at_stage(known[1])
        return Snapshot(self._codec, self.cell.path, self.cell.stage, content)

    def look(self) -> Snapshot | None:
        """Return what was published if it is as new as can be; without the turn."""
        self._expected = READERS_STAY
        published = self._published
        if published is not None and published[0] == self.touched:
            return self._at_stage(published[1])
        return None

    def _at_stage(self, snapshot: Snapshot) -> Snapshot:
        """Return *snapshot* with the stage of now."""
        stage = self.cell.stage
        if snapshot.stage is stage:
            return snapshot
        return snapshot.moved_to(stage)
