"""
What users of comparable systems complain of, and what happens here instead.

Three more have files of their own: exit codes that lie (`test_exit_codes`), a host
whose signals are disturbed (`test_runtime`), and forks (`test_forks`).
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from kinesis import Backoff, Component, Restart, Runtime, Stage, private
from kinesis.errors import ActivationError
from tests.runtime.parts import Hang, Loop
from tests.runtime.processes import SLACK, Stopwatch, command, started


class Crashes(Component):
    """Works for a while, then fails; as often as *fails* says."""

    fails: int = private(default=1)
    lasts: float = private(default=1.0)

    def start(self) -> None:
        """Work, and fail."""
        if not self.stopping.wait(self.lasts) and self.fails > 0:
            self.fails -= 1
            raise ConnectionError("the server has gone away")
        self.stopping.wait()


def simulated(simulation: Any, *parts: Component) -> Runtime:
    """Return a runtime of *parts* under simulated threads, started."""
    return Runtime(name="app", components=parts, threads=simulation.threads).start()


# -- a part dies and the program looks healthy ----------------------------------------


def test_a_part_that_died_is_started_again_and_it_is_known(simulation: Any) -> None:
    """
    While it waits for the next attempt it is not STARTED; its report tells the rest.
    """
    policy = Restart(backoff=Backoff(first=10.0, jitter=0.0))
    part = Crashes(name="part", restart=policy)
    runtime = simulated(simulation, part)
    ref = runtime["part"]
    simulation.threads.sleep(2)
    down, status = ref.stage, ref.status
    simulation.threads.sleep(10)
    report = ref.report()
    runtime.stop()

    assert down is Stage.RESTARTING
    assert status == "RESTARTING (next attempt in 9.0 s)"
    assert report.stage is Stage.STARTED
    assert (report.restarts, report.failures, report.run) == (1, 1, 2)
    assert report.last is not None
    assert isinstance(report.last.error, ConnectionError)
    assert ref.why()[:2] == (
        "start failed: ConnectionError: the server has gone away",
        "failed: restart 1 in 10.00 s",
    )


def test_a_part_that_stays_dead_ends_the_program(simulation: Any) -> None:
    """
    After the last restart the failure goes up to the root: exit code 1, not an idle
    process.
    """
    part = Crashes(name="part", restart=Restart(limit=2))
    part.fails = 99
    runtime = simulated(simulation, part, Loop(name="loop"))

    assert runtime.join(100) == 1
    assert runtime["loop"].stage is Stage.TORN_DOWN
    assert "gave up: 2 restarts within 60 s are the limit" in runtime["part"].why()


def test_a_part_that_cannot_even_decide_on_its_restart_is_found_out(
    simulation: Any,
) -> None:
    """
    Its own `restart_after` hangs: that has a deadline like every hook.
    """
    over = simulation.threads.event()

    class Undecided(Crashes):
        def restart_after(self, outcome: object) -> float | None:
            over.wait()
            return None

    runtime = simulated(simulation, Undecided(name="part", start_deadline=7.0))
    simulation.threads.sleep(3)
    status = runtime["part"].status
    code = runtime.join(10)
    over.set()

    assert status.startswith("STARTED")
    assert code == 3
    assert "start failed: ConnectionError: the server has gone away" in (
        runtime["part"].why()
    )
    assert "hung: restart_after has not returned within 7 s" in runtime["part"].why()


# -- the stop hangs -------------------------------------------------------------------


RECEIVES = """
class Receiver(Component):
    def init(self):
        self.ours, self.theirs = socket.socketpair()
    def start(self):
        self.ready()
    def stop(self):
        self.ours.recv(1000)
"""


def test_a_stop_that_hangs_in_a_recv_ends_in_time_and_names_the_line(
    tmp_path: Path,
) -> None:
    """
    Within the deadline and 1 s, nonzero; with the component, the file and the line.
    """
    deadline = 0.5
    words = f"Receiver, stop_deadline: {deadline}"
    with started(command(tmp_path, RECEIVES, "Loop", words, "Loop")) as process:
        process.wait_for("/app +started")
        with Stopwatch() as watch:
            code = process.end(signal.SIGTERM)
    source = (tmp_path / "parts.py").read_text().splitlines()
    number = 1 + next(n for n, line in enumerate(source) if "recv(1000)" in line)

    assert code == 3
    assert watch.seconds < deadline + 1 + SLACK
    assert process.matching("/app/c1 +hung: stop of '/app/c1' has not returned")
    assert process.matching(rf'parts\.py", line {number}, in stop')
    assert process.matching(r"/app/c0 +stopped")
    assert process.matching(r"/app/c1 hung \[TORN_DOWN hung\]")


# -- start order ignores readiness ----------------------------------------------------


def test_the_next_part_starts_once_the_one_before_is_ready(simulation: Any) -> None:
    """
    Not when its thread runs: when it says that it works.
    """
    seen: list[tuple[str, float]] = []

    class Warms(Component):
        def start(self) -> None:
            simulation.threads.sleep(20)
            seen.append((self.path, simulation.now))
            self.ready()
            self.stopping.wait()

    with simulated(simulation, Warms(name="first"), Warms(name="second")):
        pass

    assert [path for path, _ in seen] == ["/app/first", "/app/second"]
    assert seen[1][1] - seen[0][1] >= 20


def test_a_part_that_never_gets_ready_fails_the_start(simulation: Any) -> None:
    """
    Its deadline ends the wait, and the error says how to be ready.
    """
    over = simulation.threads.event()

    class Silent(Component):
        def start(self) -> None:
            over.wait()

    runtime = Runtime(
        name="app",
        components=[Silent(name="silent", start_deadline=3.0)],
        threads=simulation.threads,
    )
    with pytest.raises(ActivationError, match=r"call self\.ready\(\)"):
        runtime.start()
    code = runtime.exit_code
    over.set()

    assert code == 3


# -- hung is not dead -----------------------------------------------------------------


def test_a_handler_that_takes_long_is_stalled_and_back_by_itself() -> None:
    """
    Its component says so, with the stack, for as long as it lasts.
    """
    with Hang() as hang:

        class Slow(Component):
            def default_handler(self, message: object) -> None:
                hang()

        part = Slow(name="slow", stall_after=0.0)
        with Runtime(name="app", components=[part]) as runtime:
            ref = runtime["slow"]
            ref.post("work")
            hang.wait_entered()
            runtime._conductor._watch()
            stalled = ref.report()
            hang.over.set()
            ref.send("more")
            after = ref.report()

    assert stalled.status == "STARTED stalled"
    assert stalled.stage is Stage.STARTED
    assert stalled.stalled is not None
    assert re.search(r"parts\.py.*\n +self\.over\.wait\(\)", stalled.stalled)
    assert after.status == "STARTED"
    assert after.stalled is None
    assert ref.why()[0].startswith("stalled: the handler of str runs for ")
    assert ref.why()[1].startswith("recovered: ")


def test_a_hook_over_its_limit_is_hung_and_back_by_itself() -> None:
    """
    What was given up on may end after all, and is not hung any more.
    """
    with Hang() as hang:

        class Slow(Loop):
            def tear_down(self) -> None:
                hang()

        runtime = Runtime(name="app").start()
        ref = runtime.add(Slow(name="slow", stop_deadline=0.05))
        runtime.remove("slow")
        hung = ref.report().hung
        hang.over.set()
        runtime.stop()

    assert hung is not None
    assert "self.over.wait()" in hung
    assert ref.report().hung is None
    assert ref.why()[-1] == "tear_down came back after it was abandoned"
    assert runtime.exit_code == 0


# -- a part that was stopped by hand comes back ---------------------------------------


def test_a_crash_loop_that_is_stopped_between_two_attempts_stays_stopped(
    simulation: Any,
) -> None:
    """
    And a later start has all of its restarts again.
    """
    part = Crashes(name="part", restart=Restart(limit=2, window=1e6))
    part.fails = 2
    runtime = simulated(simulation, part)
    ref = runtime["part"]
    simulation.threads.sleep(2.25)  # it failed twice, and waits for its last attempt
    before = ref.status
    ref.stop()
    simulation.threads.sleep(1000)
    stopped, restarts = ref.stage, ref.report().restarts
    part.fails = 2
    ref.start()
    simulation.threads.sleep(1000)
    after = ref.report()
    runtime.stop()

    assert before.startswith("RESTARTING (next attempt in ")
    assert stopped is Stage.STOPPED
    assert after.stage is Stage.STARTED
    assert after.failures == 4
    assert after.restarts > restarts
    assert runtime.exit_code == 0
