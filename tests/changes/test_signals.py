"""Blinker's signals carry changes, whoever connects from whichever thread."""

from __future__ import annotations

import gc
import threading

import pytest

from kinesis.changes import (
    Change,
    Changes,
    component_changed,
    stage_changed,
)
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
