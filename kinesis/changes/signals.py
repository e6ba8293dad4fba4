"""
What is announced about a component, and the Blinker signals that carry it.

Three kinds of change, each with a signal of its own::

    StageChange       INITIALIZED -> STARTING        stage_changed
    StateChange       INACTIVE -> ACTIVE             state_changed
    ComponentChange   one snapshot -> the next       component_changed

A signal is sent with the component's path as the sender, and the change as
``change``::

    @component_changed.connect_via("/shop/stock")
    def on_change(path: str, change: ComponentChange | Gap) -> None: ...

Receivers run on the runtime's delivery thread, after the ordered callbacks and
before the subscriptions; see `kinesis.changes`.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Generator, Hashable
from functools import partial
from typing import Any, TypeVar
from weakref import ref

import attrs
import blinker

from kinesis.concurrency import SystemThreads

__all__ = [
    "COMPONENT",
    "KINDS",
    "SIGNALS",
    "STAGE",
    "STATE",
    "Change",
    "ChangeSignal",
    "ComponentChange",
    "Gap",
    "StageChange",
    "StateChange",
    "component_changed",
    "identity",
    "stage_changed",
    "state_changed",
]

Receiver = TypeVar("Receiver", bound=Callable[..., Any])


@attrs.frozen
class StageChange:
    """
    A component went from one stage to another.

    Args:
        path: Of the component.
        sequence: 1 for its first stage change, one more for each that follows,
            whether or not somebody listened.
        time: Seconds since the epoch.
    """

    path: str
    previous: Any
    current: Any
    sequence: int
    time: float


@attrs.frozen
class StateChange:
    """
    A component became active, or inactive.

    Its *sequence* counts the component's state changes, as in `StageChange`.
    """

    path: str
    previous: Any
    current: Any
    sequence: int
    time: float


@attrs.frozen
class ComponentChange:
    """
    The content of a component's state changed.

    *previous* and *current* are snapshots: immutable, and decoded only for those
    who look. Nothing is compared while nobody listens, so *sequence* counts the
    changes that were announced: for a listener it goes up by one each time, from
    wherever it stood when the listener came, except behind a `Gap`.
    """

    path: str
    previous: Any
    current: Any
    sequence: int
    time: float


@attrs.frozen
class Gap:
    """
    In place of changes that a listener does not get.

    Args:
        path: The missed changes were of the component here, or of some below.
        count: How many this listener would have had.
    """

    path: str
    count: int


Change = StageChange | StateChange | ComponentChange

# Inside, kinds are numbers, and index these two.
STAGE, STATE, COMPONENT = range(3)
KINDS: tuple[type[Change], ...] = (StageChange, StateChange, ComponentChange)


class ChangeSignal(blinker.NamedSignal):
    """
    A Blinker signal that any thread may connect to and send, at any time.

    Blinker has no locks of its own, and cleans up after weak receivers in the
    middle of whatever the collector interrupts. So here a lock is held around
    the books, never while a receiver runs, and weak receivers that died are
    noted by an append (the one thing that is safe there) and struck off by
    whoever holds the lock next.

    The lock is a real one under a simulation too: nothing waits inside it.
    """

    def __init__(self, name: str, doc: str | None = None) -> None:
        super().__init__(name, doc)
        self._guard = SystemThreads.lock()
        self._dead: deque[Callable[[], object]] = deque()
        self._meta: dict[str, ChangeSignal] = {}

    @property
    def receiver_connected(self) -> ChangeSignal:
        """
        Sent after each `connect`, with its arguments.

        Not Blinker's own, which it sends from inside, where the lock is held.
        """
        return self._about("connected")

    @property
    def receiver_disconnected(self) -> ChangeSignal:
        """Sent after each `disconnect`, with its arguments; not for weak deaths."""
        return self._about("disconnected")

    def _about(self, event: str) -> ChangeSignal:
        """Return the signal about *event*, made when first asked for."""
        with self._guard:
            if event not in self._meta:
                self._meta[event] = ChangeSignal(f"{self.name}.{event}")
            return self._meta[event]

    def connect(
        self, receiver: Receiver, sender: Any = blinker.ANY, weak: bool = True
    ) -> Receiver:
        """Connect *receiver*; weakly unless told otherwise, as Blinker does."""
        with self._guard:
            self._bury()
            super().connect(receiver, sender, weak)
        if (about := self._meta.get("connected")) is not None:
            about.send(self, receiver=receiver, sender=sender, weak=weak)
        return receiver

    def disconnect(
        self, receiver: Callable[..., Any], sender: Any = blinker.ANY
    ) -> None:
        """
        Disconnect *receiver* from *sender*, or from all; fine if it is not there.

        Safe in a ``__del__``: it waits for no lock. If somebody holds that, it is
        done by whoever takes it next, before anything else.
        """
        self._dead.append(partial(super().disconnect, receiver, sender))
        if self._guard.acquire(blocking=False):
            try:
                self._bury()
            finally:
                self._guard.release()
        if (about := self._meta.get("disconnected")) is not None:
            about.send(self, receiver=receiver, sender=sender)

    def receivers_for(self, sender: Any) -> Generator[Callable[..., Any], None, None]:
        """Yield the receivers that *sender* has now, in the order they connected."""
        with self._guard:
            self._bury()
            found = list(super().receivers_for(sender))
            if len(found) > 1:
                places = {each: place for place, each in enumerate(self.receivers)}
                found.sort(key=lambda receiver: places.get(identity(receiver), 0))
        yield from found

    def is_wanted(self, sender: Any = blinker.ANY) -> bool:
        """Return whether a living receiver is connected to *sender*, or to any."""
        if not self.receivers:
            return False
        return next(self.receivers_for(sender), None) is not None

    def _bury(self) -> None:
        """Strike off the receivers that died or left; the lock is held."""
        while self._dead:
            self._dead.popleft()()

    def _make_cleanup_receiver(
        self, receiver_id: Hashable
    ) -> Callable[[ref[Callable[..., Any]]], None]:
        cleanup = super()._make_cleanup_receiver(receiver_id)
        return lambda died: self._dead.append(partial(cleanup, died))

    def _make_cleanup_sender(self, sender_id: Hashable) -> Callable[[ref[Any]], None]:
        cleanup = super()._make_cleanup_sender(sender_id)
        return lambda died: self._dead.append(partial(cleanup, died))


def identity(receiver: Callable[..., Any]) -> Hashable:
    """Return Blinker's key for *receiver*: two bound methods may be one receiver."""
    if inspect.ismethod(receiver):
        return (id(receiver.__func__), id(receiver.__self__))
    return id(receiver)


stage_changed = ChangeSignal("stage_changed", "Sent with each `StageChange`.")
state_changed = ChangeSignal("state_changed", "Sent with each `StateChange`.")
component_changed = ChangeSignal(
    "component_changed", "Sent with each `ComponentChange`."
)
SIGNALS = (stage_changed, state_changed, component_changed)
