"""What a runtime says of itself: how it stands, what it waits for, how it stopped."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kinesis import Component, Container, Runtime, Stage
from kinesis.errors import ComponentStoppedError, ContainerStoppingError, HungError
from kinesis.reports import SHOWN, Late, StopReport, dump, running_now, some, tree
from tests.runtime.parts import PATIENCE, Brief, Hang, Loop, eventually, stubborn

# -- while it waits -----------------------------------------------------------------


def in_middle_of_start(runtime: Runtime, hang: Hang) -> threading.Thread:
    """Start *runtime* on a thread; return once one of its hooks hangs in *hang*."""
    thread = threading.Thread(target=runtime.start)
    thread.start()
    hang.wait_entered()
    return thread


def test_a_status_says_whom_it_waits_for_and_how_long_already() -> None:
    """
    Through all containers, and for those whose turn has not come as well.
    """
    with Hang() as hang:
        inner = Container(name="inner", components=[stubborn("start", hang, "db")])
        outer = Container(name="outer", components=[inner])
        runtime = Runtime(name="app", components=[outer, Loop(name="web")])
        starting = in_middle_of_start(runtime, hang)
        status = {ref.path: ref.status for ref in runtime.root.walk()}
        status["/app"] = runtime.root.status
        shown = "\n".join(tree(runtime._cell))
        still = running_now(runtime._cell)
    starting.join(PATIENCE)
    runtime.stop()
    waits = r"waiting for /app/outer/inner/db \(start, \d+\.\d s of 30 s\)"

    for path in ("/app", "/app/outer", "/app/outer/inner"):
        assert re.fullmatch(f"STARTING, {waits}", status[path])
    assert re.fullmatch(f"SUBMITTED, {waits}", status["/app/web"])
    assert re.fullmatch(
        r"STARTING \(start, \d+\.\d s of 30 s\)", status["/app/outer/inner/db"]
    )
    assert [line.split(" [")[0] for line in shown.splitlines()] == [
        "app Container",
        "  outer Container",
        "    inner Container",
        "      db Stubborn",
        "  web Loop",
    ]
    assert still.startswith("/app/outer/inner/db [STARTING (start, ")
    assert "/app/web" not in still


def test_an_add_from_inside_says_whom_it_waits_for() -> None:
    """
    The one that adds runs its hook, and the one that it adds holds everybody up.
    """
    with Hang() as hang:

        class Adds(Component):
            def init(self) -> None:
                self.container.add(stubborn("init", hang, "added"))

        runtime = Runtime(name="app", components=[Adds(name="adds")])
        starting = in_middle_of_start(runtime, hang)
        status = (runtime.root.status, runtime["adds"].status)
    starting.join(PATIENCE)
    runtime.stop()

    assert re.fullmatch(r"STARTING, waiting for /app/added \(init, .* s\)", status[0])
    assert re.fullmatch(r"INITIALIZING \(init, \d+\.\d s of 30 s\)", status[1])


def test_the_dump_shows_the_tree_and_where_every_thread_is() -> None:
    """
    With the names of the threads: a component's is its path.
    """
    with Runtime(name="app", components=[Loop(name="loop")]) as runtime:
        text = dump(runtime._cell, runtime._services)

    assert text.startswith("app Container [STARTED]\n  loop Loop [STARTED]\n\n-- ")
    assert re.search(
        r"^-- kinesis:/app/loop\n(  .*\n)*.*stopping\.wait\(\)", text, re.M
    )
    assert re.search(r"^-- MainThread\n(  .*\n)*.*dump\(runtime", text, re.M)
    assert "-- kinesis:app:control\n" in text


# -- how it stopped ------------------------------------------------------------------


def test_a_report_names_what_was_slow_and_what_hangs() -> None:
    """
    As one text for the log; what the stop did not get to has no stack.
    """
    told = StopReport(
        seconds=7.5,
        stopped=(("/app/web", 0.2), ("/app/db", 2.25)),
        late=(
            Late("/app/io", "STOPPING hung", "  File io.py, line 3, in read\n"),
            *(Late(f"/app/c{number}", "STARTED", "") for number in range(SHOWN + 2)),
        ),
    )

    assert str(told).splitlines() == [
        "stopped 2 components in 7.50 s, /app/db took 2.25 s",
        "/app/io hung [STOPPING hung]:",
        "  File io.py, line 3, in read",
        "",
        "not stopped, for want of time: "
        + ", ".join(f"/app/c{number}" for number in range(SHOWN))
        + " and 2 more",
    ]


def test_some_names_are_all_names_if_they_are_few() -> None:
    """
    Else it is said how many there are beside them.
    """
    assert some([]) == ""
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_stop_tells_what_was_stopped_in_what_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The last started first; what had stopped before is not part of it.
    """
    box = Container(name="box", components=[Loop(name="inner")])
    with caplog.at_level(logging.INFO, "kinesis"):
        runtime = Runtime(name="app", components=[Loop(name="a"), box, Loop(name="b")])
        runtime.start()
        for number in range(5):
            runtime.add(Loop(name=f"gone{number}"))
            runtime.remove(f"gone{number}")
        told = runtime.stop()

    assert [path for path, _ in told.stopped] == [
        *["/app/b", "/app/box/inner", "/app/box", "/app/a", "/app"]
    ]
    assert all(0 <= seconds <= told.seconds for _, seconds in told.stopped)
    assert told.late == ()
    assert caplog.records[-1].getMessage() == str(told)
    assert str(told).startswith("stopped 5 components in 0.0")


def test_a_stop_names_what_was_late_with_its_stack() -> None:
    """
    The stack is of the code that hangs, the path that of its component.
    """
    with Hang() as hang:
        part = stubborn("stop", hang, stop_deadline=0.05)
        runtime = Runtime(name="app", components=[Loop(name="loop"), part]).start()
        with pytest.raises(HungError) as caught:
            runtime.stop()
        told = runtime._conductor.ended.result(0)

    [late] = told.late
    assert (late.path, late.status) == ("/app/stubborn", "TORN_DOWN hung")
    assert re.search(
        r'parts\.py", line \d+, in __call__\n +self\.over\.wait', late.stack
    )
    assert caught.value.paths == ("/app/stubborn",)
    assert "/app/loop" in [path for path, _ in told.stopped]


def test_what_was_removed_and_hangs_is_named_too() -> None:
    """
    It is in the tree no more, but its thread is there.
    """
    with Hang() as hang:
        part = stubborn("stop", hang, stop_deadline=0.05)
        runtime = Runtime(name="app", components=[part]).start()
        runtime.remove("stubborn")
        with pytest.raises(HungError, match="over.wait") as caught:
            runtime.stop()

    assert caught.value.paths == ("/app/stubborn",)


def test_what_was_in_a_container_that_was_removed_is_named_too() -> None:
    """
    At whatever depth.
    """
    with Hang() as hang:
        part = stubborn("stop", hang, stop_deadline=0.05)
        inner = Container(name="inner", components=[part])
        outer = Container(name="outer", components=[inner])
        runtime = Runtime(name="app", components=[outer]).start()
        runtime.remove("outer")
        with pytest.raises(HungError, match="over.wait") as caught:
            runtime.stop()

    assert caught.value.paths == ("/app/outer/inner/stubborn",)


def test_what_came_back_is_no_longer_late() -> None:
    """
    It was given up on, but has ended since: nothing hangs.
    """
    with Hang() as hang:
        part = stubborn("stop", hang, stop_deadline=0.05)
        runtime = Runtime(name="app", components=[part]).start()
        runtime["stubborn"].stop(PATIENCE)
        hang.over.set()
        eventually(lambda: runtime["stubborn"].report().hung is None, "it came back")
        told = runtime.stop()

    assert "hung: stop has not returned within 0.05 s" in runtime["stubborn"].why()
    assert told.late == ()
    assert runtime.exit_code == 0


def test_nothing_is_said_where_there_is_no_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A program may have closed it; that is no failure.
    """
    from kinesis.reports import say

    monkeypatch.setattr(sys, "stderr", None)
    say("anybody there?")


# -- the deadline of the whole stop ------------------------------------------------


class Hangs(Loop):
    """Hangs in its `stop`, until the test lets go."""

    def stop(self) -> None:
        """Hang."""
        HOLD[0].wait()


HOLD: list[Any] = [None]


def hanging(simulation: Any, *parts: Component, deadline: float = 12.0) -> Runtime:
    """Return a runtime that is started, under simulated threads."""
    HOLD[0] = simulation.threads.event()
    return Runtime(
        name="app",
        components=parts,
        shutdown_deadline=deadline,
        threads=simulation.threads,
    ).start()


def test_many_that_hang_do_not_hold_the_stop_beyond_its_deadline(
    simulation: Any,
) -> None:
    """
    Each has 5 s, all together 12: those that follow are told to stop all the same.
    """
    parts = [Hangs(name=f"h{number}") for number in range(5)]
    runtime = hanging(simulation, Loop(name="last"), *parts)
    began = simulation.now
    with pytest.raises(HungError) as caught:
        runtime.stop()
    seconds = simulation.now - began
    HOLD[0].set()

    assert 12.0 <= seconds <= 14.0
    assert set(caught.value.paths) == {f"/app/h{number}" for number in range(5)}
    assert runtime["last"].stage is Stage.TORN_DOWN
    assert runtime.exit_code == 3


def waiting(simulation: Any, wait: Callable[[], object]) -> list[object]:
    """Have *wait* called on a thread; return where what becomes of it goes."""
    ends: list[object] = []

    def run() -> None:
        try:
            ends.append(wait())
        except BaseException as error:
            ends.append(error)

    simulation.threads.start(run, "waits")
    return ends


def test_whoever_waits_when_the_time_is_up_is_told(simulation: Any) -> None:
    """
    For a stage, an add, a stop or an answer: with no timeout it would be for ever.
    """

    class Answers(Hangs):
        def start(self) -> None:
            self.ready()
            HOLD[0].wait()

        def default_handler(self, message: object) -> None:
            HOLD[0].wait()

    class Adds(Component):
        def init(self) -> None:
            HOLD[0].wait()

    part = Answers(name="part", stop_deadline=1000)
    runtime = hanging(simulation, part)
    ref = runtime["part"]
    ends = [
        waiting(simulation, lambda: ref.wait_for(Stage.STOPPED)),
        waiting(simulation, lambda: ref.send("first", None)),
        waiting(simulation, lambda: ref.send("second", None)),
        waiting(simulation, lambda: ref.stop(None)),
        waiting(simulation, lambda: runtime.add(Adds(name="a", stop_deadline=1000))),
        waiting(simulation, lambda: runtime.add(Brief(name="b"))),
    ]
    simulation.threads.sleep(1)
    with pytest.raises(HungError):
        runtime.stop()
    simulation.threads.sleep(1)
    HOLD[0].set()

    kinds = (ComponentStoppedError, ContainerStoppingError)
    assert [[isinstance(end, kinds) for end in each] for each in ends] == [[True]] * 6


def test_the_stacks_are_of_those_that_hang_for_longest(simulation: Any) -> None:
    """
    All are told to stop in the end, and hang; the first of them held them up.
    """
    parts = [Hangs(name=f"h{number}") for number in range(SHOWN + 5)]
    runtime = hanging(simulation, *parts, deadline=2.0)
    with pytest.raises(HungError):
        runtime.stop()
    HOLD[0].set()
    late = runtime._conductor.ended.result(0).late

    assert len(late) == SHOWN + 5
    assert len([each for each in late if each.stack]) == SHOWN
    assert late[-1].path == f"/app/h{SHOWN + 4}"
    assert "HOLD[0].wait()" in late[-1].stack


def test_those_that_there_is_no_time_to_ask_are_asked_after_the_end(
    simulation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Their loops do not run on for ever in a host that goes on.
    """
    runtime = hanging(simulation, Loop(name="loop"), Hangs(name="hangs"), deadline=2.0)
    monkeypatch.setattr("kinesis.conductor.JOIN_SECONDS", 0.0)
    with pytest.raises(HungError) as caught:
        runtime.stop()
    simulation.threads.sleep(1)
    stage = runtime["loop"].stage
    HOLD[0].set()

    assert "/app/loop" in caught.value.paths
    assert stage is Stage.TORN_DOWN
