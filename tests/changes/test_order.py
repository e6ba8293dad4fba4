"""Each listener sees each component's changes in order, or within a told gap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinesis.changes import (
    Change,
    Changes,
    ComponentChange,
    Feed,
    Gap,
)
from kinesis.concurrency import SystemThreads
from kinesis.errors import WaitTimeoutError
from tests.changes.listeners import (
    PATIENCE,
    Heard,
    account_for,
)

Action = tuple[str, int]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("announce"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("block"), st.just(0)),
        st.tuples(st.just("unblock"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(
    actions=ACTIONS,
    bound=st.integers(1, 8),
    most=st.integers(1, 5),
    overflow=st.sampled_from(["drop-oldest", "wait"]),
)
def test_each_change_is_seen_once_in_order_or_within_a_gap(
    actions: list[Action], bound: int, most: int, overflow: str
) -> None:
    """
    Per component, changes and gaps together account for every sequence number.
    """
    hub = Changes(SystemThreads(), "app", bound=bound)
    feeds = [hub.feed(f"/app/{number}") for number in range(4)]
    announced = [0] * 4
    gate, heard = Gate(), Heard()
    hub.callback("/app", gate)
    hub.callback("/app", heard)
    subscriptions = [
        hub.subscribe("/app", max=most, overflow=overflow),  # type: ignore[arg-type]  # one of the two
        hub.subscribe("/app/0", max=most, overflow=overflow),  # type: ignore[arg-type]  # as above
    ]
    seen: list[list[Change | Gap]] = [[], []]
    for what, number in actions:
        if what == "announce":
            announced[number] += 1
            feeds[number].component_changed(None, announced[number])
        elif what == "read":
            for items, each in zip(seen, subscriptions, strict=True):
                items.extend(each.get() for _ in range(min(number, len(each))))
        else:
            gate.set_open(what == "unblock")
    gate.set_open(True)
    assert hub.close(PATIENCE) == []
    for items, each in zip(seen, subscriptions, strict=True):
        items.extend(each)

    account_for(heard.items, announced)
    account_for(seen[0], announced)
    account_for(seen[1], announced[:1])


class Gate:
    """A callback that lets changes pass, or holds them up, never for long."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def __call__(self, item: object) -> None:
        assert self._open.wait(PATIENCE), "the gate stayed closed"

    def set_open(self, is_open: bool) -> None:
        """Open the gate, or close it."""
        if is_open:
            self._open.set()
        else:
            self._open.clear()


@pytest.mark.stress
def test_many_announce_while_listeners_come_and_go() -> None:
    """
    Under a tiny switch interval, each listener's changes are consecutive.
    """
    churn(seconds=5.0)


def test_listeners_that_come_and_go_see_consecutive_changes() -> None:
    """
    A listener misses nothing between its first change and its last.
    """
    churn(seconds=0.3)


def churn(seconds: float) -> None:
    """Announce from four threads, listen from two, for *seconds*."""
    threads = SystemThreads()
    hub = Changes(threads, "app")
    feeds = [hub.feed(f"/app/{number}") for number in range(4)]
    errors: list[BaseException] = []
    until = threads.monotonic() + seconds

    def repeat(work: Callable[[], None]) -> None:
        try:
            while threads.monotonic() < until:
                work()
        except BaseException as error:
            errors.append(error)

    jobs = [partial(announce_some, feed) for feed in feeds]
    jobs += [partial(listen_for_some, hub, path) for path in ("/app", "/app/0")]
    workers = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(seconds + 2 * PATIENCE)

    assert hub.close(PATIENCE) == []
    assert errors == []


def announce_some(feed: Feed) -> None:
    """Announce a burst, then let the others run."""
    for _ in range(50):
        feed.component_changed(None, None)
    threading.Event().wait(0.001)


def listen_for_some(hub: Changes, path: str) -> None:
    """Read a hundred changes, and see that none is missing untold."""
    last: dict[str, int] = {}
    skipped = told = 0
    with hub.subscribe(path, max=50) as subscription:
        for _ in range(100):
            try:
                item = subscription.get(timeout=0.5)
            except WaitTimeoutError:
                return  # the others have ended
            if isinstance(item, Gap):
                told += item.count
                continue
            assert isinstance(item, ComponentChange)
            expected = last.get(item.path, item.sequence - 1) + 1
            skipped += item.sequence - expected
            last[item.path] = item.sequence
            assert item.sequence >= expected
            assert skipped <= told
