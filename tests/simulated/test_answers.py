"""Whatever is accepted is answered, and what is answered has been seen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kinesis import Ref, Runtime, control
from kinesis.errors import ComponentStoppedError
from kinesis.testing import Simulation
from tests.messages.parts import Add as Number
from tests.messages.parts import Adder
from tests.simulated.parts import Add, Books, Pair, join_all, start_all

SENDS = 3


def senders(ref: Ref[Pair], books: Books, timeout: float | None) -> list[Any]:
    """Return jobs that send in every way."""

    def send() -> None:
        for _ in range(SENDS):
            books.send(lambda: ref.send(Add(), timeout=timeout))

    def post() -> None:
        for _ in range(SENDS):
            books.send(lambda: ref.post(Add(), timeout=timeout))

    def send_all() -> None:
        for _ in range(SENDS):
            books.send(lambda: ref.send_all([Add(), Add()], timeout=timeout))

    return [send, send, post, send_all]


def stop(runtime: Runtime, ref: Ref[Pair]) -> None:
    """Stop it."""
    ref.stop()


def restart(runtime: Runtime, ref: Ref[Pair]) -> None:
    """Restart it, twice, then remove it."""
    ref.restart()
    ref.send(control.Restart())
    runtime.remove(ref.name)


def remove(runtime: Runtime, ref: Ref[Pair]) -> None:
    """Take it out of the tree."""
    runtime.remove(ref.name)


def stop_and_start(runtime: Runtime, ref: Ref[Pair]) -> None:
    """Stop it, start it, and stop it again."""
    ref.stop()
    ref.start()
    ref.stop()


def stop_all(runtime: Runtime, ref: Ref[Pair]) -> None:
    """Stop the whole runtime."""
    runtime.stop()


ENDS = [stop, restart, remove, stop_and_start, stop_all]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"on_stop": "drain", "overflow": "refuse"},
        {"on_stop": "refuse", "overflow": "wait"},
        {"on_stop": "drain", "overflow": "drop-oldest", "dispatch": "caller"},
    ],
    ids=["drain", "refuse", "drop"],
)
@pytest.mark.seeds(40)
def test_whatever_is_accepted_is_answered(
    simulation: Simulation,
    end: Callable[[Runtime, Ref[Pair]], None],
    settings: dict[str, Any],
) -> None:
    """
    Many senders against stop, restart, remove and the end of all; each sender
    ends by itself, without a timeout.
    """
    books = Books()
    runtime = simulation.runtime().start()
    pair = runtime.add(Pair(name="pair", mailbox_bound=2, **settings))
    jobs = start_all(simulation, senders(pair, books, timeout=None))
    end(runtime, pair)
    join_all(jobs)
    runtime.stop()

    counts = pair.report().messages
    assert counts is not None
    books.agree_with(counts)
    assert counts.expired + counts.late == 0
    assert pair.snapshot().left == pair.snapshot().right


@pytest.mark.seeds(200, step_seconds=0.002)
def test_whatever_is_accepted_is_answered_when_time_runs_out_too(
    simulation: Simulation,
) -> None:
    """
    Timeouts that end while their messages wait, begin and are answered.
    """
    books = Books()
    runtime = simulation.runtime().start()
    pair = runtime.add(Pair(name="pair", mailbox_bound=3, stop_deadline=60.0))
    jobs = start_all(simulation, senders(pair, books, timeout=0.05))
    pair.restart()
    join_all(jobs)
    runtime.stop()

    counts = pair.report().messages
    assert counts is not None
    books.agree_with(counts)


@pytest.mark.seeds(200)
def test_messages_accepted_before_a_stop_are_handled_before_it(
    simulation: Simulation,
) -> None:
    """
    All of them, as there is time; what comes later is refused.
    """
    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        for _ in range(4):
            pair.post(Add())
        late: list[str] = []

        def send() -> None:
            try:
                pair.send(Add(100))
            except ComponentStoppedError as error:
                late.append(str(error))

        jobs = start_all(simulation, [send])
        pair.stop()
        join_all(jobs)
        total = pair.snapshot().left

    assert total == 4 + (0 if late else 100)


@pytest.mark.seeds(200)
def test_a_stop_ends_though_senders_never_do(simulation: Simulation) -> None:
    """
    They send until they are refused; so they do end, with the component.
    """

    def send_for_ever(ref: Ref[Pair]) -> None:
        try:
            while True:
                ref.post(Add())
                ref.send(Add(), timeout=None)
        except ComponentStoppedError:
            return

    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        jobs = start_all(simulation, [partial(send_for_ever, pair)] * 2)
        simulation.sleep(0.0)
        runtime.remove("pair")
        join_all(jobs)


@pytest.mark.seeds(200)
def test_messages_of_one_sender_keep_their_order(simulation: Simulation) -> None:
    """
    Over a restart as well.
    """
    with simulation.runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))

        def send(first: int) -> None:
            for number in range(first, first + 4):
                adder.post(Number(number))
            adder.send_all([Number(first + 4), Number(first + 5)], timeout=None)

        jobs = start_all(simulation, [partial(send, first) for first in (0, 100)])
        adder.restart()
        join_all(jobs)
        seen = adder.snapshot().seen

    for first in (0, 100):
        own = [each for each in seen if first <= each < first + 100]
        assert own == list(range(first, first + 6))


@pytest.mark.seeds(200)
def test_what_comes_between_two_runs_waits_for_the_next(
    simulation: Simulation,
) -> None:
    """
    A component that restarts refuses nobody.
    """
    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        jobs = start_all(simulation, [lambda: pair.send(Add(), timeout=None)] * 3)
        for _ in range(2):
            pair.restart()
        join_all(jobs)

        assert pair.snapshot().left == 3
