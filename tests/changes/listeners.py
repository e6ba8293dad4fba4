"""Listeners that remember, and that hang until they are let go."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kinesis.changes import Change, Changes, Gap, Subscription

PATIENCE = 5.0  # seconds that a waiting test waits before it reports a hang
SOON = 0.05  # seconds: the deadline of callbacks that are made to hang


class Heard:
    """A callback that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.items: list[Change | Gap] = []
        self._more = threading.Condition()

    def __call__(self, item: Change | Gap) -> None:
        with self._more:
            self.items.append(item)
            self._more.notify_all()

    def on_signal(self, path: str, *, change: Change | Gap) -> None:
        self(change)

    def wait_for(self, count: int) -> list[Change | Gap]:
        """Return the items once there are *count*."""
        with self._more:
            came = self._more.wait_for(lambda: len(self.items) >= count, PATIENCE)
        assert came, f"only {len(self.items)} of {count} came: {self.items}"
        return list(self.items)

    def values(self) -> list[object]:
        """Return what is current in each change, and how many each gap stands for."""
        return values(self.items)


def values(items: list[Change | Gap]) -> list[object]:
    """Return what is current in each change, and each gap as a string."""
    return [
        f"gap {each.count}" if isinstance(each, Gap) else each.current for each in items
    ]


def read(subscription: Subscription, count: int) -> list[Change | Gap]:
    """Return the next *count* values of *subscription*."""
    return [subscription.get(timeout=PATIENCE) for _ in range(count)]


class Hanging:
    """A callback that hangs at the changes it is told to, until it is let go."""

    def __init__(self, *at: object) -> None:
        self.at = set(at)
        self.heard = Heard()
        self.stuck = threading.Event()
        self.go = threading.Event()

    def __call__(self, item: Change | Gap) -> None:
        self.heard(item)
        if not isinstance(item, Gap) and item.current in self.at:
            self.stuck.set()
            assert self.go.wait(PATIENCE), "nobody let the callback go"

    def on_signal(self, path: str, *, change: Change | Gap) -> None:
        self(change)


def settle(hub: Changes) -> None:
    """Wait until the delivery thread has done all that is on its queue."""
    with hub.subscribe("/settle") as subscription:
        hub.feed("/settle").stage_changed(0, 1)
        read(subscription, 1)
    hub.gone("/settle")


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds, looking a hundred times a second."""
    tick = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it never came true")


def account_for(items: list[Change | Gap], announced: list[int]) -> None:
    """
    Check that *items* go up, and skip just what was told, where it was told.

    Args:
        items: Whose *current* is their sequence; of components ``/app/0`` and so on.
        announced: How many changes each of these has announced.
    """
    last = [0] * len(announced)
    own = [0] * len(announced)  # told of one component alone, not met yet
    skipped = told = 0
    for item in items:
        name = item.path.rpartition("/")[2]
        number = int(name) if name.isdigit() else None
        if isinstance(item, Gap):
            told += item.count
            if number is not None:
                own[number] += item.count
            continue
        assert number is not None
        assert item.current == item.sequence
        assert item.sequence > last[number], f"out of order: {item}"
        missing = item.sequence - last[number] - 1
        assert missing >= own[number], f"a gap before {item} that was told too early"
        skipped += missing
        assert skipped <= told, f"a gap before {item} that was not told of"
        last[number], own[number] = item.sequence, 0
    skipped += sum(announced) - sum(last)

    assert skipped == told
