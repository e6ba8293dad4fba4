"""Simulated threads: the seed decides, time is virtual, what is stuck is named."""

from __future__ import annotations

import contextvars
import logging
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.concurrency import Empty, Event, SystemThreads, Threads
from kinesis.futures import Future
from kinesis.testing import (
    Abandoned,
    DeadlockError,
    LivelockError,
    SimulatedThreads,
    Simulation,
    SimulationError,
    StuckError,
    ThreadCrashedError,
    ThreadsLeftError,
    find_failure,
    keep_carriers,
    simulate,
)

Trace = list[tuple[str, str]]


def chatter(simulation: Simulation) -> list[str]:
    """Let three threads talk through every primitive; return who did what when."""
    threads = simulation.threads
    lock, event, inbox = threads.lock(), threads.event(), threads.queue()
    order: list[str] = []

    def talk(name: str) -> None:
        event.wait(timeout=0.5)
        for number in range(3):
            with lock:
                order.append(f"{name}{number}")
            inbox.put(name)
            threads.sleep(random.random())

    started = [threads.start(partial(talk, name), name) for name in "abc"]
    event.set()
    for _ in range(9):
        inbox.get(timeout=60)
    for thread in started:
        thread.join()
    return order


def traced(seed: int, body: Callable[[Simulation], object] = chatter) -> Trace:
    """Run *body* under *seed*; return its trace."""
    simulation = simulate(seed)
    simulation.run(body, simulation)
    return simulation.trace


# ------------------------------------------------------------------- the seed


@given(st.integers(0, 2**64))
def test_the_same_seed_gives_the_same_run_to_the_line(seed: int) -> None:
    """
    Two runs of one seed take the same steps in the same order.
    """
    assert traced(seed) == traced(seed)


def test_different_seeds_give_different_interleavings() -> None:
    """
    Among fifty seeds, most runs differ from all others.
    """
    traces = {tuple(traced(seed)) for seed in range(50)}

    assert len(traces) > 40


def test_the_same_seed_gives_the_same_run_in_another_process() -> None:
    """
    Neither hashes, nor addresses, nor idents of the system reach the schedule.
    """
    program = (
        "import tests.test_simulation as here, zlib;"
        "print(zlib.crc32(repr(here.traced(11)).encode()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(found) == 1


def test_keeping_carriers_changes_no_run() -> None:
    """
    Whether real threads are new or used before is nothing that the seed sees.
    """
    alone = [traced(seed) for seed in range(5)]
    with keep_carriers():
        together = [traced(seed) for seed in range(5)]

    assert alone == together


def test_exactly_one_thread_runs_at_a_time() -> None:
    """
    Between two operations nothing of another thread happens.
    """
    inside: list[str] = []
    most = 0

    def body(simulation: Simulation) -> None:
        nonlocal most

        def work(name: str) -> None:
            nonlocal most
            for _ in range(20):
                inside.append(name)
                most = max(most, len(inside))
                inside.remove(name)
                simulation.sleep(0)

        for name in "abc":
            simulation.threads.start(partial(work, name), name)

    assert find_failure(body, 10) is None
    assert most == 1


def test_the_global_generator_starts_from_the_seed_and_is_put_back() -> None:
    """
    Jitter from `random` is the same in each run, and outside nothing changes.
    """
    state = random.getstate()
    with simulate(3):
        first = random.random()
    with simulate(3):
        second = random.random()

    assert first == second
    assert random.getstate() == state


# -------------------------------------------------------------------- the time


def test_an_hour_of_sleep_passes_at_once(simulation: Simulation) -> None:
    """
    Virtual time leaps to the next deadline as soon as nobody can run.
    """
    began = time.monotonic()
    for _ in range(60):
        simulation.sleep(60)

    assert simulation.now == 3600
    assert simulation.threads.monotonic() == 3600
    assert time.monotonic() - began < 1.0


def test_sleepers_wake_in_the_order_of_their_deadlines(simulation: Simulation) -> None:
    """
    Whoever started first, the earliest deadline comes first.
    """
    threads = simulation.threads
    order: list[int] = []

    def doze(seconds: int) -> None:
        threads.sleep(seconds)
        order.append(seconds)

    for seconds in (3, 1, 2):
        threads.start(partial(doze, seconds), f"for-{seconds}")
    simulation.sleep(10)

    assert order == [1, 2, 3]


def test_the_wall_clock_moves_with_the_virtual_one(simulation: Simulation) -> None:
    """
    `time` is a fixed moment plus the virtual seconds.
    """
    before = simulation.threads.time()
    simulation.advance(90)

    assert simulation.threads.time() - before == 90


def test_no_timeout_comes_early_without_step_seconds() -> None:
    """
    While anybody can run, no time passes.
    """

    def body(simulation: Simulation) -> None:
        answer = simulation.threads.queue()
        simulation.threads.start(lambda: answer.put(1), "other")
        assert answer.get(timeout=1e-9) == 1

    assert find_failure(body, 50) is None


def test_with_step_seconds_a_timeout_takes_part_in_the_race() -> None:
    """
    Operations that take time let a short timeout come first under some seeds.
    """

    def body(simulation: Simulation) -> None:
        answer = simulation.threads.queue()
        simulation.threads.start(lambda: answer.put(1), "other")
        answer.get(timeout=0.001)

    failure = find_failure(body, 50, step_seconds=0.01)

    assert failure is not None
    assert isinstance(failure.error, Empty)


def test_settle_lets_everybody_run_and_no_time_pass(simulation: Simulation) -> None:
    """
    After it, all others wait for time or for somebody.
    """
    threads = simulation.threads
    done: list[int] = []

    def work() -> None:
        done.extend([1])
        threads.sleep(0)
        done.extend([2])
        threads.sleep(5)
        done.extend([3])

    threads.start(work, "worker")
    simulation.settle()

    assert done == [1, 2]
    assert simulation.now == 0


# ------------------------------------------------------------------ primitives


def both() -> list[Any]:
    """Return the real threads and the simulated ones, for tests of both."""
    return [
        pytest.param(SystemThreads, id="system"),
        pytest.param(SimulatedThreads, id="simulated"),
    ]


@pytest.fixture(params=both())
def threads(request: pytest.FixtureRequest) -> Any:
    """
    Some `Threads`: what holds for the real ones must hold for the simulated.
    """
    made = request.param()

    yield made

    assert made.close(timeout=5.0) == []
    if isinstance(made, SimulatedThreads):
        made.finish()


def test_a_lock_is_taken_once(threads: Threads) -> None:
    """
    A second try does not get it, and says so after its timeout.
    """
    lock = threads.lock()

    assert lock.acquire() is True
    assert lock.locked() is True
    assert lock.acquire(blocking=False) is False
    assert lock.acquire(timeout=0) is False
    assert lock.acquire(timeout=0.01) is False
    lock.release()
    assert lock.locked() is False
    with lock as taken:
        assert taken is True
        assert lock.acquire(timeout=0.01) is False


def test_a_lock_refuses_misuse_as_the_real_one_does(threads: Threads) -> None:
    """
    Releasing what nobody took, and timeouts that make no sense, are errors.
    """
    lock = threads.lock()

    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="timeout value must be|positive"):
        lock.acquire(timeout=-2)
    with pytest.raises(OverflowError, match="too large|out of range"):
        lock.acquire(timeout=1e12)


def test_any_thread_may_release_a_lock(threads: Threads) -> None:
    """
    The gate of a `Future` depends on it.
    """
    lock = threads.lock()
    lock.acquire()
    other = threads.start(lock.release, "other")

    assert lock.acquire(timeout=5) is True
    other.join(5)


def test_an_event_lets_all_waiters_go(threads: Threads) -> None:
    """
    Each of several waiters is told, and a wait on a set event returns at once.
    """
    event = threads.event()
    answers: list[bool] = []
    started = [
        threads.start(lambda: answers.append(event.wait(5)), f"waiter-{number}")
        for number in range(3)
    ]
    event.set()
    for thread in started:
        thread.join(5)

    assert answers == [True, True, True]
    assert event.wait() is True
    assert event.is_set() is True


def test_an_event_that_never_comes_is_false(threads: Threads) -> None:
    """
    A wait returns False after its timeout, at once if that is 0 or below.
    """
    event = threads.event()

    assert event.wait(0.01) is False
    assert event.wait(0) is False
    assert event.wait(-1) is False
    event.set()
    event.clear()
    assert event.is_set() is False


def test_a_queue_gives_what_was_put_in_order(threads: Threads) -> None:
    """
    First in, first out; it knows how much it holds.
    """
    queue = threads.queue()
    queue.put(1)
    queue.put(None)

    assert queue.qsize() == 2
    assert queue.empty() is False
    assert queue.get() == 1
    assert queue.get_nowait() is None
    assert queue.empty() is True


def test_an_empty_queue_raises_empty(threads: Threads) -> None:
    """
    At once without blocking, after the timeout with it; a negative one is an error.
    """
    queue = threads.queue()

    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(Empty):
        queue.get(False)
    with pytest.raises(Empty):
        queue.get(timeout=0.01)
    with pytest.raises(Empty):
        queue.get(True, 0)
    with pytest.raises(ValueError, match="non-negative"):
        queue.get(timeout=-1)


def test_a_thread_is_known_by_name_and_joined(threads: Threads) -> None:
    """
    It is alive until it ends; a join with a timeout gives up in time.
    """
    go = threads.event()
    begun = threads.event()

    def wait_to_go() -> None:
        begun.set()
        go.wait(5)

    thread = threads.start(wait_to_go, "kinesis:/app/x")
    begun.wait(5)

    assert thread.name == "kinesis:/app/x"
    thread.join(0.01)
    assert thread.is_alive() is True
    assert "in wait_to_go" in threads.stack(thread.ident)
    go.set()
    thread.join(5)
    assert thread.is_alive() is False
    assert threads.stack(thread.ident) == "  (the thread does not run)\n"
    assert threads.stack(None) == "  (the thread does not run)\n"


def test_a_thread_cannot_join_itself(threads: Threads) -> None:
    """
    It would wait for its own end.
    """
    told: list[str] = []
    box = threads.queue()

    def join_self() -> None:
        try:
            box.get().join()
        except RuntimeError as error:
            told.append(str(error))

    thread = threads.start(join_self, "self")
    box.put(thread)
    thread.join(5)

    assert told == ["cannot join current thread"]


def test_a_sleep_cannot_be_negative(threads: Threads) -> None:
    """
    Time only moves forward.
    """
    with pytest.raises(ValueError, match="non-negative"):
        threads.sleep(-1)


def test_each_thread_has_an_ident_of_its_own(threads: Threads) -> None:
    """
    The handle, and the thread itself, say the same number.
    """
    inside = threads.queue()

    def tell() -> None:
        inside.put((threads.get_ident(), threads.current()))

    thread = threads.start(tell, "other")
    ident, itself = inside.get(timeout=5)
    thread.join(5)

    assert ident != threads.get_ident()
    assert thread.ident == itself.ident == ident
    assert itself.name == "other"


def test_a_crash_goes_to_the_handler() -> None:
    """
    Whatever a thread raises, even SystemExit, is told with the thread's name.
    """
    told: list[tuple[str, str]] = []
    for make in (SystemThreads, SimulatedThreads):
        threads: Any = make(
            on_crash=lambda name, error: told.append((name, repr(error)))
        )

        def leave() -> None:
            raise SystemExit(4)

        threads.start(leave, "leaver").join(5)
        if make is SimulatedThreads:
            threads.finish()

    assert told == [("leaver", "SystemExit(4)")] * 2


def test_a_future_works_on_simulated_locks() -> None:
    """
    Its result comes once, under every seed.
    """

    def body(simulation: Simulation) -> None:
        future: Future[int] = Future(simulation.threads)
        won: list[bool] = []

        def set_result(number: int) -> None:
            won.append(future.set_result(number))

        for number in range(3):
            simulation.threads.start(partial(set_result, number), f"setter-{number}")
        assert future.result(timeout=1) in range(3)
        simulation.settle()
        assert sorted(won) == [False, False, True]

    assert find_failure(body, 100) is None


def test_idents_are_small_numbers(simulation: Simulation) -> None:
    """
    Main is 1, and each thread gets the next one.
    """
    threads = simulation.threads
    first = threads.start(lambda: None, "a")
    second = threads.start(lambda: None, "b")

    assert (threads.get_ident(), first.ident, second.ident) == (1, 2, 3)


def test_a_thread_begins_with_an_empty_context(simulation: Simulation) -> None:
    """
    Context variables of the starter are not seen, as in a real new thread.
    """
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("v", default="-")
    variable.set("main")
    seen: list[str] = []
    simulation.threads.start(lambda: seen.append(variable.get()), "other").join()

    assert seen == ["-"]


def test_log_records_carry_the_simulated_name(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The real thread is called as the simulated one while it carries it.
    """
    log = logging.getLogger("tests.simulation")
    simulation.threads.start(lambda: log.warning("here"), "kinesis:/app/y").join()

    assert [record.threadName for record in caplog.records] == ["kinesis:/app/y"]


def test_everything_has_a_repr_that_says_its_state(simulation: Simulation) -> None:
    """
    What a failing assertion shows is enough to see what is going on.
    """
    threads = simulation.threads
    lock, event, queue = threads.lock(), threads.event(), threads.queue()
    thread = threads.start(lambda: None, "a")
    assert repr(thread) == "<simulated thread 'a': started>"
    thread.join()

    assert repr(lock) == "<unlocked simulated lock-1>"
    assert repr(event) == "<simulated event-1: unset>"
    assert repr(queue) == "<simulated queue-1: 0 items>"
    assert repr(thread) == "<simulated thread 'a': ended>"


# --------------------------------------------------------------- fresh threads


def test_fresh_parks_and_reuses_a_thread(threads: Threads) -> None:
    """
    A second job runs on the parked thread, unless a new one is asked for.
    """
    idents = threads.queue()

    def job() -> None:
        idents.put(threads.get_ident())

    threads.fresh(job)
    first = idents.get(timeout=5)
    threads.sleep(0.05)  # in real time: the thread parks after the job has answered
    threads.fresh(job)
    again = idents.get(timeout=5)
    threads.fresh(job, new=True)
    new = idents.get(timeout=5)

    assert first == again
    assert new != first


def test_fresh_still_works_after_close(threads: Threads) -> None:
    """
    Close ends what is parked; a later job gets a thread that ends with it.
    """
    done = threads.queue()
    threads.fresh(lambda: done.put(1))
    done.get(timeout=5)
    assert threads.close(timeout=5) == []
    threads.fresh(lambda: done.put(2))

    assert done.get(timeout=5) == 2


def test_close_from_a_job_does_not_wait_for_itself(threads: Threads) -> None:
    """
    The thread that calls it ends on its own, right after.
    """
    answers = threads.queue()
    threads.fresh(lambda: answers.put(threads.close(timeout=5)))

    assert answers.get(timeout=5) == []


def test_close_names_who_does_not_end(threads: Threads) -> None:
    """
    A job that outlasts the timeout is late, and the next close finds it ended.
    """
    go = threads.event()
    begun = threads.event()

    def job() -> None:
        begun.set()
        go.wait()

    threads.fresh(job)
    begun.wait(5)

    assert threads.close(timeout=0.01) == ["kinesis:transition-1"]
    go.set()
    assert threads.close(timeout=5) == []


def test_a_crash_in_a_job_leaves_the_thread_for_the_next() -> None:
    """
    What the job raises is told; the parked thread goes on.
    """
    told: list[str] = []
    threads = SimulatedThreads(0, lambda name, error: told.append(name))
    threads.fresh(lambda: 1 / 0)
    threads.settle()
    threads.fresh(lambda: told.append("next"))
    threads.settle()
    threads.finish()

    assert told == ["kinesis:transition-1", "next"]


def test_a_refused_thread_is_a_runtime_error(simulation: Simulation) -> None:
    """
    A test can have the system run out of threads; the job has not run then.
    """
    threads = simulation.threads
    ran: list[int] = []
    threads.refuse(2)

    with pytest.raises(RuntimeError, match="can't start new thread"):
        threads.start(lambda: ran.append(1), "a")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threads.fresh(lambda: ran.append(2))
    threads.fresh(lambda: ran.append(3))
    simulation.settle()
    assert ran == [3]


# --------------------------------------------------------- what cannot go on


def test_two_locks_crossed_are_a_deadlock_with_names_and_stacks() -> None:
    """
    The error names who waits for which lock, who took it, and the line of code.
    """

    def crossed(simulation: Simulation) -> None:
        threads = simulation.threads
        left, right = threads.lock(), threads.lock()

        def take_left_first() -> None:
            with left, right:
                pass

        def take_right_first() -> None:
            with right, left:
                pass

        one = threads.start(take_left_first, "one")
        two = threads.start(take_right_first, "two")
        one.join()
        two.join()

    failure = find_failure(crossed, 200)

    assert failure is not None
    assert isinstance(failure.error, DeadlockError)
    text = str(failure.error)
    assert failure.error.names == ("main", "one", "two")
    assert failure.error.seed == failure.seed
    assert f"(seed {failure.seed})" in text
    assert "thread 'one': acquire lock-2, taken by 'two'" in text
    assert "thread 'two': acquire lock-1, taken by 'one'" in text
    assert "in take_left_first" in text
    assert "in take_right_first" in text
    assert "scheduler.py" not in text


def test_a_lone_wait_is_a_deadlock_at_once() -> None:
    """
    Nobody is there who could set the event.
    """
    with simulate() as simulation:
        with pytest.raises(DeadlockError, match="thread 'main': wait event-1"):
            simulation.threads.event().wait()


def test_a_background_watcher_does_not_hide_a_deadlock() -> None:
    """
    Background threads that only wait again and again cannot bring anybody on.
    """
    with simulate() as simulation:
        threads = simulation.threads
        never = threads.event()

        def watch() -> None:
            while not never.wait(1.0):
                pass

        threads.start(watch, "watcher", background=True)
        with pytest.raises(DeadlockError, match=r"'watcher' \(background\)"):
            threads.lock().acquire() and threads.queue().get()


def test_a_background_timer_can_wake_others(simulation: Simulation) -> None:
    """
    While a timer is still to go off, a wait without a timeout is none.
    """
    threads = simulation.threads
    rang = threads.queue()

    def ring() -> None:
        for number in range(3):
            threads.sleep(3600)
            rang.put(number)

    threads.start(ring, "timer", background=True)

    assert [rang.get(), rang.get(), rang.get()] == [0, 1, 2]
    assert simulation.now == 3 * 3600


def test_a_far_deadline_outlasts_a_background_watcher(simulation: Simulation) -> None:
    """
    A watcher's thousands of rounds are fine as long as somebody waits for later.
    """
    threads = simulation.threads
    end = threads.event()

    def watch() -> None:
        while not end.wait(0.5):
            pass

    threads.start(watch, "watcher", background=True)
    simulation.sleep(3600)
    end.set()

    assert simulation.now == 3600


def test_running_in_circles_is_a_livelock() -> None:
    """
    A loop that only looks, at a clock or an event, ends at the limit.
    """

    def is_early(threads: Threads) -> bool:
        return threads.monotonic() < 1

    def is_unset(event: Event) -> bool:
        return not event.is_set()

    for look in ("monotonic", "is_set"):
        with simulate(limit=1000) as simulation:
            threads = simulation.threads
            event = threads.event()
            circle = {
                "monotonic": partial(is_early, threads),
                "is_set": partial(is_unset, event),
            }[look]

            def spin(circle: Callable[[], bool] = circle) -> None:
                while circle():
                    pass

            threads.start(spin, "spinner", background=True)
            with pytest.raises(LivelockError, match="'spinner'"):
                event.wait()


def test_main_running_in_circles_is_a_livelock_too() -> None:
    """
    The limit holds for the main thread itself.
    """
    with simulate(limit=1000) as simulation:
        with pytest.raises(LivelockError, match="circles"):
            while True:
                simulation.sleep(0)


def test_a_wait_for_the_real_world_is_stuck() -> None:
    """
    A thread that waits on a real lock is named, with the line it waits in.
    """
    real = threading.Lock()
    real.acquire()

    def wait_for_real_lock() -> None:
        real.acquire(timeout=5)

    with pytest.raises(StuckError, match="in wait_for_real_lock") as caught:
        with simulate(patience=0.2) as simulation:
            try:
                simulation.threads.start(wait_for_real_lock, "outsider").join()
            finally:
                real.release()

    assert caught.value.names == ("outsider",)


def test_a_real_thread_cannot_use_simulated_things(simulation: Simulation) -> None:
    """
    It is told to start as a simulated one; the simulation goes on.
    """
    event = simulation.threads.event()
    told: list[BaseException] = []

    def use() -> None:
        try:
            event.wait(1)
        except SimulationError as error:
            told.append(error)

    real = threading.Thread(target=use)
    real.start()
    real.join(5)

    assert "threads.start" in str(told[0])


# ------------------------------------------------------------------- the end


def test_the_end_waits_for_all_threads() -> None:
    """
    Leaving the block lets threads come to their own end.
    """
    done: list[int] = []
    with simulate() as simulation:
        threads = simulation.threads

        def doze() -> None:
            threads.sleep(30)
            done.append(1)

        threads.start(doze, "slow")

    assert done == [1]


def test_run_returns_the_value_and_raises_the_error() -> None:
    """
    What the function returns or raises comes out.
    """

    def fail() -> None:
        raise KeyError("gone")

    assert simulate().run(lambda: 5) == 5
    with pytest.raises(KeyError, match="gone"):
        simulate().run(fail)


def test_threads_that_do_not_end_are_reported_and_ended() -> None:
    """
    After a minute of virtual time they are named with their stacks, and gone.
    """
    before = threading.active_count()

    def loop() -> None:
        while True:
            simulation.sleep(1)

    with pytest.raises(ThreadsLeftError, match="in loop") as caught:
        with simulate() as simulation:
            simulation.threads.start(loop, "endless")

    assert caught.value.names == ("endless",)
    assert threading.active_count() == before


def test_threads_that_wait_forever_are_a_deadlock_at_the_end() -> None:
    """
    If nothing can ever wake them, there is no need to wait a minute.
    """
    with pytest.raises(DeadlockError, match="thread 'idle': get queue-1"):
        with simulate() as simulation:
            simulation.threads.start(simulation.threads.queue().get, "idle")


def test_a_crash_is_raised_at_the_end() -> None:
    """
    Without a handler, what a thread raised fails the run, as the cause.
    """
    with pytest.raises(
        ThreadCrashedError, match="'bad' raised ZeroDivisionError"
    ) as caught:
        with simulate(5) as simulation:
            simulation.threads.start(lambda: 1 / 0, "bad")

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.seed == 5


def test_a_crash_is_told_with_the_deadlock_it_caused() -> None:
    """
    Who ended with an error may be the one that all others wait for.
    """
    with pytest.raises(DeadlockError, match="'bad' raised ZeroDivisionError"):
        with simulate() as simulation:
            answer = simulation.threads.queue()
            simulation.threads.start(lambda: answer.put(1 / 0), "bad")
            answer.get()


def test_the_test_s_own_error_comes_first() -> None:
    """
    What threads did besides is a note on it.
    """
    with pytest.raises(ValueError, match="mine") as caught:
        with simulate() as simulation:
            simulation.threads.start(lambda: 1 / 0, "bad").join()
            raise ValueError("mine")

    assert "'bad' raised ZeroDivisionError" in caught.value.__notes__[0]


def test_abandoned_threads_run_their_clean_up() -> None:
    """
    They leave through their `finally` blocks, where giving back works.
    """
    left: list[str] = []

    def work(simulation: Simulation) -> None:
        lock, event = simulation.threads.lock(), simulation.threads.event()
        try:
            with lock:
                event.wait()
        finally:
            left.append("locked" if lock.locked() else "free")

    def clean(simulation: Simulation) -> None:
        queue = simulation.threads.queue()
        try:
            queue.get()
        except Abandoned:
            queue.put("x")
            left.append("put")

    with pytest.raises(ValueError, match="mine"):
        with simulate() as simulation:
            simulation.threads.start(lambda: clean(simulation), "clean")
            simulation.settle()
            raise ValueError("mine")

    assert left == ["put"]


def test_abandoned_threads_cannot_go_on_waiting() -> None:
    """
    Swallowing it once only leads to the next; starting threads is over as well.
    """
    told: list[str] = []

    def stubborn(threads: SimulatedThreads) -> None:
        for wait in (
            threads.event().wait,
            threads.lock().acquire,
            threads.queue().empty,
            threads.monotonic,
            lambda: threads.start(print, "more"),
            lambda: threads.fresh(print, new=True),
        ):
            try:
                wait()
            except Abandoned:
                told.append("abandoned")

    with pytest.raises(ValueError, match="mine"):
        with simulate() as simulation:
            simulation.threads.start(lambda: stubborn(simulation.threads), "stubborn")
            simulation.settle()
            raise ValueError("mine")

    assert told == ["abandoned"] * 6


class Immortal:
    """A thread's work that goes on whatever is raised, until the test lets it."""

    def __init__(self, simulation: Simulation) -> None:
        self.swallowed = 0
        self.lingers = threading.Event()
        self._simulation = simulation
        self._end = threading.Event()

    def work(self) -> None:
        """Wait again and again; swallow what ends everybody else."""
        while not self._end.is_set():
            try:
                self._simulation.sleep(1)
            except Abandoned:
                self.swallowed += 1
                if self.swallowed > 1005:
                    self.lingers.set()

    def end(self) -> None:
        """Let it end, once it has been given up and slowed down."""
        assert self.lingers.wait(5)
        self._end.set()


@pytest.mark.parametrize("background", [False, True])
def test_a_thread_that_will_not_end_is_named(background: bool) -> None:
    """
    One that goes on whatever is raised is given up, slowed down and named.
    """
    with pytest.raises(ThreadsLeftError) as caught:
        with simulate() as simulation:
            immortal = Immortal(simulation)
            simulation.threads.start(immortal.work, "immortal", background=background)
            simulation.settle()
    immortal.end()

    assert caught.value.names == ("immortal",)
    assert "in work" in str(caught.value)


def test_a_thread_that_will_not_end_is_a_note_on_the_test_s_own_error() -> None:
    """
    The first thing that went wrong is what is raised.
    """
    with pytest.raises(ValueError, match="mine") as caught:
        with simulate() as simulation:
            immortal = Immortal(simulation)
            simulation.threads.start(immortal.work, "immortal")
            simulation.settle()
            raise ValueError("mine")
    immortal.end()

    assert "not even ended by force" in caught.value.__notes__[0]


def test_clean_up_that_hangs_for_real_leaves_the_others_where_they_are() -> None:
    """
    The baton does not come back, so nobody else can be ended; all are named.
    """
    real = threading.Event()

    def hang(simulation: Simulation) -> None:
        try:
            simulation.threads.event().wait()
        finally:
            real.wait(5)

    with pytest.raises(ValueError, match="mine") as caught:
        with simulate(patience=0.1) as simulation:
            simulation.threads.start(lambda: hang(simulation), "hangs")
            simulation.settle()
            simulation.threads.start(lambda: None, "never-begun")
            raise ValueError("mine")
    real.set()

    assert "by force, at 0 s: hangs." in caught.value.__notes__[0]


def test_threads_that_never_began_are_no_trouble() -> None:
    """
    Under some seeds the test fails before the thread has run at all.
    """
    ran = 0
    for seed in range(20):
        with pytest.raises(ValueError, match="mine"):
            with simulate(seed) as simulation:

                def work() -> None:
                    nonlocal ran
                    ran += 1

                simulation.threads.start(work, "worker")
                assert simulation.threads.alive()[0] == "main"
                assert simulation.threads.steps == len(simulation.trace)
                raise ValueError("mine")

    assert 0 < ran < 20


def test_after_the_end_things_still_work_but_nothing_waits() -> None:
    """
    What is left over, in finalizers say, may be used; a wait would be forever.
    """
    with simulate() as simulation:
        threads = simulation.threads
        lock, event, queue = threads.lock(), threads.event(), threads.queue()
    queue.put(1)
    event.set()

    assert queue.get() == 1
    assert event.wait() is True
    with lock:
        pass
    with pytest.raises(SimulationError, match="is over"):
        queue.get()
    with pytest.raises(SimulationError, match="is over"):
        threads.start(print, "late")
    threads.finish()


def test_after_the_end_nobody_is_woken() -> None:
    """
    Who waited has ended, and can never hand the baton back.
    """
    with pytest.raises(ValueError, match="mine"):
        with simulate(patience=0.1) as simulation:
            threads = simulation.threads
            event, queue = threads.event(), threads.queue()
            threads.start(event.wait, "waiter")
            threads.start(queue.get, "getter")
            simulation.settle()
            raise ValueError("mine")
    event.set()
    queue.put(1)

    assert all(event.is_set() for _ in range(100))
    with pytest.raises(SimulationError, match="is over"):
        threads.sleep(1)


@pytest.mark.parametrize("http", [True, 0, 8080, {"port": 0}])
def test_a_real_server_is_refused_in_a_simulation(
    simulation: Simulation, http: object
) -> None:
    """
    It waits for sockets in real time; the error says what to do instead.
    """
    with pytest.raises(SimulationError, match="test client"):
        simulation.runtime(http=http)
    with simulation.runtime(http=False) as runtime:
        assert runtime.name == "app"


def test_a_simulation_is_entered_once() -> None:
    """
    Before it has no threads, and after it cannot run again.
    """
    simulation = simulate()
    with pytest.raises(RuntimeError, match="not begun"):
        _ = simulation.threads
    simulation.run(lambda: None)

    with pytest.raises(RuntimeError, match="runs once"):
        simulation.__enter__()


def test_ctrl_c_gets_through_to_the_main_thread() -> None:
    """
    An interrupt while another thread runs ends all threads and comes out.
    """
    main = threading.get_ident()

    def interrupt_main() -> None:
        simulation.sleep(0)
        signal.pthread_kill(main, signal.SIGINT)
        for _ in range(1_000_000):
            simulation.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        with simulate(patience=5) as simulation:
            try:
                simulation.threads.start(interrupt_main, "user").join()
            finally:
                simulation.sleep(1)


def test_the_story_is_the_last_steps(simulation: Simulation) -> None:
    """
    A line each: number, thread, operation.
    """
    lock = simulation.threads.lock()
    for _ in range(10):
        with lock:
            pass

    assert simulation.story(2).splitlines() == [
        "    29  main: release lock-1",
        "    30  main: released lock-1",
    ]


# -------------------------------------------------------- races it must find


class FaultyMailbox:
    """
    A mailbox with Pykka's lost message: check, then act, on both sides.

    A sender that has passed the check may put after the last drain.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._inbox = threads.queue()
        self._stopped = threads.event()

    def ask(self, question: int) -> Future[int]:
        """Put *question*; its future is answered, or so it should be."""
        if self._stopped.is_set():
            raise RuntimeError("stopped")
        answer: Future[int] = Future(self._threads, "the answer")
        self._inbox.put((question, answer))
        return answer

    def stop(self) -> None:
        """Ask the worker to end after what is there now."""
        self._inbox.put(None)

    def work(self) -> None:
        """Answer questions until told to stop; then refuse what is left."""
        while (entry := self._inbox.get()) is not None:
            question, answer = entry
            answer.set_result(question + 1)
        self._refuse_rest()
        self._stopped.set()

    def _refuse_rest(self) -> None:
        """Answer whatever is in the inbox with an error."""
        while True:
            try:
                entry = self._inbox.get_nowait()
            except Empty:
                return
            if entry is not None:
                entry[1].set_exception(RuntimeError("stopped"))


class SoundMailbox(FaultyMailbox):
    """The same, put right: closed first, and whoever finds it closed drains."""

    def ask(self, question: int) -> Future[int]:
        """Put *question*, then look again; it is answered in any case."""
        answer = super().ask(question)
        if self._stopped.is_set():
            self._refuse_rest()
        return answer

    def work(self) -> None:
        """Answer questions until told to stop; close, then refuse what is left."""
        while (entry := self._inbox.get()) is not None:
            question, answer = entry
            answer.set_result(question + 1)
        self._stopped.set()
        self._refuse_rest()


def every_question_is_answered(
    simulation: Simulation, kind: type[FaultyMailbox]
) -> None:
    """Ask from two threads while a third one stops the mailbox."""
    threads = simulation.threads
    mailbox = kind(threads)
    accepted: list[Future[int]] = []

    def ask() -> None:
        for question in range(3):
            try:
                accepted.append(mailbox.ask(question))
            except RuntimeError:
                return

    started = [
        threads.start(mailbox.work, "worker"),
        threads.start(ask, "first"),
        threads.start(ask, "second"),
        threads.start(mailbox.stop, "stopper"),
    ]
    for thread in started:
        thread.join()
    lost = sum(not answer.done() for answer in accepted)
    assert not lost, f"{lost} of {len(accepted)} accepted questions have no answer"


def test_the_lost_message_is_found_within_a_few_seeds() -> None:
    """
    Each block of 50 seeds has one under which an accepted message is lost.
    """
    for first in range(0, 200, 50):
        failure = find_failure(
            lambda simulation: every_question_is_answered(simulation, FaultyMailbox),
            range(first, first + 50),
        )

        assert failure is not None
        assert "have no answer" in str(failure.error)
        assert "put queue-1" in failure.story


@pytest.mark.seeds(200)
def test_the_sound_mailbox_loses_nothing(simulation: Simulation) -> None:
    """
    Put, look again, and whoever finds it closed answers.
    """
    every_question_is_answered(simulation, SoundMailbox)


def test_a_check_then_act_counter_loses_updates() -> None:
    """
    A read and a write with an operation in between are a race it finds.
    """

    def body(simulation: Simulation) -> None:
        count = 0

        def add() -> None:
            nonlocal count
            seen = count
            simulation.sleep(0)
            count = seen + 1

        started = [simulation.threads.start(add, f"adder-{n}") for n in range(3)]
        for thread in started:
            thread.join()
        assert count == 3

    assert find_failure(body, 20) is not None


@pytest.mark.seeds(200, step_seconds=0.001)
def test_a_lock_guards_under_every_seed(simulation: Simulation) -> None:
    """
    Nobody enters while somebody is inside, with timeouts in the race as well.
    """
    threads = simulation.threads
    lock = threads.lock()
    inside: list[int] = []
    timeouts = 0

    def enter(number: int) -> None:
        nonlocal timeouts
        for _ in range(3):
            if not lock.acquire(timeout=0.003):
                timeouts += 1
                continue
            inside.append(number)
            threads.sleep(0.001)
            assert inside == [number]
            inside.remove(number)
            lock.release()

    for number in range(3):
        threads.start(partial(enter, number), f"guest-{number}")
    threads.join_all()

    assert lock.acquire(blocking=False)
    assert timeouts <= 9


@pytest.mark.seeds(200)
def test_no_item_is_lost_or_doubled_with_many_getters(simulation: Simulation) -> None:
    """
    What is put once is got once, whoever is woken and whoever barges in.
    """
    threads = simulation.threads
    queue = threads.queue()
    got: list[int] = []

    def take() -> None:
        while (item := queue.get()) is not None:
            got.append(item)

    for number in range(3):
        threads.start(take, f"taker-{number}")
    for item in range(6):
        queue.put(item)
    for _ in range(3):
        queue.put(None)
    threads.join_all()

    assert sorted(got) == list(range(6))
