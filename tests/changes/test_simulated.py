"""The promises to listeners, under many interleavings of one thread at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest

from kinesis.changes import (
    Change,
    Changes,
    Feed,
    Gap,
    Subscription,
    component_changed,
)
from kinesis.concurrency import Thread, Threads
from kinesis.errors import ComponentStoppedError, WaitTimeoutError
from kinesis.testing import Simulation
from tests.changes.listeners import account_for


def run_all(threads: Threads) -> None:
    """
    Announce from two threads under a full queue, a hung callback and slow readers.

    All that is promised is checked at the end: each listener's changes and gaps
    account for every change that was announced while it listened.
    """
    hub = Changes(threads, "app", bound=3)
    feeds = [hub.feed(f"/app/{number}") for number in range(2)]
    heard: list[Change | Gap] = []
    hung: list[Change | Gap] = []
    sent: list[Change | Gap] = []
    read: list[Change | Gap] = []

    def hang(item: Change | Gap) -> None:
        hung.append(item)
        if not isinstance(item, Gap) and item.current == 3:
            threads.sleep(10.0)

    def on_change(path: str, *, change: Change | Gap) -> None:
        sent.append(change)

    hub.callback("/app", hang)
    hub.callback("/app", heard.append)
    subscription = hub.subscribe("/app", max=2)
    component_changed.connect(on_change)
    workers = [
        threads.start(partial(announce, threads, feed), feed.path) for feed in feeds
    ]
    reader = threads.start(partial(read_all, subscription, read), "reader")
    for worker in workers:
        worker.join()
    threads.sleep(60.0)  # whoever hung has come back
    assert hub.close(30.0) == []
    reader.join()
    component_changed.disconnect(on_change)

    for items in (heard, hung, sent, read):
        account_for(items, [6, 6])


def announce(threads: Threads, feed: Feed) -> None:
    """Announce six changes, with pauses here and there."""
    for value in range(1, 7):
        feed.component_changed(value - 1, value)
        if value % 3 == 0:
            threads.sleep(0.5)


def read_all(subscription: Subscription, into: list[Change | Gap]) -> None:
    """Read until the end, sometimes in vain."""
    while True:
        try:
            into.append(subscription.get(timeout=1.0))
        except WaitTimeoutError:
            continue
        except ComponentStoppedError:
            return


@pytest.mark.seeds(200)
def test_no_change_is_missed_untold_in_any_interleaving(
    simulation: Simulation,
) -> None:
    """
    Hung callbacks, a full queue and slow readers lose nothing in silence.
    """
    run_all(simulation.threads)


@pytest.mark.seeds(200, step_seconds=0.01)
def test_no_change_is_missed_untold_when_timeouts_race(simulation: Simulation) -> None:
    """
    The same, where deadlines pass in the middle of everything.
    """
    run_all(simulation.threads)


def come_and_go(threads: Threads) -> None:
    """Subscribe, while a component announces, ends, and another takes its place."""
    hub = Changes(threads, "app")
    read: list[Change | Gap] = []

    def live() -> None:
        for _ in range(2):
            feed = hub.feed("/app/0")
            announce(threads, feed)
            hub.gone("/app/0")

    subscription = hub.subscribe("/app/0")
    life = threads.start(live, "life")
    listeners = [
        threads.start(lambda: list(hub.subscribe("/app/0")), f"listener-{number}")
        for number in range(3)
    ]
    read.extend(subscription)
    life.join()
    threads.sleep(60.0)
    assert hub.close(30.0) == []
    for listener in listeners:
        listener.join()

    account_for(read, [6])


@pytest.mark.seeds(200)
def test_subscriptions_end_when_their_component_is_gone_in_any_interleaving(
    simulation: Simulation,
) -> None:
    """
    No reader is left waiting, and none reads the component that comes after.
    """
    come_and_go(simulation.threads)


def be_just_in_time(threads: Threads) -> None:
    """Call one callback that needs all its time, and one that never does."""
    hub = Changes(threads, "app")
    feed = hub.feed("/app/0")
    slow: list[Change | Gap] = []
    quick: list[Change | Gap] = []

    def take_all(item: Change | Gap) -> None:
        slow.append(item)
        threads.sleep(4.0)

    def take_some(item: Change | Gap) -> None:
        quick.append(item)
        threads.sleep(1.0)

    hub.callback("/app/0", take_all, deadline=4.0)
    never_late = hub.callback("/app/0", take_some, deadline=4.0)
    for value in range(1, 4):
        feed.component_changed(value - 1, value)
    threads.sleep(60.0)
    assert hub.close(30.0) == []

    assert never_late.strikes == 0
    account_for(slow, [3])
    account_for(quick, [3])


def end_under_listeners(threads: Threads) -> None:
    """Close the hub while its first listeners come; see that its threads end."""
    hub = Changes(threads, "app")
    own: list[Thread] = []
    start = threads.start

    def noted(target: Callable[[], object], name: str, **options: bool) -> Thread:
        own.append(start(target, name, **options))
        return own[-1]

    hub._delivery._threads = SimpleNamespace(
        start=noted, monotonic=threads.monotonic, get_ident=threads.get_ident
    )
    read: list[Change | Gap] = []

    def listen() -> None:
        with contextlib.suppress(ComponentStoppedError):
            read.extend(hub.subscribe("/app/0"))

    def call() -> None:
        with contextlib.suppress(ComponentStoppedError):
            hub.callback("/app/0", read.append)

    listeners = [threads.start(work, work.__name__) for work in (listen, call)]
    assert hub.close(30.0) == []
    for listener in listeners:
        listener.join()
    for thread in own:
        thread.join(1.0)

    assert read == []
    assert not [thread.name for thread in own if thread.is_alive()]


@pytest.mark.seeds(200)
def test_listeners_that_come_at_the_end_are_served_or_refused(
    simulation: Simulation,
) -> None:
    """
    None waits for ever, and no thread is started that nobody would end.
    """
    end_under_listeners(simulation.threads)


@pytest.mark.seeds(200)
def test_a_call_that_ends_at_its_deadline_is_in_time_or_late_never_both(
    simulation: Simulation,
) -> None:
    """
    Who takes over from a step that has ended does not take the next one's place.
    """
    be_just_in_time(simulation.threads)


@pytest.mark.stress
@pytest.mark.seeds(20_000)
@pytest.mark.parametrize(
    "scenario", [run_all, come_and_go, be_just_in_time, end_under_listeners]
)
def test_the_promises_hold_under_many_seeds(
    simulation: Simulation, scenario: Callable[[Threads], None]
) -> None:
    """
    All of the above, a hundred times as often.
    """
    scenario(simulation.threads)
