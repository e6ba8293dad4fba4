"""What becomes of messages when their component stops."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import attrs
import pytest

from kinesis import Component, Ref, Restart, Runtime, Stage, field, handles
from kinesis.errors import ComponentStoppedError, HungError
from kinesis.testing import Simulation, simulate
from tests.messages.parts import (
    PATIENCE,
    Add,
    Adder,
    Call,
    Looping,
    counts,
    wait_until,
)


@attrs.frozen
class Work:
    """Takes so many virtual seconds."""

    seconds: float


class Worker(Component):
    """Works, and notes what it has done and in which thread its hooks ran."""

    done: list[float] = field(factory=list)
    blocks: bool = field(default=False)
    hooks: list[str] = field(factory=list)

    def note(self, hook: str) -> None:
        threads = self.ref._cell.services.threads
        self.hooks.append(f"{hook} on {threads.names()[threads.get_ident()]}")

    def start(self) -> None:
        if self.blocks:
            self.stopping.wait()

    def stop(self) -> None:
        self.note("stop")

    def tear_down(self) -> None:
        self.note("tear_down")

    @handles(Work)
    def work(self, message: Work) -> float:
        self.ref._cell.services.threads.sleep(message.seconds)
        self.done.append(message.seconds)
        return message.seconds


def send_in_thread(
    simulation: Simulation, ref: Ref[Worker], message: Work, answers: list[Any]
) -> None:
    """Send *message* from a thread of its own; note the answer or the error."""

    def send() -> None:
        try:
            answers.append(ref.send(message, timeout=None))
        except ComponentStoppedError as error:
            answers.append(error)

    simulation.threads.start(send, f"sender of {message.seconds}")
    simulation.settle()


@pytest.mark.parametrize("blocks", [False, True])
def test_messages_accepted_before_the_stop_are_handled_until_its_deadline(
    blocks: bool,
) -> None:
    """
    For four fifths of it: the rest of the time is for the `stop` hook. Those that
    are left are answered.
    """
    answers: list[Any] = []
    with simulate() as simulation, simulation.runtime() as runtime:
        worker = runtime.add(
            Worker(name="worker", stop_deadline=10.0, blocks=blocks, stall_after=99.0)
        )
        for _ in range(6):
            send_in_thread(simulation, worker, Work(3.0), answers)
        before = simulation.now
        worker.stop()
        seconds = simulation.now - before
        simulation.settle()

        # 3, 6 and 9 s: the third began in time, the fourth would not.
        assert worker.snapshot().done == [3.0] * 3
        # Noted by six threads: those that wake up at one moment do so in any order.
        refused = [type(each) for each in answers if each != 3.0]
        assert answers.count(3.0) == 3
        assert refused == [ComponentStoppedError] * 3
        assert seconds == pytest.approx(9.0)
        assert worker.report().hung is None


@pytest.mark.parametrize("blocks", [False, True])
def test_on_stop_refuse_answers_all_that_wait_at_once(blocks: bool) -> None:
    """
    Only the handler that runs goes on to its end.
    """
    answers: list[Any] = []
    with simulate() as simulation, simulation.runtime() as runtime:
        worker = runtime.add(
            Worker(name="worker", on_stop="refuse", blocks=blocks, stop_deadline=10.0)
        )
        for _ in range(3):
            send_in_thread(simulation, worker, Work(3.0), answers)
        worker.stop()
        simulation.settle()

        assert worker.snapshot().done == [3.0]
        assert sorted(type(each).__name__ for each in answers) == [
            "ComponentStoppedError",
            "ComponentStoppedError",
            "float",
        ]


def test_a_stopping_component_refuses_what_comes_later() -> None:
    """
    While it drains.
    """
    with simulate() as simulation, simulation.runtime() as runtime:
        worker = runtime.add(Worker(name="worker"))
        worker.post(Work(3.0))
        simulation.settle()
        stopping = simulation.threads.start(worker.stop, "stopper")
        simulation.settle()
        assert worker.stage is Stage.STOPPING
        with pytest.raises(ComponentStoppedError, match="takes no more messages"):
            worker.post(Work(1.0))
        stopping.join()

        assert worker.snapshot().done == [3.0]


def test_stop_runs_where_messages_are_handled_tear_down_where_init_did() -> None:
    """
    With a blocking start that is a second thread, and with no message as well.
    """
    hooks: dict[str, list[str]] = {}
    with simulate() as simulation, simulation.runtime() as runtime:
        for name, blocks, message in (
            ("plain", False, True),
            ("blocks", True, True),
            ("unserved", True, False),
        ):
            worker = runtime.add(Worker(name=name, blocks=blocks))
            if message:
                worker.send(Work(0.0))
            runtime.remove(name)
            hooks[name] = worker.snapshot().hooks

    assert hooks == {
        "plain": ["stop on kinesis:/app/plain", "tear_down on kinesis:/app/plain"],
        "blocks": [
            "stop on kinesis:/app/blocks (messages)",
            "tear_down on kinesis:/app/blocks",
        ],
        "unserved": [
            "stop on kinesis:/app/unserved (messages)",
            "tear_down on kinesis:/app/unserved",
        ],
    }


@pytest.mark.parametrize("blocks", [False, True])
def test_who_waits_for_a_handler_that_hangs_is_answered_when_it_is_abandoned(
    blocks: bool,
) -> None:
    """
    And those behind it; what it answers later is ignored.
    """
    answers: list[Any] = []
    with simulate() as simulation:
        runtime = simulation.runtime().start()
        worker = runtime.add(
            Worker(name="worker", blocks=blocks, stop_deadline=2.0, stall_after=999.0)
        )
        for _ in range(2):
            send_in_thread(simulation, worker, Work(500.0), answers)
        before = simulation.now
        with pytest.raises(HungError, match="/app/worker"):
            runtime.stop()
        seconds = simulation.now - before
        simulation.settle()
        texts = sorted(map(str, answers))
        simulation.advance(1000.0)

        assert seconds < 10.0
        assert "hung: it has no answer" in texts[0] + texts[1]
        assert "which never ran" in texts[0] + texts[1]
        assert len(answers) == 2
        assert worker.snapshot(timeout=None).done == [500.0]
        told = counts(worker)
        assert told.accepted == told.answered == 2


def test_a_restart_lets_the_handler_end_and_keeps_the_rest() -> None:
    """
    The waiting messages are for the next run.
    """
    answers: list[Any] = []
    with simulate() as simulation, simulation.runtime() as runtime:
        worker = runtime.add(Worker(name="worker", stop_deadline=10.0))
        for seconds in (3.0, 1.0, 2.0):
            send_in_thread(simulation, worker, Work(seconds), answers)
        worker.restart()
        before = worker.snapshot().done
        simulation.advance(5.0)

        assert before[:1] == [3.0]
        assert len(before) < 3
        assert answers == [3.0, 1.0, 2.0]
        assert worker.report().run == 2


def test_a_component_started_again_after_its_end_answers_again() -> None:
    """
    After it was torn down, as one that has failed; old refs serve.
    """

    class Fails(Looping):
        runs: int = field(default=0)

        def start(self) -> None:
            self.runs += 1
            self.ready()
            if self.runs == 1:
                assert go.wait(PATIENCE)
                raise OSError("once")
            self.stopping.wait()

    go = threading.Event()
    with Runtime() as runtime:
        fails = runtime.add(Fails(name="fails", restart=Restart(when="never")))
        go.set()
        wait_until(lambda: fails.stage is Stage.TORN_DOWN)
        with pytest.raises(ComponentStoppedError):
            fails.send(Add(1))
        fails.start()

        assert fails.send(Add(1)) == 1


@pytest.mark.parametrize("component", [Adder, Looping])
def test_messages_sent_just_before_a_stop_are_handled(component: type[Adder]) -> None:
    """
    Also the first one of a component whose start blocks.
    """
    with Runtime() as runtime:
        refs = [runtime.add(component(name=f"a{number}")) for number in range(20)]
        for ref in refs:
            ref.post(Add(1))
            ref.stop()

        assert [ref.snapshot().sum for ref in refs] == [1] * 20


def test_a_handler_may_stop_its_own_component_and_the_runtime() -> None:
    """
    It does not wait for its own end.
    """
    with Runtime() as runtime:
        refs: list[Ref[Adder]] = [runtime.add(Adder(name=name)) for name in "ab"]
        refs[0].send(Call(lambda me: me.ref.stop()))
        refs[0].wait_stopped(PATIENCE)
        refs[1].send(Call(partial(stop_runtime, runtime)))
        runtime.join(PATIENCE)

    assert [ref.stage for ref in refs] == [Stage.TORN_DOWN] * 2


def stop_runtime(runtime: Runtime, _: Adder) -> str:
    """Stop everything from inside."""
    runtime.stop()
    return "stopping"
