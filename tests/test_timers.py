"""Timers: in time, in order, once or again and again, until cancelled."""

from __future__ import annotations

import logging
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.concurrency import SystemThreads
from kinesis.testing import Simulation, simulate
from kinesis.timers import SWEEP, Timers

PATIENCE = 10.0

SECONDS = st.floats(0, 10, allow_nan=False).map(lambda x: round(x, 3))


def timers_of(simulation: Simulation) -> Timers:
    """Return timers in the time of *simulation*."""
    return Timers(simulation.threads, "app")


# ----------------------------------------------------------------- against a model


@given(st.lists(st.tuples(SECONDS, st.none() | SECONDS), max_size=30))
def test_calls_are_made_when_they_are_due_unless_cancelled_before(
    plan: list[tuple[float, float | None]],
) -> None:
    """
    Against a plain model: each call, and perhaps the moment of its cancelling.
    """
    with simulate() as simulation:
        timers = timers_of(simulation)
        made: list[tuple[float, int]] = []

        def note(number: int) -> None:
            made.append((simulation.now, number))

        for number, (due, cancel) in enumerate(plan):
            timer = timers.call_later(due, partial(note, number))
            if cancel is not None:
                timers.call_later(cancel, timer.cancel)
        simulation.sleep(11)
        assert timers.close(PATIENCE) == []

    def is_made(due: float, cancel: float | None) -> bool:
        # Of two that are due at once, the one that was asked for first is first.
        return cancel is None or due <= cancel

    expected = [
        (due, number)
        for number, (due, cancel) in enumerate(plan)
        if is_made(due, cancel)
    ]
    assert sorted(number for _, number in made) == sorted(n for _, n in expected)
    for (moment, number), (due, _) in zip(made, sorted(expected), strict=True):
        assert moment == pytest.approx(due)
        assert plan[number][0] == due


@given(
    period=st.sampled_from([0.5, 1.0, 1.5, 4.0]),
    takes=st.sampled_from([0.0, 0.2, 1.0, 2.5]),
)
def test_a_period_is_kept_without_drift_and_what_was_missed_is_left_out(
    period: float, takes: float
) -> None:
    """
    Every call begins at a whole number of periods after the first.
    """
    with simulate() as simulation:
        timers = timers_of(simulation)
        began: list[float] = []

        def work() -> None:
            began.append(simulation.now)
            simulation.sleep(takes)

        timers.call_later(1.0, work, period=period)
        simulation.sleep(20)
        timers.close(PATIENCE)

    late = [(moment - 1.0) % period for moment in began]
    assert all(rest < 1e-6 or period - rest < 1e-6 or takes > period for rest in late)
    step = max(period, takes)
    assert len(began) >= 19 / (step + period) - 1
    assert began[0] == pytest.approx(1.0)
    gaps = [after - before for before, after in zip(began, began[1:], strict=False)]
    assert all(gap > takes - 1e-6 for gap in gaps)


# ------------------------------------------------------------------- one by one


@pytest.mark.seeds(20)
def test_calls_due_at_the_same_moment_are_made_in_the_order_asked_for(
    simulation: Simulation,
) -> None:
    """
    First come, first served.
    """
    timers = timers_of(simulation)
    made: list[int] = []
    moment = simulation.threads.monotonic() + 1
    for number in range(10):
        timers.call_at(moment, partial(made.append, number))
    simulation.sleep(2)

    assert made == list(range(10))
    assert timers.close(PATIENCE) == []


@pytest.mark.seeds(20)
def test_an_earlier_call_wakes_the_thread_that_sleeps_for_a_later_one(
    simulation: Simulation,
) -> None:
    """
    Whoever is due first is made first.
    """
    timers = timers_of(simulation)
    made: list[str] = []
    timers.call_later(100, partial(made.append, "late"))
    simulation.settle()
    timers.call_later(1, partial(made.append, "early"))
    simulation.sleep(2)

    assert made == ["early"]
    simulation.sleep(100)
    assert made == ["early", "late"]
    timers.close(PATIENCE)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), MemoryError()])
def test_what_a_call_raises_is_logged_and_the_next_is_made(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """
    Nothing ends the thread; a period goes on.
    """
    timers = timers_of(simulation)
    made: list[int] = []

    def fail() -> None:
        made.append(len(made))
        raise error

    timers.call_later(1, fail, period=1)
    simulation.sleep(3.5)

    assert made == [0, 1, 2]
    assert [r.exc_info[1] for r in caplog.records if r.exc_info] == [error] * 3
    assert {r.__dict__["path"] for r in caplog.records} == {"app"}
    assert timers.close(PATIENCE) == []


@pytest.mark.seeds(20)
def test_a_call_may_cancel_itself_and_others(simulation: Simulation) -> None:
    """
    From the timer thread as from any other, any number of times.
    """
    timers = timers_of(simulation)
    made: list[str] = []
    other = timers.call_later(2, partial(made.append, "other"))

    def once() -> None:
        made.append("once")
        own.cancel()
        other.cancel()
        other.cancel()

    own = timers.call_later(1, once, period=1)
    simulation.sleep(5)

    assert made == ["once"]
    assert "cancelled" in repr(own)
    assert timers.close(PATIENCE) == []


def test_a_call_may_ask_for_another(simulation: Simulation) -> None:
    """
    Also for one that is due at once.
    """
    timers = timers_of(simulation)
    made: list[float] = []

    def again() -> None:
        made.append(simulation.now)
        if len(made) < 5:
            timers.call_later(0, again)

    timers.call_later(1, again)
    simulation.sleep(1.5)

    assert made == [pytest.approx(1.0)] * 5
    timers.close(PATIENCE)


@pytest.mark.parametrize("seconds", [float("inf"), 1e12, 1e30])
def test_a_call_in_the_far_future_disturbs_no_other(
    simulation: Simulation, seconds: float
) -> None:
    """
    No moment is too far for the system's own waits.
    """
    timers = timers_of(simulation)
    made: list[str] = []
    timers.call_later(seconds, partial(made.append, "never"))
    timers.call_later(2.0, partial(made.append, "soon"))
    simulation.sleep(3)

    assert made == ["soon"]
    assert timers.close(PATIENCE) == []


def test_the_far_future_is_none_for_the_real_clock() -> None:
    """
    A wait that the system refuses would end the thread of all timers.
    """
    timers = Timers(SystemThreads(), "app")
    done = SystemThreads.event()
    timers.call_later(1e12, done.clear)
    timers.call_later(float("inf"), done.clear)
    timers.call_later(0.05, done.set)

    assert done.wait(PATIENCE)
    assert timers.close(PATIENCE) == []


def test_no_time_at_all_is_refused(simulation: Simulation) -> None:
    """
    NaN is neither before nor after anything: one would stall all.
    """
    timers = timers_of(simulation)
    nothing = list[int]().clear
    for seconds, period in ((float("nan"), None), (1.0, float("nan")), (1.0, 0.0)):
        with pytest.raises(ValueError, match="no time for a timer"):
            timers.call_later(seconds, nothing, period=period)
    with pytest.raises(TypeError):
        timers.call_later("soon", nothing)  # type: ignore[arg-type]  # on purpose
    timers.close(PATIENCE)


def test_the_thread_is_made_at_the_first_call(simulation: Simulation) -> None:
    """
    None is needed before; its name says whose it is.
    """
    timers = timers_of(simulation)

    assert len(simulation.threads.names()) == 1
    timers.call_later(1, list[int]().clear)
    assert "kinesis:app:timers" in simulation.threads.names().values()
    timers.close(PATIENCE)


def test_a_thread_that_is_refused_is_asked_for_at_the_next_call(
    simulation: Simulation,
) -> None:
    """
    Who asked learns of it; the call is not lost.
    """
    timers = timers_of(simulation)
    made: list[str] = []
    simulation.threads.refuse(1)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        timers.call_later(1, partial(made.append, "first"))
    timers.call_later(2, partial(made.append, "second"))
    simulation.sleep(3)

    assert made == ["first", "second"]
    timers.close(PATIENCE)


# ---------------------------------------------------------------------- the end


@pytest.mark.seeds(20, step_seconds=0.001)
def test_after_the_end_no_call_is_made(simulation: Simulation) -> None:
    """
    Closing is idempotent; what is asked for later never comes.
    """
    timers = timers_of(simulation)
    made: list[float] = []
    timers.call_later(0.01, lambda: made.append(simulation.now), period=0.01)
    simulation.sleep(0.05)
    assert timers.close(PATIENCE) == []
    count = len(made)
    timers.call_later(0.01, lambda: made.append(simulation.now))
    simulation.sleep(1)

    assert len(made) == count > 0
    assert timers.close(PATIENCE) == []


def test_a_call_that_hangs_is_named_at_the_end(simulation: Simulation) -> None:
    """
    The close does not wait longer than it is told to.
    """
    timers = timers_of(simulation)
    gate = simulation.threads.event()
    timers.call_later(0, gate.wait)
    simulation.settle()

    assert timers.close(1.0) == ["kinesis:app:timers"]
    gate.set()


def test_a_call_may_close_its_own_timers(simulation: Simulation) -> None:
    """
    It does not wait for itself.
    """
    timers = timers_of(simulation)
    late: list[list[str]] = []
    timers.call_later(1, lambda: late.append(timers.close(PATIENCE)))
    simulation.sleep(2)

    assert late == [[]]


# --------------------------------------------------------------------- memory


def test_cancelled_calls_are_swept_once_most_are(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A heap of deadlines that never fall due does not grow for ever.
    """
    caplog.set_level(logging.CRITICAL)
    timers = timers_of(simulation)
    nothing = list[int]().clear
    kept = [timers.call_later(1000, nothing) for _ in range(100)]
    for _ in range(10 * SWEEP):
        timers.call_later(2000, nothing).cancel()

    assert len(timers._heap) < 2 * SWEEP + len(kept)
    assert {timer for _, _, timer in timers._heap} >= set(kept)
    timers.close(PATIENCE)


def test_a_timer_reads_like_a_log_line(simulation: Simulation) -> None:
    """
    When it is due, and whether it still is.
    """
    timers = timers_of(simulation)
    timer = timers.call_later(2.5, list[int]().clear)

    assert repr(timer) == "<Timer due=2.500>"
    timer.cancel()
    assert repr(timer) == "<Timer due=2.500 cancelled>"
    timers.close(PATIENCE)
