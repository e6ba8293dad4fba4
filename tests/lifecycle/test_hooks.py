"""Hooks: in what order, with what to themselves, whatever they raise."""

from __future__ import annotations

from typing import ClassVar

import pytest

from kinesis import Component, Ref, Stage, State, field, private
from kinesis.errors import ActivationError, StageError
from kinesis.stages import HOOKS as HOOKS_OF_STAGES
from kinesis.testing import Simulation
from tests.hooks import HOOKS, WAY_UP
from tests.lifecycle.parts import (
    KIND_NAMES,
    KINDS,
    PATIENCE,
    Traced,
    errors_at,
    raising,
    traced,
    waits,
)


@pytest.mark.seeds(20)
def test_hooks_run_in_the_order_of_the_stages(simulation: Simulation) -> None:
    """
    Up to STARTED, and down again, each once.
    """
    part = traced()
    with simulation.runtime() as runtime:
        runtime.add(part)

        assert list(WAY_UP) == part.hooks

    assert list(HOOKS) == part.hooks


@pytest.mark.seeds(20)
def test_each_hook_sees_its_own_stage_and_state(simulation: Simulation) -> None:
    """
    The table says which hook runs in which stage; the `Ref` agrees.
    """
    seen: dict[str, tuple[Stage, State]] = {}

    def look(hook: str) -> None:
        seen[hook] = (part.ref.stage, part.ref.state)

    part = traced(**{hook: lambda _, hook=hook: look(hook) for hook in HOOKS})
    with simulation.runtime() as runtime:
        runtime.add(part)
    expected = {
        hook: (stage, stage.state)
        for stage, hooks in HOOKS_OF_STAGES.items()
        for hook in hooks
        if stage is not Stage.RESTARTING
    }

    assert expected == seen


def test_hooks_without_code_do_not_run(simulation: Simulation) -> None:
    """
    A hook of a base is code like any other; those of `Component` are not called.
    """

    class Late(Traced):
        def init(self) -> None:
            super().init()
            self.ran.append(("own init", ""))

    class Bare(Component):
        def default_handler(self, message: object) -> object:
            return message

    part = Late(name="late")
    with simulation.runtime() as runtime:
        runtime.add(part)
        bare: Ref[Bare] = runtime.add(Bare(name="bare"))

        assert bare.send("answer") == "answer"
    assert part.hooks[1:3] == ["init", "own init"]


# ------------------------------------------------------------- what they raise


@pytest.mark.seeds(6)
@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
@pytest.mark.parametrize("hook", WAY_UP)
def test_what_a_hook_on_the_way_up_raises_reaches_who_adds_it(
    simulation: Simulation,
    caplog: pytest.LogCaptureFixture,
    hook: str,
    kind: type[BaseException],
) -> None:
    """
    As the cause of an `ActivationError` with path, stage and hook; it is logged too.
    """
    caplog.clear()
    error = kind()
    part = traced(**{hook: raising(error)})
    with simulation.runtime() as runtime:
        with pytest.raises(ActivationError) as caught:
            runtime.add(part)

        assert error is caught.value.__cause__
        assert ("/app/part", hook) == (caught.value.path, caught.value.hook)
        assert caught.value.stage in HOOKS_OF_STAGES
        assert hook in HOOKS_OF_STAGES[Stage(str(caught.value.stage))]
        assert type(error).__name__ in str(caught.value)
        assert "part" not in runtime
    assert [error] == errors_at(caplog, "/app/part")
    assert part.hooks == [*WAY_UP[: WAY_UP.index(hook) + 1], "tear_down"]


@pytest.mark.seeds(6)
@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
@pytest.mark.parametrize("hook", ["stop", "tear_down"])
def test_what_a_hook_on_the_way_down_raises_stops_nothing(
    simulation: Simulation,
    caplog: pytest.LogCaptureFixture,
    hook: str,
    kind: type[BaseException],
) -> None:
    """
    The component is TORN_DOWN all the same, and the error is logged with its path.
    """
    caplog.clear()
    error = kind()
    part = traced(start=waits, **{hook: raising(error)})
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        runtime.remove("part")

        assert Stage.TORN_DOWN is ref.stage
        last = ref.report().last
        assert last is not None
        assert (hook, error) == (last.hook, last.error)
        assert any(f"{hook} failed: {type(error).__name__}" in s for s in ref.why())
    assert [error] == errors_at(caplog, "/app/part")
    assert list(HOOKS) == part.hooks
    assert runtime.exit_code == 0


@pytest.mark.seeds(10)
@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_a_handler_may_raise_anything_and_the_next_message_is_handled(
    simulation: Simulation, kind: type[BaseException]
) -> None:
    """
    It reaches who sent the message; the component goes on.
    """
    error = kind()
    part = traced(handle=raising(error))
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        with pytest.raises(type(error)) as caught:
            ref.send("one")
        part.at.clear()

        assert error is caught.value
        assert ref.send("two") == "two"
        assert ref.report().failures == 0


def test_errors_of_hooks_are_counted_and_not_taken_for_crashes(
    simulation: Simulation,
) -> None:
    """
    `report` tells how many hooks failed; the runtime's own threads did not.
    """
    part = traced(
        start=waits, stop=raising(SystemExit()), tear_down=raising(MemoryError())
    )
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        runtime.remove("part")

        assert ref.report().failures == 2
        assert runtime._services.crashes == 0


# -------------------------------------------------------------------- tear_down


@pytest.mark.seeds(20)
@pytest.mark.parametrize("failing", WAY_UP)
def test_tear_down_runs_exactly_once_however_far_it_came(
    simulation: Simulation, failing: str
) -> None:
    """
    Also after a failed `pre_init`, and with a `tear_down` that fails.
    """
    part = traced(
        **{failing: raising(ValueError()), "tear_down": raising(ValueError())}
    )
    with simulation.runtime() as runtime:
        with pytest.raises(ActivationError):
            runtime.add(part)

    assert part.hooks.count("tear_down") == 1


def test_tear_down_runs_on_the_thread_that_ran_init(simulation: Simulation) -> None:
    """
    Resources are given back where they were taken, also with a second thread.
    """
    part = traced(start=waits)
    with simulation.runtime() as runtime:
        runtime.add(part).send("make the second thread")
    ran = dict(part.ran)

    assert ran["init"] == ran["tear_down"]
    assert ran["init"] != ran["stop"] == ran["handle"]


# -------------------------------------------------- a hook that harms its owner


class Vandal(Traced):
    """Deletes all its attributes at one of its hooks; notes are of the class."""

    log_of_class: ClassVar[list[str]] = []
    harmful: ClassVar[str] = ""

    def pass_by(self, hook: str) -> None:
        self.log_of_class.append(hook)
        if hook == self.harmful:
            self.__dict__.clear()
        if hook == "start":
            self.stopping.wait()

    def default_handler(self, message: object) -> object:
        return self.path


@pytest.mark.seeds(10)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_may_delete_all_attributes_of_its_component(
    simulation: Simulation, hook: str
) -> None:
    """
    What the runtime needs it keeps elsewhere: the machine moves on.
    """
    Vandal.log_of_class.clear()
    Vandal.harmful = hook
    with simulation.runtime() as runtime:
        ref = runtime.add(Vandal(name="vandal"))

        assert ref.path == "/app/vandal" == ref.send("where")
        assert repr(ref) == "<Ref /app/vandal Vandal [STARTED]>"
    assert list(HOOKS) == Vandal.log_of_class
    assert ref.stage is Stage.TORN_DOWN


@pytest.mark.seeds(10)
def test_a_component_without_attributes_can_be_restarted(
    simulation: Simulation,
) -> None:
    """
    Deadlines, policy and name are copied when it is added.
    """
    part = traced(start=waits, stop=lambda part: part.__dict__.pop("name"))
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        part.__dict__.pop("restart")
        ref.restart()

        assert Stage.STARTED is ref.stage
        assert repr(part) == "<Traced /app/part>"


# -------------------------------------------------------- one writer at a time


@pytest.mark.seeds(30)
@pytest.mark.parametrize("hook", [h for h in HOOKS if h != "start"])
def test_hooks_have_the_state_to_themselves(simulation: Simulation, hook: str) -> None:
    """
    While a hook other than `start` runs, nobody else changes or reads half a state.
    """

    class Halves(Traced):
        left: int = field(default=0)
        right: int = field(default=0)

    def both(part: Traced) -> None:
        assert isinstance(part, Halves)
        part.left += 1
        simulation.threads.sleep(0.01)
        part.right += 1

    def reads() -> None:
        for _ in range(5):
            shot = runtime["half"].snapshot() if "half" in runtime else None
            assert shot is None or shot.left == shot.right
            simulation.threads.sleep(0.004)

    part = Halves(name="half")
    part.at[hook] = both
    with simulation.runtime() as runtime:
        reader = simulation.threads.start(reads, "reader")
        runtime.add(part)
        runtime.remove("half")
        reader.join(PATIENCE)


@pytest.mark.seeds(50)
def test_stop_never_runs_beside_a_handler(simulation: Simulation) -> None:
    """
    It runs on their thread, after the last of them.
    """
    inside: list[str] = []

    def alone(part: Traced) -> None:
        inside.append("x")
        simulation.threads.sleep(0.01)
        assert inside == ["x"]
        inside.clear()

    part = traced(start=waits, handle=alone, stop=alone)
    with simulation.runtime() as runtime:
        ref = runtime.add(part)
        for number in range(4):
            ref.post(number)

    assert part.hooks[-2:] == ["stop", "tear_down"]
    assert part.ran[-3][1] == part.ran[-2][1]


# ----------------------------------------------- what may be asked from a hook


def test_a_component_that_is_in_no_runtime_says_so() -> None:
    """
    Before it is added there is nobody to ask.
    """
    part = traced()
    with pytest.raises(StageError, match="Add it to a container first"):
        _ = part.path
    with pytest.raises(StageError, match="not in a runtime yet"):
        part.finish()

    assert repr(part) == "<Traced part>"


@pytest.mark.seeds(10)
@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_may_ask_where_it_is(simulation: Simulation, hook: str) -> None:
    """
    Path, log, ref, container and time left, from the first hook to the last.
    """
    seen: list[object] = []

    def ask(part: Traced) -> None:
        seen.extend(
            [part.path, part.ref.path, part.container.path, part.time_left, repr(part)]
        )
        part.log.info("here")
        part.find("part")

    with simulation.runtime() as runtime:
        runtime.add(traced(**{hook: ask}))

    assert seen == ["/app/part", "/app/part", "/app", None, "<Traced /app/part>"]


def test_private_attributes_are_made_anew_for_each_component() -> None:
    """
    A resource is never shared by two of one class.
    """

    class Holder(Component):
        things: list[int] = private(factory=list)

    one, two = Holder(name="one"), Holder(name="two")

    assert one.things is not two.things
