"""The exit code tells how a program ended, and it comes in time."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from kinesis import Component, Container, Restart, Runtime, Stage
from kinesis.errors import ComponentStoppedError, HungError
from kinesis.restarts import Backoff
from tests.hooks import HOOKS, WAY_UP
from tests.programs import UNMEASURED
from tests.runtime.parts import (
    PATIENCE,
    Brief,
    Hang,
    Loop,
    kinesis_threads,
    stubborn,
)
from tests.runtime.processes import SLACK, Process, Stopwatch, command, started

SOON = Restart(limit=1, backoff=Backoff(first=0.01))


def leaves() -> None:
    """Do what a script does to end with success."""
    sys.exit(0)


def code_of(*components: Component, **options: Any) -> int:
    """Run *components* elsewhere than in the main thread; return the exit code."""
    runtime = Runtime(name="app", components=components, **options)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(runtime.run()))
    thread.start()
    thread.join(PATIENCE)
    assert codes, "run() did not return"
    return codes[0]


# -- sys.exit in a component --------------------------------------------------------


@pytest.mark.parametrize("hook", WAY_UP)
def test_an_exit_on_the_way_up_is_a_failure_to_start(hook: str) -> None:
    """
    sys.exit(0) is an exception like any other, never the program's 0.
    """
    assert code_of(Loop(name="loop"), stubborn(hook, leaves)) == 1
    assert kinesis_threads() == []


@pytest.mark.parametrize("hook", ["stop", "tear_down"])
def test_an_exit_on_the_way_down_is_a_failure_that_stops_nothing(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The program was asked to stop and does: 0, with the failure in the log.
    """
    ended: list[str] = []

    class Asks(Component):
        def start(self) -> None:
            runtime.stop()

    part = stubborn(hook, leaves, "part")
    below = stubborn("tear_down", lambda: ended.append("below"), "below")
    runtime = Runtime(name="app", components=[below, part, Asks(name="asks")])

    assert runtime.run() == 0
    assert ended == ["below"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{hook} failed: SystemExit: 0"
    ]


def test_exits_again_and_again_reach_the_root_as_failures() -> None:
    """
    Once the restarts are used up the program ends with 1.
    """

    class Leaves(Component):
        def start(self) -> None:
            self.ready()
            leaves()

    part = Leaves(name="leaves", restart=SOON)
    box = Container(name="box", components=[part], restart=SOON)

    assert code_of(Loop(name="loop"), box) == 1


def test_an_exit_in_a_handler_fails_that_message_alone() -> None:
    """
    The program goes on: the sender has the error.
    """

    class Handles(Component):
        def default_handler(self, message: Callable[[], object]) -> object:
            return message()

    with Runtime(name="app", components=[Handles(name="handles")]) as runtime:
        ref = runtime["handles"]
        with pytest.raises(SystemExit):
            ref.send(leaves)

        assert ref.send(lambda: "goes on") == "goes on"
    assert runtime.exit_code == 0


# -- what finished, what failed -----------------------------------------------------


def test_what_finished_by_itself_is_a_success() -> None:
    """
    However often it had to be restarted for that.
    """
    tries: list[int] = []

    class Tries(Component):
        def start(self) -> None:
            self.ready()
            tries.append(1)
            if len(tries) == 1:
                raise OSError("not yet")

    assert code_of(Tries(name="tries", restart=SOON), Brief(name="brief")) == 0
    assert len(tries) == 2


@pytest.mark.parametrize("nested", [False, True])
def test_when_all_have_ended_and_one_had_failed_the_code_is_one(nested: bool) -> None:
    """
    Nobody restarts it, nothing else runs: an empty shell would look healthy.
    """

    class Fails(Component):
        def start(self) -> None:
            self.ready()
            raise OSError("no such device")

    fails: Component = Fails(name="fails", restart=Restart(when="never"))
    if nested:
        fails = Container(name="box", components=[fails, Brief(name="inner")])

    assert code_of(Brief(name="brief"), fails) == 1


def test_a_stop_by_hand_is_no_end(simulation: Any) -> None:
    """
    What somebody stopped somebody may start again: the program goes on.
    """
    runtime = Runtime(
        name="app",
        components=[Loop(name="loop"), Brief(name="brief")],
        threads=simulation.threads,
    )
    codes: list[int] = []
    thread = simulation.threads.start(lambda: codes.append(runtime.run()), "runs")
    runtime.root.wait_for(Stage.STARTED)
    runtime["loop"].stop()
    simulation.threads.sleep(1000)

    assert codes == []
    assert runtime["loop"].stage is Stage.STOPPED
    runtime.stop()
    thread.join()
    assert codes == [0]


# -- hung ---------------------------------------------------------------------------


HANGS = """
class Hangs(Component):
    def hang(self, hook):
        say("in", hook)
        never.wait()

{hooks}
"""
BODY = {
    "handler": """
    def init(self):
        self.after(0, "message")
    def default_handler(self, message):
        self.hang("handler")
""",
    "restart_after": """
    def start(self):
        raise OSError("no such device")
    def restart_after(self, outcome):
        self.hang("restart_after")
""",
    **{hook: f"    def {hook}(self): self.hang('{hook}')\n" for hook in HOOKS},
}


def test_whatever_hangs_a_stop_ends_with_three_in_time(tmp_path: Path) -> None:
    """
    Every hook in turn, each in a process of its own: within the deadlines and 1 s.
    """
    deadline = 0.3
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        for hook, body in BODY.items():
            words = f"Hangs, stop_deadline: {deadline}"
            line = command(tmp_path / hook, HANGS.format(hooks=body), "Loop", words)
            processes[hook] = stack.enter_context(started(line, env=UNMEASURED))
        for hook, process in processes.items():
            on_the_way_down = hook in ("stop", "tear_down")
            process.wait_for("/app +started" if on_the_way_down else f"^in {hook}$")
        with Stopwatch() as watch:
            for process in processes.values():
                process.send(signal.SIGTERM)
            codes = {hook: process.end() for hook, process in processes.items()}
        unnamed = [
            hook
            for hook, process in processes.items()
            if not process.matching(r"/app/c1 .*hung: .* of '/app/c1' has not returned")
            or not process.matching(r"parts\.py\", line \d+, in hang")
        ]

    assert codes == dict.fromkeys(BODY, 3)
    assert watch.seconds < deadline + 1 + SLACK
    assert unnamed == []


@pytest.mark.parametrize("hook", HOOKS)
def test_an_embedded_runtime_raises_the_names_of_what_hangs(hook: str) -> None:
    """
    It never ends its host: that hears of it, and goes on.
    """
    with Hang() as hang:
        part = stubborn(hook, hang, stop_deadline=0.05)
        runtime = Runtime(name="app", components=[Loop(name="loop"), part])
        starting = threading.Thread(target=_start, args=(runtime,))
        starting.start()
        if hook in WAY_UP:
            hang.wait_entered()
        else:
            starting.join(PATIENCE)
        with Stopwatch() as watch, pytest.raises(HungError) as caught:
            runtime.stop()
        starting.join(PATIENCE)

    assert caught.value.paths == ("/app/stubborn",)
    assert "over.wait()" in str(caught.value)
    assert watch.seconds < 3 * 0.05 + 1 + SLACK
    assert runtime.exit_code == 3
    assert runtime["loop"].report().hung is None


def _start(runtime: Runtime) -> None:
    """Start *runtime*, which somebody may stop before it is up."""
    with suppress(ComponentStoppedError):
        runtime.start()
