"""The supervisor's thread, over several lives of a container."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from kinesis import Container, Stage, private
from kinesis.cells import Cell
from kinesis.deciding import AT_ONCE
from kinesis.inboxes import Inbox
from kinesis.notices import Kind, Report
from kinesis.supervision import Action, Happening, Settle
from kinesis.supervisor import Supervisor
from kinesis.testing import Simulation
from tests.supervision.parts import Bench


class Slow(Container):
    """A container whose `init` waits, for as long as *waits* says the first times."""

    waits: list[float] = private(factory=list)
    threads: Any = private(default=None)

    def init(self) -> None:
        if self.waits:
            self.threads.sleep(self.waits.pop())


def test_a_container_that_was_stopped_before_it_began_begins_in_its_next_life(
    simulation: Simulation,
) -> None:
    """
    The inbox that was closed without a thread is not the next life's.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        slow = Slow(name="box", components=[bench.part("a")])
        slow.waits, slow.threads = [1.0], simulation.threads
        runtime.add_nowait(slow)
        simulation.settle()
        box = runtime["box"]
        box.stop()

        assert (box.stage, box["a"].stage) == (Stage.TORN_DOWN, Stage.SUBMITTED)

        box.start()

        assert box.stage is box["a"].stage is Stage.STARTED


def test_a_container_that_was_torn_down_begins_again(simulation: Simulation) -> None:
    """
    Restarted with what it is in, it takes requests as before.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        outer = runtime.add(Container(name="outer"))
        inner = outer.add(bench.box("inner", "a"))
        for number in range(3):
            outer.restart()
            inner.add(bench.part(f"b{number}"))
            inner.remove(f"b{number}")

        assert outer.stage is inner.stage is inner["a"].stage is Stage.STARTED


def test_an_end_that_was_never_begun_is_over_at_once(simulation: Simulation) -> None:
    """
    Without a thread, or on a closed inbox, nobody is there to take children down.
    """
    supervisor = simulation.runtime().root._supervisor
    ended: list[int] = []
    supervisor.end(lambda: ended.append(1))
    supervisor._ensure_thread()
    supervisor.close()
    supervisor.end(lambda: ended.append(2))

    assert ended == [1, 2]


def test_what_a_lifecycle_reports_is_decided_on_the_thread_that_reports(
    simulation: Simulation,
) -> None:
    """
    When nobody decides just then: it saves the way to the supervisor's thread.
    """
    bench = Bench(simulation)
    deciding: list[str] = []
    with bench.runtime as runtime:
        supervisor = runtime.root._supervisor
        settle = supervisor._act_on[Settle]

        def note(action: Settle) -> None:
            here = simulation.threads.get_ident()
            deciding.append(simulation.threads.names()[here])
            settle(action)

        supervisor._act_on[Settle] = note
        runtime.add(bench.part("a"))

    assert len(deciding) == 1
    assert deciding != ["kinesis:/app"]


@pytest.mark.seeds(30)
def test_no_component_brings_another_one_up_on_its_own_thread(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It reports, and the supervisor's own thread goes on with the next, in order.
    """
    began: list[tuple[str, str]] = []
    activate = Supervisor._activate

    def note(self: Supervisor, cell: Cell) -> None:
        here = simulation.threads.get_ident()
        began.append((cell.name, simulation.threads.names()[here]))
        activate(self, cell)

    monkeypatch.setattr(Supervisor, "_activate", note)
    bench = Bench(simulation)
    with bench.runtime as runtime:
        runtime.add(bench.box("box", "a", "b", "c"))

    assert [name for name, _ in began] == ["box", "a", "b", "c"]
    assert {thread for _, thread in began[1:]} == {"kinesis:/app/box"}


@pytest.mark.seeds(50)
def test_a_thread_that_decides_for_others_is_not_kept_for_long(
    simulation: Simulation,
) -> None:
    """
    After a few decisions the supervisor's own thread goes on with the rest.
    """
    bench = Bench(simulation)
    with bench.runtime as runtime:
        supervisor = runtime.root._supervisor
        runtime.add(bench.part("a"))
        simulation.settle()
        decided: dict[str, int] = {}
        decide = supervisor.books.decide

        def note(happening: Happening, now: float) -> list[Action]:
            name = simulation.threads.names()[simulation.threads.get_ident()]
            decided[name] = decided.get(name, 0) + 1
            return decide(happening, now)

        supervisor.books.decide = note
        stranger = Report(supervisor.cell, Kind.QUIET, 0)
        for _ in range(3 * AT_ONCE):
            supervisor._inbox.put(stranger, ring=False)
        teller = simulation.threads.start(partial(supervisor.hear, stranger), "teller")
        teller.join(10.0)
        simulation.settle()

        assert decided == {"teller": AT_ONCE, "kinesis:/app": 2 * AT_ONCE + 1}


@pytest.mark.seeds(200)
def test_every_report_is_decided_once_and_those_of_one_in_order(
    simulation: Simulation,
) -> None:
    """
    By however many threads, while the container ends; or the teller is told so.
    """
    threads = simulation.threads
    supervisor = simulation.runtime().root._supervisor
    decided: list[int] = []

    def decide(happening: Happening, now: float) -> list[Action]:
        if isinstance(happening, Report):
            assert supervisor._baton.locked()
            threads.sleep(0)  # time for others to come by
            decided.append(happening.run)
        return []

    supervisor.books.decide = decide
    refused: list[int] = []

    def tell(first: int) -> None:
        for number in range(first, first + 5):
            if not supervisor.hear(Report(supervisor.cell, Kind.QUIET, number)):
                refused.append(number)

    supervisor._refuse_happening = lambda left: refused.append(left.run)
    supervisor._inbox = Inbox(threads, supervisor._refuse_happening)
    supervisor._ensure_thread()
    tellers = [threads.start(partial(tell, n), f"teller-{n}") for n in (0, 10, 20)]
    threads.sleep(0)
    supervisor.close()
    for thread in (*tellers, *supervisor.threads()):
        thread.join(10.0)

    assert sorted([*decided, *refused]) == [*range(5), *range(10, 15), *range(20, 25)]
    for first in (0, 10, 20):
        own = [number for number in decided if first <= number < first + 5]
        assert own == sorted(own)
