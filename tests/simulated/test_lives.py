"""Lives: one at a time, in order, and always with an end."""

from __future__ import annotations

import contextlib
import re
from functools import partial
from typing import Any

import pytest

from kinesis import (
    Backoff,
    Component,
    Container,
    Restart,
    Runtime,
    Stage,
    control,
    field,
    handles,
)
from kinesis.errors import (
    ActivationError,
    ComponentStoppedError,
    ContainerStoppingError,
    DuplicateNameError,
    HungError,
    KinesisError,
)
from kinesis.testing import Simulation
from tests.simulated.parts import (
    Add,
    Pair,
    Watch,
    Watched,
    join_all,
    start_all,
    yield_to_others,
)


def check_order(events: list[str]) -> None:
    """Check that *events* of one component are those of lives, one after another."""
    hooks = "".join(f"{event} " for event in events if event != "handle")
    life = r"(init (pre_start (stop )?)*tear_down )*"
    assert re.fullmatch(life, hooks), events
    running = False
    for event in events:
        assert running or event != "handle", events
        running = event in ("pre_start", "handle")


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
@pytest.mark.seeds(100)
def test_a_component_lives_one_life_at_a_time(
    simulation: Simulation, dispatch: Any
) -> None:
    """
    Whoever starts, stops, restarts and sends: nothing of it overlaps, and no
    handler runs outside of a run.
    """
    watch = Watch()

    def steer(runtime: Runtime, names: list[str]) -> None:
        for name in names:
            ref = runtime["watched"]
            try:
                getattr(ref, name)()
            except (ActivationError, ComponentStoppedError):
                continue

    def send(runtime: Runtime) -> None:
        for _ in range(3):
            try:
                runtime["watched"].send(Add(), timeout=None)
            except ComponentStoppedError:
                simulation.sleep(0.0)

    with simulation.runtime() as runtime:
        component = Watched(name="watched", dispatch=dispatch)
        component.watch = watch
        runtime.add(component)
        jobs = [
            partial(steer, runtime, ["stop", "start"]),
            partial(steer, runtime, ["restart", "stop", "start"]),
            partial(send, runtime),
        ]
        join_all(start_all(simulation, jobs))

    assert watch.most == 1, watch.events
    check_order(watch.events)


@pytest.mark.seeds(200)
def test_activation_order_is_the_order_in_which_components_were_added(
    simulation: Simulation,
) -> None:
    """
    By one thread, in the order added; among several, one after another; and they
    stop in the reverse order.
    """
    started: list[str] = []
    stopped: list[str] = []

    class Noted(Component):
        def start(self) -> None:
            yield_to_others(self)
            started.append(self.name)

        def tear_down(self) -> None:
            stopped.append(self.name)

        @handles(Add)
        def add(self, message: Add) -> None:
            """Go on after the start."""

    def add(runtime: Runtime, letter: str) -> None:
        for number in range(2):
            runtime.add(Noted(name=f"{letter}{number}"))

    with simulation.runtime() as runtime:
        adders = start_all(simulation, [partial(add, runtime, c) for c in "ab"])
        join_all(adders)
        order = [ref.name for ref in runtime]

    assert order == started
    assert stopped == started[::-1]
    for letter in "ab":
        own = [name for name in started if name.startswith(letter)]
        assert own == [f"{letter}{number}" for number in range(2)]


class Fails(Component):
    """Fails in its first runs, at a point that the seed chooses the moment of."""

    runs: int = field(default=0)
    fails: int = field(default=2)

    def start(self) -> None:
        self.runs += 1
        self.ready()
        yield_to_others(self)
        if self.runs <= self.fails:
            raise OSError(f"run {self.runs}")
        self.stopping.wait()

    @handles(Add)
    def add(self, message: Add) -> int:
        return self.runs


def hang(component: Component) -> None:
    """Stay for much longer than any deadline."""
    component.ref._cell.services.threads.sleep(500.0)


class Hangs(Component):
    """Hangs in the hook or handler that it is told to hang in."""

    where: str = field(default="stop")

    def stop(self) -> None:
        if self.where == "stop":
            hang(self)

    def tear_down(self) -> None:
        if self.where == "tear_down":
            hang(self)

    @handles(Add)
    def add(self, message: Add) -> None:
        if self.where == "handle":
            hang(self)


@pytest.mark.seeds(200)
def test_a_stop_ends_whatever_happens_meanwhile(simulation: Simulation) -> None:
    """
    Adds, removes, restarts, failures and messages, all at once; and after it
    every thread has ended, and everybody has been answered.
    """

    def add(runtime: Runtime) -> None:
        for number in range(2):
            try:
                runtime.add(Fails(name=f"added{number}"))
            except (ContainerStoppingError, ActivationError, DuplicateNameError):
                continue

    def disturb(runtime: Runtime) -> None:
        for name in ("box/inner", "fails", "box"):
            try:
                runtime[name].send(control.Restart())
                runtime.remove(name)
            except KinesisError:
                continue

    def send(runtime: Runtime) -> None:
        for _ in range(3):
            try:
                runtime["fails"].send(Add(), timeout=None)
            except KinesisError:
                continue

    runtime = simulation.runtime(
        components=[
            Fails(name="fails"),
            Container(name="box", components=[Fails(name="inner", fails=1)]),
        ]
    ).start()
    jobs = [partial(job, runtime) for job in (add, disturb, send)]
    threads = start_all(simulation, jobs)
    report = runtime.stop()
    join_all(threads)

    assert report.late == ()
    assert runtime.root.stage is Stage.TORN_DOWN


@pytest.mark.parametrize("where", ["stop", "tear_down", "handle"])
@pytest.mark.seeds(40)
def test_a_stop_ends_in_time_though_code_hangs(
    simulation: Simulation, where: str
) -> None:
    """
    What hangs is left behind; who waits for its handler is answered.
    """
    answers: list[BaseException] = []

    def send(ref: Any) -> None:
        try:
            ref.send(Add(), timeout=None)
        except ComponentStoppedError as error:
            answers.append(error)

    runtime = simulation.runtime().start()
    hangs = runtime.add(Hangs(name="hangs", where=where, stop_deadline=2.0))
    runtime.add(Pair(name="other"))
    senders = start_all(simulation, [partial(send, hangs)] * 2)
    simulation.settle()
    begun = simulation.now
    with contextlib.suppress(HungError):  # it hangs on, or has come back by then
        runtime.stop()
    seconds = simulation.now - begun
    join_all(senders)
    simulation.sleep(1000.0)  # whoever hung comes back, and finds the end

    assert seconds < 15.0
    assert hangs.stage is Stage.TORN_DOWN
    assert len(answers) == (2 if where == "handle" else 0)
    counts = hangs.report().messages
    assert counts is not None
    assert counts.accepted == counts.answered == 2


@pytest.mark.seeds(5)
def test_an_hour_of_backoff_passes_in_no_time(simulation: Simulation) -> None:
    """
    Virtual time jumps to when something happens next.
    """
    policy = Restart(backoff=Backoff(first=600.0, factor=2.0, most=3600.0), limit=9)
    with simulation.runtime() as runtime:
        fails = runtime.add(Fails(name="fails", restart=policy))
        fails.wait_for(Stage.RESTARTING)
        simulation.advance(3600.0)

        assert fails.send(Add()) == 3
