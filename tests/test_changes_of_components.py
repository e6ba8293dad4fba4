"""What listeners hear of components: which changes, in which order, and how long."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kinesis import (
    Component,
    ComponentChange,
    Container,
    Gap,
    Restart,
    Runtime,
    Stage,
    StageChange,
    State,
    StateChange,
    component_changed,
    field,
    handles,
    stage_changed,
)
from kinesis.changes import Subscription
from kinesis.errors import ComponentStoppedError
from tests.messages.parts import (
    PATIENCE,
    Add,
    Adder,
    Call,
    Get,
    Hold,
    Looping,
    in_thread,
    serving_of,
    wait_until,
)

ONE_LIFE = ["STARTED", "STOPPING", "STOPPED", "TEARING_DOWN", "TORN_DOWN"]


def read_all(changes: Subscription) -> list[Any]:
    """Return what is left to read, once *changes* has ended."""
    everything: list[Any] = in_thread(lambda: list(changes)).result()
    return everything


def test_changes_are_chained_numbered_and_timed() -> None:
    """
    Each begins where the one before ended; the numbers have no holes.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            for number in range(1, 6):
                adder.send(Add(number))
            heard = [changes.get(PATIENCE) for _ in range(5)]

    told = [each for each in heard if isinstance(each, ComponentChange)]
    assert [each.path for each in told] == ["/app/adder"] * 5
    assert [each.current.sum for each in told] == [1, 3, 6, 10, 15]
    assert [each.sequence for each in told] == [1, 2, 3, 4, 5]
    assert sorted(each.time for each in told) == [each.time for each in told]
    for before, after in zip(told, told[1:], strict=False):
        assert after.previous == before.current


def test_only_what_changes_the_content_is_announced() -> None:
    """
    A handler that only reads, one that fails, one that changes and takes it back.
    """

    def there_and_back(me: Adder) -> None:
        me.seen.append(1)
        me.seen.pop()

    def change_and_fail(me: Adder) -> None:
        me.sum += 1
        raise ValueError("odd")

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            adder.send(Get())
            adder.send(Call(there_and_back))
            with pytest.raises(ValueError, match="odd"):
                adder.send(Call(change_and_fail))
            adder.send(Add(1))
            heard = [changes.get(PATIENCE) for _ in range(2)]

            assert len(changes) == 0
    assert [
        (each.previous.sum, each.current.sum)
        for each in heard
        if isinstance(each, ComponentChange)
    ] == [(0, 1), (1, 2)]


def test_stages_and_states_are_announced_in_order() -> None:
    """
    Over a restart, a stop and a start.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[StageChange, StateChange]) as changes:
            adder.restart()
            runtime.remove("adder")
            heard = read_all(changes)

    stages = [each for each in heard if isinstance(each, StageChange)]
    states = [each for each in heard if isinstance(each, StateChange)]
    assert [str(each.current) for each in stages] == [
        "RESTARTING",
        "STARTING",
        *ONE_LIFE,
    ]
    for before, after in zip(stages, stages[1:], strict=False):
        assert (after.previous, after.sequence) == (before.current, before.sequence + 1)
    assert [each.current for each in states] == [
        State.INACTIVE,
        State.ACTIVE,
        State.INACTIVE,
    ]


def test_a_subscription_to_a_container_takes_everything_below() -> None:
    """
    Also what is added after it.
    """
    with Runtime() as runtime:
        box = runtime.add(Container(name="box", components=[Adder(name="a")]))
        with box.subscribe(kinds=[ComponentChange]) as changes:
            box["a"].send(Add(1))
            inner = box.add(Container(name="inner"))
            inner.add(Adder(name="b")).send(Add(2))
            runtime.add(Adder(name="outside")).send(Add(3))
            box["a"].send(Add(4))
            heard = [changes.get(PATIENCE) for _ in range(3)]

            assert len(changes) == 0
    assert [each.path for each in heard] == [
        "/app/box/a",
        "/app/box/inner/b",
        "/app/box/a",
    ]


# -- how long they last ---------------------------------------------------------------


def test_a_subscription_ends_by_itself_when_the_component_is_removed() -> None:
    """
    Its last changes are read first.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        changes = adder.subscribe(kinds=[StageChange])
        reading = in_thread(lambda: [str(each.current) for each in changes])  # type: ignore[union-attr]  # none is missed
        runtime.remove("adder")

        assert reading.result() == ONE_LIFE[1:]
        assert changes.ended


def test_listeners_to_what_is_gone_already_end_at_once() -> None:
    """
    Also when another component has taken its place.
    """
    heard: list[object] = []
    with Runtime() as runtime:
        gone = runtime.add(Adder(name="adder"))
        runtime.remove("adder")
        early = gone.subscribe()
        successor = runtime.add(Adder(name="adder"))
        late = gone.subscribe()
        callback = gone.callback(heard.append)
        with successor.subscribe(kinds=[ComponentChange]) as changes:
            successor.send(Add(1))
            changes.get(PATIENCE)

        assert read_all(early) == []
        assert read_all(late) == []
        assert callback.closed
        assert heard == []


def test_listeners_to_what_was_in_a_container_end_with_the_container() -> None:
    """
    However deep it was.
    """
    with Runtime() as runtime:
        inner = Container(name="inner", components=[Adder(name="deep")])
        runtime.add(Container(name="box", components=[inner]))
        deep = runtime["box/inner/deep"]
        changes = deep.subscribe(kinds=[ComponentChange])
        callback = deep.callback(lambda change: None)
        runtime.remove("box")

        assert read_all(changes) == []
        wait_until(lambda: callback.closed)
        assert read_all(deep.subscribe()) == []


def test_listeners_to_a_container_outlive_what_is_removed_from_it() -> None:
    """
    They go on with the others.
    """
    with Runtime() as runtime:
        box = runtime.add(Container(name="box", components=[Adder(name="a")]))
        with box.subscribe(kinds=[ComponentChange]) as changes:
            box.remove("a")
            box.add(Adder(name="a")).send(Add(1))

            assert changes.get(PATIENCE).path == "/app/box/a"
            assert not changes.ended


def test_listeners_stay_over_restarts_and_stops() -> None:
    """
    The component is still there.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            adder.restart()
            adder.send(Add(1))
            adder.stop()
            adder.start()
            adder.send(Add(1))
            heard = [changes.get(PATIENCE) for _ in range(2)]

    sums = [each.current.sum for each in heard if isinstance(each, ComponentChange)]
    assert sums == [1, 2]


def test_all_listeners_end_with_the_runtime() -> None:
    """
    What was announced before is read first; later ones are refused.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        changes = adder.subscribe(kinds=[StageChange])
    stages = [str(each.current) for each in read_all(changes)]

    assert stages == ONE_LIFE[1:]
    with pytest.raises(ComponentStoppedError):
        adder.subscribe()


# -- callbacks and signals ------------------------------------------------------------


def test_callbacks_come_in_order_before_the_subscriptions() -> None:
    """
    The one that wants to be first is; each change is told to all before the next.
    """
    heard: list[tuple[str, int]] = []

    def note(name: str) -> Any:
        return lambda change: heard.append((name, change.current.sum))

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        changes = adder.subscribe(kinds=[ComponentChange])
        for name, first in (("b", False), ("c", False), ("a", True)):
            adder.callback(note(name), first=first, kinds=[ComponentChange])
        for _ in range(2):
            adder.send(Add(1))
        for _ in range(2):
            changes.get(PATIENCE)

    assert heard == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("c", 2)]


def test_blinker_receivers_hear_of_components_by_their_path() -> None:
    """
    All of them, or one.
    """
    heard: list[tuple[str, str]] = []
    done = threading.Event()

    def on_stage(path: str, change: Any) -> None:
        heard.append((path, str(change.current)))

    def on_change(path: str, change: Any) -> None:
        heard.append((path, str(change.current.sum)))
        done.set()

    stage_changed.connect(on_stage)
    component_changed.connect(on_change, sender="/app/b")
    try:
        with Runtime() as runtime:
            a, b = (runtime.add(Adder(name=name)) for name in "ab")
            a.send(Add(1))
            b.send(Add(2))
            assert done.wait(PATIENCE)
    finally:
        stage_changed.disconnect(on_stage)
        component_changed.disconnect(on_change)

    assert ("/app/a", "STARTED") in heard
    assert ("/app/b", "2") in heard
    assert ("/app/a", "1") not in heard


@pytest.mark.parametrize("component", [Adder, Looping])
def test_no_listener_whatever_it_does_costs_the_component_anything(
    component: type[Adder],
) -> None:
    """
    One that hangs, one that raises, one that leaves, one that never reads.
    """
    go = threading.Event()
    heard: list[int] = []

    def hang(change: Any) -> None:
        assert go.wait(PATIENCE)

    def fail(change: Any) -> None:
        raise ValueError("a listener's own")

    def leave(change: Any) -> None:
        leaving.close()

    with Runtime() as runtime:
        adder = runtime.add(component(name="adder"))
        adder.callback(hang, deadline=0.02, kinds=[ComponentChange])
        adder.callback(fail, kinds=[ComponentChange])
        leaving = adder.callback(leave, kinds=[ComponentChange])
        unread = adder.subscribe(max=1, kinds=[ComponentChange])
        adder.callback(
            lambda change: heard.append(change.current.sum), kinds=[ComponentChange]
        )
        replies = [adder.send(Add(1)) for _ in range(5)]
        wait_until(lambda: heard == [1, 2, 3, 4, 5])
        go.set()
        wait_until(lambda: unread.dropped == 4)

        assert replies == [1, 2, 3, 4, 5]
        assert leaving.closed
        assert unread.get(PATIENCE) == Gap("/app/adder", 4)


def test_a_listener_that_comes_while_a_handler_runs_hears_of_its_change() -> None:
    """
    If the state from before is known, as somebody has read it.
    """
    hold = Hold()

    class Holds(Adder):
        @handles(Hold)
        def hold(self, message: Hold) -> str:
            self.sum = 5
            answer = super().hold(message)
            self.sum += 1
            return answer

    with Runtime() as runtime:
        holds = runtime.add(Holds(name="holds"))
        holds.snapshot()
        holds.post(hold)
        hold.wait_entered()
        with holds.subscribe(kinds=[ComponentChange]) as changes:
            hold.go.set()
            change = changes.get(PATIENCE)

    assert isinstance(change, ComponentChange)
    assert (change.previous.sum, change.current.sum) == (0, 6)


def test_a_listener_that_comes_in_the_middle_never_hears_half_a_change() -> None:
    """
    Where the state from before is not known, the first change is the next one.
    """
    hold = Hold()
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Add(1))
        adder.post(hold)
        hold.wait_entered()
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            hold.go.set()
            adder.send(Add(2))
            change = changes.get(PATIENCE)

    assert isinstance(change, ComponentChange)
    assert (change.previous.sum, change.current.sum) == (1, 3)


def test_a_listener_that_comes_later_hears_nothing_of_what_an_earlier_one_missed() -> (
    None
):
    """
    Its first change begins with the state of when it came.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            adder.send(Add(1))
            changes.get(PATIENCE)
        wait_until(lambda: not serving_of(adder).publishing.feed.watched)
        adder.send(Add(2))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            adder.send(Add(3))
            change = changes.get(PATIENCE)

    assert isinstance(change, ComponentChange)
    assert (change.previous.sum, change.current.sum) == (3, 6)


def test_a_change_is_immutable_and_decoded_only_for_who_looks() -> None:
    """
    It is made of bytes until then.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            adder.send(Add(1))
            change: Any = changes.get(PATIENCE)

        assert change.current._values is None
        change.current.seen.append(99)
        assert change.current.seen == [1]
        with pytest.raises(AttributeError):
            change.sequence = 5


def test_a_failed_component_is_heard_of_to_its_end() -> None:
    """
    Each stage that it goes through.
    """

    class Fails(Component):
        runs: int = field(default=0)

        def start(self) -> None:
            self.ready()
            assert go.wait(PATIENCE)
            raise OSError("no more")

        @handles(Get)
        def get(self, message: Get) -> None:
            """Handle something."""

    go = threading.Event()
    with Runtime() as runtime:
        fails = runtime.add(Fails(name="fails", restart=Restart(when="never")))
        with fails.subscribe(kinds=[StageChange]) as changes:
            go.set()
            heard = [str(changes.get(PATIENCE).current) for _ in range(3)]  # type: ignore[union-attr]  # none is missed

        assert heard == ["ABORTING", "TEARING_DOWN", "TORN_DOWN"]
        assert fails.stage is Stage.TORN_DOWN
