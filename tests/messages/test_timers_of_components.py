"""Messages that a component sends to itself, later."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest

from kinesis import Component, Runtime, Stage, control, field, handles
from kinesis.errors import ComponentStoppedError
from kinesis.testing import Simulation, simulate
from tests.messages.parts import Add, Adder, Call, Get, serving_of, wait_until


@attrs.frozen
class Tick:
    """Comes from a timer."""


class Clock(Component):
    """Notes when ticks come; sets its timers where it is told to."""

    in_init: float | None = field(default=None)
    in_start: float | None = field(default=None)
    ticks: list[float] = field(factory=list)
    takes: float = field(default=0.0)

    def now(self) -> float:
        return self.ref._cell.services.threads.monotonic()

    def init(self) -> None:
        if self.in_init is not None:
            self.every(self.in_init, Tick())

    def start(self) -> None:
        if self.in_start is not None:
            self.every(self.in_start, Tick())

    @handles(Tick)
    def tick(self, message: Tick) -> None:
        self.ticks.append(round(self.now(), 6))
        if self.takes:
            self.ref._cell.services.threads.sleep(self.takes)

    @handles(Call)
    def call(self, message: Call) -> Any:
        return message.function(self)


def test_every_comes_without_drift_however_long_its_handler_takes() -> None:
    """
    After a thousand times it is on the dot, in virtual time.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock", in_start=0.1, takes=0.07))
        simulation.advance(100.05)
        ticks = clock.snapshot().ticks

    assert ticks == [round(0.1 * number, 6) for number in range(1, 1001)]


def test_after_comes_once() -> None:
    """
    In its time, into the own mailbox.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock"))
        clock.send(Call(lambda me: me.after(3.0, Tick()) and None))
        assert len(serving_of(clock).timers) == 1
        simulation.advance(60.0)

        assert clock.snapshot().ticks == [3.0]
        assert serving_of(clock).timers == set()


def test_timers_are_cancelled_any_number_of_times() -> None:
    """
    From any thread.
    """
    kept: list[Any] = []
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock"))
        clock.send(Call(lambda me: kept.append(me.every(1.0, Tick()))))
        simulation.advance(2.5)
        for _ in range(2):
            kept[0].cancel()
        simulation.advance(5.0)

        assert clock.snapshot().ticks == [1.0, 2.0]
        assert "Tick" in repr(kept[0])


def test_a_timer_that_is_cancelled_while_it_is_set_is_never_due() -> None:
    """
    As by the end of the run, from another thread.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock"))
        timers = clock._cell.services.timers
        call_later = timers.call_later
        made: list[Any] = []

        def cancel_first(seconds: float, call: Any, **options: Any) -> Any:
            call.cancel()
            made.append(call_later(seconds, call, **options))
            return made[0]

        timers.call_later = cancel_first  # type: ignore[method-assign]  # on purpose
        clock.send(Call(lambda me: me.every(1.0, Tick()) and None))
        del timers.call_later
        simulation.advance(5.0)

        assert clock.snapshot().ticks == []
        assert made[0].call is None


def test_a_timer_set_in_a_run_ends_with_the_run() -> None:
    """
    The next run sets its own, so they never add up.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock", in_start=1.0))
        simulation.advance(1.5)
        clock.restart()
        simulation.advance(2.2)

        assert clock.snapshot().ticks == [1.0, 2.5, 3.5]


def test_a_timer_set_in_init_stays_over_restarts_and_ends_with_the_life() -> None:
    """
    As what `init` opens does.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock", in_init=1.0))
        simulation.advance(1.5)
        clock.restart()
        simulation.advance(1.0)
        before = clock.snapshot().ticks
        runtime.remove("clock")
        simulation.advance(10.0)

    assert before == [1.0, 2.0]
    assert clock.snapshot().ticks == before


def test_a_component_with_a_timer_alone_has_not_finished() -> None:
    """
    Something may still come.
    """

    class Waits(Component):
        def start(self) -> None:
            self.after(5.0, Tick())
            self.set_handler(Tick, lambda message: self.finish())

    with simulate() as simulation, simulation.runtime() as runtime:
        waits = runtime.add(Waits(name="waits"))
        simulation.advance(4.0)
        first = waits.stage
        simulation.advance(2.0)

        assert (first, waits.stage) == (Stage.STARTED, Stage.TORN_DOWN)


def test_a_tick_that_finds_the_mailbox_full_is_reported_and_the_next_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It never waits: the thread of the timers is everybody's.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        clock = runtime.add(
            Clock(
                name="clock",
                in_start=1.0,
                takes=3.5,
                mailbox_bound=1,
                overflow="wait",
            )
        )
        simulation.advance(10.1)
        ticks = clock.snapshot().ticks

    assert ticks == [1.0, 4.5, 8.0]
    assert any("a timer's message" in each.message for each in caplog.records)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_period_that_is_none_is_refused(seconds: float) -> None:
    """
    To whoever asks for it.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(ValueError, match="seconds above 0"):
            adder.send(Call(lambda me: me.every(seconds, Add())))


def set_timer(seconds: float, message: object, me: Adder) -> None:
    """Post *message* in so many *seconds*."""
    me.after(seconds, message)


def test_times_that_are_too_long_for_the_system_harm_nobody() -> None:
    """
    A century, for ever, and no number: the other timers go on.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        for seconds in (3e9, 1e12, 1e300, float("inf")):
            adder.send(Call(partial(set_timer, seconds, Add(100))))
        with pytest.raises(ValueError, match="no time"):
            adder.send(Call(lambda me: me.after(float("nan"), Add(100))))
        adder.send(Call(lambda me: me.after(0.01, Add(1)) and None))
        wait_until(lambda: adder.send(Get()) == 1)
        adder.send(Call(lambda me: me.after(-5.0, Add(1)) and None))
        wait_until(lambda: adder.send(Get()) == 2)


def test_a_component_that_stops_takes_no_new_timers() -> None:
    """
    They would come to nobody.
    """
    outcome: list[object] = []

    class Sets(Adder):
        def stop(self) -> None:
            try:
                self.after(1.0, Add())
            except ComponentStoppedError as error:
                outcome.append(str(error))

    with Runtime() as runtime:
        runtime.add(Sets(name="sets"))

    assert outcome == ["'/app/sets' stops or has stopped: it takes no new timers."]


def test_all_timers_of_a_runtime_share_one_thread() -> None:
    """
    However many there are.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        for number in range(5):
            runtime.add(Clock(name=f"clock{number}", in_start=1.0))
        simulation.advance(1.5)
        names = [name for name in simulation.threads.alive() if "timers" in name]

    assert names == ["kinesis:app:timers"]


@pytest.mark.seeds(100, step_seconds=0.001)
def test_timers_never_outlive_their_run_whatever_the_order(
    simulation: Simulation,
) -> None:
    """
    Where they fire while they are set, while the run ends, and in between.
    """
    with simulation.runtime() as runtime:
        clock = runtime.add(Clock(name="clock", in_start=0.004, stop_deadline=60.0))
        for _ in range(2):
            simulation.advance(0.02)
            clock.restart()
        clock.send(control.ShutdownAfter(0.02))
        clock.wait_stopped()
        ended = clock.snapshot().ticks
        simulation.advance(1.0)

        assert clock.snapshot().ticks == ended
        assert serving_of(clock).timers == set()
