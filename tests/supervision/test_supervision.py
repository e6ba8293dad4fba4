"""Supervision through a whole runtime, in virtual time."""

from __future__ import annotations

import contextlib
import logging
import math
from functools import partial
from typing import Any

import pytest

from kinesis import (
    Backoff,
    Component,
    Container,
    Outcome,
    Restart,
    Stage,
    handles,
    private,
)
from kinesis.errors import (
    ActivationError,
    ComponentStoppedError,
    ContainerStoppingError,
    KinesisError,
    StageError,
)
from kinesis.testing import Simulation
from tests.supervision.parts import Bench, Part, again

# -- limits --------------------------------------------------------------------------


def test_a_component_runs_on_as_long_as_its_limit_is_not_passed(
    simulation: Simulation,
) -> None:
    """
    Three failures in a minute where three are allowed; the fourth ends the program.
    """
    bench = Bench(simulation)
    runtime = bench.runtime.start()
    ref = bench.add("a", policy=again(limit=3))
    for _ in range(3):
        bench.tell("a", "raise")
        bench.since(5.0)

    assert (ref.stage, ref.report().restarts) == (Stage.STARTED, 3)

    bench.tell("a", "raise")

    assert runtime.join(1.0) == 1
    assert ref.why()[-1] == "gave up: 3 restarts within 60 s are the limit"


def test_failures_that_have_left_the_window_are_forgotten(
    simulation: Simulation,
) -> None:
    """
    One every forty seconds is never two in a minute: this goes on for ever.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        ref = bench.add("a", policy=again(limit=2))
        for _ in range(20):
            bench.tell("a", "raise")
            bench.since(40.0)

        assert (ref.stage, ref.report().restarts) == (Stage.STARTED, 20)
        assert runtime.exit_code == 0


def test_waits_grow_until_a_run_has_lasted(simulation: Simulation) -> None:
    """
    1, 2, 4, 8, 8 seconds, and 1 again after a run of eight.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = bench.add("a", *["raise"] * 5, policy=again(limit=100))
        bench.since(32.0)
        bench.tell("a", "raise")
        waits = [line.split(" in ")[1] for line in ref.why() if "restart" in line]

        assert waits == ["1.00 s", "2.00 s", "4.00 s", "8.00 s", "8.00 s", "1.00 s"]


# -- restarts from inside ------------------------------------------------------------


class Restarts(Component):
    """Restarts whom it is told, from its handler."""

    @handles(str)
    def restart_other(self, path: str) -> str:
        """Restart the component at *path*, and wait for that."""
        self.find(path).restart()
        return "done"


@pytest.mark.parametrize("strategy", ["one-for-all", "rest-for-one"])
def test_who_restarts_a_sibling_that_takes_it_along_does_not_wait(
    simulation: Simulation, strategy: Any
) -> None:
    """
    It would wait for its own handler to end.
    """
    parts = [Restarts(name=name) for name in "abc"]
    box = Container(name="box", strategy=strategy, components=parts)
    with simulation.runtime(components=[box]) as runtime:
        began = simulation.now

        assert runtime["box/b"].send("a") == "done"

        simulation.settle()
        assert simulation.now - began < 1.0
        assert [ref.report().run for ref in runtime["box"]] == [2, 2, 2]
        assert [ref.report().hung for ref in runtime["box"]] == [None] * 3


def test_who_restarts_a_sibling_that_leaves_it_alone_waits(
    simulation: Simulation,
) -> None:
    """
    The one that started before goes on, and sees the other start again.
    """
    parts = [Restarts(name=name) for name in "abc"]
    box = Container(name="box", strategy="rest-for-one", components=parts)
    with simulation.runtime(components=[box]) as runtime:
        assert runtime["box/a"].send("b") == "done"
        assert runtime["box/b"].report().run == 2

        simulation.settle()
        assert [ref.report().run for ref in runtime["box"]] == [1, 2, 2]


# -- restart_after -------------------------------------------------------------------


class Decides(Part):
    """A part whose `restart_after` answers with what it is given."""

    says: Any = private(default=None)
    asked: list[Outcome] = private(factory=list)

    def restart_after(self, outcome: Outcome) -> float | None:
        """Raise or return what `says` has."""
        self.asked.append(outcome)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says  # type: ignore[no-any-return]  # wrong ones too


def decides(bench: Bench, says: Any, policy: Restart | None = None) -> Any:
    """Add a part whose `restart_after` says this, and let it fail."""
    part = bench.part("a", kind=Decides, policy=policy)
    part.says = says  # type: ignore[attr-defined]  # it is one
    ref = bench.runtime.add(part)
    bench.tell("a", "raise")
    return ref


@pytest.mark.parametrize("when", ["never", "on-failure", "always"])
def test_restart_after_says_when(simulation: Simulation, when: Any) -> None:
    """
    Also where the policy would never restart it; it sees how the run ended.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = decides(bench, 3.5, again(when))

        assert ref.report().next_attempt == pytest.approx(3.5)
        bench.since(3.5)
        assert (ref.stage, ref.report().restarts) == (Stage.STARTED, 1)

        (outcome,) = bench.parts["a"].asked  # type: ignore[attr-defined]  # it has it

        assert (outcome.failed, outcome.hook) == (True, "start")
        assert str(outcome.error) == "told to fail"


def test_restart_after_says_that_there_is_none(simulation: Simulation) -> None:
    """
    None ends the component, whatever its policy.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        ref = decides(bench, None, again("always"))

        assert (ref.stage, runtime.exit_code) == (Stage.TORN_DOWN, 0)
        assert ref.why()[-1] == "failed: restart_after asks for no restart"


@pytest.mark.parametrize("says", [ValueError("oops"), "soon", math.nan, math.inf])
def test_the_policy_decides_where_restart_after_fails(
    simulation: Simulation, says: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It raises, or returns what is no number of seconds; the log says so.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = decides(bench, says)

        assert ref.report().next_attempt == pytest.approx(1.0)
        assert "restart_after failed: the component's policy decides" in caplog.text


def test_the_limit_holds_against_restart_after(simulation: Simulation) -> None:
    """
    Zero seconds each time, and yet it ends.
    """
    bench = Bench(simulation)
    runtime = bench.runtime.start()
    bench.part("a", *["raise"] * 50, kind=Decides).says = 0.0  # type: ignore[attr-defined]  # it has it
    ref = runtime.add(bench.parts["a"])

    assert runtime.join(60.0) == 1
    assert ref.report().restarts == 5


# -- the end of a program ------------------------------------------------------------


@pytest.mark.parametrize("word", ["raise", "exit"])
def test_a_failure_that_reaches_the_root_is_the_exit_code(
    simulation: Simulation, word: str
) -> None:
    """
    ``sys.exit(0)`` inside a component is no way to say that all is well.
    """
    bench = Bench(simulation)
    runtime = bench.runtime.start()
    bench.add("a", policy=again(limit=0))
    bench.tell("a", word)

    assert runtime.join(60.0) == 1


def test_a_component_that_always_restarts_is_never_done(
    simulation: Simulation,
) -> None:
    """
    It finishes by itself, and runs again: the program does not end with it.
    """
    bench = Bench(simulation)
    done: list[int] = []
    simulation.threads.start(lambda: done.append(bench.runtime.run()), "run")
    simulation.settle()
    ref = bench.add("a", policy=again("always"))
    bench.tell("a", "return")

    assert ref.stage is Stage.RESTARTING
    assert "finished: restart 1 in 1.00 s" in ref.why()
    bench.since(1.0)
    assert (ref.stage, done) == (Stage.STARTED, [])

    bench.runtime.stop()
    simulation.settle()

    assert done == [0]


@pytest.mark.seeds(50)
def test_a_program_of_containers_ends_when_all_in_them_have_finished(
    simulation: Simulation,
) -> None:
    """
    However soon: the last may finish before its container is known to be up.
    """
    bench = Bench(simulation)
    inner = Container(name="inner", components=[bench.part("a", "return")])
    outer = Container(name="outer", components=[inner, bench.part("b", "return")])
    runtime = simulation.runtime(name="all", components=[outer])

    assert runtime.run() == 0


# -- by hand -------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["one-for-one", "rest-for-one", "one-for-all"])
def test_a_stop_cuts_every_backoff_short(simulation: Simulation, strategy: str) -> None:
    """
    No virtual time passes between the stop and the end.
    """
    bench = Bench(simulation, strategy=strategy)
    runtime = bench.runtime.start()
    for name in "abc":
        bench.add(name)
    for name in "abc":
        bench.tell(name, "raise")
    before = simulation.now
    told = runtime.stop()

    assert simulation.now == before
    assert told.late == ()
    assert "start" not in " ".join(bench.events[6:]).split()


def test_a_crash_loop_that_is_stopped_stays_stopped_and_begins_afresh(
    simulation: Simulation,
) -> None:
    """
    Stopped between two attempts; the later start may fail as often as the first.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        ref = bench.add("a", *["raise"] * 3, policy=again(limit=3))
        bench.since(3.5)

        assert ref.stage is Stage.RESTARTING

        ref.stop()
        bench.since(600.0)

        assert (ref.stage, ref.report().next_attempt) == (Stage.STOPPED, None)
        assert ref.why()[-1] == "stopped by a caller outside"

        bench.parts["a"].script = ["raise"] * 3
        ref.start()
        bench.since(30.0)

        assert (ref.stage, runtime.exit_code) == (Stage.STARTED, 0)
        assert ref.why().count("failed: restart 1 in 1.00 s") == 2


def test_a_component_stopped_by_hand_stays_so_when_its_container_restarts(
    simulation: Simulation,
) -> None:
    """
    The others come up again, it does not, until it is started.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        box = runtime.add(bench.box("box", "a", "b"))
        box["a"].stop()
        bench.since()
        box.restart()

        assert "start a" not in bench.since()
        assert box["b"].stage is Stage.STARTED

        box["a"].start()

        assert box["a"].stage is Stage.STARTED


def test_a_restart_by_hand_costs_nothing(simulation: Simulation) -> None:
    """
    A hundred of them where none is allowed.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = bench.add("a", policy=again(limit=0))
        for _ in range(100):
            ref.restart()

        assert (ref.stage, ref.report().run) == (Stage.STARTED, 101)


def test_a_component_may_stop_and_restart_itself(simulation: Simulation) -> None:
    """
    It does not wait for itself.
    """

    class Itself(Component):
        restarts: int = 2

        def start(self) -> None:
            if self.restarts:
                self.restarts -= 1
                self.ready()
                self.ref.restart()
            else:
                self.ref.stop()
            self.stopping.wait(60.0)

    with simulation.runtime() as runtime:
        ref = runtime.add(Itself(name="a"))
        ref.wait_stopped(10.0)

        assert (ref.stage, ref.report().run) == (Stage.STOPPED, 3)
        assert ref.why() == (
            *["restarted by '/app/a'"] * 2,
            "stopped by '/app/a'",
        )


class Slow(Part):
    """A part whose start takes two seconds."""

    def pre_start(self) -> None:
        """Take them."""
        self.threads.sleep(2.0)


@pytest.mark.parametrize("how", ["stop", "remove", "end"])
def test_who_waits_for_what_never_begins_is_answered(
    simulation: Simulation, how: str
) -> None:
    """
    It waited for its turn, and so did what is in it.
    """
    bench = Bench(simulation)
    runtime = bench.runtime.start()
    runtime.add_nowait(bench.part("slow", kind=Slow))
    runtime.add_nowait(bench.box("box", "a"))
    simulation.settle()
    box = runtime["box"]
    told: list[object] = []

    def wait(call: Any) -> None:
        try:
            told.append(call())
        except KinesisError as error:
            told.append(type(error))

    calls = [
        partial(box.wait_stopped, 60.0),
        partial(box.wait_for, Stage.STARTED, 60.0),
        partial(box["a"].wait_for, Stage.STARTED, 60.0),
        partial(box["a"].restart, 60.0),
    ]
    for number, call in enumerate(calls):
        simulation.threads.start(partial(wait, call), f"waiter-{number}")
    simulation.settle()
    {"stop": box.stop, "remove": partial(runtime.remove, "box"), "end": runtime.stop}[
        how
    ]()
    simulation.settle()

    assert simulation.now == (2.0 if how == "end" else 0.0)
    assert sorted(told, key=str) == [
        ComponentStoppedError,
        ComponentStoppedError,
        ContainerStoppingError,
        None,
    ]
    assert (box.stage, box["a"].stage) == (Stage.TORN_DOWN, Stage.TORN_DOWN)

    runtime.stop()


def test_what_was_stopped_before_it_began_may_be_started(
    simulation: Simulation,
) -> None:
    """
    With all in it, as if it were new.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        runtime.add_nowait(bench.part("slow", kind=Slow))
        runtime.add_nowait(bench.box("box", "a"))
        simulation.settle()
        box = runtime["box"]
        box.stop()
        simulation.sleep(10.0)

        assert (box.stage, len(box.why())) == (Stage.TORN_DOWN, 1)

        box.start()
        box.add(bench.part("b"))

        assert [ref.stage for ref in box] == [Stage.STARTED, Stage.STARTED]


def test_the_root_cannot_be_restarted_by_hand(simulation: Simulation) -> None:
    """
    Nobody is above it: the error says what to do instead.
    """
    with (
        simulation.runtime() as runtime,
        pytest.raises(StageError, match="Stop the runtime instead"),
    ):
        runtime.root.restart()


# -- what hangs ----------------------------------------------------------------------


def test_a_start_that_never_returns_fails_the_container(
    simulation: Simulation,
) -> None:
    """
    It cannot be restarted on a stuck thread, so it is its container that fails.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        part = bench.part("a", start_deadline=2.0)
        policy = Restart(backoff=Backoff(first=2_000.0, most=2_000.0))
        box = runtime.add(Container(name="box", components=[part], restart=policy))
        part.script = ["hang!"]
        bench.tell("a", "raise")
        bench.since(3.5)

        assert (box["a"].stage, box.stage) == (Stage.TORN_DOWN, Stage.RESTARTING)
        assert "hung: it cannot be restarted, so its container fails" in box["a"].why()
        assert "sleep" in box["a"].report().hung

        bench.since(1_000.0)

        assert box["a"].report().hung is None

        bench.since(1_400.0)

        assert (box.stage, box["a"].stage) == (Stage.STARTED, Stage.STARTED)


def test_a_restart_that_hangs_fails_the_container(simulation: Simulation) -> None:
    """
    Its `stop` never returns: it does not get as far as its next run.
    """

    class Stuck(Part):
        waits: list[float] = private(factory=lambda: [20.0])

        def stop(self) -> None:
            if self.waits:
                self.threads.sleep(self.waits.pop())
            super().stop()

    bench = Bench(simulation)
    with bench.runtime as runtime:
        parts = [bench.part("a", kind=Stuck), bench.part("b")]
        policy = Restart(backoff=Backoff(first=60.0, most=60.0), limit=5)
        box = runtime.add(Container(name="box", components=parts, restart=policy))
        with pytest.raises(ActivationError, match="has not returned within 5 s"):
            box["a"].restart()
        simulation.settle()

        assert box.stage is Stage.RESTARTING
        assert "did not survive its restart" in "".join(box["a"].why())

        bench.since(120.0)  # it has come back, so it may live again

        assert (box.stage, box["a"].stage) == (Stage.STARTED, Stage.STARTED)


# -- why, and how often --------------------------------------------------------------


def test_why_tells_what_happened_the_newest_last(simulation: Simulation) -> None:
    """
    The exception, each restart with its delay, the limit, and who stopped whom.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        box = runtime.add(
            bench.box("box", "a", "b", policy=again(limit=1), restart=again())
        )
        bench.tell("a", "raise")
        bench.since(1.0)
        bench.tell("a", "exit")

        assert box["a"].why() == (
            "start failed: ValueError: told to fail",
            "failed: restart 1 in 1.00 s",
            "start failed: SystemExit: 0",
            "gave up: 1 restarts within 60 s are the limit",
        )
        assert box["b"].why() == ("stopped with its container",)
        assert box.why() == (
            "failed because of '/app/box/a': start raised: SystemExit: 0",
            "failed: restart 1 in 1.00 s",
        )


def test_a_report_tells_how_it_stands(simulation: Simulation) -> None:
    """
    Its stage, its runs, how the last one ended, and when the next one begins.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = bench.add("a", "raise")
        bench.since(1.5)
        bench.tell("a", "exit")
        simulation.sleep(0.5)
        told = ref.report()

        assert (told.stage, told.run, told.restarts) == (Stage.RESTARTING, 2, 1)
        assert (told.failures, type(told.last.error)) == (2, SystemExit)
        assert told.next_attempt == pytest.approx(1.5)
        assert str(told) == (
            "/app/a RESTARTING (next attempt in 1.5 s): run 2, 1 restarts, "
            "2 failures, last: start raised: SystemExit: 0"
        )


def test_the_log_has_each_decision_with_the_path_it_is_about(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The failure with its traceback as an error, what follows from it as a warning.
    """
    caplog.set_level(logging.INFO, "kinesis")
    bench = Bench(simulation)
    runtime = bench.runtime.start()
    bench.add("a", policy=again(limit=1))
    for _ in range(2):
        bench.tell("a", "raise")
        bench.since(1.0)
    runtime.join(60.0)
    lines = [
        (record.levelname, record.path, record.getMessage())  # type: ignore[attr-defined]  # ours have one
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]

    assert lines == [
        ("ERROR", "/app/a", "start failed: ValueError: told to fail"),
        ("WARNING", "/app/a", "failed: restart 1 in 1.00 s"),
        ("ERROR", "/app/a", "start failed: ValueError: told to fail"),
        ("WARNING", "/app/a", "gave up: 1 restarts within 60 s are the limit"),
        (
            "ERROR",
            "/app",
            "failed because of '/app/a': start raised: ValueError: told to fail",
        ),
        (
            "ERROR",
            "/app",
            "failed, so everything stops: start raised: ValueError: told to fail",
        ),
    ]


# -- order ---------------------------------------------------------------------------


@pytest.mark.seeds(50)
def test_components_come_up_one_at_a_time_whoever_adds_them(
    simulation: Simulation,
) -> None:
    """
    Four threads add; no `init` begins before the last one has STARTED.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        parts = [bench.part(f"n{number}") for number in range(4)]
        threads = [
            simulation.threads.start(partial(runtime.add, part), part.name)
            for part in parts
        ]
        for thread in threads:
            thread.join(10.0)
        names = [ref.name for ref in runtime]

        assert bench.events == [
            f"{what} {name}" for name in names for what in ("init", "start")
        ]
    assert [e for e in bench.events if "tear" in e] == [
        f"tear_down {name}" for name in reversed(names)
    ]


@pytest.mark.seeds(30)
@pytest.mark.parametrize("strategy", ["one-for-one", "rest-for-one", "one-for-all"])
def test_a_component_may_add_siblings_from_a_start_that_is_a_restart(
    simulation: Simulation, strategy: str
) -> None:
    """
    The restart of the group waits for it, and it does not wait for the group.
    """
    bench = Bench(simulation)

    class Adds(Part):
        def pre_start(self) -> None:
            self.container.add(bench.part(f"extra{len(self.events)}"))

    with simulation.runtime(strategy=strategy) as runtime:
        runtime.add(bench.part("a", kind=Adds))
        runtime.add(bench.part("b"))
        before = simulation.now
        bench.tell("a", "raise")
        bench.since(1.0)

        assert simulation.now - before == pytest.approx(1.0)
        assert len(runtime) == 4
        assert {ref.stage for ref in runtime} == {Stage.STARTED}


# -- any moment ----------------------------------------------------------------------


@pytest.mark.seeds(200)
def test_a_stop_always_ends(simulation: Simulation) -> None:
    """
    At any moment of a program that fails, restarts, gives up and is steered by hand.

    Each part asserts that it never runs twice at a time.
    """
    seed = simulation.seed
    strategies = ["one-for-one", "rest-for-one", "one-for-all"]
    bench = Bench(simulation, strategy=strategies[seed % 3])
    box = Container(
        name="box",
        strategy=strategies[seed // 3 % 3],  # type: ignore[arg-type]  # one of them
        components=[
            bench.part("a", "raise", "raise!", policy=again(limit=2)),
            bench.part("b", *["exit"] * (seed % 5), policy=again(limit=3)),
        ],
        restart=again(limit=1),
    )
    runtime = bench.runtime.start()

    def steer(first: int) -> None:
        for number in range(first, 6, 2):
            with contextlib.suppress(KinesisError):  # it is too late, or takes time
                runtime.add_nowait(bench.part(f"n{number}", *["raise"] * (number % 3)))
                path = ("box/a", "box", "n1")[number % 3]
                ask = ("stop", "start", "restart")[(seed + number) // 2 % 3]
                getattr(runtime[path], ask)(timeout=0.25)

    runtime.add_nowait(box)
    threads = [
        simulation.threads.start(partial(steer, first), f"steer-{first}")
        for first in (0, 1)
    ]
    simulation.sleep((seed % 16) * 0.25)
    told = runtime.stop()
    for thread in threads:
        thread.join(60.0)

    assert told.late == ()
    assert bench.events.count("init a") <= bench.events.count("tear_down a")
    assert runtime.exit_code in (0, 1)
    assert runtime._services.crashes == 0
