"""Who waits for too long gives up, on time, and nobody is overlooked."""

from __future__ import annotations

from functools import partial
from typing import cast

import pytest

from kinesis import Component, Message, Runtime, handles
from kinesis.concurrency import Lock
from kinesis.errors import ReplyTimeoutError
from kinesis.mailbox import Envelope, Mailbox, Overdue
from kinesis.mailbox.overdue import LONG
from kinesis.testing import Simulation

PATIENCE = 10.0  # seconds


class Wait:
    """One that waits until *deadline*, and notes when it was told to give up."""

    def __init__(self, simulation: Simulation, deadline: float | None) -> None:
        self.deadline = deadline
        self.is_answered = False
        self.told: list[float] = []
        self._now = simulation.threads.monotonic

    def run_out(self) -> None:
        """Note the moment, unless it is answered."""
        if not self.is_answered:
            self.told.append(self._now())


class InterruptedGate:
    """Stands for a gate at which a sender is interrupted by ctrl-c."""

    def __init__(self) -> None:
        self.opened = 0

    def acquire(self, *_: object) -> bool:
        raise KeyboardInterrupt

    def release(self) -> None:
        self.opened += 1


def taken(box: Mailbox) -> Envelope:
    """Take the next message, as a worker does."""
    item = box.take(PATIENCE)
    assert isinstance(item, Envelope)
    return item


class Slow(Message[str]):
    """Take a minute."""


class Sleeper(Component):
    """Takes its time."""

    @handles(Slow)
    def slow(self, message: Slow) -> str:
        self.ref._cell.services.threads.sleep(60)
        return "done"


def overdue_in(simulation: Simulation) -> Overdue:
    """Return one in *simulation*."""
    return Overdue(simulation.threads, "app")


def test_each_gives_up_at_its_own_deadline(simulation: Simulation) -> None:
    """
    Also one that comes later, and is due earlier.
    """
    overdue = overdue_in(simulation)
    waits = [Wait(simulation, deadline) for deadline in (3.0, 1.0, 7.5, 3.0)]
    assert all(overdue.watch(wait) for wait in waits)

    simulation.sleep(20)

    assert [wait.told for wait in waits] == [[3.0], [1.0], [7.5], [3.0]]
    assert overdue.close(PATIENCE) == []


def test_who_has_an_answer_is_let_alone(simulation: Simulation) -> None:
    """
    Whether it has gone or is about to; and one that never goes is forgotten.
    """
    overdue = overdue_in(simulation)
    gone, going = Wait(simulation, 2.0), Wait(simulation, 2.0)
    overdue.watch(gone)
    overdue.watch(going)
    overdue.discard(gone)
    overdue.discard(gone)
    going.is_answered = True

    simulation.sleep(5)

    assert gone.told == going.told == []
    assert repr(overdue) == "<Overdue app [0 waiting]>"
    assert overdue.close(PATIENCE) == []


def test_who_waits_for_ever_is_not_watched(simulation: Simulation) -> None:
    """
    Nor is a thread started for it.
    """
    overdue = overdue_in(simulation)

    assert not overdue.watch(Wait(simulation, None))
    assert len(simulation.threads.names()) == 1
    assert overdue.close(PATIENCE) == []


def test_without_a_thread_each_sees_to_its_own_timeout(simulation: Simulation) -> None:
    """
    The next one asks for a thread again.
    """
    overdue = overdue_in(simulation)
    simulation.threads.refuse(1)

    assert not overdue.watch(Wait(simulation, 1.0))
    assert overdue.watch(Wait(simulation, 2.0))
    simulation.sleep(3)
    assert overdue.close(PATIENCE) == []


def test_closed_it_ends_with_the_last_who_waits(simulation: Simulation) -> None:
    """
    Whoever comes after that sees to its own timeout.
    """
    overdue = overdue_in(simulation)
    first, second = Wait(simulation, 5.0), Wait(simulation, 6.0)
    overdue.watch(first)

    assert overdue.close(1.0) == ["kinesis:app:overdue"]
    assert overdue.watch(second)
    assert overdue.close(PATIENCE) == []
    assert (first.told, second.told) == ([5.0], [6.0])
    assert not overdue.watch(Wait(simulation, 20.0))


@pytest.mark.seeds(200)
def test_nobody_is_overlooked_whoever_comes_while_it_looks(
    simulation: Simulation,
) -> None:
    """
    They come and go at every step of it, some with an answer.
    """
    overdue = overdue_in(simulation)
    late: list[Wait] = []

    def wait(seconds: list[float]) -> None:
        for number, span in enumerate(seconds):
            one = Wait(simulation, simulation.threads.monotonic() + span)
            assert overdue.watch(one)
            if number % 2:
                simulation.sleep(0.0)
                one.is_answered = True
                overdue.discard(one)
            else:
                late.append(one)
                simulation.sleep(span + 1.0)
                assert one.told == [one.deadline]

    spans = [[1.0, 0.0, 2.0], [0.5, 1.0, 0.5], [2.0, 3.0, 1.0]]
    senders = [
        simulation.threads.start(partial(wait, each), "sender") for each in spans
    ]
    for sender in senders:
        sender.join()

    assert len(late) == 6
    assert all(len(one.told) == 1 for one in late)
    assert overdue.close(PATIENCE) == []


@pytest.mark.parametrize("timeout", [LONG / 2, LONG, 2.0])
def test_a_send_gives_up_on_time_whoever_sees_to_it(
    simulation: Simulation, timeout: float
) -> None:
    """
    The system for a short one, a thread of the runtime for a long one.
    """
    with simulation.runtime() as runtime:
        ref = runtime.add(Sleeper(name="sleeper"))
        began = simulation.now
        with pytest.raises(ReplyTimeoutError, match=f"within {timeout:g} s") as caught:
            ref.send(Slow(), timeout=timeout)
        took = simulation.now - began
        watched = any("overdue" in n for n in simulation.threads.names().values())
        simulation.sleep(60)

    assert took == pytest.approx(timeout, abs=0.01)
    assert caught.value.began
    assert watched is (timeout >= LONG)


@pytest.mark.seeds(200)
def test_a_gate_that_was_opened_for_a_late_sender_is_good_for_the_next(
    simulation: Simulation,
) -> None:
    """
    The message of the late one is reached afterwards; it opens nothing.
    """
    box = Mailbox(simulation.threads, "/app/account", overdue=overdue_in(simulation))

    def ask(timeout: float) -> object:
        try:
            return box.send("hello", timeout=timeout)
        except ReplyTimeoutError as error:
            return error.began

    def handle() -> None:
        for pause in (2.0, 0.0, 0.0, 0.0):
            simulation.sleep(pause)
            item = taken(box)
            if item.begin():
                simulation.sleep(0.5)
                item.answer("hi")

    worker = simulation.threads.start(handle, "worker")
    assert ask(1.0) is False
    assert [ask(9.0) for _ in range(3)] == ["hi", "hi", "hi"]
    worker.join()
    counts = box.counts()
    assert (counts.expired, counts.handled, counts.accepted) == (1, 3, 4)


def test_who_has_been_answered_is_forgotten_at_once(simulation: Simulation) -> None:
    """
    Not only when its time would have been over.
    """
    with simulation.runtime() as runtime:
        ref = runtime.add(Sleeper(name="sleeper"))
        assert ref.send(Slow(), timeout=90) == "done"

        assert repr(runtime._services.overdue) == "<Overdue app [0 waiting]>"


def test_an_interrupted_sender_keeps_nobody_from_ending(simulation: Simulation) -> None:
    """
    It has left without a word; its message runs out like any other.
    """
    overdue = overdue_in(simulation)
    box = Mailbox(simulation.threads, "/app/account", overdue=overdue)
    gate = InterruptedGate()
    box._gates.append(cast("Lock", gate))
    with pytest.raises(KeyboardInterrupt):
        box.send("hello", timeout=3.0)
    simulation.sleep(5)

    assert repr(overdue) == "<Overdue app [0 waiting]>"
    assert gate.opened == 1
    assert not taken(box).begin()
    assert gate.opened == 1
    assert overdue.close(PATIENCE) == []
    assert box.counts().expired == 1


def test_a_runtime_that_nobody_sends_to_has_no_such_thread() -> None:
    """
    It starts with the first who waits, and ends with the runtime.
    """
    with Runtime() as runtime:
        ref = runtime.add(Sleeper(name="sleeper"))
        before = runtime._services.overdue._thread
        assert ref.snapshot().etag

    assert before is None
