"""Everything at once, by chance: the promises that hold in any weather."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from kinesis import Component, Container, Restart, Runtime, Stage
from kinesis.concurrency import Event, Thread
from kinesis.errors import HungError, KinesisError
from kinesis.restarts import Backoff
from kinesis.testing import Simulation
from tests.hooks import HOOKS
from tests.lifecycle.parts import KINDS, Traced

KINDS_RAISED = tuple(type(kind()) for kind in KINDS)
STRATEGIES: tuple[Literal["one-for-one", "rest-for-one", "one-for-all"], ...] = (
    "one-for-one",
    "rest-for-one",
    "one-for-all",
)


class Weather:
    """A program whose parts do, at each hook, whatever the seed says."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.chance = random.Random(simulation.seed)
        self.gate: Event = simulation.threads.event()  # what hangs waits here
        self.parts: list[Traced] = []

    def part(self) -> Traced:
        """Return a component that does something at each of its hooks."""
        part = Traced(
            name=f"p{len(self.parts)}",
            restart=Restart(
                when=self.chance.choice(["never", "on-failure", "always"]),
                backoff=Backoff(first=0.01, most=1.0),
                limit=self.chance.choice([0, 3, 100]),
            ),
            start_deadline=self.chance.choice([1.0, 30.0]),
            stop_deadline=self.chance.choice([0.5, 5.0]),
        )
        part.at.update(dict.fromkeys([*HOOKS, "handle"], self.act))
        self.parts.append(part)
        return part

    def act(self, part: Traced) -> None:
        """Do something, at a hook or in a handler."""
        chance, hook = self.chance, part.ran[-1][0] if part.ran else ""
        roll = chance.random()
        if roll < 0.03:
            self.gate.wait()
        elif roll < 0.08:
            raise chance.choice(KINDS)()
        elif roll < 0.2:
            self.simulation.sleep(chance.random())
        elif roll < 0.25 and len(self.parts) < 30:
            part.container.add(self.part(), timeout=200)
        elif roll < 0.28:
            part.finish()
        if hook == "start" and chance.random() < 0.7:
            part.stopping.wait()

    def container(self, name: str, size: int) -> Container:
        """Return a container of so many parts."""
        return Container(
            name=name,
            components=[self.part() for _ in range(size)],
            strategy=self.chance.choice(STRATEGIES),
            restart=Restart(limit=50, backoff=Backoff(first=0.01, most=0.1)),
        )

    def wish(self, runtime: Runtime) -> None:
        """Ask for this and that, from outside."""
        for _ in range(6):
            self.simulation.sleep(self.chance.random())
            refs = [*runtime.root.walk()]
            if not refs:
                return
            ref = self.chance.choice(refs)
            acts: list[Callable[[], object]] = [
                partial(ref.restart, 200),
                partial(ref.stop, 200),
                partial(ref.start, 200),
                partial(ref.send, "hello", 5),
                partial(ref.post, "hello"),
                partial(runtime.root.add, self.part(), 200),
                partial(ref.wait_stopped, 1),
                ref.report,
                partial(repr, ref),
            ]
            with contextlib.suppress(KinesisError, *KINDS_RAISED):
                self.chance.choice(acts)()


@pytest.mark.seeds(100)
def test_whatever_parts_do_the_runtime_ends_in_time_and_all_are_answered(
    simulation: Simulation,
) -> None:
    """
    Hooks that hang, raise, sleep, add others or finish, under wishes from outside.
    """
    live_through(simulation, "parked")


@pytest.mark.seeds(100, step_seconds=0.002)
def test_so_it_is_when_deadlines_pass_in_the_middle_of_everything(
    simulation: Simulation,
) -> None:
    """
    Time passes with each step, and each transition has a new thread.
    """
    live_through(simulation, "new")


@pytest.mark.seeds(100)
def test_so_it_is_on_a_system_that_is_short_of_threads(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One start in ten is refused, of any thread.
    """
    start = simulation.threads.start
    chance = random.Random(simulation.seed)
    spared = {"kinesis:app:control", "kinesis:app:timers"}  # or there is no runtime

    def start_perhaps(
        target: Callable[[], object], name: str, *, background: bool = False
    ) -> Thread:
        ours = name.startswith("kinesis:") and name not in spared
        if ours and chance.random() < 0.1:
            raise RuntimeError("can't start new thread")
        return start(target, name, background=background)

    with monkeypatch.context() as patch:
        patch.setattr(simulation.threads, "start", start_perhaps)
        live_through(simulation, "parked")


def live_through(simulation: Simulation, how: Literal["parked", "new"]) -> None:
    """Begin, wish, and stop at some moment; check what holds in any weather."""
    weather = Weather(simulation)
    parts: list[Component] = [weather.container("box", 3), weather.part()]
    runtime = simulation.runtime(
        components=parts, shutdown_deadline=20.0, transitions=how
    )
    with contextlib.suppress(KinesisError):
        runtime.start(500)
    wishers: list[Thread] = [
        simulation.threads.start(partial(weather.wish, runtime), f"wisher {number}")
        for number in range(3)
    ]
    simulation.sleep(weather.chance.random() * 5)
    late = stop_in_time(simulation, runtime)
    weather.gate.set()
    for wisher in wishers:
        wisher.join(2000)
        assert not wisher.is_alive()
    simulation.sleep(300)
    assert runtime._services.crashes == 0
    assert len(runtime._services.waits) == 0
    still = {ref.path for ref in runtime.root.walk() if not is_over(ref.stage)}
    assert still <= set(late)
    for part in weather.parts:
        check_lives(part)


def stop_in_time(simulation: Simulation, runtime: Runtime) -> tuple[str, ...]:
    """Stop *runtime*, which takes no longer than it may; return what hung."""
    before = simulation.now
    late: tuple[str, ...] = ()
    try:
        runtime.stop()
    except HungError as error:
        late = error.paths
    assert simulation.now - before < 20 + 5
    return late


def is_over(stage: Stage) -> bool:
    """Whether a life has ended, or never began."""
    return stage in (Stage.TORN_DOWN, Stage.SUBMITTED)


def check_lives(part: Traced) -> None:
    """No life has two ends, and none begins a hook twice that it may not."""
    before, *lives = "/".join(part.hooks).split("pre_init")
    assert before == "", part.hooks
    for life in lives:
        assert life.count("tear_down") <= 1, part.hooks
        assert life.count("post_init") <= 1, part.hooks
