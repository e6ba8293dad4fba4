"""What people who test components get: forced orders, a still clock, the plugin."""

from __future__ import annotations

import importlib.metadata
import random
import shlex
import subprocess
import sys
import threading
from functools import partial
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinesis.testing
from kinesis.testing import (
    FakeClock,
    Sequencer,
    Simulation,
    find_failure,
    keep_carriers,
    simulate,
)

pytest_plugins = ["pytester"]


# ------------------------------------------------------------------- Sequencer


def test_steps_in_different_threads_run_in_their_order() -> None:
    """
    Whichever thread comes first, step 0 is before step 1 before step 2.
    """
    sequencer = Sequencer()
    order: list[int] = []

    def run(step: int) -> None:
        with sequencer(step):
            order.append(step)

    started = [threading.Thread(target=run, args=(step,)) for step in (2, 1, 0)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(5)

    assert order == [0, 1, 2]


@pytest.mark.seeds(100)
def test_steps_keep_their_order_under_every_seed(simulation: Simulation) -> None:
    """
    On simulated threads it waits in virtual time, and the order is the same.
    """
    sequencer = Sequencer(threads=simulation.threads)
    order: list[int] = []

    def run(step: int) -> None:
        with sequencer(step):
            order.append(step)

    steps = list(range(5))
    random.shuffle(steps)
    for step in steps:
        simulation.threads.start(partial(run, step), f"step-{step}")
    simulation.threads.join_all()

    assert order == [0, 1, 2, 3, 4]


def test_a_step_that_raises_lets_the_next_go() -> None:
    """
    Otherwise one failure would hang all that comes after it.
    """
    sequencer = Sequencer()
    with pytest.raises(KeyError):
        with sequencer(0):
            raise KeyError
    with sequencer(1):
        pass


def test_a_step_that_never_comes_says_how_far_it_got(simulation: Simulation) -> None:
    """
    Five seconds of waiting end in an assertion that names both steps.
    """
    sequencer = Sequencer(threads=simulation.threads)

    with pytest.raises(AssertionError, match="step 2 never came: still at step 0"):
        with sequencer(2):
            pass
    assert simulation.now == 5


@pytest.mark.parametrize(("step", "why"), [(-1, "count from 0"), (0, "in use")])
def test_a_step_is_used_once_and_counted_from_0(step: int, why: str) -> None:
    """
    Two blocks of one number could not be told apart.
    """
    sequencer = Sequencer()
    with sequencer(0):
        pass

    with pytest.raises(ValueError, match=why):
        with sequencer(step):
            pass


# ------------------------------------------------------------------- FakeClock


def test_a_still_clock_moves_only_by_advance() -> None:
    """
    It starts at 0, and goes on by what it is told.
    """
    clock = FakeClock()
    assert clock.now() == 0
    clock.advance(1.5)
    clock.advance(0)

    assert clock.now() == 1.5


def test_a_clock_never_goes_back() -> None:
    """
    A negative advance is refused, and nothing moves.
    """
    clock = FakeClock()

    with pytest.raises(ValueError, match="only moves forward"):
        clock.advance(-1)
    assert clock.now() == 0


@given(st.lists(st.floats(0, 100), max_size=20), st.floats(0, 100))
def test_calls_run_when_due_earliest_first(delays: list[float], span: float) -> None:
    """
    Each that is due has run, at its own time, in order; the others have not.
    """
    clock = FakeClock()
    ran: list[tuple[float, int]] = []
    for number, delay in enumerate(delays):
        clock.call_later(delay, lambda n=number: ran.append((clock.now(), n)))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    clock.advance(span)
    due = sorted((delay, n) for n, delay in enumerate(delays) if delay <= span)

    assert ran == due


def test_a_call_may_ask_for_the_next_one() -> None:
    """
    What falls due within the same advance runs in it.
    """
    clock = FakeClock()
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(clock.now())
        clock.call_later(10, tick)

    clock.call_later(10, tick)
    clock.advance(35)

    assert ticks == [10, 20, 30]
    assert clock.now() == 35


def test_a_call_that_raises_leaves_the_later_ones_due() -> None:
    """
    Its error comes out of advance, and the next advance goes on from there.
    """
    clock = FakeClock()
    ran: list[str] = []
    clock.call_later(1, lambda: 1 / 0)
    clock.call_later(2, lambda: ran.append("later"))

    with pytest.raises(ZeroDivisionError):
        clock.advance(5)
    assert clock.now() == 1
    clock.advance(1)
    assert ran == ["later"]


def test_a_call_can_be_cancelled_until_it_has_begun() -> None:
    """
    Cancelling says whether it was in time.
    """
    clock = FakeClock()
    ran: list[int] = []
    cancel = clock.call_later(1, lambda: ran.append(1))
    late = clock.call_later(1, lambda: ran.append(2))

    assert cancel() is True
    assert cancel() is False
    clock.advance(1)
    assert late() is False
    assert ran == [2]


# ---------------------------------------------------------------- find_failure


def test_the_first_failing_seed_is_found() -> None:
    """
    With its error and the last steps; the figure repeats.
    """

    def body(simulation: Simulation) -> None:
        simulation.sleep(0)
        assert simulation.seed != 7

    failure = find_failure(body, 20)

    assert failure is not None
    assert failure.seed == 7
    assert isinstance(failure.error, AssertionError)
    assert failure.story == "     1  main: sleep the clock"
    assert failure == find_failure(body, [7])
    assert find_failure(body, [8, 9]) is None


def test_kept_carriers_end_with_the_outermost_block() -> None:
    """
    Real threads are shared within, and gone after.
    """
    before = threading.active_count()
    with keep_carriers():
        with keep_carriers():
            with simulate() as simulation:
                simulation.threads.start(lambda: None, "a").join()
        assert threading.active_count() == before + 1
        with simulate() as simulation:
            simulation.threads.start(lambda: None, "b").join()
        assert threading.active_count() == before + 1

    assert threading.active_count() == before


def test_everything_public_has_its_promise_written_down() -> None:
    """
    Each name of the package is there, and documented.
    """
    for name in kinesis.testing.__all__:
        assert getattr(kinesis.testing, name).__doc__, name


# ---------------------------------------------------------------- the plugin


def run_pytest(
    pytester: pytest.Pytester, source: str, *arguments: str
) -> pytest.RunResult:
    """Run pytest on *source*, with the plugin, whether installed or not."""
    pytester.makepyfile(test_it=source)
    names = importlib.metadata.entry_points(group="pytest11").names
    plugin = () if "kinesis" in names else ("-p", "kinesis.testing.plugin")
    return pytester.runpytest_inprocess(
        *plugin, "-p", "no:cacheprovider", "-W", "error", *arguments
    )


RACE = """
    import pytest

    @pytest.mark.seeds(50)
    def test_race(simulation):
        threads = simulation.threads
        order = []
        for name in "ab":
            threads.start(lambda name=name: order.append(name), name)
        threads.join_all()
        assert order == ["a", "b"]
"""


def test_a_failing_seed_is_named_with_the_line_that_repeats_it(
    pytester: pytest.Pytester,
) -> None:
    """
    The note says the seed and the command; the command fails in the same way.
    """
    result = run_pytest(pytester, RACE)
    result.assert_outcomes(failed=1)
    note = next(line for line in result.outlines if "to repeat it" in line)
    option = note.split()[-1]

    assert "pytest test_it.py::test_race --kinesis-seed=" in note
    result.stdout.fnmatch_lines(["*last steps under seed*", "*main: start*"])
    again = run_pytest(pytester, RACE, option, "test_it.py::test_race")
    again.assert_outcomes(failed=1)
    assert note in again.outlines


def test_the_line_to_repeat_it_is_for_the_shell_one_is_in(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The file is named from the folder pytest runs in, and quotes are quoted.
    """
    source = """
        import pytest

        @pytest.mark.parametrize("word", ["it's"])
        @pytest.mark.seeds(3)
        def test_word(simulation, word):
            assert simulation.seed != 2
    """
    pytester.makeini("[pytest]")
    monkeypatch.chdir(pytester.mkdir("below"))
    result = run_pytest(pytester, source, "..")
    result.assert_outcomes(failed=1)
    note = next(line for line in result.outlines if "to repeat it" in line)
    _, test, option = shlex.split(note.partition("to repeat it: ")[2])

    assert test == "../test_it.py::test_word[it's]"
    run_pytest(pytester, source, test, option).assert_outcomes(failed=1)


def test_whatever_fails_a_test_comes_with_its_seed(pytester: pytest.Pytester) -> None:
    """
    Also what is not an `Exception`, such as a SystemExit.
    """
    source = """
        import pytest, sys

        @pytest.mark.seeds(3)
        def test_exit(simulation):
            sys.exit(simulation.seed)
    """
    result = run_pytest(pytester, source)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*SystemExit: 0", "*seed 0; to repeat it*"])


def test_the_marker_runs_each_seed_once(pytester: pytest.Pytester) -> None:
    """
    Seeds count from 0; each gets a simulation of its own; it is one item.
    """
    source = """
        import pytest
        seen = []

        @pytest.mark.seeds(20, step_seconds=0.5)
        def test_each(simulation, tmp_path):
            seen.append(simulation.seed)
            simulation.sleep(0)
            assert 0 < simulation.now < 0.5

        def test_all():
            assert seen == list(range(20))
    """

    run_pytest(pytester, source).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("option", "seeds"),
    [("--kinesis-seeds=3", [0, 1, 2]), ("--kinesis-seed=41", [41])],
)
def test_options_override_the_marker(
    pytester: pytest.Pytester, option: str, seeds: list[int]
) -> None:
    """
    One takes another count, the other a single seed.
    """
    source = f"""
        import pytest
        seen = []

        @pytest.mark.seeds(20)
        def test_each(simulation):
            seen.append(simulation.seed)

        def test_all():
            assert seen == {seeds}
    """

    run_pytest(pytester, source, option).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("option", "seen"),
    [
        ("--kinesis-traced-seeds=0", []),
        ("--kinesis-traced-seeds=2", [0, 0, 1, 1]),
        ("--kinesis-traced-seeds=20", [0, 0, 1, 1, 2, 2]),
        ("-q", [0, 0, 1, 1, 2, 2]),
    ],
)
def test_what_traces_can_be_spared_most_seeds(
    pytester: pytest.Pytester, option: str, seen: list[int]
) -> None:
    """
    All seeds run; a trace function sees those asked for, and what they start.
    """
    source = f"""
        import pytest, sys, threading
        trace, new = sys.gettrace(), threading.gettrace()
        ran, seen = [], []

        @pytest.mark.seeds(3)
        def test_each(simulation):
            ran.append(simulation.seed)

            def look():
                if sys.gettrace() is trace:
                    seen.append(simulation.seed)

            look()
            simulation.threads.start(look, "another").join()

        def test_all():
            assert (ran, seen) == ([0, 1, 2], {seen})
            assert (sys.gettrace(), threading.gettrace()) == (trace, new)
    """

    def trace(frame: FrameType, event: str, argument: object) -> None:
        """See calls, and nothing in them."""

    before = sys.gettrace(), threading.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        result = run_pytest(pytester, source, option)
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])

    result.assert_outcomes(passed=2)


def test_without_the_marker_a_test_runs_under_seed_0(
    pytester: pytest.Pytester,
) -> None:
    """
    The fixture alone is one run.
    """
    source = """
        def test_one(simulation):
            simulation.sleep(3600)
            assert (simulation.seed, simulation.now) == (0, 3600)
    """

    run_pytest(pytester, source).assert_outcomes(passed=1)


FIXTURE = """
    import pytest

    @pytest.fixture
    def inbox(simulation):
        return simulation.threads.queue()

    @pytest.mark.seeds(5)
    def test_each(simulation, inbox):
        inbox.put(simulation.seed)
        assert inbox.get() != 3

    def test_alone(inbox):
        assert inbox.empty()
"""


def test_a_fixture_on_the_simulation_makes_each_seed_an_item(
    pytester: pytest.Pytester,
) -> None:
    """
    It has to be made anew for each run; the failing item repeats on its own.
    """
    result = run_pytest(pytester, FIXTURE)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*seed 3; to repeat it: pytest*seed3*-seed=3*"])
    again = run_pytest(
        pytester, FIXTURE, "test_it.py::test_each[seed3]", "--kinesis-seed=3"
    )

    again.assert_outcomes(failed=1)


RUNTIME = """
    import pytest

    @pytest.fixture
    def runtime(simulation):
        with simulation.runtime() as runtime:
            yield runtime

    @pytest.mark.seeds(3)
    def test_fails(runtime):
        assert False

    @pytest.mark.seeds(3)
    def test_exits(runtime):
        raise SystemExit

    def test_leaves_a_thread(runtime, simulation):
        event = simulation.threads.event()
        simulation.threads.start(event.wait, "waiter")
        assert False
"""


def test_a_runtime_in_a_fixture_is_stopped_after_a_failure(
    pytester: pytest.Pytester,
) -> None:
    """
    The run goes on until the fixtures are torn down; the failure is all that is told.
    """
    before = threading.active_count()
    result = run_pytest(pytester, RUNTIME)

    result.assert_outcomes(failed=7)
    result.stdout.fnmatch_lines(
        [f"*seed {seed}; to repeat it: pytest*seed{seed}*" for seed in (0, 1, 2)]
    )
    assert threading.active_count() == before


def test_a_run_that_was_broken_off_is_over_for_the_fixtures(
    pytester: pytest.Pytester,
) -> None:
    """
    Their teardown is told so at once; the seed is said, and the next test runs.
    """
    source = """
        import pytest, threading

        @pytest.fixture
        def gate(simulation):
            yield threading.Event()
            simulation.threads.queue().get()

        @pytest.mark.seeds(1, patience=0.1)
        def test_stuck(simulation, gate):
            simulation.threads.start(lambda: gate.wait(1), "stuck").join()

        def test_next(simulation):
            simulation.threads.start(lambda: None, "quick").join()
    """
    result = run_pytest(pytester, source)

    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*simulation is over*", "*'stuck' has done nothing*"])
    result.stdout.fnmatch_lines(["*seed 0; to repeat it*"])


def test_what_goes_wrong_after_such_a_test_names_the_seed_too(
    pytester: pytest.Pytester,
) -> None:
    """
    A thread that is left shows when the fixture ends the run.
    """
    source = """
        import pytest

        @pytest.fixture
        def inbox(simulation):
            return simulation.threads.queue()

        def test_left(simulation, inbox):
            simulation.threads.start(inbox.get, "waiter")
    """
    result = run_pytest(pytester, source)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*DeadlockError*", "*seed 0; to repeat it*"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@pytest.mark.seeds(5)\ndef test_x(): pass", "Ask for it"),
        ("@pytest.mark.seeds\ndef test_x(simulation): pass", "write seeds(COUNT)"),
        ("@pytest.mark.seeds(0)\ndef test_x(simulation): pass", "1 or more"),
        ("@pytest.mark.seeds(-3)\ndef test_x(simulation): pass", "1 or more"),
        ("@pytest.mark.seeds(True)\ndef test_x(simulation): pass", "1 or more"),
        (
            "from unittest import TestCase\n"
            "@pytest.mark.usefixtures('simulation')\n"
            "class TestX(TestCase):\n"
            "    @pytest.mark.seeds(3)\n"
            "    def test_x(self): pass",
            "of a `unittest.TestCase` runs once",
        ),
    ],
    ids=["no-simulation", "no-count", "none", "negative", "true", "unittest"],
)
def test_a_marker_that_cannot_work_is_refused(
    pytester: pytest.Pytester, source: str, message: str
) -> None:
    """
    The error says what to write, and the tests beside it run.
    """
    beside = "def test_beside(): pass"
    result = run_pytest(pytester, f"import pytest\n\n{source}\n\n{beside}\n")

    result.assert_outcomes(passed=1, errors=1)
    assert message in result.stdout.str()


@pytest.mark.parametrize("count", ["0", "-3", "few"])
def test_an_option_that_would_run_nothing_is_refused(
    pytester: pytest.Pytester, count: str
) -> None:
    """
    No seeds would be no test, and pass.
    """
    result = run_pytest(pytester, RACE, f"--kinesis-seeds={count}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"write 1 or more, not {count}" in result.stderr.str()


def test_a_marker_on_a_module_is_refused_only_where_it_cannot_work(
    pytester: pytest.Pytester,
) -> None:
    """
    One test without the simulation does not break off the session.
    """
    source = """
        import pytest
        pytestmark = pytest.mark.seeds(3)

        @pytest.fixture
        def inbox(simulation):
            return simulation.threads.queue()

        def test_with(simulation): pass

        def test_with_a_fixture(inbox): pass

        def test_without(): pass

        @pytest.mark.skip
        def test_skipped(): pass
    """
    result = run_pytest(pytester, source)

    result.assert_outcomes(passed=4, errors=1, skipped=1)
    result.stdout.fnmatch_lines(["*test_without is marked*Ask for it."])


def test_skip_and_fail_inside_a_run_do_what_they_say(
    pytester: pytest.Pytester,
) -> None:
    """
    A skip skips; a fail names the seed.
    """
    source = """
        import pytest

        @pytest.mark.seeds(5)
        def test_skip(simulation):
            pytest.skip("not today")

        @pytest.mark.seeds(5)
        def test_fail(simulation):
            if simulation.seed == 2:
                pytest.fail("here")
    """
    result = run_pytest(pytester, source)

    result.assert_outcomes(skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*seed 2; to repeat it*"])


def test_a_thread_left_behind_fails_the_test_by_name(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The fixture looks after the test, and passes one that cleans up.
    """
    source = """
        import threading, pytest
        pytestmark = pytest.mark.usefixtures("no_thread_left_behind")
        end = threading.Event()

        def test_clean():
            thread = threading.Thread(target=lambda: None)
            thread.start()

        def test_left():
            threading.Thread(target=end.wait, name="forgotten").start()

        def test_end():
            end.set()
    """
    monkeypatch.setattr("kinesis.testing.plugin.PATIENCE", 0.1)
    result = run_pytest(pytester, source)

    result.assert_outcomes(passed=3, errors=1)
    assert "still running after the test: ['forgotten']" in result.stdout.str()


def test_the_plugin_is_quick_to_load() -> None:
    """
    It is loaded by every pytest where kinesis is installed: no heavy imports.
    """
    heavy = {"structlog", "rich", "sqlalchemy", "werkzeug.serving", "waitress"}
    code = (
        "import sys, kinesis.testing.plugin;"
        f"print([name for name in {sorted(heavy)} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert found.stdout.strip() == "[]"
