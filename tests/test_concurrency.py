"""The real threads, and results that come later."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from kinesis.concurrency import SystemThreads, system
from kinesis.concurrency.system import PARKED_MOST
from kinesis.errors import WaitTimeoutError
from kinesis.futures import Future
from kinesis.testing import Simulation

PATIENCE = 10.0


class Crashes:
    """A crash handler that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException]] = []
        self.told = threading.Event()

    def __call__(self, name: str, error: BaseException) -> None:
        self.seen.append((name, error))
        self.told.set()


def raising(error: BaseException) -> Callable[[], None]:
    """Return what raises *error*."""

    def act() -> None:
        raise error

    return act


def close(threads: SystemThreads) -> None:
    """End the parked threads; none is late."""
    assert threads.close(PATIENCE) == []


# ---------------------------------------------------------------------- threads


def test_a_thread_is_a_daemon_with_the_name_it_is_given() -> None:
    """
    It runs at once, and can be joined and asked for its stack.
    """
    threads = SystemThreads()
    gate = threads.event()

    def wait_at_the_gate() -> None:
        gate.wait(PATIENCE)

    thread = threads.start(wait_at_the_gate, "kinesis:/app/db")

    assert thread.name == "kinesis:/app/db"
    assert thread.daemon
    while thread.ident is None:
        assert thread.is_alive()
    assert threads.names()[thread.ident] == "kinesis:/app/db"
    while "gate.wait" not in threads.stack(thread.ident):
        assert thread.is_alive()
    assert "wait_at_the_gate" in threads.stack(thread.ident)
    gate.set()
    thread.join(PATIENCE)
    assert threads.stack(thread.ident) == "  (the thread does not run)\n"
    assert threads.stack(None) == "  (the thread does not run)\n"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("how", ["start", "fresh", "new"])
def test_what_a_thread_raises_reaches_the_crash_handler(
    kind: type[BaseException], how: str
) -> None:
    """
    With the thread's name; nothing is printed or lost.
    """
    crashes = Crashes()
    threads = SystemThreads(crashes)
    error = kind("why")
    if how == "start":
        threads.start(raising(error), "one").join(PATIENCE)
    else:
        threads.fresh(raising(error), new=how == "new")

    assert crashes.told.wait(PATIENCE)
    ((name, seen),) = crashes.seen
    assert name == ("one" if how == "start" else "kinesis:transition-1")
    assert seen is error
    close(threads)


def test_without_a_crash_handler_the_interpreter_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    As for any thread: never in silence.
    """
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    error = ValueError("nobody")
    SystemThreads().start(raising(error), "stray").join(PATIENCE)

    assert [args.exc_value for args in told] == [error]
    told.clear()


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError])
def test_a_system_without_threads_raises_one_error_for_all_reasons(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """
    And the job has not run, here or later.
    """
    threads = SystemThreads()
    ran: list[int] = []

    def refuse(self: threading.Thread) -> None:
        raise kind("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threads.start(partial(ran.append, 1), "one")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threads.fresh(partial(ran.append, 1))
    monkeypatch.undo()

    assert ran == []
    close(threads)


@pytest.mark.parametrize("name", ["_started", "_begun"])
def test_the_start_of_a_thread_does_not_wait_for_it_to_begin(name: str) -> None:
    """
    For that, `threading` must ask the event that is looked at here, and nothing else.
    """
    thread = SystemThreads().start(lambda: None, "short")
    thread.join(PATIENCE)
    event = getattr(thread, name)

    assert type(event) is system._Begun
    assert event.is_set()
    assert event.wait(0.0)


def test_a_thread_that_has_not_begun_is_alive_and_can_be_joined() -> None:
    """
    `join` waits for the beginning too, for as long as it is given.
    """
    ran: list[int] = []
    thread = system._Thread(SystemThreads(), lambda: ran.append(1), "late")

    assert thread.is_alive()
    thread.join(0.01)
    assert thread.is_alive()
    assert ran == []

    thread.start()
    thread.join(PATIENCE)

    assert ran == [1]
    assert not thread.is_alive()


def test_a_thread_that_had_not_begun_at_a_fork_is_over_in_the_child() -> None:
    """
    Nobody waits there for what will never begin.
    """
    begun = system._Begun()

    assert not begun.wait_really(0.01)

    begun._at_fork_reinit()

    assert begun.is_set()
    assert begun.wait_really(None)


def test_many_threads_are_joined_the_moment_they_are_started() -> None:
    """
    Whether they have begun by then or not.
    """
    threads = SystemThreads()
    ran: list[int] = []
    for number in range(300):
        thread = threads.start(partial(ran.append, number), "short")
        thread.join()

    assert ran == list(range(300))


def test_a_thread_waits_for_its_beginning_where_nobody_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A Python whose threads have no such event starts them its own way.
    """
    monkeypatch.setattr(system, "_STARTED", "_renamed")
    ran: list[int] = []
    thread = SystemThreads().start(lambda: ran.append(1), "short")
    thread.join(PATIENCE)

    assert (thread.ident is None, thread._begun) == (False, None)
    assert ran == [1]


def test_it_says_whether_it_is_the_main_thread() -> None:
    """
    The one that gets the signals.
    """
    threads = SystemThreads()
    seen: list[bool] = []
    threads.start(lambda: seen.append(threads.in_main_thread()), "other").join(PATIENCE)

    assert threads.in_main_thread()
    assert seen == [False]
    assert threads.get_ident() == threading.get_ident()
    assert abs(threads.time() - time.time()) < 1
    assert abs(threads.monotonic() - time.monotonic()) < 1


# --------------------------------------------------------------- fresh threads


def do(threads: SystemThreads, *, new: bool = False) -> int:
    """Run a job; return the thread it ran on once that one parks, or has ended."""
    ran: list[int] = []
    threads.fresh(lambda: ran.append(threading.get_ident()), new=new)
    deadline = time.monotonic() + PATIENCE
    while not ran or not threads._idle and threads._parked:
        assert time.monotonic() < deadline, "the job was never run"
    return ran[0]


def test_a_fresh_thread_parks_and_takes_the_next_job() -> None:
    """
    The second job has no thread of its own to wait for.
    """
    threads = SystemThreads()
    first = do(threads)

    assert first == do(threads) == do(threads)
    assert threads._made == 1
    close(threads)


def test_a_new_thread_is_made_though_one_is_parked() -> None:
    """
    Whoever asks for a new one gets it.
    """
    threads = SystemThreads()
    first = do(threads)

    assert do(threads, new=True) != first
    assert threads._made == 2
    close(threads)


def test_a_fresh_threads_stack_is_as_empty_at_each_job() -> None:
    """
    Also when jobs ask for jobs.
    """
    threads = SystemThreads()
    depths: list[int] = []
    done = threading.Event()

    def job() -> None:
        depth, frame = 0, sys._getframe()
        while frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        depths.append(depth)
        if len(depths) < 1000:
            threads.fresh(job)
        else:
            done.set()

    threads.fresh(job)

    assert done.wait(PATIENCE)
    assert {depths[0]} == set(depths)
    assert threads._made < len(depths)  # most were used again
    close(threads)


def test_only_few_threads_park() -> None:
    """
    Of many that were needed at once, most end with their job.
    """
    threads = SystemThreads()
    gate = threading.Event()
    for _ in range(5 * PARKED_MOST):
        threads.fresh(lambda: gate.wait(PATIENCE))
    gate.set()
    deadline = time.monotonic() + PATIENCE
    while len(threads._parked) > 2 * PARKED_MOST:
        assert time.monotonic() < deadline
    close(threads)

    assert threads._parked == set()


def test_a_parked_thread_leaves_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An idle program keeps no threads for what may never come.
    """
    monkeypatch.setattr(system, "PARKED_SECONDS", 0.05)
    threads = SystemThreads()
    first = do(threads)
    deadline = time.monotonic() + PATIENCE
    while threads._parked:
        assert time.monotonic() < deadline, "it never left"

    assert first not in threads.names()
    do(threads)
    assert threads._made == 2
    close(threads)


def test_a_job_given_while_the_thread_leaves_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Taking a parked thread and its leaving exclude one another.
    """
    monkeypatch.setattr(system, "PARKED_SECONDS", 0.0005)
    threads = SystemThreads()
    for _ in range(300):
        done = threading.Event()
        threads.fresh(done.set)
        assert done.wait(PATIENCE), "the job was lost"
        threading.Event().wait(0.0004)  # nearly as long as it parks: they meet
    close(threads)


def test_what_a_job_referred_to_does_not_live_as_long_as_the_thread_parks() -> None:
    """
    A parked thread keeps nothing alive.
    """

    class Thing:
        def act(self) -> None:
            return

    threads = SystemThreads()
    thing = Thing()
    alive = weakref.ref(thing)
    threads.fresh(thing.act)
    del thing
    deadline = time.monotonic() + PATIENCE
    while alive() is not None:
        assert time.monotonic() < deadline, "it is kept"
    close(threads)


def test_the_end_names_what_does_not_end_and_later_jobs_still_run() -> None:
    """
    Closing is idempotent, and no door that is shut for ever.
    """
    threads = SystemThreads()
    gate = threading.Event()
    threads.fresh(lambda: gate.wait(PATIENCE))

    assert threads.close(0.05) == ["kinesis:transition-1"]
    gate.set()
    assert threads.close(PATIENCE) == []
    done = threading.Event()
    threads.fresh(done.set)
    assert done.wait(PATIENCE)
    assert threads.close(PATIENCE) == []


@pytest.mark.stress
def test_of_many_jobs_each_is_run_once_whoever_closes_meanwhile() -> None:
    """
    Given by eight threads, through any number of closes.
    """
    threads = SystemThreads()
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    def note(number: int) -> None:
        with lock:
            ran[number] += 1

    def give(first: int) -> None:
        for number in range(first, first + 2000):
            threads.fresh(partial(note, number), new=number % 50 == 0)

    givers = [threading.Thread(target=give, args=(n * 2000,)) for n in range(8)]
    for giver in givers:
        giver.start()
    while any(giver.is_alive() for giver in givers):
        threads.close(0.01)
    for giver in givers:
        giver.join()
    deadline = time.monotonic() + 60
    while len(ran) < 16_000:
        assert time.monotonic() < deadline, f"{len(ran)} of 16000 were run"

    assert set(ran.values()) == {1}
    close(threads)


# --------------------------------------------------------------------- futures


def test_a_result_is_had_by_all_who_wait_and_by_those_who_come_later() -> None:
    """
    Whoever waits, however many.
    """
    threads = SystemThreads()
    future: Future[int] = Future(threads, "the sum")
    seen: list[int] = []
    waiters = [
        threads.start(lambda: seen.append(future.result(PATIENCE)), f"w{n}")
        for n in range(5)
    ]

    assert not future.done()
    assert future.set_result(7)
    for waiter in waiters:
        waiter.join(PATIENCE)
    assert seen == [7] * 5
    assert future.done()
    assert future.result(0) == 7
    assert future.exception() is None


def test_a_failure_is_raised_as_the_object_it_was() -> None:
    """
    To each who asks.
    """
    future: Future[int] = Future(SystemThreads())
    error = ValueError("no")
    future.set_exception(error)

    for _ in range(2):
        with pytest.raises(ValueError, match="no") as caught:
            future.result()
        assert caught.value is error
    assert future.exception(0) is error


def test_only_the_first_result_counts() -> None:
    """
    Who comes second is told so.
    """
    future: Future[int] = Future(SystemThreads())

    assert future.set_result(1)
    assert not future.set_result(2)
    assert not future.set_exception(ValueError())
    assert future.result() == 1


@pytest.mark.parametrize("timeout", [0, -1.0, 0.01])
def test_a_wait_that_is_too_short_says_for_what(timeout: float) -> None:
    """
    And leaves the future as it was.
    """
    future: Future[int] = Future(SystemThreads(), "the sum")
    with pytest.raises(WaitTimeoutError, match="the sum did not come within"):
        future.result(timeout)
    future.set_result(1)

    assert future.result(timeout) == 1


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e12])
def test_a_wait_may_be_for_ever(timeout: float | None) -> None:
    """
    However that is written.
    """
    threads = SystemThreads()
    future: Future[int] = Future(threads)
    setter = threads.start(lambda: future.set_result(3), "setter")

    assert future.result(timeout) == 3
    setter.join(PATIENCE)


def test_callbacks_are_called_once_before_or_after() -> None:
    """
    In the order in which they were added, with the future.
    """
    future: Future[int] = Future(SystemThreads())
    seen: list[tuple[str, int]] = []
    future.add_done_callback(lambda f: seen.append(("first", f.result(0))))
    future.add_done_callback(lambda f: seen.append(("second", f.result(0))))
    future.set_result(4)
    future.add_done_callback(lambda f: seen.append(("late", f.result(0))))

    assert seen == [("first", 4), ("second", 4), ("late", 4)]


def test_a_callback_that_raises_keeps_no_other_from_being_called() -> None:
    """
    What it raised comes out where the result was set.
    """
    future: Future[int] = Future(SystemThreads())
    seen: list[int] = []
    future.add_done_callback(lambda _: raising(SystemExit("why"))())
    future.add_done_callback(lambda f: seen.append(f.result(0)))
    with pytest.raises(SystemExit, match="why"):
        future.set_result(5)

    assert seen == [5]
    assert future.result(0) == 5


@pytest.mark.seeds(200, step_seconds=0.01)
def test_a_result_that_races_with_all_is_seen_whole(simulation: Simulation) -> None:
    """
    Two that set, two that wait with a timeout, one that adds a callback.
    """
    threads = simulation.threads
    future: Future[int] = Future(threads, "it")
    won: list[int] = []
    seen: list[int] = []
    told: list[int] = []

    def set_to(value: int) -> None:
        if future.set_result(value):
            won.append(value)

    def wait() -> None:
        try:
            seen.append(future.result(0.05))
        except WaitTimeoutError:
            seen.append(future.result(100))

    started = [
        threads.start(partial(set_to, 1), "set 1"),
        threads.start(wait, "wait 1"),
        threads.start(partial(set_to, 2), "set 2"),
        threads.start(wait, "wait 2"),
    ]
    future.add_done_callback(lambda f: told.append(f.result(0)))
    for thread in started:
        thread.join()

    assert len(won) == 1
    assert seen == won * 2
    assert told == won
