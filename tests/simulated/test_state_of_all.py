"""Readers, listeners and updates, in orders that seeds choose."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from kinesis import ComponentChange, Gap, Ref, field
from kinesis.errors import (
    ETagMismatchError,
    UnhandledMessageError,
    WaitTimeoutError,
)
from kinesis.testing import Simulation
from tests.simulated.parts import Add, Pair, join_all, start_all, yield_to_others


class Edited(Pair):
    """Its blocking start edits, beside the messages."""

    rounds: int = field(default=3)

    def start(self) -> None:
        self.ready()
        for _ in range(self.rounds):
            with self.edit():
                self.left += 1
                yield_to_others(self)
                self.right += 1
        self.stopping.wait()


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
@pytest.mark.seeds(100)
def test_no_reader_sees_half_an_update(simulation: Simulation, dispatch: Any) -> None:
    """
    Readers, listeners, senders, updates and a start that edits.
    """
    seen: list[tuple[int, int]] = []

    def read(ref: Ref[Edited]) -> None:
        for _ in range(4):
            snapshot = ref.snapshot(timeout=None)
            seen.append((snapshot.left, snapshot.right))
            simulation.sleep(0.0)

    def send(ref: Ref[Edited]) -> None:
        for _ in range(2):
            ref.send(Add(), timeout=None)
        ref.update({"left": 50, "right": 50}, timeout=None)

    with simulation.runtime() as runtime:
        pair = runtime.add(Edited(name="pair", dispatch=dispatch))
        changes = pair.subscribe(kinds=[ComponentChange])
        jobs = [partial(read, pair), partial(read, pair), partial(send, pair)]
        join_all(start_all(simulation, jobs))
        runtime.remove("pair")
        for change in changes:
            assert isinstance(change, ComponentChange)
            seen += [
                (each.left, each.right) for each in (change.previous, change.current)
            ]

    assert all(left == right for left, right in seen), seen


@pytest.mark.seeds(200)
def test_a_sender_that_got_its_answer_reads_at_least_that(
    simulation: Simulation,
) -> None:
    """
    In its next look, whatever others do meanwhile.
    """

    def send_and_look(ref: Ref[Pair]) -> None:
        for _ in range(3):
            answer = ref.send(Add(), timeout=None)
            assert ref.snapshot(timeout=None).right >= answer

    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        join_all(start_all(simulation, [partial(send_and_look, pair)] * 3))

        assert pair.snapshot().left == 9


class Slow(Pair):
    """Takes ten virtual seconds for each message."""

    def add(self, message: Add) -> int:
        self.left += message.amount
        self.ref._cell.services.threads.sleep(10.0)
        self.right += message.amount
        return self.right


@pytest.mark.seeds(200)
def test_a_component_that_is_being_read_never_blocks_its_readers(
    simulation: Simulation,
) -> None:
    """
    However long its handlers take: no look after the first takes any time.
    """
    waited: list[float] = []

    def read(ref: Ref[Slow]) -> None:
        for _ in range(6):
            before = simulation.now
            ref.snapshot(timeout=None)
            waited.append(simulation.now - before)
            simulation.sleep(3.3)

    with simulation.runtime() as runtime:
        slow = runtime.add(Slow(name="slow", stall_after=100.0, stop_deadline=100.0))
        slow.snapshot()
        for _ in range(3):
            slow.post(Add())
        join_all(start_all(simulation, [partial(read, slow)] * 2))

    assert waited == [0.0] * 12


@pytest.mark.seeds(200)
def test_a_first_look_waits_for_the_handler_that_runs_and_for_no_other(
    simulation: Simulation,
) -> None:
    """
    However many messages are behind it, and however many look.
    """
    waited: list[float] = []

    def read(ref: Ref[Slow]) -> None:
        before = simulation.now
        ref.snapshot(timeout=None)
        waited.append(simulation.now - before)

    with simulation.runtime() as runtime:
        slow = runtime.add(Slow(name="slow", stall_after=100.0, stop_deadline=100.0))
        for _ in range(3):
            slow.post(Add())
        join_all(start_all(simulation, [partial(read, slow)] * 3))

    assert max(waited) <= 10.0


@pytest.mark.seeds(200)
def test_compare_and_set_loses_no_update(simulation: Simulation) -> None:
    """
    Each reads, adds one, and sets it if nobody else has; as a plain model says.
    """
    wins: list[int] = []

    def add_one(ref: Ref[Pair]) -> None:
        for _ in range(2):
            while True:
                snapshot = ref.snapshot(timeout=None)
                value = snapshot.left + 1
                try:
                    ref.update(
                        {"left": value, "right": value},
                        etag=snapshot.etag,
                        timeout=None,
                    )
                except ETagMismatchError:
                    continue
                wins.append(value)
                break

    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        join_all(start_all(simulation, [partial(add_one, pair)] * 3))

        assert sorted(wins) == [1, 2, 3, 4, 5, 6]
        assert pair.snapshot().left == pair.snapshot().right == 6


@pytest.mark.seeds(200)
def test_transactions_never_mix(simulation: Simulation) -> None:
    """
    Those that fail leave nothing behind; those that succeed are one change.
    """

    class Odd(Exception):
        """Not handled by anybody."""

    def transact(ref: Ref[Pair]) -> None:
        ref.send_all([Add(1), Add(1)], timeout=None)
        with pytest.raises(UnhandledMessageError):
            ref.send_all([Add(100), Odd()], timeout=None)
        ref.send_all([Add(1), Add(1)], timeout=None)

    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        changes = pair.subscribe(kinds=[ComponentChange])
        join_all(start_all(simulation, [partial(transact, pair)] * 2))
        runtime.remove("pair")
        steps = [each.current.left for each in changes]  # type: ignore[union-attr]  # none is missed

    assert steps == [2, 4, 6, 8]


@pytest.mark.parametrize("bound", [2, 1000])
@pytest.mark.seeds(100)
def test_no_change_is_missed_untold(simulation: Simulation, bound: int) -> None:
    """
    From when a listener comes: chained, numbered, and a gap where some are dropped.
    """
    told: list[Any] = []

    def send(ref: Ref[Pair]) -> None:
        for _ in range(4):
            ref.send(Add(), timeout=None)

    def listen(ref: Ref[Pair]) -> None:
        changes = ref.subscribe(max=bound, kinds=[ComponentChange])
        begin = ref.snapshot(timeout=None)
        while True:
            try:
                told.append(changes.get(timeout=1.0))
            except WaitTimeoutError:
                break
        check(begin.left, told, ref.snapshot(timeout=None).left)

    with simulation.runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        jobs = [partial(send, pair), partial(send, pair), partial(listen, pair)]
        join_all(start_all(simulation, jobs))


def check(begin: int, told: list[Any], end: int) -> None:
    """Check that *told* leads from *begin*, or before that, to *end*."""
    last = None
    missing = 0
    for each in told:
        if isinstance(each, Gap):
            missing += each.count
            continue
        assert each.current.left == each.current.right
        if last is not None:
            assert each.sequence == last.sequence + 1 + missing
            if not missing:
                assert each.previous == last.current
        elif not missing:
            assert each.previous.left <= begin
        last, missing = each, 0
    if last is None:
        assert begin == end
    else:
        assert last.current.left == end
