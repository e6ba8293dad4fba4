"""
How real threads take turns: exactly one has passed its gate and runs.

That one holds the *baton*. As everything in a simulation is read and changed by the
holder of the baton alone, nothing there needs a lock, and handing over gives the
memory order that a build without the GIL needs.
"""

from __future__ import annotations

from typing import NoReturn

from kinesis.testing.errors import Abandoned, SimulationError
from kinesis.testing.reports import depth_outside
from kinesis.testing.stragglers import Stragglers
from kinesis.testing.tasks import Carrier, Carriers, Gate, Task

__all__ = ["FOREVER", "Baton"]

SLICE = 0.5  # real seconds until the main thread looks whether ctrl-c was missed
FOREVER = float("inf")


class Baton:
    """
    Who runs, and how that ends; not who runs next.

    Args:
        main: The thread that makes it, which has the baton.
        carriers: Gives the real threads.
        limit: Operations after which the run is a livelock.
        patience: Real seconds without any operation before a thread is taken
            to be stuck outside the simulation.

    Thread safety: for the holder of the baton only.
    """

    def __init__(
        self, main: Task, carriers: Carriers, *, limit: int, patience: float
    ) -> None:
        self.steps = 0
        self.closing = False
        self.over = False
        self.interrupt: BaseException | None = None
        self._carriers = carriers
        self._get_ident = carriers.get_ident
        self._limit: float = limit
        self._patience = patience
        self._stragglers = Stragglers()
        main.gate = carriers.gate()
        main.real = self._get_ident()
        main.base = depth_outside()
        self.main = self.current = main
        self.tasks = [main]

    def _begin(self, task: Task, carrier: Carrier) -> None:
        """Give *task* the real thread that it will run on."""
        carrier.task = task
        task.gate = carrier.gate
        task.real = carrier.ident

    def _hand(self, me: Task, other: Task) -> None:
        """Pass the baton to *other*, and wait until it comes back."""
        if other.gate is None:
            self._begin(other, self._carriers.take())
        gate, mine = other.gate, me.gate
        assert gate is not None
        assert mine is not None
        self.current = other
        gate.release()  # from here on, everything is the other's
        if me is self.main:
            self._wait_main(mine)
        else:
            mine.acquire()
        if me.pending is not None or self.closing:
            self._raise_pending(me)

    def _wait_main(self, gate: Gate) -> None:
        """Wait for the baton; see that others run, and that ctrl-c gets through."""
        steps, waited = self.steps, 0.0
        span = min(self._patience, SLICE)
        try:
            while not gate.acquire(True, span):
                waited = waited + span if steps == self.steps else 0.0
                steps = self.steps
                if waited >= self._patience:
                    raise self._stuck()
        except BaseException as error:
            self.interrupt = error
            self.close_down()
            gate.acquire(True, self._patience)
            raise

    def _stuck(self) -> SimulationError:
        """Say who should do something, and has not for too long."""
        raise NotImplementedError

    def _raise_pending(self, me: Task) -> NoReturn:
        """Raise in *me* what somebody left for it, or that the run is over."""
        error, me.pending = me.pending, None
        raise error if error is not None else Abandoned()

    # ----------------------------------------------------------------- the end

    def close_down(self) -> None:
        """From now on, every operation that could wait raises `Abandoned`."""
        self.closing = True
        self._limit = -1

    def abandon(self) -> list[str]:
        """
        End all threads but the main one, which calls this.

        Returns:
            The names of those that did not end: they run something that never
            comes back, or go on whatever is raised.
        """
        self.close_down()
        if self.current is not self.main:  # broken off: the baton may still come
            assert self.main.gate is not None
            self.main.gate.acquire(True, self._patience)
        for task in self.tasks[:]:
            if task is self.main or not task.alive:
                continue
            if task.gate is None:
                task.alive, task.target = False, None
                self.tasks.remove(task)
            elif self.current is self.main:
                self._end_one(task)
        self.over = True
        self._limit = FOREVER
        return [task.name for task in self.tasks if task is not self.main]

    def _end_one(self, task: Task) -> None:
        """Let *task* run until it has ended, or will not."""
        gate, mine = task.gate, self.main.gate
        assert gate is not None
        assert mine is not None
        self.current = task
        gate.release()
        mine.acquire(True, self._patience)

    def _go_on_without(self, me: Task) -> NoReturn:
        """Go on with the end, and hold up *me*, which is the calling thread."""
        assert self.main.gate is not None
        self.current = self.main
        self.main.gate.release()
        self._stragglers.linger(me)
