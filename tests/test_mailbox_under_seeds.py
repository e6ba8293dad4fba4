"""The mailbox under a seeded scheduler: the same promises, in chosen orders."""

from __future__ import annotations

from collections import Counter

import pytest

from kinesis.concurrency import Thread
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
)
from kinesis.mailbox import Envelope, Mailbox, Overflow
from kinesis.testing import Simulation, find_failure

SEEDS = 60
MANY_SEEDS = 4_000


def serve(box: Mailbox) -> None:
    """Handle what comes until told to leave, or to drain and then leave."""
    while True:
        item = box.take()
        if isinstance(item, Envelope):
            handle(item)
        elif item == "drain":
            while isinstance(left := box.take(0.0), Envelope):
                handle(left)
            box.refuse_rest()
            return
        else:
            return


def handle(envelope: Envelope) -> None:
    """Answer with the message itself."""
    if envelope.begin():
        envelope.answer(envelope.message)


def run(
    simulation: Simulation, overflow: Overflow, ending: str, kind: type[Mailbox]
) -> None:
    """Run three senders and a worker against one ending; compare their books."""
    threads = simulation.threads
    box = kind(threads, "/app/a", bound=2, overflow=overflow)
    attempts: Counter[str] = Counter()

    def send() -> None:
        for number in range(3):
            attempts["made"] += 1
            try:
                assert box.send(number, 10.0) == number
            except (ComponentStoppedError, MailboxFullError):
                attempts["failed"] += 1

    def post() -> None:
        for number in range(3):
            attempts["made"] += 1
            try:
                box.post(number, timeout=10.0)
            except (ComponentStoppedError, MailboxFullError):
                attempts["failed"] += 1

    worker = threads.start(lambda: serve(box), "worker")
    for name, job in (("a", send), ("b", send), ("c", post)):
        threads.start(job, name)
    end(simulation, box, ending, worker)
    threads.join_all()

    counts = box.counts()
    assert counts.depth == 0, "a message was left behind"
    assert attempts["made"] == counts.accepted + counts.refused
    assert counts.accepted == counts.answered
    assert counts.expired + counts.late == 0, "a sender waited out its time"


def end(simulation: Simulation, box: Mailbox, ending: str, worker: Thread) -> None:
    """End the mailbox, at a moment that the seed chooses."""
    if ending == "drain":
        box.close()
        assert box.control("drain")
    elif ending == "refuse":
        assert box.control("leave")
        box.refuse_rest()
    else:  # a restart: the next worker takes over what waits
        assert box.control("leave")
        worker.join()
        second = simulation.threads.start(lambda: serve(box), "second worker")
        end(simulation, box, "drain", second)


ENDINGS = [
    (overflow, ending)
    for overflow in ("refuse", "wait", "drop-oldest")
    for ending in ("drain", "refuse", "restart")
]


@pytest.mark.parametrize(("overflow", "ending"), ENDINGS)
def test_nothing_is_lost_in_any_order_that_a_seed_chooses(
    overflow: Overflow, ending: str
) -> None:
    """
    Whoever of sender, worker and the end comes first.
    """
    failure = find_failure(lambda s: run(s, overflow, ending, Mailbox), SEEDS)

    assert failure is None, f"{failure}\n{failure.story if failure else ''}"


@pytest.mark.stress
@pytest.mark.parametrize(("overflow", "ending"), ENDINGS)
def test_nothing_is_lost_in_any_of_many_orders(overflow: Overflow, ending: str) -> None:
    """
    The same with more seeds.
    """
    failure = find_failure(lambda s: run(s, overflow, ending, Mailbox), MANY_SEEDS)

    assert failure is None, f"{failure}\n{failure.story if failure else ''}"


class DoesNotLookAgain(Mailbox):
    """The mistake that loses messages: put, and that was it."""

    __slots__ = ()

    def look_again(self) -> None:
        """Trust that nobody has closed it between the first look and the put."""


class SetsAsideForEver(Mailbox):
    """The mistake of setting a message aside after the last sweep."""

    __slots__ = ()

    def _after_set_aside(self) -> None:
        """Trust that somebody will take it."""


@pytest.mark.parametrize("kind", [DoesNotLookAgain, SetsAsideForEver])
def test_the_seeds_find_a_mailbox_that_loses_messages(kind: type[Mailbox]) -> None:
    """
    Else their silence about ours would say nothing.
    """
    failure = find_failure(lambda s: run(s, "refuse", "refuse", kind), 500)

    assert failure is not None


def test_a_timeout_against_an_answer_gives_the_sender_exactly_one_outcome() -> None:
    """
    In virtual time, with the handler about as slow as the sender is patient.
    """
    outcomes: Counter[str] = Counter()

    def body(simulation: Simulation) -> None:
        threads = simulation.threads
        box = Mailbox(threads, "/app/a")

        def slow() -> None:
            for _ in range(2):
                envelope = box.take()
                assert isinstance(envelope, Envelope)
                if envelope.begin():
                    threads.sleep(1.0)
                    envelope.answer(envelope.message)

        def send() -> None:
            try:
                assert box.send("x", 1.0) == "x"
            except ReplyTimeoutError as error:
                outcomes["began" if error.began else "taken out"] += 1
            else:
                outcomes["replied"] += 1

        for name, job in (("worker", slow), ("a", send), ("b", send)):
            threads.start(job, name)
        threads.join_all()
        counts = box.counts()
        assert counts.accepted == counts.answered == 2

    failure = find_failure(body, 200, step_seconds=0.01)

    assert failure is None, f"{failure}\n{failure.story if failure else ''}"
    assert sum(outcomes.values()) == 400
    assert set(outcomes) == {"began", "taken out", "replied"}
