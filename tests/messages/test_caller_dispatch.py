"""dispatch="caller": an idle component's messages run in their sender's thread."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest

from kinesis import Component, ComponentChange, Runtime, Stage, field, handles
from kinesis.errors import ComponentStoppedError, ReplyTimeoutError
from kinesis.testing import Simulation, simulate
from tests.messages.parts import (
    LONG,
    PATIENCE,
    Add,
    Adder,
    Call,
    Get,
    Hold,
    Raise,
    counts,
    in_thread,
    serving_of,
    wait_until,
)


class Direct(Adder):
    """An adder that lets its callers do the work."""

    dispatch = "caller"


def who(_: Component) -> int:
    """Return the thread that runs this handler."""
    return threading.get_ident()


def test_an_idle_component_is_handled_in_the_thread_of_the_sender() -> None:
    """
    A post is not, nor a transaction.
    """
    seen: list[int] = []
    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        here = direct.send(Call(who))
        direct.post(Call(lambda me: seen.append(who(me))))
        [batch] = direct.send_all([Call(who)])
        wait_until(lambda: seen)

    assert here == threading.get_ident()
    assert threading.get_ident() not in {batch, *seen}


def test_a_busy_component_is_handled_by_its_own_thread() -> None:
    """
    The message queues up as any other; one at a time, in order.
    """
    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        hold = Hold()
        holding = in_thread(lambda: direct.send(hold))
        hold.wait_entered()
        other = in_thread(lambda: direct.send(Call(who)))
        wait_until(lambda: counts(direct).depth == 0 and not other.is_done)
        hold.go.set()

        assert other.result() not in {threading.get_ident()}
        assert holding.result() == "held"


def test_what_the_handler_raises_goes_to_the_sender_and_harms_nothing() -> None:
    """
    SystemExit too; the next message is handled.
    """
    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        error = SystemExit(1)
        with pytest.raises(SystemExit) as raised:
            direct.send(Raise(error))

        assert raised.value is error
        assert direct.send(Add(1)) == 1
        assert (counts(direct).failed, counts(direct).handled) == (1, 1)


def test_counters_time_and_changes_are_those_of_the_component() -> None:
    """
    As if its own thread had handled it.
    """
    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        with direct.subscribe(kinds=[ComponentChange]) as changes:
            direct.send(Add(2))
            change = changes.get(PATIENCE)
        told = counts(direct)

    assert isinstance(change, ComponentChange)
    assert (change.previous.sum, change.current.sum) == (0, 2)
    assert told.accepted == told.answered == told.handled == 1
    assert told.busy_seconds > 0.0


def test_the_handler_runs_in_a_context_of_its_own() -> None:
    """
    It sees none of its sender's variables, and leaves none behind.
    """
    variable = contextvars.ContextVar("variable", default="default")
    seen: list[str] = []

    def look(me: Adder) -> str:
        seen.append(variable.get())
        variable.set("the handler's")
        return me.ref.path

    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        variable.set("the sender's")
        path = direct.send(Call(look))
        direct.send(Call(look))

    assert path == "/app/direct"
    assert seen == ["default", "default"]
    assert variable.get() == "the sender's"


@pytest.mark.seeds(200)
def test_no_message_overtakes_another(simulation: Simulation) -> None:
    """
    Not even one that the worker has taken and not begun.
    """
    with simulation.runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        for number in range(0, 6, 2):
            direct.post(Add(number))
            direct.send(Add(number + 1))

        assert direct.snapshot().seen == [0, 1, 2, 3, 4, 5]


@pytest.mark.seeds(100)
def test_it_knows_all_that_waits_also_what_is_dropped_or_taken_out(
    simulation: Simulation,
) -> None:
    """
    After all of that it is idle again, and handles in the sender's thread.
    """
    threads = simulation.threads
    with simulation.runtime() as runtime:
        direct = runtime.add(
            Direct(name="direct", mailbox_bound=2, overflow="drop-oldest")
        )

        def post() -> None:
            for _ in range(4):
                direct.post(Add(1))

        def time_out() -> None:
            for _ in range(2):
                try:
                    direct.send_all([Add(1)], timeout=0.0)
                except (TimeoutError, RuntimeError):  # late, or dropped
                    continue

        jobs = [threads.start(job, "sender") for job in (post, post, time_out)]
        direct.restart()
        for job in jobs:
            job.join()
        direct.send_all([Get()])
        entered = serving_of(direct).mailbox.entered

        assert entered is not None
        assert entered.count == 0
        assert direct.send(Call(lambda me: threads.get_ident())) == 1


# -- not while it stops -----------------------------------------------------------


class Exclusive(Component):
    """Notes whether a handler and a hook are ever in it together."""

    dispatch = "caller"
    inside: int = field(default=0)
    most: int = field(default=0)
    runs: int = field(default=0)
    stopped: bool = field(default=True)

    def pause(self) -> None:
        self.inside += 1
        self.ref._cell.services.threads.sleep(0.0)
        self.most = max(self.most, self.inside)
        self.inside -= 1

    def pre_start(self) -> None:
        self.runs += 1
        self.pause()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        self.pause()

    def tear_down(self) -> None:
        self.pause()

    @handles(Get)
    def get(self, message: Get) -> int:
        assert not self.stopped, "handled after its stop"
        self.pause()
        return self.runs


@pytest.mark.seeds(200)
def test_no_handler_runs_while_its_component_stops_or_restarts(
    simulation: Simulation,
) -> None:
    """
    Whoever's thread it is in; all that is accepted is answered.
    """
    answered: list[int] = []
    with simulation.runtime() as runtime:
        direct = runtime.add(Exclusive(name="direct"))

        def send() -> None:
            for _ in range(4):
                try:
                    answered.append(direct.send(Get(), timeout=None))
                except ComponentStoppedError:
                    return

        senders = [simulation.threads.start(send, "sender") for _ in range(2)]
        direct.restart()
        runtime.remove("direct")
        for sender in senders:
            sender.join()
        told = counts(direct)

    assert direct.snapshot().most == 1
    assert told.accepted == told.answered
    assert told.handled == len(answered)


def test_the_end_of_a_run_waits_for_a_handler_in_a_senders_thread() -> None:
    """
    Also where there is no hook that would have to wait.
    """
    ended: list[float] = []

    def work(me: Adder) -> None:
        me.ref._cell.services.threads.sleep(3.0)
        ended.append(me.ref._cell.services.threads.monotonic())

    with simulate() as simulation, simulation.runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        sender = simulation.threads.start(lambda: direct.send(Call(work)), "sender")
        simulation.settle()
        runtime.remove("direct")

        assert direct.stage is Stage.TORN_DOWN
        assert ended == [simulation.now] == [3.0]
        sender.join()


# -- from inside other components --------------------------------------------------


def test_handlers_nested_deeper_than_fifty_go_on_in_another_thread() -> None:
    """
    No sender's stack grows without an end; the answer is the same.
    """

    class Link(Component):
        dispatch = "caller"

        @handles(list)
        def on(self, message: list[int]) -> list[int]:
            seen = [*message, threading.get_ident()]
            number = int(self.name[1:]) + 1
            if number == 60:
                return seen
            reply: list[int] = self.find(f"c{number}").send(seen, timeout=LONG)
            return reply

    with Runtime() as runtime:
        for number in range(60):
            runtime.add(Link(name=f"c{number}"))
        threads = runtime["c0"].send([], timeout=LONG)

    here = threading.get_ident()
    assert len(threads) == 60
    assert threads[:50] == [here] * 50
    assert threads[50] != here
    assert len(set(threads[50:])) == 1  # and from there in that one's thread


def test_a_timeout_that_has_passed_begins_nothing() -> None:
    """
    Once begun, a handler takes as long as it takes.
    """
    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct"))
        for timeout in (0.0, -1.0):
            with pytest.raises(ReplyTimeoutError) as late:
                direct.send(Add(5), timeout=timeout)
            assert not late.value.began

        def wait(_: Component) -> str:
            threading.Event().wait(0.05)
            return "done"

        assert direct.send(Get()) == 0
        assert direct.send(Call(wait), timeout=0.01) == "done"


def test_a_stalled_handler_is_reported_with_the_stack_of_its_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    That is where it is stuck, not in the component's own thread.
    """
    with Runtime() as runtime:
        direct = runtime.add(Direct(name="direct", stall_after=0.01))
        hold = Hold()
        holding = in_thread(lambda: direct.send(hold))
        hold.wait_entered()
        cell: Any = direct._cell
        wait_until(
            lambda: (
                cell.look_for_stall(cell.services.threads.monotonic())
                or direct.report().stalled
            )
        )
        stalled = direct.report().stalled
        hold.go.set()
        holding.result()

        assert "message.go.wait" in str(stalled)
        assert direct.report().stalled is None
    assert any(
        "the handler of Hold runs for" in each.message for each in caplog.records
    )
