"""From stage to stage: when it is STARTED, and how it ends, wherever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from kinesis import Component, Container, Restart, Stage
from kinesis.changes import StageChange
from kinesis.concurrency import Event
from kinesis.errors import ActivationError, ComponentStoppedError, KinesisError
from kinesis.stages import TABLE
from kinesis.testing import Simulation
from tests.hooks import HOOKS, WAY_UP
from tests.lifecycle.parts import Traced, raising, traced, waits

# --------------------------------------------------------------- it is STARTED


@pytest.mark.seeds(20)
def test_it_is_started_when_start_has_returned(simulation: Simulation) -> None:
    """
    Not before: `add` waits for it.
    """
    part = traced(start=lambda _: simulation.sleep(3))
    with simulation.runtime() as runtime:
        runtime.add(part)

        assert simulation.now >= 3


@pytest.mark.seeds(20)
def test_it_is_started_when_start_touches_stopping(simulation: Simulation) -> None:
    """
    That is the sign that its loop has begun; what comes before counts as preparation.
    """

    def prepare_and_loop(part: Traced) -> None:
        simulation.sleep(3)
        part.stopping.wait()

    with simulation.runtime() as runtime:
        ref = runtime.add(traced(start=prepare_and_loop))

        assert simulation.now >= 3
        assert ref.stage is Stage.STARTED


@pytest.mark.seeds(20)
def test_it_is_started_when_start_says_that_it_is_ready(simulation: Simulation) -> None:
    """
    For a loop that learns otherwise that it has to stop; saying it twice is fine.
    """
    go = simulation.threads.event()

    def say_so(part: Traced) -> None:
        part.ready()
        part.ready()
        go.wait()

    with simulation.runtime() as runtime:
        ref = runtime.add(traced(start=say_so, stop=lambda _: go.set()))
        ref.restart()

        assert ref.stage is Stage.STARTED
        assert ref.report().run == 2


@pytest.mark.seeds(20)
@pytest.mark.parametrize("hook", WAY_UP[:4])
def test_only_start_itself_can_say_that_it_works(
    simulation: Simulation, hook: str
) -> None:
    """
    An earlier hook may look at `stopping` or say `ready`: that means nothing yet.
    """

    def too_early(part: Traced) -> None:
        part.ready()
        assert not part.stopping.is_set()
        simulation.sleep(1)

    part = traced(**{hook: too_early, "start": lambda _: simulation.sleep(2)})
    with simulation.runtime() as runtime:
        adding = runtime.add_nowait(part)
        simulation.sleep(2.5)

        assert not adding.done()
        assert adding.result(10).stage is Stage.STARTED


@pytest.mark.seeds(20)
def test_a_handler_may_look_whether_it_should_stop(simulation: Simulation) -> None:
    """
    The event of the run, in every thread of the component.
    """
    seen: list[bool] = []

    def look(part: Traced) -> None:
        seen.append(part.stopping.is_set())

    with simulation.runtime() as runtime:
        ref = runtime.add(traced(start=waits, handle=look, stop=look))
        ref.send(1)
        ref.restart()
        ref.send(2)

    assert seen == [False, True, False, True]


def test_a_start_that_never_says_that_it_works_fails_and_is_told_how(
    simulation: Simulation,
) -> None:
    """
    The start deadline ends the doubt; the error says what was missing.
    """
    forever = simulation.threads.event()
    part = traced(start=lambda _: forever.wait())
    part.start_deadline = 7.0
    with simulation.runtime() as runtime:
        with pytest.raises(ActivationError, match="within 7 s") as caught:
            runtime.add(part)

        assert simulation.now == pytest.approx(7, abs=1)
        assert "wait on self.stopping" in str(caught.value)
        assert "self.ready()" in str(caught.value)
        forever.set()


def test_the_hint_is_given_for_start_alone(simulation: Simulation) -> None:
    """
    An `init` that hangs is not a loop that forgot to say so.
    """
    forever = simulation.threads.event()
    with simulation.runtime() as runtime:
        with pytest.raises(ActivationError) as caught:
            runtime.add(traced(init=lambda _: forever.wait()))

        assert "self.ready()" not in str(caught.value)
        forever.set()


# ------------------------------------------------- stopped wherever it may be


@pytest.mark.seeds(60, step_seconds=0.001)
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("how", ["stop", "remove", "runtime"])
def test_a_stop_at_any_moment_of_the_start_ends_it(
    simulation: Simulation, how: str, blocks: bool
) -> None:
    """
    Whatever runs is let come to its end; nothing new begins; `tear_down` runs once.
    """
    seconds = 0.0005 * simulation.seed

    def linger(_: Traced) -> None:
        simulation.sleep(0.002)

    def loop(part: Traced) -> None:
        linger(part)
        if blocks:
            part.stopping.wait()

    part = traced(**{**dict.fromkeys(WAY_UP, linger), "start": loop})
    part.restart = Restart(when="always")
    runtime = simulation.runtime()
    runtime.start()
    adding = runtime.add_nowait(part)
    simulation.sleep(seconds)
    if how == "runtime":
        runtime.stop()
    elif "part" in runtime and how == "stop":
        ref = runtime["part"]
        ref.stop()
        stopped_in = ref.stage
        assert stopped_in in (Stage.STOPPED, Stage.TORN_DOWN)
        assert (part.hooks[-1:] == ["tear_down"]) == (
            stopped_in is Stage.TORN_DOWN and bool(part.hooks)
        )
    elif "part" in runtime:
        runtime.remove("part")
    runtime.stop()

    assert adding.done()
    went_up = [hook for hook in part.hooks if hook in WAY_UP]
    assert went_up == list(WAY_UP[: len(went_up)])
    assert part.hooks.count("tear_down") == ("pre_init" in part.hooks)
    assert part.hooks.count("stop") == ("start" in part.hooks)


def test_every_stage_of_the_start_can_be_stopped_in(simulation: Simulation) -> None:
    """
    One hook after the other is held while the stop is asked for.
    """
    for hook in WAY_UP[:4]:
        gate, inside = simulation.threads.event(), simulation.threads.event()

        def hold(_: Traced, gate: Event = gate, inside: Event = inside) -> None:
            inside.set()
            gate.wait()

        part = traced(**{hook: hold})
        with simulation.runtime() as runtime:
            adding = runtime.add_nowait(part)
            inside.wait()
            ref = runtime["part"]
            stopping = simulation.threads.start(ref.stop, "who stops it")
            simulation.settle()
            assert stopping.is_alive()
            gate.set()
            stopping.join()

            with pytest.raises(ActivationError, match="stopped or removed"):
                adding.result(0)
        expected = list(WAY_UP[: WAY_UP.index(hook) + 1])
        assert part.hooks == [*expected, "tear_down"], hook


@pytest.mark.seeds(20)
def test_a_stop_waits_for_what_hooks_do_and_skips_what_has_not_begun(
    simulation: Simulation,
) -> None:
    """
    After `pre_start`, a run that has been called off does not enter `start`.
    """
    gate, inside = simulation.threads.event(), simulation.threads.event()

    def hold(_: Traced) -> None:
        inside.set()
        gate.wait()

    part = traced(pre_start=hold)
    with simulation.runtime() as runtime:
        runtime.add_nowait(part)
        inside.wait()
        gate.set() if simulation.seed % 2 else simulation.threads.start(gate.set, "g")
        ref = runtime["part"]
        ref.stop()

        assert ref.stage is Stage.STOPPED
    assert ("start" in part.hooks) == ("stop" in part.hooks)


@pytest.mark.seeds(20)
def test_stopped_it_stays_and_starts_again_on_the_same_object(
    simulation: Simulation,
) -> None:
    """
    What `init` opened stays open; only the run is another one.
    """
    part = traced(start=waits)
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.stop()

        assert ref.stage is Stage.STOPPED
        with pytest.raises(ComponentStoppedError):
            ref.send("too late")
        ref.start()
        assert ref.send("in time") == "in time"
    assert part.hooks == [
        *HOOKS[:6],
        "pre_start",
        "start",
        "handle",
        "stop",
        "tear_down",
    ]


@pytest.mark.seeds(30)
def test_no_stage_is_reached_that_the_table_does_not_allow(
    simulation: Simulation,
) -> None:
    """
    Listeners see each step of the table, in order, under any wishes.
    """
    allowed = {(a, b) for (a, _), b in TABLE.items()}
    part = traced(start=waits)
    part.restart = Restart(when="always")
    with simulation.runtime() as runtime:
        with runtime.root.subscribe() as changes:
            ref = runtime.add(part)
            wishes = [ref.stop, ref.start, ref.restart, part.finish] * 2
            started = [
                simulation.threads.start(_quietly(wish), f"wish {number}")
                for number, wish in enumerate(wishes)
            ]
            for thread in started:
                thread.join()
            runtime.remove("part")
            simulation.settle()
            steps = []
            while True:
                change = changes.get(timeout=0)
                if isinstance(change, StageChange) and change.path == "/app/part":
                    steps.append((change.previous, change.current))
                    if change.current is Stage.TORN_DOWN:
                        break

    assert set(steps) <= allowed
    for (_, reached), (left, _) in zip(steps, steps[1:], strict=False):
        assert reached is left


def _quietly(wish: Callable[[], object]) -> Callable[[], None]:
    """Return what makes a wish that may come too late."""

    def make() -> None:
        with contextlib.suppress(KinesisError):
            wish()

    return make


# ------------------------------------------------------------------ restarts


@pytest.mark.seeds(30)
def test_a_restart_of_a_loop_that_watches_stopping(simulation: Simulation) -> None:
    """
    It returns, then runs again with a new event; no `stop` hook is needed.
    """
    events: list[object] = []

    class Loop(Component):
        def start(self) -> None:
            events.append(self.stopping)
            self.stopping.wait()

    with simulation.runtime() as runtime:
        ref = runtime.add(Loop(name="loop"))
        for _ in range(3):
            ref.restart()

        assert ref.report().run == 4
    assert len(events) == len(set(map(id, events))) == 4


@pytest.mark.seeds(30)
def test_a_restart_asks_a_blocking_start_by_its_stop_hook(
    simulation: Simulation,
) -> None:
    """
    `stop` runs on the thread of the messages, made for it if none came.
    """
    gate: list[Event] = []

    def block(part: Traced) -> None:
        gate.append(simulation.threads.event())
        part.ready()
        gate[-1].wait()

    part = traced(start=block, stop=lambda _: gate[-1].set())
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.restart()
        ref.send("hello")
        ref.restart()
    stops = {thread for hook, thread in part.ran if hook == "stop"}

    assert part.hooks.count("stop") == part.hooks.count("start") == 3
    assert stops == {"kinesis:/app/part (messages)"}


@pytest.mark.seeds(60, step_seconds=0.001)
def test_what_waits_during_a_restart_is_handled_by_the_next_run(
    simulation: Simulation,
) -> None:
    """
    No message is lost or refused in between.
    """
    part = traced(start=waits)
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        restarting = simulation.threads.start(ref.restart, "restarts it")
        replies = [ref.send(number, timeout=30) for number in range(10)]
        restarting.join()

    assert replies == list(range(10))


@pytest.mark.seeds(40, step_seconds=0.001)
@pytest.mark.parametrize("blocks", [True, False])
def test_messages_accepted_before_a_stop_are_handled_in_it(
    simulation: Simulation, blocks: bool
) -> None:
    """
    Unless the component says otherwise; also where no message came before.
    """
    part = traced(**({"start": waits} if blocks else {}))
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        for number in range(5):
            ref.post(number)
        ref.stop()

    assert part.hooks.count("handle") == 5


@pytest.mark.seeds(20)
def test_a_failed_stop_in_a_restart_is_logged_and_the_next_run_begins(
    simulation: Simulation,
) -> None:
    """
    What could not be stopped well is started all the same: that was the wish.
    """
    part = traced(start=waits, stop=raising(ValueError("no")))
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.restart()

        assert ref.stage is Stage.STARTED
        assert ref.report().failures == 1
        assert "stop failed: ValueError: no" in "\n".join(ref.why())


@pytest.mark.seeds(30)
def test_a_stop_that_fails_skips_no_other_end_of_the_run(
    simulation: Simulation,
) -> None:
    """
    It aborts, after `start` has returned too, in whichever order the two end.
    """

    def fail_too(part: Traced) -> None:
        part.stopping.wait()
        raise ValueError("start")

    part = traced(start=fail_too, stop=raising(ValueError("stop")))
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.stop()

        assert ref.stage is Stage.TORN_DOWN
    assert part.hooks.count("tear_down") == 1


@pytest.mark.seeds(20)
@pytest.mark.parametrize("limit", [0, 5])
def test_a_container_whose_child_fails_stops_its_own_blocking_start(
    simulation: Simulation, limit: int
) -> None:
    """
    Its `start` did nothing wrong, and is asked to return as in any stop.
    """
    gates: list[Event] = []
    fail = simulation.threads.event()

    class Box(Container):
        def start(self) -> None:
            gates.append(simulation.threads.event())
            self.ready()
            gates[-1].wait()

        def stop(self) -> None:
            gates[-1].set()

    def wait_and_fail(part: Traced) -> None:
        while not fail.is_set():
            if part.stopping.wait(0.1):
                return
        fail.clear()
        raise ValueError("the child")

    bad = traced("bad", start=wait_and_fail)
    bad.restart = Restart(limit=0)
    box = Box(name="box", components=[traced(), bad], restart=Restart(limit=limit))
    runtime = simulation.runtime()
    runtime.start()
    ref = runtime.add(box)
    fail.set()
    simulation.sleep(60)

    assert ref.stage is (Stage.STARTED if limit else Stage.TORN_DOWN)
    assert ref.report().hung is None
    assert len(gates) == ref.report().run == (2 if limit else 1)
    report = runtime.stop()
    assert report.late == ()


# ------------------------------------------------------------ finished by itself


@pytest.mark.seeds(20)
def test_a_component_without_handlers_has_finished_when_start_returned(
    simulation: Simulation,
) -> None:
    """
    Its life ends, it stays in the tree to be looked at, and its container goes on.
    """

    class Once(Component):
        def start(self) -> None:
            return

    with simulation.runtime() as runtime:
        ref = runtime.add(Once(name="once"))
        ref.wait_for(Stage.TORN_DOWN, 10)

        assert "once" in runtime
        assert ref.why()[-1] == "finished by itself"
        assert ref.report().last is None
        assert runtime.root.stage is Stage.STARTED


@pytest.mark.seeds(20)
def test_an_update_does_not_keep_a_component_from_finishing(
    simulation: Simulation,
) -> None:
    """
    The second thread, made for it, is nothing that may still come.
    """
    go = simulation.threads.event()

    class Once(Component):
        count: int = 0

        def start(self) -> None:
            self.ready()
            go.wait()

    with simulation.runtime() as runtime:
        ref = runtime.add(Once(name="once"))
        ref.update({"count": 1})
        go.set()
        ref.wait_for(Stage.TORN_DOWN, 10)

        assert ref.why()[-1] == "finished by itself"


@pytest.mark.seeds(20)
@pytest.mark.parametrize("where", ["start", "handle", "init", "pre_start"])
def test_a_component_may_say_that_it_has_finished(
    simulation: Simulation, where: str
) -> None:
    """
    From any of its code; it is stopped as in any stop.
    """

    def finish(part: Traced) -> None:
        part.finish()
        part.finish()

    part = traced(**{where: finish})
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        if where == "handle":
            ref.send("enough")
        ref.wait_for(Stage.TORN_DOWN, 10)

        assert "finished by itself" in ref.why()
    assert part.hooks[-2:] == ["stop", "tear_down"]


@pytest.mark.seeds(20)
def test_who_finishes_and_wants_to_run_always_runs_again(
    simulation: Simulation,
) -> None:
    """
    Each run may finish once.
    """
    part = traced(start=lambda part: part.finish() if len(part.ran) < 12 else None)
    part.restart = Restart(when="always")
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        simulation.sleep(60)

        assert ref.stage is Stage.STARTED
        assert ref.report().restarts == 3


@pytest.mark.seeds(20)
def test_a_message_that_comes_later_keeps_a_component_from_finishing(
    simulation: Simulation,
) -> None:
    """
    A timer is something to wait for.
    """

    class Timed(Component):
        def init(self) -> None:
            self.set_handler(str, lambda _: self.finish())

        def start(self) -> None:
            self.after(5.0, "enough")

    with simulation.runtime() as runtime:
        ref = runtime.add(Timed(name="timed"))
        ref.wait_for(Stage.TORN_DOWN, 10)

        assert simulation.now >= 5
