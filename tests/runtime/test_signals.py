"""What signals make of a running program."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis import Component, Runtime
from kinesis.concurrency import SystemThreads
from kinesis.interrupts import TWICE, Interrupts, Patience, signal_name
from tests.runtime.parts import eventually
from tests.runtime.processes import SLACK, Stopwatch, script

SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM

# -- one signal, two signals --------------------------------------------------------


@given(st.lists(st.floats(min_value=0, max_value=2), min_size=1))
def test_the_first_wish_stops_and_one_that_is_no_echo_forces(
    pauses: list[float],
) -> None:
    """
    Against a plain reading of the rule, for any rhythm of signals.
    """
    patience = Patience()
    now = first = 100.0
    for number, pause in enumerate(pauses):
        if number > 0:
            now += pause

        assert patience.is_first(now) == (number == 0)
        assert patience.is_second(now) == (now - first > TWICE)


STOPS = """
class Part(Loop):
    def stop(self):
        say("stop", self.name)
    def tear_down(self):
        say("tear_down", self.name)

box = Container(name="box", components=[Part(name="b"), Part(name="c")])
runtime = Runtime(name="app", components=[Part(name="a"), box, Part(name="d")])
code = runtime.run()
say("threads left:", [t.name for t in threading.enumerate() if "kinesis" in t.name])
sys.exit(code)
"""


@pytest.mark.parametrize(
    "numbers",
    [[SIGINT], [SIGTERM], [SIGINT, SIGTERM]],
    ids=["SIGINT", "SIGTERM", "two at once"],
)
def test_a_signal_stops_everything_the_last_started_first(
    numbers: list[signal.Signals],
) -> None:
    """
    Two within 0.25 s are one, which of them the system says. The end says how many
    stopped, and in what time.
    """
    with script(STOPS) as process:
        process.wait_for("^/app: started")
        process.send(signal.SIGSTOP)  # so that all are there when it goes on
        process.send(*numbers)

        assert process.end(signal.SIGCONT) == 0
    hooks = process.matching("^(?:stop|tear_down) .$")

    assert hooks == [f"{hook} {n}" for n in "dcba" for hook in ("stop", "tear_down")]
    (heard,) = process.matching(r"^/app: stopping: (\w+)")
    assert heard in [number.name for number in numbers]
    assert process.matching(r"^/app: (stopped 6 components in \d\.\d\d s)$")
    assert "threads left: []" in process.lines


SLOW = """
class Slow(Loop):
    def stop(self):
        self.log.info("in stop")
        never.wait(0.3)  # more than an echo of the first signal takes
        if "full" in sys.argv:
            os.set_blocking(2, False)
            try:
                while True:
                    os.write(2, b"." * 65536)
            except BlockingIOError:
                os.set_blocking(2, True)
        say("in stop for 0.3 s")
        never.wait()

class Above(Loop):
    def start(self):
        say("up")
        self.stopping.wait()

parts = [Loop(name="loop"), Slow(name="slow", stop_deadline=60), Above(name="above")]
Runtime(name="app", components=parts).run()
say("run() returned")
"""


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
def test_a_second_signal_forces_the_end(number: signal.Signals, code: int) -> None:
    """
    One line on standard error names what still ran, and what has stopped already not.
    """
    with script(SLOW) as process:
        process.wait_for("^/app: started")
        process.send(number)
        process.wait_for("in stop for 0.3 s")
        with Stopwatch() as watch:
            assert process.end(number) == code
    [line] = process.matching("^kinesis: forced exit; still running: (.*)")

    assert re.match(r"/app/slow \[STOPPING \(stop, \d\.\d s of 60 s\)\], ", line)
    assert "/app/loop [STARTED], /app [STOPPING]" in line
    assert "/app/above" not in line
    assert "run() returned" not in process.lines
    assert watch.seconds < SLACK


def test_a_second_signal_forces_the_end_though_nobody_reads_its_line() -> None:
    """
    Standard error is a full pipe: the line is given up after its share of a second.
    """
    reader, writer = os.pipe()
    body = SLOW.replace('"full" in sys.argv', "True")
    try:
        with script(body, stderr=writer) as process:
            process.wait_for("^up$")
            process.send(SIGTERM)
            process.wait_for("in stop for 0.3 s")
            with Stopwatch() as watch:
                assert process.end(SIGTERM) == 143
    finally:
        os.close(reader)
        os.close(writer)

    assert watch.seconds < 1.0 + SLACK


# -- in the middle of the start ------------------------------------------------------

STARTS = """
class Slow(Component):
    def init(self):
        say("in init")
        self.stopping.wait()
        say("init returns")
    def start(self):
        say("start")
    def tear_down(self):
        say("tear_down")

box = Container(name="box", components=[Slow(name="slow"), Loop(name="last")])
runtime = Runtime(name="app", components=[Loop(name="first"), box])
sys.exit(runtime.run())
"""


def test_a_signal_in_the_middle_of_the_start_is_a_stop_like_any_other() -> None:
    """
    The hook that runs is told and may end; then all goes down, and what never began
    stays so. Before that: who waits for whom is in the tree that SIGUSR1 shows, with
    every thread's stack; SIGHUP has nothing to read again.
    """
    with script(STARTS) as process:
        process.wait_for("in init")
        process.send(signal.SIGHUP)
        process.wait_for("/app: nothing to reload: no file")
        process.send(signal.SIGUSR1)
        process.wait_for(r'^  File "<string>", line \d+, in init$')
        process.wait_for("^-- MainThread$")

        assert process.end(SIGINT) == 0
    waits = r"waiting for /app/box/slow \(init, \d+\.\d s of 30 s\)\]$"

    assert process.matching(rf"^app Container \[STARTING, {waits}")
    assert process.matching(rf"^  box Container \[STARTING, {waits}")
    assert process.matching(r"^    slow Slow \[INITIALIZING \(init, .* of 30 s\)\]$")
    assert process.matching(rf"^    last Loop \[SUBMITTED, {waits}")
    assert process.matching(r"^-- kinesis:/app/box/slow$")
    assert process.matching("^(?:init returns|start|tear_down)$") == [
        "init returns",
        "tear_down",
    ]
    assert process.matching("^/app/first: stopped$")
    assert not process.matching("^/app/box/last: ")


def test_a_signal_that_has_no_thread_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The main thread lives on, and hears the next one.
    """

    class Refusing(SystemThreads):
        def start(
            self, target: Callable[[], object], name: str, *, background: bool = False
        ) -> threading.Thread:
            if name.endswith(":aside"):
                raise RuntimeError("can't start new thread")
            return super().start(target, name, background=background)

    class Signals(Component):
        def start(self) -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            eventually(lambda: "no thread for a signal" in caplog.messages, "logged")
            os.kill(os.getpid(), SIGTERM)
            self.stopping.wait()

    runtime = Runtime(
        name="app", components=[Signals(name="signals")], threads=Refusing()
    )

    assert runtime.run() == 0


# -- handlers -----------------------------------------------------------------------


@contextmanager
def as_before(number: signal.Signals) -> Iterator[None]:
    """Put the handler of *number* back at the end."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_a_handler_puts_numbers_into_a_queue_and_gives_way_at_the_end() -> None:
    """
    In the order in which they came; what is not asked for is left alone.
    """
    heard = SystemThreads().queue()
    user = signal.SIGUSR2
    before = [signal.getsignal(each) for each in (user, SIGINT)]
    with Interrupts(heard, [user]):
        signal.raise_signal(user)
        signal.raise_signal(user)
        inside = signal.getsignal(SIGINT)

    assert [heard.get(timeout=1), heard.get(timeout=1)] == [user, user]
    assert heard.empty()
    assert [signal.getsignal(user), inside] == before


def test_a_handler_that_python_does_not_know_becomes_the_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What C code has installed cannot be put back from Python.
    """
    user = signal.SIGUSR2
    with as_before(user):
        with Interrupts(SystemThreads().queue(), [user]) as interrupts:
            interrupts._before[user] = None

        assert signal.getsignal(user) == signal.SIG_DFL


def test_signals_are_named_as_people_know_them() -> None:
    """
    In the log a stop says who wished it.
    """
    assert signal_name(15) == "SIGTERM"
    assert signal_name(2) == "SIGINT"
