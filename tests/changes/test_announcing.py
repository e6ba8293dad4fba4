"""What is announced, to whom, and that nobody listening costs nothing."""

from __future__ import annotations

import gc
import threading

import pytest

from kinesis.changes import (
    Change,
    Changes,
    ComponentChange,
    StageChange,
    StateChange,
)
from kinesis.concurrency import SystemThreads
from tests.changes.listeners import (
    PATIENCE,
    Heard,
    read,
    settle,
    values,
)

# Announcing


def test_a_change_carries_path_previous_current_sequence_and_time(
    hub: Changes,
) -> None:
    """
    What was announced arrives as frozen values, numbered per kind.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a") as subscription:
        feed.stage_changed("STARTING", "STARTED")
        feed.state_changed("INACTIVE", "ACTIVE")
        feed.component_changed("before", "after")
        feed.component_changed("after", "later")
        stage, state, first, second = read(subscription, 4)

    assert stage == StageChange("/app/a", "STARTING", "STARTED", 1, stage.time)  # type: ignore[union-attr]  # no gap here
    assert isinstance(state, StateChange)
    assert isinstance(first, ComponentChange)
    assert isinstance(second, ComponentChange)
    assert (state.sequence, first.sequence, second.sequence) == (1, 1, 2)
    assert (second.previous, second.current) == ("after", "later")
    assert first.time <= second.time
    with pytest.raises(AttributeError):
        first.sequence = 5  # type: ignore[misc]  # that is the point


def test_nothing_is_queued_and_no_thread_runs_when_nobody_listens(
    hub: Changes,
) -> None:
    """
    Announcing to nobody costs nothing.
    """
    before = threading.active_count()
    feed = hub.feed("/app/a")
    feed.stage_changed("a", "b")
    feed.component_changed(1, 2)

    assert (feed.watched, feed.listening, hub.depth) == (False, False, 0)
    assert before == threading.active_count()


def test_stages_are_counted_even_when_nobody_listens(hub: Changes) -> None:
    """
    A stage change's sequence tells a late listener how many it has not seen.
    """
    feed = hub.feed("/app/a")
    feed.stage_changed("a", "b")
    with hub.subscribe("/app/a") as subscription:
        feed.stage_changed("b", "c")
        (change,) = read(subscription, 1)

    assert isinstance(change, StageChange)
    assert change.sequence == 2


def test_listeners_are_told_what_is_announced_after_they_came(hub: Changes) -> None:
    """
    A listener sees nothing that was announced before it came.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a") as early:
        feed.component_changed(0, 1)
        with hub.subscribe("/app/a") as late:
            feed.component_changed(1, 2)

            assert values(read(late, 1)) == [2]
        assert values(read(early, 2)) == [1, 2]


# Who is listened to


@pytest.mark.parametrize(
    ("path", "below", "watched"),
    [
        ("/app/a", True, {"/app/a", "/app/a/b"}),
        ("/app/a", False, {"/app/a"}),
        ("/app", True, {"/app", "/app/a", "/app/a/b", "/app/ab"}),
        ("/app", False, {"/app"}),
        ("/", True, {"/app", "/app/a", "/app/a/b", "/app/ab"}),
        ("/app/none", True, set()),
    ],
)
def test_a_feed_is_watched_when_somebody_listens_at_or_above_it(
    hub: Changes, path: str, below: bool, watched: set[str]
) -> None:
    """
    Feeds know who listens whether they came before the listener or after.
    """
    paths = ["/app", "/app/a", "/app/a/b", "/app/ab"]
    early = [hub.feed(each) for each in paths[:2]]
    with hub.subscribe(path, below=below):
        feeds = early + [hub.feed(each) for each in paths[2:]]

        assert watched == {feed.path for feed in feeds if feed.watched}


def test_a_listener_to_one_path_alone_is_not_told_of_those_below(
    hub: Changes,
) -> None:
    """
    Even while they announce for somebody else.
    """
    with hub.subscribe("/app") as all_of_it, hub.subscribe("/app", below=False) as one:
        hub.feed("/app/a").component_changed(0, 1)
        hub.feed("/app").component_changed(0, 2)

        assert values(read(all_of_it, 2)) == [1, 2]
        assert values(read(one, 1)) == [2]


def test_only_the_kinds_that_a_listener_takes_are_announced(hub: Changes) -> None:
    """
    One who wants stages alone does not make anybody take snapshots.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app", kinds=[StageChange]) as subscription:
        feed.component_changed(1, 2)
        feed.state_changed(3, 4)
        feed.stage_changed(5, 6)

        assert (feed.watched, feed.listening) == (False, True)
        assert values(read(subscription, 1)) == [6]


def test_a_feed_is_not_watched_any_more_when_its_listeners_have_left(
    hub: Changes,
) -> None:
    """
    After the last one left, announcing costs nothing again.
    """
    feed = hub.feed("/app/a")
    subscription, callback = hub.subscribe("/app"), hub.callback("/app/a", print)
    subscription.close()
    callback.close()
    with hub.subscribe("/app/other"):
        settle(hub)

    assert (feed.watched, feed.listening) == (False, False)


def test_a_forgotten_subscription_is_let_go(hub: Changes) -> None:
    """
    A subscription that nobody refers to any more costs its component nothing.
    """
    feed = hub.feed("/app/a")
    feeding = hub.subscribe("/app/a")
    feed.component_changed(0, 1)
    for change in feeding:
        assert change is not None
        break
    del feeding
    gc.collect()
    feed.component_changed(1, 2)
    settle(hub)

    assert feed.watched is False


def test_forgotten_subscriptions_do_not_pile_up_on_an_idle_component(
    hub: Changes,
) -> None:
    """
    Dead subscriptions are found by those that come, without any change.
    """
    for _ in range(200):
        hub.subscribe("/app/a")
        settle(hub)

    assert repr(hub) in {f"<Changes app | {count} listeners>" for count in range(20)}


def test_a_gone_component_that_nobody_knows_is_no_error(hub: Changes) -> None:
    """
    A runtime may say so twice, or of one that never announced anything.
    """
    feed = hub.feed("/app/a")
    hub.gone("/app/a")
    hub.gone("/app/a")
    hub.gone("/app/none")

    assert hub.feed("/app/a") is not feed
    assert repr(feed) == "<Feed /app/a>"


# The queue to the delivery thread


def test_what_finds_the_queue_full_is_told_as_a_gap_in_its_place() -> None:
    """
    A component that is faster than its listeners is never held up by them.
    """
    hub = Changes(SystemThreads(), "app", bound=4)
    feed, other = hub.feed("/app/a"), hub.feed("/app/b")
    entered, go = threading.Event(), threading.Event()

    def block(item: Change) -> None:
        entered.set()
        assert go.wait(PATIENCE), "nobody let the callback go"

    blocker = hub.callback("/block", block)
    subscription, heard = hub.subscribe("/app"), Heard()
    hub.callback("/app", heard)
    hub.feed("/block").stage_changed(0, 1)
    assert entered.wait(PATIENCE)
    for value in range(1, 10):
        feed.component_changed(value - 1, value)
    other.component_changed("x", "y")
    go.set()
    items = read(subscription, 6)
    feed.component_changed(9, 10)
    items += read(subscription, 1)
    blocker.close()

    assert values(items) == [1, 2, 3, 4, "gap 5", "gap 1", 10]
    assert heard.values() == values(items)
    assert [each.path for each in items] == ["/app/a"] * 5 + ["/app/b", "/app/a"]
    assert hub.lost == 6
    hub.close(PATIENCE)
