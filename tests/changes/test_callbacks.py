"""Callbacks are called in order, and none of them harms another."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable

import pytest

from kinesis.changes import (
    Change,
    Changes,
    Subscription,
    component_changed,
)
from kinesis.concurrency import SystemThreads
from kinesis.errors import WaitTimeoutError
from tests.changes.listeners import (
    PATIENCE,
    SOON,
    Hanging,
    Heard,
    read,
    settle,
    values,
    wait_until,
)

# Callbacks


def test_callbacks_are_called_in_order_and_before_subscriptions(hub: Changes) -> None:
    """
    Those that came first are called first, `first=True` ones before all of them.
    """
    order: list[object] = []
    feed = hub.feed("/app/a")
    with hub.subscribe("/app/a") as subscription:
        hub.callback("/app/a", lambda item: order.append("b"))
        hub.callback("/app", lambda item: order.append("c"))
        hub.callback("/app/a", lambda item: order.append("a"), first=True)
        hub.callback("/app/a", lambda item: order.append(len(subscription)))
        feed.component_changed(0, 1)
        read(subscription, 1)

    assert order == ["a", "b", "c", 0]


def test_a_callback_that_raises_is_logged_and_called_again(
    hub: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Any exception, `SystemExit` too, ends that one call and nothing else.
    """
    feed = hub.feed("/app/a")

    def fail(item: Change) -> None:
        raise (SystemExit if item.current == 2 else ValueError)(f"at {item.current}")

    failing = hub.callback("/app/a", fail)
    with hub.subscribe("/app/a") as subscription:
        for value in range(1, 6):
            feed.component_changed(value - 1, value)

        assert values(read(subscription, 5)) == [1, 2, 3, 4, 5]
    logged = [each for each in caplog.records if each.name == "kinesis"]
    assert (failing.errors, hub.errors, len(logged)) == (5, 5, 3)  # 1st, 2nd, 4th
    assert "ValueError: at 1" in logged[0].getMessage()
    assert {vars(each)["path"] for each in logged} == {"/app/a"}


def test_a_coroutine_function_is_refused_when_called(
    hub: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An async callback would never be awaited: each call is an error that says so.
    """

    async def late(item: Change) -> None: ...

    hub.callback("/app/a", late)
    hub.feed("/app/a").component_changed(0, 1)
    settle(hub)

    assert "call_soon_threadsafe" in caplog.text


def test_a_callback_may_close_itself_and_others_in_the_middle(hub: Changes) -> None:
    """
    Closed by anybody, at any moment, it is not called again.
    """
    heard: list[object] = []
    feed = hub.feed("/app/a")

    def once(item: Change) -> None:
        heard.append(item.current)
        first.close()
        other.close()

    first = hub.callback("/app/a", once)
    other = hub.callback("/app/a", heard.append)
    with hub.subscribe("/app/a") as subscription:
        feed.component_changed(0, 1)
        feed.component_changed(1, 2)
        read(subscription, 2)

    assert heard == [1]


def test_a_callback_may_listen_and_announce(hub: Changes) -> None:
    """
    The delivery thread holds no lock while it calls.
    """
    feed = hub.feed("/app/a")
    inner: list[Subscription] = []
    ready = threading.Event()

    def nest(item: Change) -> None:
        if not inner:
            inner.append(hub.subscribe("/app/a"))
            feed.component_changed(1, 2)
            ready.set()

    hub.callback("/app/a", nest)
    feed.component_changed(0, 1)

    assert ready.wait(PATIENCE)
    assert values(read(inner[0], 1)) == [2]
    inner[0].close()


def test_a_callback_is_closed_by_the_end_of_its_block(hub: Changes) -> None:
    """
    Closed, it is not called any more, and what it refers to is let go.
    """
    feed, heard = hub.feed("/app/a"), Heard()
    with hub.callback("/app/a", heard) as callback:
        feed.component_changed(0, 1)
        heard.wait_for(1)
        assert "Heard" in repr(callback)
    feed.component_changed(1, 2)
    settle(hub)
    alive = weakref.ref(heard)
    assert heard.values() == [1]
    del heard

    assert alive() is None
    assert repr(callback).endswith("closed>")


# Callbacks that hang


def test_a_hung_callback_stops_nobody_and_is_told_what_it_missed(
    hub: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Over its deadline it is reported with its stack and left behind; once it
    returns it gets a gap, in its place, and is called again.
    """
    feed = hub.feed("/app/a")
    hanging, after = Hanging(2), Heard()
    callback = hub.callback("/app/a", hanging, deadline=SOON)
    hub.callback("/app/a", after)
    with hub.subscribe("/app/a") as subscription:
        for value in range(1, 5):
            feed.component_changed(value - 1, value)

        assert values(read(subscription, 4)) == [1, 2, 3, 4]
        assert after.values() == [1, 2, 3, 4]
        assert callback.hung
        hanging.go.set()
        hanging.heard.wait_for(3)
        feed.component_changed(4, 5)
        hanging.heard.wait_for(4)

    assert hanging.heard.values() == [1, 2, "gap 2", 5]
    (record,) = [each for each in caplog.records if each.name == "kinesis"]
    assert "nobody let the callback go" in record.getMessage()  # the stack
    assert vars(record)["path"] == "/app/a"
    assert (callback.hung, callback.strikes, callback.closed) == (False, 1, False)


def test_a_callback_that_hangs_three_times_is_closed(hub: Changes) -> None:
    """
    One that is late again and again must not hold up the others for ever.
    """
    feed = hub.feed("/app/a")
    hanging = Hanging(1, 3, 5, 7)
    callback = hub.callback("/app/a", hanging, deadline=SOON)
    for value in (1, 3, 5):
        feed.component_changed(value - 1, value)
        assert hanging.stuck.wait(PATIENCE)
        hanging.stuck.clear()
        wait_until(lambda: callback.hung)
        hanging.go.set()
        wait_until(lambda: not callback.hung)
        hanging.go.clear()
    wait_until(lambda: callback.closed)
    feed.component_changed(6, 7)
    settle(hub)

    assert hanging.heard.values() == [1, 3, 5]


def test_several_callbacks_may_hang_at_once(hub: Changes) -> None:
    """
    Each is left behind on a thread of its own.
    """
    feed = hub.feed("/app/a")
    hanging = [Hanging(1) for _ in range(3)]
    for each in hanging:
        hub.callback("/app/a", each, deadline=SOON)
    with hub.subscribe("/app/a") as subscription:
        feed.component_changed(0, 1)
        feed.component_changed(1, 2)

        assert values(read(subscription, 2)) == [1, 2]
    for each in hanging:
        each.go.set()
        assert values(each.heard.wait_for(2)) == [1, "gap 1"]


def test_a_short_deadline_is_kept_behind_a_long_one(hub: Changes) -> None:
    """
    The watch, asleep for a long deadline, is woken for a shorter one.
    """
    feed = hub.feed("/app/a")
    hub.callback("/app/a", lambda item: None, deadline=3600.0)
    hanging = Hanging(1)
    hub.callback("/app/a", hanging, deadline=SOON)
    with hub.subscribe("/app/a") as subscription:
        feed.component_changed(0, 1)

        assert values(read(subscription, 1)) == [1]
    hanging.go.set()


def test_closing_tells_the_names_of_threads_that_hang() -> None:
    """
    The end does not wait longer than it may; subscriptions end all the same.
    """
    hub = Changes(SystemThreads(), "app")
    feed = hub.feed("/app/a")
    hanging = Hanging(1)
    hub.callback("/app/a", hanging, deadline=3600.0)
    subscription = hub.subscribe("/app/a")
    feed.component_changed(0, 1)
    assert hanging.stuck.wait(PATIENCE)

    assert hub.close(SOON) == ["kinesis:app:changes"]
    assert list(subscription) == []
    hanging.go.set()


def test_a_log_handler_that_hangs_or_raises_does_not_stop_delivery(
    hub: Changes,
) -> None:
    """
    Reports are steps with a deadline like any other.
    """

    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no disk")

    bad, logger = Bad(), logging.getLogger("kinesis")
    logger.addHandler(bad)
    hanging = Hanging(1)
    hub.callback("/app/a", hanging, deadline=SOON)
    hub.callback("/app/a", lambda item: 1 / 0)
    try:
        with hub.subscribe("/app/a") as subscription:
            hub.feed("/app/a").component_changed(0, 1)

            assert values(read(subscription, 1)) == [1]
    finally:
        logger.removeHandler(bad)
        hanging.go.set()


# When the system refuses threads


class Refusing(SystemThreads):
    """Threads of which the system gives only the first *left*."""

    left = 0

    def start(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> threading.Thread:
        if self.left <= 0:
            raise RuntimeError("can't start new thread")
        self.left -= 1
        return super().start(target, name, background=background)


def test_a_listener_is_refused_when_there_is_no_thread_for_it() -> None:
    """
    Nothing is half done: a later one is served.
    """
    threads = Refusing()
    hub = Changes(threads, "app")
    for left in (0, 1):
        threads.left = left
        with pytest.raises(RuntimeError):
            hub.callback("/app/a", print)
    assert repr(hub) == "<Changes app | 0 listeners>"
    threads.left = 2
    with hub.subscribe("/app/a") as subscription:
        hub.feed("/app/a").component_changed(0, 1)

        assert values(read(subscription, 1)) == [1]
    assert hub.close(PATIENCE) == []


def test_a_receiver_without_a_thread_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Connecting a signal or adding a component does not fail for want of a thread.
    """
    hub, heard = Changes(Refusing(), "app"), Heard()
    with component_changed.connected_to(heard.on_signal):
        feed = hub.feed("/app/a")

        assert feed.watched is False
    assert "can't start new thread" in caplog.text
    assert hub.close(PATIENCE) == []


def test_a_hung_callback_is_left_behind_once_there_is_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A refused successor is tried again.
    """
    monkeypatch.setattr("kinesis.changes.delivery.RETRY", SOON)
    threads = Refusing()
    threads.left = 2
    hub = Changes(threads, "app")
    hanging = Hanging(1)
    hub.callback("/app/a", hanging, deadline=SOON)
    with hub.subscribe("/app/a") as subscription:
        hub.feed("/app/a").component_changed(0, 1)
        assert hanging.stuck.wait(PATIENCE)
        with pytest.raises(WaitTimeoutError):
            subscription.get(timeout=3 * SOON)
        threads.left = 5

        assert values(read(subscription, 1)) == [1]
    hanging.go.set()
    assert hub.close(PATIENCE) == []
