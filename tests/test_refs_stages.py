"""References: waiting for stages, moving components, and how things read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from kinesis import Component, Container, Ref, Restart, Runtime, Stage, State, field
from kinesis.errors import (
    ActivationError,
    ComponentNotFoundError,
    ComponentStoppedError,
    ContainerStoppingError,
    KinesisError,
    StageError,
    WaitTimeoutError,
)
from kinesis.restarts import Backoff
from kinesis.testing import Simulation
from tests.lifecycle.parts import Traced, raising, traced, waits

# ---------------------------------------------------------------- waiting for it


@pytest.mark.seeds(20)
def test_a_wait_ends_when_the_stage_is_entered(simulation: Simulation) -> None:
    """
    For each stage of the way, also one that is left again at once.
    """
    runtime = simulation.runtime()
    ref = runtime.add(traced(start=waits))
    reached: list[Stage] = []

    def wait(stage: Stage) -> None:
        ref.wait_for(stage, 100)
        reached.append(stage)

    aside = {Stage.RESTARTING, Stage.ABORTING}
    wanted: list[Stage] = [stage for stage in Stage if stage not in aside]
    waiters = [
        simulation.threads.start(partial(wait, stage), stage.value) for stage in wanted
    ]
    simulation.settle()
    runtime.start()
    runtime.stop()
    for waiter in waiters:
        waiter.join()

    assert set(reached) == set(wanted)


def test_a_wait_for_what_is_so_already_ends_at_once(simulation: Simulation) -> None:
    """
    Without any time passing.
    """
    with simulation.runtime(components=[traced(start=waits)]) as runtime:
        ref = runtime["part"]
        before = simulation.now
        ref.wait_for(Stage.STARTED, 0)
        ref.stop()
        ref.wait_stopped(0)

        assert simulation.now == before


def test_a_wait_that_is_too_long_says_how_it_is(simulation: Simulation) -> None:
    """
    The stage it is in, as an attribute too; nobody waits for it any more.
    """
    with simulation.runtime(components=[traced(start=waits)]) as runtime:
        ref = runtime["part"]
        with pytest.raises(WaitTimeoutError) as caught:
            ref.wait_stopped(2.5)

        assert "was not STOPPED or TORN_DOWN within 2.5 s" in str(caught.value)
        assert "it is STARTED" in str(caught.value)
        assert (caught.value.path, caught.value.stage) == ("/app/part", Stage.STARTED)
        assert simulation.now == pytest.approx(2.5, abs=0.1)
        assert not ref._cell._waiters


@pytest.mark.seeds(20)
def test_a_wait_for_what_cannot_come_any_more_ends(simulation: Simulation) -> None:
    """
    A component that is torn down instead never reaches the stage.
    """
    with simulation.runtime(components=[traced(start=waits)]) as runtime:
        ref = runtime["part"]
        errors: list[KinesisError] = []

        def wait() -> None:
            with pytest.raises(ComponentStoppedError, match="RESTARTING") as caught:
                ref.wait_for(Stage.RESTARTING)
            errors.append(caught.value)

        waiter = simulation.threads.start(wait, "waiter")
        simulation.settle()
        runtime.remove("part")
        waiter.join()

        assert len(errors) == 1
        ref.wait_stopped(0)


@pytest.mark.seeds(100, step_seconds=0.001)
def test_no_wait_misses_its_stage(simulation: Simulation) -> None:
    """
    However the wait's beginning and the step race.
    """
    with simulation.runtime(components=[traced(start=waits)]) as runtime:
        ref = runtime["part"]
        stopper = simulation.threads.start(ref.stop, "stopper")
        ref.wait_stopped(100)
        stopper.join()


# ------------------------------------------------------------------- moving it


@pytest.mark.seeds(20)
def test_what_is_stopped_by_hand_stays_so(simulation: Simulation) -> None:
    """
    Whatever its policy; until somebody starts it. Both are idempotent.
    """
    part = traced(start=waits)
    part.restart = Restart(when="always")
    with simulation.runtime(components=[part]) as runtime:
        ref = runtime["part"]
        ref.stop()
        ref.stop()
        simulation.sleep(1000)
        assert (ref.stage, ref.state) == (Stage.STOPPED, State.INACTIVE)
        ref.start()
        ref.start()

        assert (ref.stage, ref.state) == (Stage.STARTED, State.ACTIVE)
        assert part.hooks.count("start") == 2
        why = ref.why()
        assert "stopped by a caller outside" in why
        assert "started by a caller outside" in why


@pytest.mark.seeds(20)
def test_a_restart_waits_for_the_next_run(simulation: Simulation) -> None:
    """
    It is STARTED again when it returns, and counted.
    """
    part = traced(start=waits)
    with simulation.runtime(components=[part]) as runtime:
        ref = runtime["part"]
        for number in range(1, 6):
            ref.restart()
            assert ref.stage is Stage.STARTED
            assert ref.report().restarts == number

        assert ref.report().run == 6
        assert part.hooks.count("init") == 1


@pytest.mark.seeds(20)
def test_a_restart_that_fails_tells_who_asked_for_it(simulation: Simulation) -> None:
    """
    Once the policy has given up on it.
    """

    def fail_later(part: Traced) -> None:
        if part.hooks.count("start") > 1:
            raise ValueError("broken by now")

    part = traced(start=fail_later)
    part.restart = Restart(limit=2, backoff=Backoff(first=1))
    runtime = simulation.runtime(components=[part])
    runtime.start()
    with pytest.raises(ActivationError, match="broken by now"):
        runtime["part"].restart()

    assert runtime.join(60) == 1


@pytest.mark.seeds(20)
def test_a_start_by_hand_cuts_the_backoff_short(simulation: Simulation) -> None:
    """
    And says what went wrong before.
    """

    def fail_once(part: Traced) -> None:
        part.ready()
        if part.hooks.count("start") == 1:
            raise ValueError("once")

    part = traced(start=fail_once)
    part.restart = Restart(backoff=Backoff(first=500, most=500, jitter=0))
    with simulation.runtime(components=[part]) as runtime:
        ref = runtime["part"]
        simulation.sleep(5)

        assert ref.status == "RESTARTING (next attempt in 495.0 s)"
        before = simulation.now
        ref.start()
        assert simulation.now == before
        assert ref.status == "STARTED"
        assert "start failed: ValueError: once" in ref.why()


@pytest.mark.seeds(20)
def test_a_component_may_move_itself_without_waiting_for_itself(
    simulation: Simulation,
) -> None:
    """
    By its own ref, from a handler.
    """
    wishes: dict[str, Callable[[Traced], object]] = {
        "restart": lambda part: part.ref.restart(),
        "stop": lambda part: part.ref.stop(),
    }
    for name, wish in wishes.items():
        part = traced(handle=wish)
        with simulation.runtime(components=[part]) as runtime:
            ref = runtime["part"]
            ref.post("do it")
            simulation.sleep(1)

            expected = Stage.STOPPED if name == "stop" else Stage.STARTED
            assert ref.stage is expected
            assert ref.report().run == (1 if name == "stop" else 2)


@pytest.mark.seeds(20)
def test_a_ref_is_good_over_restarts_and_after_the_end(simulation: Simulation) -> None:
    """
    It stands for a place; when that is over it still says what was.
    """

    class Counter(Component):
        count: int = field(default=3)

        def default_handler(self, message: object) -> object:
            self.count += 1
            return self.count

    with simulation.runtime() as runtime:
        ref: Ref[Counter] = runtime.add(Counter(name="counter"))
        ref.restart()
        assert ref.send("count") == 4
        ref.stop()
        ref.start()
        assert ref.send("count") == 5
    assert ref.stage is Stage.TORN_DOWN
    assert ref.snapshot().count == 5
    assert ref.type is Counter
    assert (ref.name, ref.path) == ("counter", "/app/counter")
    with pytest.raises(ComponentStoppedError):
        ref.send("count")
    with pytest.raises(ContainerStoppingError):
        ref.start()


def test_the_root_is_nobodys_to_move(simulation: Simulation) -> None:
    """
    Whoever wants it to stop stops the runtime.
    """
    with simulation.runtime() as runtime:
        for wish in (runtime.root.stop, runtime.root.start, runtime.root.restart):
            with pytest.raises(StageError, match="Stop the runtime instead"):
                wish()


# ------------------------------------------------------------------ finding it


def test_components_find_each_other_from_where_they_are(
    simulation: Simulation,
) -> None:
    """
    A sibling by its name, anything by its path; the nearest where there is none.
    """
    found: dict[str, object] = {}

    def look(part: Traced) -> None:
        for path in ("sibling", "/app/box/sibling", "/app/other", "seeker"):
            found[path] = part.find(path).path
        with pytest.raises(ComponentNotFoundError, match="Did you mean 'sibling'"):
            part.find("sibbling")
        with pytest.raises(ComponentNotFoundError):
            part.find("other")

    box = Container(name="box", components=[traced("sibling"), traced("seeker")])
    with simulation.runtime(components=[traced("other"), box]) as runtime:
        runtime["box"].add(traced("late", init=look))

    assert found == {
        "sibling": "/app/box/sibling",
        "/app/box/sibling": "/app/box/sibling",
        "/app/other": "/app/other",
        "seeker": "/app/box/seeker",
    }


# ------------------------------------------------------------------ how it reads


@pytest.mark.seeds(5)
def test_everything_reads_like_a_log_line(simulation: Simulation) -> None:
    """
    Class, path, stage, and what is special about it.
    """
    part = traced(start=waits)
    loop = traced("loop")

    assert repr(part) == "<Traced part>"
    with simulation.runtime(components=[part, loop]) as runtime:
        ref = runtime["part"]
        cell = ref._cell
        assert cell.life is not None
        assert repr(part) == "<Traced /app/part>"
        assert repr(ref) == "<Ref /app/part Traced [STARTED]>"
        assert repr(cell) == "<Traced /app/part [STARTED]>"
        assert repr(cell.life) == "<Lifecycle /app/part [STARTED]>"
        assert repr(cell.life.inside) == "<Inside /app/part>"
        assert repr(runtime.root._supervisor) == (
            "<Supervisor of /app <Books running 2 children>>"
        )
        assert repr(cell.life.running()) == "<Order STARTING: pre_start, start>"
        assert "<Worker kinesis:/app/loop " in repr(
            runtime["loop"]._cell.life._dedicated
        )
        assert repr(runtime._services.timers) == "<Timers app [1 waiting]>"
        assert repr(runtime) == "<Runtime app <Container /app [STARTED | 2 started]>>"
        ref.stop()
        assert repr(ref) == "<Ref /app/part Traced [STOPPED]>"
    assert repr(runtime._conductor) == "<Conductor /app [ended, exit code 0]>"
    future = runtime._conductor.started
    assert repr(future) == "<Future of the start of '/app' [done]>"


def test_a_future_says_whether_it_is_there(simulation: Simulation) -> None:
    """
    And what it is of.
    """
    with simulation.runtime() as runtime:
        gate = simulation.threads.event()
        future = runtime.add_nowait(traced(init=lambda _: gate.wait()))
        assert repr(future) == "<Future of '/app/part' [waiting]>"
        gate.set()
        future.result(10)
        assert repr(future) == "<Future of '/app/part' [done]>"
        failed = runtime.add_nowait(traced("bad", init=raising(ValueError())))
        failed.exception(10)
        assert repr(failed) == "<Future of '/app/bad' [failed: ActivationError]>"


def test_a_report_reads_as_a_line(simulation: Simulation) -> None:
    """
    With how often it ran, and how it ended last.
    """

    def fail_once(part: Traced) -> None:
        part.ready()
        if part.hooks.count("start") == 1:
            raise ValueError("once")

    with simulation.runtime(components=[traced(start=fail_once)]) as runtime:
        simulation.sleep(5)

        assert str(runtime["part"].report()) == (
            "/app/part STARTED: run 2, 1 restarts, 1 failures, "
            "last: start raised: ValueError: once"
        )


def test_refs_are_equal_where_they_stand_for_the_same_place() -> None:
    """
    Two runtimes have no place in common, whatever the paths.
    """
    one, two = Runtime(components=[traced()]), Runtime(components=[traced()])

    assert one["part"] == one["/app/part"]
    assert one["part"] != two["part"]
    assert one["part"] != "/app/part"
    assert len({one["part"], one["part"], two["part"]}) == 2
    one.stop()
    two.stop()
