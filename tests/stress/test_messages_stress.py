"""
Messages against stop, restart and remove, for real and often.

Real threads that change every few microseconds, thousands of rounds; and the
promises of `tests.simulated` under a hundred times as many seeds.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from kinesis import ComponentChange, Ref, Restart, Runtime
from kinesis.errors import ComponentStoppedError, ETagMismatchError
from kinesis.testing import Simulation, find_failure
from tests.messages.parts import Add as Plus
from tests.messages.parts import Adder, Looping, in_thread
from tests.simulated import test_answers, test_lives, test_state_of_all
from tests.simulated.parts import Books

pytestmark = pytest.mark.stress

ROUNDS = 2_000
SENDERS = 4
PROMISED = 40  # seeds in the default suite; what has fewer is no promise
SEEDS = 20_000  # for each promise, over all of its settings


def flood(ref: Ref[Adder], books: Books, start: threading.Barrier) -> None:
    """Send in every way until refused."""
    ways: tuple[Callable[[object], object], ...] = (
        ref.send,
        ref.post,
        lambda message: ref.send_all([message]),
    )
    start.wait()
    for send in itertools.islice(itertools.cycle(ways), 12):
        books.send(partial(send, Plus()))


def end(how: str, runtime: Runtime, ref: Ref[Adder]) -> None:
    """End the component in one of the ways."""
    if how == "restart":
        ref.restart()
    elif how == "stop and start":
        ref.stop()
        ref.start()
    runtime.remove(ref.name)


@pytest.mark.parametrize("how", ["remove", "restart", "stop and start"])
@pytest.mark.parametrize("kind", [Adder, Looping])
@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
def test_whatever_is_accepted_is_answered(
    dispatch: Any, kind: type[Adder], how: str
) -> None:
    """
    Thousands of rounds of many senders against the end of their component.
    """
    policy = Restart(limit=1_000_000)
    with Runtime() as runtime:
        for number in range(ROUNDS):
            ref = runtime.add(
                kind(
                    name=f"a{number}",
                    dispatch=dispatch,
                    mailbox_bound=8,
                    on_stop=("drain", "refuse")[number % 2],
                    overflow=("refuse", "wait", "drop-oldest")[number % 3],
                    restart=policy,
                )
            )
            start = threading.Barrier(SENDERS + 1)
            books = [Books() for _ in range(SENDERS)]
            senders = [in_thread(partial(flood, ref, each, start)) for each in books]
            start.wait()
            end(how, runtime, ref)
            for sender in senders:
                sender.result()

            counts = ref.report().messages
            assert counts is not None
            tried = sum(each.outcomes["tried"] for each in books)
            assert counts.depth == counts.running == 0
            assert counts.accepted == counts.answered
            assert tried == counts.accepted + counts.refused
            assert counts.expired + counts.late == 0


def test_compare_and_set_loses_no_update() -> None:
    """
    Four threads add one at a time, each to what it has read.
    """

    def add_one(ref: Ref[Adder], times: int) -> None:
        while times:
            snapshot = ref.snapshot()
            try:
                ref.update({"sum": snapshot.sum + 1}, etag=snapshot.etag)
            except ETagMismatchError:
                continue
            times -= 1

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adders = [in_thread(partial(add_one, adder, 500)) for _ in range(SENDERS)]
        for each in adders:
            each.result()

        assert adder.snapshot().sum == 500 * SENDERS


def test_readers_and_listeners_see_every_state_whole_and_in_order() -> None:
    """
    While messages, edits and updates take turns.
    """

    class Pair(Adder):
        twice: int = 0

        def start(self) -> None:
            self.ready()
            while not self.stopping.is_set():
                with self.edit():
                    self.sum += 1
                    self.twice += 2

        def add(self, message: Plus) -> int:
            self.sum += 1
            self.twice += 2
            return self.sum

    stop = threading.Event()

    def send(ref: Ref[Pair]) -> None:
        while not stop.is_set():
            answer = ref.send(Plus())
            seen = ref.snapshot()
            assert seen.sum >= answer
            assert seen.twice == 2 * seen.sum

    with Runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        changes = pair.subscribe(max=10_000, overflow="wait", kinds=[ComponentChange])
        senders = [in_thread(partial(send, pair)) for _ in range(2)]
        last = None
        for _ in range(5_000):
            change = changes.get(10.0)
            assert isinstance(change, ComponentChange)
            assert change.current.twice == 2 * change.current.sum
            if last is not None:
                assert change.previous == last.current
                assert change.sequence == last.sequence + 1
            last = change
        stop.set()
        for sender in senders:
            sender.result()


def test_timers_set_and_cancelled_by_many_leave_nothing_behind() -> None:
    """
    The one thread of all timers goes on.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", mailbox_bound=1_000_000))
        component = adder._cell.component

        def set_and_cancel() -> None:
            for number in range(2_000):
                timer = component.every(0.0001 * (number % 7 + 1), Plus())
                if number % 3:
                    timer.cancel()
                if number % 50 == 0:
                    for each in adder._cell.serving.timers.copy():  # type: ignore[union-attr]  # it has begun
                        each.cancel()

        for each in [in_thread(set_and_cancel) for _ in range(SENDERS)]:
            each.result()
        adder.stop()
        try:
            adder.send(Plus())
        except ComponentStoppedError:
            assert adder._cell.serving.timers == set()  # type: ignore[union-attr]  # it has begun
        adder.start()
        before = adder.snapshot().sum
        assert adder.send(Plus()) == before + 1


# -- the promises under many seeds -----------------------------------------------------


def promises(module: ModuleType) -> Iterator[Any]:
    """Yield each run of *module* that has seeds, once for each set of arguments."""
    for name, function in vars(module).items():
        marks = getattr(function, "pytestmark", [])
        options = [
            mark.kwargs
            for mark in marks
            if mark.name == "seeds" and mark.args[0] >= PROMISED
        ]
        if not options:
            continue
        tables = [
            [(mark.args[0], value) for value in mark.args[1]]
            for mark in marks
            if mark.name == "parametrize"
        ]
        rows = list(itertools.product(*tables))
        for number, row in enumerate(rows):
            run = partial(function, **dict(row))
            seeds = SEEDS // len(rows)
            yield pytest.param(run, seeds, options[0], id=f"{name}-{number}")


def run_under_many_seeds(
    run: Callable[..., None], seeds: int, options: dict[str, Any]
) -> None:
    """Run it under many seeds; report the first that fails."""

    def body(simulation: Simulation) -> None:
        run(simulation=simulation)

    failure = find_failure(body, seeds, **options)

    assert failure is None, f"{failure}\n{failure.story}"


@pytest.mark.parametrize(("run", "seeds", "options"), list(promises(test_answers)))
def test_answers_under_many_seeds(
    run: Callable[..., None], seeds: int, options: dict[str, Any]
) -> None:
    """
    Whatever is accepted is answered.
    """
    run_under_many_seeds(run, seeds, options)


@pytest.mark.parametrize(("run", "seeds", "options"), list(promises(test_state_of_all)))
def test_state_under_many_seeds(
    run: Callable[..., None], seeds: int, options: dict[str, Any]
) -> None:
    """
    Readers, listeners and updates.
    """
    run_under_many_seeds(run, seeds, options)


@pytest.mark.parametrize(("run", "seeds", "options"), list(promises(test_lives)))
def test_lives_under_many_seeds(
    run: Callable[..., None], seeds: int, options: dict[str, Any]
) -> None:
    """
    One life at a time, and always with an end.
    """
    run_under_many_seeds(run, seeds, options)
