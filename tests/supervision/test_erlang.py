"""
The cases that Erlang's own supervisor test suite names, in this runtime's words.

Each test says in brackets which case of ``supervisor_SUITE`` it is. *Temporary*,
*transient* and *permanent* are ``never``, ``on-failure`` and ``always``; a process
that ends ``normal`` is a component that finished by itself, ``shutdown`` is one that
somebody stopped, anything else one that failed. Cases about child specifications,
code changes and simple_one_for_one have no counterpart here.
"""

from __future__ import annotations

from typing import Any

import pytest

from kinesis import Component, Container, Stage
from kinesis.errors import (
    ActivationError,
    ComponentNotFoundError,
    ContainerStoppingError,
    DuplicateNameError,
)
from kinesis.restarts import When
from kinesis.testing import Simulation
from tests.supervision.parts import Bench, again

ENDED = Stage.TORN_DOWN


# -- sup_start, sup_stop -------------------------------------------------------------


def test_a_container_without_children_starts(simulation: Simulation) -> None:
    """
    [sup_start_normal] There is nothing to wait for.
    """
    with simulation.runtime() as runtime:
        assert runtime.root.stage is Stage.STARTED
        assert runtime.add(Container(name="box")).stage is Stage.STARTED


def test_a_child_that_does_not_start_fails_its_container(
    simulation: Simulation,
) -> None:
    """
    [sup_start_fail] Those that had started are taken down, the last one first.
    """
    bench = Bench(simulation)
    bench.runtime.start()
    box = Container(
        name="box",
        components=[bench.part("a"), bench.part("b"), bench.part("c", "raise!")],
    )
    with pytest.raises(ActivationError, match="told to fail") as caught:
        bench.runtime.add(box)
    bench.runtime.stop()

    assert caught.value.path == "/app/box/c"
    assert bench.events == [
        *("init a", "start a", "init b", "start b", "init c", "start c"),
        *("tear_down c", "stop b", "tear_down b", "stop a", "tear_down a"),
    ]


def test_a_child_that_does_not_start_leaves_no_trace(simulation: Simulation) -> None:
    """
    [sup_start_child_returns_error] Whoever adds it learns why, and may add it again.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        with pytest.raises(ActivationError, match="told to fail in init"):
            bench.add("a", "init")

        assert len(runtime) == 0

        bench.add("a")

        assert [ref.name for ref in runtime] == ["a"]


def test_a_child_that_returns_an_error_at_its_restart_is_tried_again(
    simulation: Simulation,
) -> None:
    """
    [sup_start_restart_child_returns_error] Each try waits longer, and counts.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = bench.add("a", "raise", "raise!", "raise!")
        bench.since()

        assert bench.since(1.0) == ["start a"]
        assert bench.since(2.0) == ["start a"]
        assert bench.since(4.0) == ["start a"]
        assert (ref.stage, ref.report().restarts) == (Stage.STARTED, 3)


def test_a_child_may_take_as_long_as_its_stop_deadline_says(
    simulation: Simulation,
) -> None:
    """
    [sup_stop_infinity, sup_stop_timeout] Within it the child ends in its own time.
    """

    class Slow(Component):
        wait: Any = None

        def stop(self) -> None:
            type(self).wait(9.0)

    Slow.wait = simulation.threads.sleep
    with simulation.runtime() as runtime:
        ref = runtime.add(Slow(name="slow", stop_deadline=10.0, restart=again("never")))
        before = simulation.now
        ref.wait_stopped(60.0)

        assert simulation.now - before == pytest.approx(9.0)
        assert ref.report().hung is None


def test_a_child_that_outlives_its_stop_deadline_is_left_behind(
    simulation: Simulation,
) -> None:
    """
    [sup_stop_brutal_kill] It cannot be killed, but nobody waits for it any more.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        bench.add("a")
        ref = bench.add("b", stop_deadline=2.0)
        bench.tell("b", "hang")
        before = simulation.now
        runtime.remove("b")

        assert simulation.now - before == pytest.approx(2.0)
        assert ref.report().hung is not None
        assert runtime["a"].stage is Stage.STARTED
        simulation.sleep(1_000.0)


# -- normal, shutdown and abnormal termination ---------------------------------------


@pytest.mark.parametrize(
    ("when", "word", "runs_again"),
    [
        # [permanent_normal, transient_normal, temporary_normal]
        ("always", "return", True),
        ("on-failure", "return", False),
        ("never", "return", False),
        # [permanent_abnormal, transient_abnormal, temporary_abnormal]
        ("always", "raise", True),
        ("on-failure", "raise", True),
        ("never", "raise", False),
        # SystemExit is a failure like any other, whatever its code
        ("always", "exit", True),
        ("on-failure", "exit", True),
        ("never", "exit", False),
    ],
)
def test_each_kind_runs_again_after_the_ends_it_names(
    simulation: Simulation, when: When, word: str, runs_again: bool
) -> None:
    """
    Three kinds, and three ways to end.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        ref = bench.add("a", policy=again(when))
        other = bench.add("b")
        bench.tell("a", word)
        bench.since(1.0)

        assert ref.stage is (Stage.STARTED if runs_again else ENDED)
        assert ref.report().restarts == int(runs_again)
        assert ref.report().failures == int(word != "return")
        assert (other.stage, runtime.root.stage) == (Stage.STARTED, Stage.STARTED)


@pytest.mark.parametrize("when", ["always", "on-failure", "never"])
def test_no_kind_runs_again_once_somebody_stopped_it(
    simulation: Simulation, when: When
) -> None:
    """
    [permanent_shutdown, transient_shutdown, temporary_shutdown] Stopped is stopped.

    An Erlang supervisor restarts a permanent child also after ``shutdown``; a stop
    by hand here is its ``terminate_child``, after which it does not.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = bench.add("a", policy=again(when))
        ref.stop()
        simulation.sleep(60.0)

        assert (ref.stage, ref.report().restarts) == (Stage.STOPPED, 0)


@pytest.mark.parametrize("strategy", ["one-for-all", "rest-for-one"])
def test_a_bystander_that_is_never_restarted_ends_with_its_siblings(
    simulation: Simulation, strategy: str
) -> None:
    """
    [temporary_bystander] It depends on the one that failed, so it cannot stay.
    """
    bench = Bench(simulation, strategy=strategy)
    with bench.runtime:
        first = bench.add("a")
        bystander = bench.add("b", policy=again("never"))
        bench.since()
        bench.tell("a", "raise")

        assert bench.since(1.0) == ["stop b", "tear_down b", "start a"]
        assert (first.stage, bystander.stage) == (Stage.STARTED, ENDED)
        assert bystander.why()[-1] == "ends with them: it is never restarted"


# -- child_adm: delete, stop, start, restart by hand ---------------------------------


def test_children_are_stopped_started_and_removed_by_hand(
    simulation: Simulation,
) -> None:
    """
    [child_adm] Each may be done again, and is said to be over when it is not there.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        ref = bench.add("a")
        ref.start()  # it runs: nothing to do
        ref.stop()
        ref.stop()
        ref.start()
        ref.restart()

        assert bench.since() == [
            *("init a", "start a", "stop a", "start a", "stop a", "start a")
        ]

        with pytest.raises(DuplicateNameError):
            bench.add("a")
        ref.stop()
        with pytest.raises(DuplicateNameError):
            bench.add("a")
        runtime.remove("a")
        with pytest.raises(ComponentNotFoundError):
            runtime.remove("a")
        ref.stop()
        with pytest.raises(Exception, match="is gone"):
            ref.start()
        bench.add("a")

        assert runtime["a"].stage is Stage.STARTED


def test_a_child_that_ended_may_be_added_anew_or_started_again(
    simulation: Simulation,
) -> None:
    """
    [child_adm, sup_start_ignore_temporary_child] Its name is free once it ended.
    """
    bench = Bench(simulation)
    with bench.runtime:
        old = bench.add("a", policy=again("never"))
        bench.tell("a", "raise")
        old.start()

        assert (old.stage, old.report().run) == (Stage.STARTED, 2)

        bench.tell("a", "raise")
        new = bench.add("a")

        assert (new.stage, old.stage) == (Stage.STARTED, ENDED)


def test_a_child_is_removed_while_it_waits_for_its_restart(
    simulation: Simulation,
) -> None:
    """
    [child_adm: delete during a restart] The wait is void; nothing starts again.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        bench.add("a")
        bench.tell("a", "raise")
        before = simulation.now
        runtime.remove("a")

        assert (len(runtime), simulation.now) == (0, before)
        bench.since()
        assert bench.since(60.0) == []


def test_a_child_is_stopped_while_it_waits_for_its_restart(
    simulation: Simulation,
) -> None:
    """
    [child_adm: stop during a restart] It stays so, and may be started again.
    """
    bench = Bench(simulation)
    with bench.runtime:
        ref = bench.add("a")
        bench.tell("a", "raise")
        ref.stop()
        simulation.sleep(60.0)

        assert (ref.stage, ref.report().restarts) == (Stage.STOPPED, 0)

        ref.start()

        assert ref.stage is Stage.STARTED


@pytest.mark.parametrize("by_hand", ["stop", "remove"])
def test_a_child_is_taken_out_while_its_group_restarts(
    simulation: Simulation, by_hand: str
) -> None:
    """
    [child_adm: during one_for_all] The others come up without it.
    """
    bench = Bench(simulation, strategy="one-for-all")
    with bench.runtime as runtime:
        for name in "abc":
            bench.add(name)
        bench.tell("a", "raise")  # all are down, and wait a second
        bench.since()
        if by_hand == "stop":
            runtime["b"].stop()
        else:
            runtime.remove("b")

        assert "start a" not in bench.since()
        assert bench.since(1.0) == ["start a", "start c"]


# -- one_for_one ---------------------------------------------------------------------


def test_one_for_one_restarts_the_child_that_failed(simulation: Simulation) -> None:
    """
    [one_for_one] Nobody else notices.
    """
    bench = Bench(simulation)
    with bench.runtime:
        for name in "ab":
            bench.add(name)
        bench.since()
        bench.tell("a", "raise")

        assert bench.since(1.0) == ["start a"]


@pytest.mark.seeds(30)
@pytest.mark.parametrize("strategy", ["one-for-one", "rest-for-one", "one-for-all"])
def test_a_child_that_reached_its_intensity_fails_its_container(
    simulation: Simulation, strategy: Any
) -> None:
    """
    [one_for_one_escalation, rest_for_one_escalation, one_for_all_escalation]

    The child ends, then the others, the last one first; the container above then
    decides about it.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        policy = again(limit=1)
        box = runtime.add(
            bench.box(
                "box", "a", "b", strategy=strategy, policy=policy, restart=again()
            )
        )
        bench.tell("a", "raise")
        simulation.sleep(1.0)
        bench.since()
        bench.tell("a", "raise")

        assert "gave up: 1 restarts within 60 s are the limit" in box["a"].why()
        assert bench.since() == ["tear_down a", "stop b", "tear_down b"]
        assert box.stage is Stage.RESTARTING
        assert bench.since(1.0) == ["init a", "start a", "init b", "start b"]
        assert (box.stage, box["a"].stage) == (Stage.STARTED, Stage.STARTED)


def test_a_failure_that_nobody_mends_ends_the_program_with_one(
    simulation: Simulation,
) -> None:
    """
    [tree, nested escalation] Up through two containers, each with a limit of its own.
    """
    bench = Bench(simulation)
    never = again(limit=0)
    inner = bench.box("inner", "a", policy=never, restart=never)
    outer = Container(name="outer", components=[inner], restart=never)
    runtime = bench.runtime.start()
    runtime.add(bench.part("bystander"))
    ref = runtime.add(outer)
    bench.tell("a", "raise")

    assert runtime.join(60.0) == 1
    assert bench.events[-3:] == ["tear_down a", "stop bystander", "tear_down bystander"]
    assert ref.why()[-2:] == (
        "failed because of '/app/outer/inner': start raised: ValueError: told to fail",
        "gave up: 0 restarts within 60 s are the limit",
    )


# -- rest_for_one, one_for_all -------------------------------------------------------


def test_rest_for_one_restarts_those_that_started_after_it(
    simulation: Simulation,
) -> None:
    """
    [rest_for_one] Down in reverse order, up in order; those before it run on.
    """
    bench = Bench(simulation, strategy="rest-for-one")
    with bench.runtime:
        for name in "abcd":
            bench.add(name)
        bench.since()
        bench.tell("b", "raise")

        assert bench.since() == ["stop d", "stop c"]
        assert bench.since(1.0) == ["start b", "start c", "start d"]


def test_one_for_all_restarts_all_of_them(simulation: Simulation) -> None:
    """
    [one_for_all] Down in reverse order, up in order.
    """
    bench = Bench(simulation, strategy="one-for-all")
    with bench.runtime:
        for name in "abcd":
            bench.add(name)
        bench.since()
        bench.tell("b", "raise")

        assert bench.since() == ["stop d", "stop c", "stop a"]
        assert bench.since(1.0) == ["start a", "start b", "start c", "start d"]


@pytest.mark.parametrize("strategy", ["one-for-all", "rest-for-one"])
def test_another_child_fails_while_its_siblings_are_restarted(
    simulation: Simulation, strategy: str
) -> None:
    """
    [one_for_all_other_child_fails_restart, rest_for_one_other_child_fails_restart]

    The second one does not come up: the first, which did, is restarted with it or
    left, as the strategy says; no child is started twice.
    """
    bench = Bench(simulation, strategy=strategy)
    with bench.runtime as runtime:
        bench.add("a")
        bench.add("b")
        bench.parts["b"].script = ["raise!"]
        bench.since()
        bench.tell("a", "raise")

        assert bench.since() == ["stop b"]
        if strategy == "one-for-all":
            assert bench.since(1.0) == ["start a", "start b", "stop a"]
            assert bench.since(1.0) == ["start a", "start b"]
        else:
            assert bench.since(1.0) == ["start a", "start b"]
            assert bench.since(1.0) == ["start b"]
        assert [ref.stage for ref in runtime] == [Stage.STARTED, Stage.STARTED]


# -- misc ----------------------------------------------------------------------------


def test_children_keep_their_order_over_restarts(simulation: Simulation) -> None:
    """
    [order_of_children] As they first came up; started anew, a child is the last.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        for name in "abc":
            bench.add(name)
        bench.tell("a", "raise")
        simulation.sleep(1.0)

        assert [ref.name for ref in runtime] == ["a", "b", "c"]

        runtime.remove("a")
        bench.add("a")

        assert [ref.name for ref in runtime] == ["b", "c", "a"]


def test_restarting_children_are_counted(simulation: Simulation) -> None:
    """
    [count_children, count_restarting_children] The container's repr has the numbers.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        for name in "abc":
            bench.add(name)
        bench.tell("a", "raise")
        runtime["b"].stop()

        assert len(runtime) == 3
        assert "1 restarting, 1 stopped, 1 started" in repr(runtime.root)


def test_many_restarts_in_a_row_stay_within_the_limit(simulation: Simulation) -> None:
    """
    [multiple_restarts] As many as were allowed, with the failure that was one too many.
    """
    bench = Bench(simulation)
    runtime = bench.runtime.start()
    ref = bench.add("a", *["raise"] * 10, policy=again(limit=5))

    assert runtime.join(120.0) == 1
    assert (ref.report().restarts, ref.report().failures) == (5, 6)


@pytest.mark.parametrize("strategy", ["one-for-one", "rest-for-one", "one-for-all"])
def test_a_restart_that_never_succeeds_can_be_stopped(
    simulation: Simulation, strategy: str
) -> None:
    """
    [hanging_restart_loop, hanging_restart_loop_rest_for_one]

    While one of them fails at each try, requests are taken and the stop is heard.
    """
    bench = Bench(simulation, strategy=strategy)
    runtime = bench.runtime.start()
    bench.add("a")
    ref = bench.add("b", "raise", *["raise!"] * 100, policy=again(limit=1_000))
    simulation.sleep(100.0)

    assert ref.report().restarts > 10
    assert runtime["a"].report().stage in (Stage.STARTED, Stage.RESTARTING)

    before = simulation.now
    runtime.stop()

    assert simulation.now == before
    with pytest.raises(ContainerStoppingError):
        bench.add("c")


def test_many_children_start_and_stop(simulation: Simulation) -> None:
    """
    [scale_start_stop_many_children] In order and in reverse, whatever their number.
    """
    bench = Bench(simulation)
    names = [f"n{number}" for number in range(100)]
    with bench.runtime as runtime:
        runtime.add(bench.box("box", *names))

    assert [e for e in bench.events if "start" in e] == [f"start {n}" for n in names]
    assert [e for e in bench.events if "tear" in e] == [
        f"tear_down {name}" for name in reversed(names)
    ]
