"""The supervisor's thread, over several lives of a container."""

from __future__ import annotations

from typing import Any

from kinesis import Container, Stage, private
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
