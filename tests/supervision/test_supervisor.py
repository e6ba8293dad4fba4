"""The supervisor's inbox and thread, over several lives of a container."""

from __future__ import annotations

from typing import Any

import pytest

from kinesis import Container, Stage, private
from kinesis.concurrency import Queue
from kinesis.errors import ContainerStoppingError
from kinesis.restarts import Strategy
from kinesis.supervision import Happening
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


class Late(Supervisor):
    """One whose requests are slow: its life ends between two of their steps."""

    delays: int

    def __init__(self, supervisor: Supervisor, strategy: Strategy) -> None:
        super().__init__(supervisor.cell, strategy)
        self.delays = 0

    def put(self, happening: Happening) -> bool:
        if self.delays:
            self.delays -= 1
            inbox: Queue[Happening | None] = self._inbox
            self.close()  # the end of this life ...
            self._ensure_thread()  # ... and the beginning of the next
            inbox.put(happening)
            if self._is_over(inbox):
                self._refuse_rest(inbox)
            return True
        return super().put(happening)


def test_a_request_that_comes_behind_the_end_of_a_life_is_refused_in_the_next(
    simulation: Simulation,
) -> None:
    """
    It went into the inbox of the last life, which nobody reads any more.
    """
    runtime = simulation.runtime()
    supervisor = runtime.root._supervisor
    late = Late(supervisor, "one-for-one")
    late._ensure_thread()
    late.delays = 1
    part = Bench(simulation).part("a")
    child = runtime.root._submit(part, None, wait=False)[0]
    answer = late.add(child)
    with pytest.raises(ContainerStoppingError):
        answer.future.result(5.0)
    late.close()


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
