"""What outlives its deadline is left behind, named, and may come back."""

from __future__ import annotations

import logging

import pytest

from kinesis import Restart, Runtime, Stage
from kinesis.concurrency import Event
from kinesis.errors import (
    ActivationError,
    ComponentStoppedError,
    DeadlineError,
    HungError,
)
from kinesis.testing import Simulation
from tests.hooks import WAY_UP
from tests.lifecycle.parts import (
    Traced,
    lines_at,
    raising,
    traced,
    waits,
)


class Stuck:
    """A hook that is stuck until it is let go."""

    def __init__(self, simulation: Simulation) -> None:
        self.gate: Event = simulation.threads.event()
        self.inside: Event = simulation.threads.event()

    def __call__(self, part: Traced) -> None:
        self.inside.set()
        self.wait_for_the_driver()

    def wait_for_the_driver(self) -> None:
        """Stand for a call into a driver that never returns; seen in stacks."""
        self.gate.wait()

    def let_go(self) -> None:
        """Let it return."""
        self.gate.set()


def stop_with_something_hung(runtime: Runtime, *paths: str) -> None:
    """Stop *runtime*; exactly *paths* are named as still running."""
    with pytest.raises(HungError) as caught:
        runtime.stop()

    assert caught.value.paths == paths
    assert runtime.exit_code == 3


# ------------------------------------------------------------- on the way up


@pytest.mark.seeds(5)
@pytest.mark.parametrize("hook", WAY_UP)
def test_a_hook_past_the_start_deadline_is_abandoned(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    """
    Who adds it learns where it is stuck; one log line has the stack.
    """
    caplog.clear()
    stuck = Stuck(simulation)
    part = traced(**{hook: stuck})
    part.start_deadline = 4.0
    with simulation.runtime() as runtime:
        with pytest.raises(ActivationError) as caught:
            runtime.add(part)

        cause = caught.value.__cause__
        assert isinstance(cause, DeadlineError)
        assert (cause.path, cause.hook) == ("/app/part", hook)
        assert "wait_for_the_driver" in cause.stack
        assert f"{hook} of '/app/part' has not returned within 4 s" in str(cause)
        (line,) = lines_at(caplog, "/app/part", "hung")
        assert "wait_for_the_driver" in line
        assert 4 <= simulation.now < 4.1
        assert "part" not in runtime
        assert runtime.add(traced("another")).name == "another"
        stuck.let_go()
        simulation.settle()
    assert part.hooks == [*WAY_UP[: WAY_UP.index(hook) + 1], "tear_down"]


@pytest.mark.seeds(5)
def test_each_stage_has_the_whole_deadline(simulation: Simulation) -> None:
    """
    Three stages on the way up, each just in time.
    """

    def take_time(_: Traced) -> None:
        simulation.sleep(2.9)

    part = traced(pre_init=take_time, init=take_time, start=take_time)
    part.start_deadline = 3.0
    with simulation.runtime() as runtime:
        runtime.add(part)

        assert simulation.now > 8


def test_a_start_that_said_it_works_has_no_deadline_any_more(
    simulation: Simulation,
) -> None:
    """
    It may block for ever.
    """
    with simulation.runtime() as runtime:
        ref = runtime.add(traced(start=waits))
        simulation.sleep(1000)

        assert ref.stage is Stage.STARTED
        assert ref.report().hung is None


@pytest.mark.seeds(60, step_seconds=0.01)
def test_a_hook_that_ends_at_its_deadline_is_late_or_not_but_never_both(
    simulation: Simulation,
) -> None:
    """
    Either it was in time, or its life ends; both ways `tear_down` runs once.
    """
    part = traced(init=lambda _: simulation.sleep(1.0 + 0.02 * (simulation.seed % 5)))
    part.start_deadline = 1.05
    with simulation.runtime() as runtime:
        try:
            ref = runtime.add(part)
        except ActivationError:
            assert "start" not in part.hooks
        else:
            assert ref.stage is Stage.STARTED
        simulation.sleep(5)
    assert part.hooks.count("tear_down") == 1
    assert part.hooks[-1] == "tear_down"


# ------------------------------------------------------------ on the way down


@pytest.mark.seeds(10)
@pytest.mark.parametrize("hook", ["stop", "tear_down"])
def test_a_hook_past_the_stop_deadline_holds_nobody_else_up(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    """
    Siblings are stopped, the rest is joined, and the stop ends within its time.
    """
    caplog.clear()
    stuck = Stuck(simulation)
    parts = [traced("first"), traced("bad", **{hook: stuck}), traced("last")]
    for part in parts:
        part.stop_deadline = 2.0
    runtime = simulation.runtime(components=parts)
    runtime.start()
    before = simulation.now
    ref = runtime["bad"]
    stop_with_something_hung(runtime, "/app/bad")

    assert simulation.now - before < 2 + 1.5
    assert parts[0].hooks[-2:] == parts[2].hooks[-2:] == ["stop", "tear_down"]
    assert ref.stage is Stage.TORN_DOWN
    assert "hung" in ref.status
    assert "wait_for_the_driver" in str(ref.report().hung)
    (line,) = lines_at(caplog, "/app/bad", "is abandoned")
    assert "wait_for_the_driver" in line
    assert f"hung: {hook} has not returned within 2 s" in ref.why()
    stuck.let_go()


@pytest.mark.seeds(10)
def test_a_blocking_start_that_ignores_the_stop_is_left_behind(
    simulation: Simulation,
) -> None:
    """
    The error says what would have made it return.
    """
    stuck = Stuck(simulation)

    def ignore(part: Traced) -> None:
        part.ready()
        stuck(part)

    part = traced(start=ignore)
    part.stop_deadline = 2.0
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.stop()

        last = ref.report().last
        assert ref.stage is Stage.TORN_DOWN
        assert last is not None
        assert "once self.stopping is set" in str(last.error)
        assert "it must wait" not in str(last.error)
        assert "tear_down" not in part.hooks
        stuck.let_go()
        simulation.settle()
        assert part.hooks[-1] == "tear_down"
        assert ref.report().hung is None


@pytest.mark.seeds(20)
@pytest.mark.parametrize("loop", [True, False])
def test_a_handler_that_hangs_at_the_stop_is_named(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, loop: bool
) -> None:
    """
    Its sender is answered; `stop`, which waits behind it, does not run late.
    """
    caplog.clear()
    stuck = Stuck(simulation)
    answers: list[BaseException] = []
    part = traced(handle=stuck, **({"start": waits} if loop else {}))
    part.stop_deadline = 2.0
    with simulation.runtime() as runtime:
        ref = runtime.add(part)

        def send() -> None:
            with pytest.raises(ComponentStoppedError) as caught:
                ref.send("hang", timeout=100)
            answers.append(caught.value)

        sender = simulation.threads.start(send, "sender")
        stuck.inside.wait()
        ref.stop()

        sender.join(0.5)
        assert "the handler of str" in str(answers[0])
        (line,) = lines_at(caplog, "/app/part", "hung:")
        assert "the handler of str of '/app/part' has not returned" in line
        stuck.let_go()
        simulation.settle()
        assert ref.report().hung is None
    assert part.hooks[-2:] == (
        ["tear_down", "handle"] if loop else ["handle", "tear_down"]
    )
    assert "stop" not in part.hooks


@pytest.mark.seeds(20)
def test_it_is_hung_until_its_tear_down_has_run_as_well(
    simulation: Simulation,
) -> None:
    """
    Else another life could begin beside it, once what was stuck has come back.
    """
    in_stop, in_tear_down = Stuck(simulation), Stuck(simulation)
    part = traced(stop=in_stop, tear_down=in_tear_down)
    part.stop_deadline = 2.0
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.stop()
        in_stop.let_go()
        in_tear_down.inside.wait()
        simulation.settle()

        assert ref.report().hung is not None
        with pytest.raises(ActivationError):
            ref.start()

        in_tear_down.let_go()
        simulation.settle()
        assert ref.report().hung is None
        part.at.clear()
        ref.start()
        assert ref.stage is Stage.STARTED


@pytest.mark.seeds(10)
def test_of_two_threads_that_hang_each_is_named_and_may_come_back(
    simulation: Simulation,
) -> None:
    """
    It is hung until the last of them has.
    """
    in_start, in_stop = Stuck(simulation), Stuck(simulation)

    def ignore(part: Traced) -> None:
        part.ready()
        in_start(part)

    with simulation.runtime() as runtime:
        ref = runtime.add(traced(start=ignore, stop=in_stop))
        ref.stop()

        in_start.let_go()
        simulation.settle()
        assert "hung" in ref.status
        in_stop.let_go()
        simulation.settle()
        assert "hung" not in ref.status
        came_back = [line for line in ref.why() if "came back" in line]
        assert came_back == [
            "start came back after it was abandoned",
            "stop came back after it was abandoned",
        ]


@pytest.mark.seeds(10)
def test_an_abandoned_hook_that_raises_in_the_end_is_logged(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Late, and once: it was counted as a failure when it hung.
    """
    caplog.clear()
    stuck = Stuck(simulation)
    error = SystemExit(7)

    def hang_and_raise(part: Traced) -> None:
        stuck(part)
        raise error

    part = traced(start=waits, stop=hang_and_raise)
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.stop()
        stuck.let_go()
        simulation.settle()

        assert ref.report().failures == 1
        (line,) = lines_at(caplog, "/app/part", "came back")
        assert line == "stop came back after it was abandoned and raised SystemExit: 7"


@pytest.mark.seeds(10)
def test_a_tear_down_that_was_owed_may_fail_late(simulation: Simulation) -> None:
    """
    It runs once the thread comes back; what it raises is noted.
    """
    stuck = Stuck(simulation)
    part = traced(init=stuck, tear_down=raising(ValueError("late")))
    part.start_deadline = 1.0
    with simulation.runtime() as runtime:
        adding = runtime.add_nowait(part)
        stuck.inside.wait()
        ref = runtime["part"]
        assert isinstance(adding.exception(10), ActivationError)
        assert ref.stage is Stage.TORN_DOWN
        stuck.let_go()
        simulation.settle()

        assert ref.why()[-2:] == (
            "tear_down ran late",
            "tear_down failed: ValueError: late",
        )
    assert part.hooks.count("tear_down") == 1


@pytest.mark.seeds(10)
def test_a_hung_component_is_not_restarted(simulation: Simulation) -> None:
    """
    Its thread is stuck: nothing else may run beside it. Its container fails.
    """
    stuck = Stuck(simulation)

    def once(part: Traced) -> None:
        if part.hooks.count("start") > 1:
            stuck(part)

    part = traced(start=once)
    part.start_deadline = 2.0
    runtime = simulation.runtime()
    runtime.start()
    ref = runtime.add(part)
    with pytest.raises(ActivationError, match="hung|within 2 s"):
        ref.restart()
    assert runtime.join(60) == 3
    assert part.hooks.count("start") == 2
    stuck.let_go()


@pytest.mark.seeds(10)
def test_the_whole_stop_ends_in_its_own_deadline(simulation: Simulation) -> None:
    """
    Twenty that hang, two seconds each, in a stop that has five.
    """
    stuck = Stuck(simulation)
    parts = [traced(f"part-{n}", start=waits, stop=stuck) for n in range(20)]
    for part in parts:
        part.stop_deadline = 2.0
    runtime = simulation.runtime(components=parts, shutdown_deadline=5.0)
    runtime.start()
    before = simulation.now
    with pytest.raises(HungError):
        runtime.stop()

    assert simulation.now - before < 5 + 2
    stuck.let_go()


# ------------------------------------------------------------------- stalled


@pytest.mark.seeds(10)
def test_a_handler_that_takes_long_is_stalled_until_it_returns(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With the stack, once; nothing is abandoned or restarted.
    """
    caplog.clear()
    caplog.set_level(logging.INFO, "kinesis")
    stuck = Stuck(simulation)
    part = traced(handle=stuck)
    part.stall_after = 3.0
    part.restart = Restart(when="always")
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        ref.post("work")
        stuck.inside.wait()
        simulation.sleep(2.5)
        assert "stalled" not in ref.status
        simulation.sleep(2)
        assert ref.status == "STARTED stalled"
        assert "wait_for_the_driver" in str(ref.report().stalled)
        simulation.sleep(20)
        stuck.let_go()
        simulation.settle()

        assert ref.status == "STARTED"
        assert ref.report().stalled is None
        assert ref.report().run == 1
        (line,) = lines_at(caplog, "/app/part", "stalled: the handler of str")
        assert "wait_for_the_driver" in line
        assert ref.why()[-1] == "recovered: the handler that took long has returned"


@pytest.mark.seeds(40, step_seconds=0.05)
def test_a_handler_is_never_left_stalled_after_it_has_returned(
    simulation: Simulation,
) -> None:
    """
    However the look and the return race.
    """
    part = traced(handle=lambda _: simulation.sleep(2.0))
    part.stall_after = 1.0
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        for _ in range(3):
            ref.send("work", timeout=60)
        simulation.sleep(3)

        assert ref.report().stalled is None
        assert ref.status == "STARTED"


# ----------------------------------------------------------- status meanwhile


@pytest.mark.seeds(5)
def test_the_status_says_what_runs_and_for_how_long(simulation: Simulation) -> None:
    """
    The hook, its time and its deadline; and who waits for whom.
    """
    stuck = Stuck(simulation)
    with simulation.runtime() as runtime:
        adding = runtime.add_nowait(traced("db", init=stuck))
        behind = runtime.add_nowait(traced("web"))
        stuck.inside.wait()
        simulation.sleep(1.4)

        assert runtime["db"].status == "INITIALIZING (init, 1.4 s of 30 s)"
        assert runtime["web"].status == (
            "SUBMITTED, waiting for /app/db (init, 1.4 s of 30 s)"
        )
        stuck.let_go()
        assert adding.result(10).status == "STARTED"
        behind.result(10)
