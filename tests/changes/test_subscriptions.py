"""Subscriptions are read when their reader likes, and end by themselves."""

from __future__ import annotations

import threading

import pytest

from kinesis.changes import (
    Changes,
)
from kinesis.changes.subscriptions import BACKLOG
from kinesis.concurrency import SystemThreads
from kinesis.errors import ComponentStoppedError, WaitTimeoutError
from tests.changes.listeners import (
    PATIENCE,
    read,
    settle,
    values,
    wait_until,
)


def test_a_subscription_ends_behind_the_last_change_of_a_component_that_is_gone(
    hub: Changes,
) -> None:
    """
    Its own subscriptions end, its callbacks close; its container's go on.
    """
    feed = hub.feed("/app/a")
    own, above = hub.subscribe("/app/a"), hub.subscribe("/app")
    callback = hub.callback("/app/a", lambda item: None)
    feed.component_changed(0, 1)
    feed.stage_changed("TEARING_DOWN", "TORN_DOWN")
    hub.gone("/app/a")
    feed.component_changed(1, 2)  # a hook that was abandoned comes back
    new = hub.feed("/app/a")
    new.component_changed(2, 3)

    assert values(list(own)) == [1, "TORN_DOWN"]
    assert values(read(above, 3)) == [1, "TORN_DOWN", 3]
    assert callback.closed
    assert new is not feed
    with pytest.raises(ComponentStoppedError):
        own.get()
    above.close()


def test_a_subscription_is_read_with_a_timeout(hub: Changes) -> None:
    """
    `get` says that nothing came, and that nothing will.
    """
    subscription = hub.subscribe("/app/a")
    with pytest.raises(WaitTimeoutError, match="/app/a"):
        subscription.get(timeout=0)
    with pytest.raises(WaitTimeoutError):
        subscription.get(timeout=0.01)
    subscription.close()

    with pytest.raises(ComponentStoppedError, match="/app/a"):
        subscription.get(timeout=PATIENCE)
    assert list(subscription) == []


def test_closing_lets_a_waiting_reader_go(hub: Changes) -> None:
    """
    A thread that waits in a loop over the changes comes out of it.
    """
    subscription = hub.subscribe("/app/a")
    result: list[object] = ["waits"]
    reader = threading.Thread(target=lambda: result.extend(subscription))
    reader.start()
    wait_until(lambda: subscription._readers)
    subscription.close()
    reader.join(PATIENCE)

    assert (reader.is_alive(), result) == (False, ["waits"])


def test_a_reader_is_woken_by_each_change(hub: Changes) -> None:
    """
    No change is left lying while somebody waits for it.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a") as there, hub.subscribe("/app/b") as back:
        answers = hub.feed("/app/b")

        def answer() -> None:
            for change in there:
                answers.component_changed(None, change.current)  # type: ignore[union-attr]  # no gaps: one at a time

        reader = threading.Thread(target=answer)
        reader.start()
        for value in range(300):
            feed.component_changed(None, value)
            assert values(read(back, 1)) == [value]
    reader.join(PATIENCE)


def test_drop_oldest_keeps_the_newest_behind_a_gap(hub: Changes) -> None:
    """
    What was dropped is told at the head, where it would have been.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a", max=3) as subscription:
        for value in range(1, 11):
            feed.component_changed(value - 1, value)
        settle(hub)

        assert values(read(subscription, 4)) == ["gap 7", 8, 9, 10]
        assert subscription.dropped == 7


def test_wait_keeps_the_oldest_and_tells_of_those_beyond_the_backlog(
    hub: Changes,
) -> None:
    """
    With ``"wait"`` nothing is dropped until the backlog is full as well.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a", max=5, overflow="wait") as subscription:
        for value in range(BACKLOG + 15):
            feed.component_changed(value - 1, value)
        settle(hub)
        expected = [*range(BACKLOG + 5), "gap 10"]

        assert values(read(subscription, BACKLOG + 6)) == expected
        feed.component_changed(0, "next")
        assert values(read(subscription, 1)) == ["next"]


def test_a_subscription_says_what_it_holds(hub: Changes) -> None:
    """
    Its repr and its length count a gap as one value; an empty one is true.
    """
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a", max=2) as subscription:
        assert subscription
        assert (len(subscription), subscription.ended) == (0, False)
        for value in range(5):
            feed.component_changed(None, value)
        settle(hub)

        assert repr(subscription) == "<Subscription /app/a | 3 unread>"
        feed.component_changed(None, 5)
    settle(hub)

    assert repr(subscription) == "<Subscription /app/a ended | 0 unread>"
    assert subscription.ended


@pytest.mark.parametrize("bad", [{"max": 0}, {"overflow": "drop-newest"}])
def test_a_subscription_that_cannot_be_is_refused(
    hub: Changes, bad: dict[str, object]
) -> None:
    """
    The error says what to write instead.
    """
    with pytest.raises(ValueError, match="/app/a"):
        hub.subscribe("/app/a", **bad)  # type: ignore[arg-type]  # that is the point


def test_a_closed_hub_takes_no_listeners_and_is_silent() -> None:
    """
    Whoever comes too late is told so; announcing is safe for ever.
    """
    hub = Changes(SystemThreads(), "app")
    feed = hub.feed("/app/a")
    subscription = hub.subscribe("/app/a")
    feed.component_changed(0, 1)

    assert hub.close(PATIENCE) == []
    assert hub.close(PATIENCE) == []
    feed.component_changed(1, 2)
    assert values(list(subscription)) == [1]
    with pytest.raises(ComponentStoppedError, match="has stopped"):
        hub.subscribe("/app/a")
    with pytest.raises(ComponentStoppedError):
        hub.callback("/app/a", print)


def test_a_callback_may_close_the_hub() -> None:
    """
    It does not wait for itself; what was announced is delivered behind it.
    """
    hub = Changes(SystemThreads(), "app")
    feed = hub.feed("/app/a")
    subscription = hub.subscribe("/app/a")
    answers: list[object] = []
    hub.callback("/app/a", lambda item: answers.append(hub.close(PATIENCE)))
    feed.component_changed(0, 1)

    assert values(list(subscription)) == [1]
    assert answers == [[]]
    assert hub.close(PATIENCE) == []
