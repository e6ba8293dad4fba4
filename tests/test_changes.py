"""What listeners are promised: order, told gaps, and that none harms another."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
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
    StageChange,
    StateChange,
    Subscription,
    component_changed,
    stage_changed,
)
from kinesis.changes.subscriptions import BACKLOG
from kinesis.concurrency import SystemThreads
from kinesis.errors import ComponentStoppedError, WaitTimeoutError

PATIENCE = 5.0  # seconds that a waiting test waits before it reports a hang
SOON = 0.05  # seconds: the deadline of callbacks that are made to hang


@pytest.fixture
def hub() -> Iterator[Changes]:
    """
    A hub that has ended after the test.
    """
    hub = Changes(SystemThreads(), "app")
    yield hub
    assert hub.close(PATIENCE) == []


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


def settle(hub: Changes) -> None:
    """Wait until the delivery thread has done all that is on its queue."""
    with hub.subscribe("/settle") as subscription:
        hub.feed("/settle").stage_changed(0, 1)
        read(subscription, 1)
    hub.gone("/settle")


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


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds, looking a hundred times a second."""
    tick = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it never came true")


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


# Subscriptions


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


# Blinker


def test_a_receiver_of_a_signal_makes_its_feed_watched(hub: Changes) -> None:
    """
    Connecting through Blinker works, before the feed is there and after.
    """
    early, heard, stages = hub.feed("/app/a"), Heard(), Heard()
    component_changed.connect(heard.on_signal, sender="/app/a")
    stage_changed.connect(stages.on_signal)
    late = hub.feed("/app/b")
    try:
        assert (early.watched, late.watched) == (True, False)
        assert (early.listening, late.listening) == (True, True)
        early.component_changed(0, 1)
        late.component_changed(0, 2)
        late.stage_changed(3, 4)
        stages.wait_for(1)
    finally:
        component_changed.disconnect(heard.on_signal)
        stage_changed.disconnect(stages.on_signal)

    assert (heard.values(), stages.values()) == ([1], [4])


def test_weak_receivers_that_died_cost_one_more_change(hub: Changes) -> None:
    """
    A receiver that was collected is noticed by the next change.
    """
    feed, heard = hub.feed("/app/a"), Heard()
    component_changed.connect(heard.on_signal)
    feed.component_changed(0, 1)
    heard.wait_for(1)
    settle(hub)
    del heard
    gc.collect()
    feed.component_changed(1, 2)
    settle(hub)

    assert feed.watched is False
    assert not component_changed.receivers


def test_a_receiver_that_raises_or_is_muted_harms_nobody(
    hub: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Receivers of a signal are called as callbacks are.
    """
    feed, heard = hub.feed("/app/a"), Heard()

    def fail(path: str, *, change: Change) -> None:
        raise ValueError(f"from {path}")

    with (
        component_changed.connected_to(fail),
        component_changed.connected_to(heard.on_signal),
        hub.subscribe("/app/a") as subscription,
    ):
        feed.component_changed(0, 1)
        read(subscription, 1)
        with component_changed.muted():
            feed.component_changed(1, 2)
            read(subscription, 1)
        feed.component_changed(2, 3)
        read(subscription, 1)

    assert heard.values() == [1, 3]
    assert "ValueError: from /app/a" in caplog.text


def test_a_receiver_that_hangs_is_told_what_it_missed(
    hub: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The third time, it is taken off the signal.
    """
    monkeypatch.setattr("kinesis.changes.telling.DEADLINE", SOON)
    feed, hanging = hub.feed("/app/a"), Hanging(1, 11, 21)
    with hub.subscribe("/app/a") as subscription:
        component_changed.connect(hanging.on_signal)
        for start, heard in ((1, 2), (11, 4), (21, 5)):
            hanging.go.clear()
            feed.component_changed(None, start)
            feed.component_changed(None, start + 1)

            assert values(read(subscription, 2)) == [start, start + 1]
            hanging.go.set()
            hanging.heard.wait_for(heard)
        wait_until(lambda: not component_changed.receivers)

    assert hanging.heard.values() == [1, "gap 1", 11, "gap 1", 21]


def test_signals_may_be_connected_and_left_by_many_threads() -> None:
    """
    Blinker itself loses receivers and raises here; the lock prevents it.
    """
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def churn(number: int) -> None:
        try:
            start.wait(PATIENCE)
            for turn in range(200):
                heard = Heard()
                path = f"/app/{number}/{turn % 7}"
                component_changed.connect(heard.on_signal, sender=path)
                assert heard.on_signal in set(component_changed.receivers_for(path))
                if turn % 2:
                    component_changed.disconnect(heard.on_signal)
                del heard
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=churn, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    gc.collect()

    assert errors == []
    assert not component_changed.is_wanted("/app/1/1")


def test_signals_tell_of_connects_and_disconnects() -> None:
    """
    Blinker's signals about a signal work, and may connect again from inside.
    """
    told: list[str] = []
    heard, more = Heard(), Heard()

    def on_connect(signal: object, *, receiver: object, **_: object) -> None:
        told.append("connected")
        if receiver == heard.on_signal:
            component_changed.connect(more.on_signal)

    def on_disconnect(signal: object, **_: object) -> None:
        told.append("disconnected")

    with (
        component_changed.receiver_connected.connected_to(on_connect),
        component_changed.receiver_disconnected.connected_to(on_disconnect),
    ):
        component_changed.connect(heard.on_signal)
        component_changed.disconnect(heard.on_signal)
        component_changed.disconnect(more.on_signal)

    assert told == ["connected", "connected", "disconnected", "disconnected"]


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


# Order and gaps, against a model


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


def account_for(items: list[Change | Gap], announced: list[int]) -> None:
    """Check that *items* go up, and skip no more in any place than was told."""
    last = [0] * len(announced)
    skipped = told = 0
    for item in items:
        if isinstance(item, Gap):
            told += item.count
            continue
        number = int(item.path.rpartition("/")[2])
        assert item.sequence > last[number], f"out of order: {item}"
        assert item.current == item.sequence
        skipped += item.sequence - last[number] - 1
        last[number] = item.sequence
        assert skipped <= told, f"a gap before {item} that was not told of"
    skipped += sum(announced) - sum(last)

    assert skipped == told


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
