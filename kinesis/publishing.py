"""
How a component's state is looked at while its handlers change it.

Nothing is computed per message unless somebody looks. What is *published* is the
state of now, or None where that is not known: one reference, which only the
holder of the turn writes, and which readers take without a lock. While nobody
reads or listens, the end of a handler sets it to None.

For a minute after each look, readers are expected: the state is published before
a handler, if need be, and at its end in one step again. So while a handler runs,
readers get the state from before it, and there is no moment at which they would
have to wait for the next one. Only a first look may have to.

With a listener that is one encoding after each message, compared as bytes: that
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

READERS_STAY = 60.0  # seconds after a look for which the next one is expected


class Publishing:
    """
    The state of one component, as others see it.

    Methods that say so are called by who has the component's turn.

    Who does that for each message looks for itself whether there is any need to:
    `before` does nothing unless the feed is watched or the moment is before
    *expected_until*; neither does `after`, if in addition nothing is held.

    Attributes:
        expected_until: Monotonic; until then readers may come.
        holds: Whether there is something that `after` would let go.
    """

    __slots__ = (
        "_codec",
        "_failing",
        "_heard",
        "_latest",
        "_published",
        "cell",
        "expected_until",
        "feed",
        "holds",
    )

    def __init__(self, cell: Cell, feed: Feed) -> None:
        self.cell = cell
        self.feed = feed
        self._codec = codec_of(type(cell.component))
        self._published: Snapshot | None = None
        self._latest: Snapshot | None = None  # encoded last; keeps its ETag
        self._heard: Snapshot | None = None  # what listeners know, while there are any
        self.expected_until = float("-inf")
        self.holds = False  # _published or _heard; written with the turn
        self._failing = False

    def before(self, now: float) -> None:
        """A handler or hook begins: keep what it may change, if somebody looks."""
        watched = self.feed.watched
        if not watched and now >= self.expected_until:
            return
        if self._published is None:
            self._try_publish()
        if watched and self._heard is None:
            self._heard = self._published  # so that `holds` is true already

    def after(self, began: float) -> None:
        """
        It has ended: announce what it changed, if somebody listens.

        A listener that came in the middle hears of it only if the state from
        before happens to be known.
        """
        if not self.feed.watched:
            self._heard = None
            if began >= self.expected_until:
                self._published = None
                self.holds = False
            else:
                self._try_publish()
            return
        heard = self._heard or self._published
        current = self._try_publish()
        if current is None:
            return  # listeners hear of it together with the next change
        self._heard = current
        if heard is not None and current.content != heard.content:
            self.feed.component_changed(heard, current)

    def _try_publish(self) -> Snapshot | None:
        """Publish the state; with the turn. None if it cannot be encoded."""
        try:
            snapshot = self.publish()
        except BaseException as error:  # of a value; no handler is to blame for it
            self._published = None
            if not self._failing:  # else it would say so at each message
                text = f"its state cannot be read or announced: {describe(error)}"
                report(logging.ERROR, self.cell.path, text)
            self._failing = True
            return None
        self._failing = False
        return snapshot

    def publish(self) -> Snapshot:
        """
        Encode the state and publish it; with the turn.

        Raises:
            InvalidStateError: A value cannot be encoded.
        """
        snapshot = self._published = self.present()
        self.holds = True
        return snapshot

    def present(self) -> Snapshot:
        """
        Return the state as it is, in the middle of a handler too; with the turn.

        It is not published: others get the state from before, and `after` compares
        with that.

        Raises:
            InvalidStateError: A value cannot be encoded.
        """
        latest = self._latest
        content = self._codec.encode(self.cell.component)
        if latest is not None and latest.content == content:
            return self._at_stage(latest)
        cell = self.cell
        snapshot = self._latest = Snapshot(self._codec, cell.path, cell.stage, content)
        return snapshot

    def look(self, now: float) -> Snapshot | None:
        """Return what is published, if the state is known; without the turn."""
        self.expected_until = now + READERS_STAY
        published = self._published
        return None if published is None else self._at_stage(published)

    def _at_stage(self, snapshot: Snapshot) -> Snapshot:
        """Return *snapshot* with the stage of now."""
        stage = self.cell.stage
        if snapshot.stage is stage:
            return snapshot
        return snapshot.moved_to(stage)
