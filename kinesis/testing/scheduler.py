"""
Who runs next: the heart of a simulation.

Each simulated thread is a real one, and exactly one runs: it holds the *baton* (see
`kinesis.testing.baton`). At every operation it may pass the baton on, to whom the
seed says.

Kept out, so that a seed means the same run in every process: identity hashes and
sets (threads are in lists, in the order they were made), idents of the operating
system (they are numbered), the real clock, the order in which threads wake.

Each seed also has a *temper*: how readily the baton is passed on, and how often the
one who passes it on stalls, that is gets it back only when hardly anybody else can
run. Some races need many switches, others one thread that does not move for long.
With stalls, the lost message of the tests shows under twice as many seeds.

Source: seeded schedules after Burckhardt et al., "A Randomized Scheduler with
Probabilistic Guarantees of Finding Bugs" (PCT); virtual time as in SimPy.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from kinesis.testing.alarms import Alarms
from kinesis.testing.baton import FOREVER, Baton
from kinesis.testing.errors import Abandoned, SimulationError
from kinesis.testing.reports import deadlock, is_over, left, livelock, stranger, stuck
from kinesis.testing.tasks import Carrier, Carriers, Task, Waitable

__all__ = ["Scheduler"]

RESTLESS = (0.1, 0.3, 0.6, 0.9)  # chance to pass the baton on, at each operation
STALL = (0.0, 0.1, 0.3, 0.3)  # chance to stall, each time the baton is passed on
SPARED = 0.95  # chance that a stalled thread is passed over, each time it is drawn


class Scheduler(Baton):
    """
    The baton, the clock and the seed of one simulation.

    Args:
        seed: Decides everything that is not decided by the program.
        carriers: Gives the real threads.
        step_seconds: Virtual seconds that an operation takes at most; the seed
            says how many. With 0, time passes only when nobody can run.
        limit: Operations after which the run is a livelock.
        patience: Real seconds without any operation before a thread is taken
            to be stuck outside the simulation.

    Thread safety: for the holder of the baton only.
    """

    def __init__(
        self,
        seed: int,
        carriers: Carriers,
        *,
        step_seconds: float,
        limit: int,
        patience: float,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.horizon = FOREVER  # moment that time does not pass: the end of grace
        self.crashes: list[tuple[str, BaseException]] = []
        self.log: list[tuple[str, str, str]] = []
        self._step_seconds = step_seconds
        self._span = limit
        chance = random.Random(seed)
        self._random = chance.random
        self._restless = RESTLESS[int(self._random() * len(RESTLESS))]
        self._stalling = STALL[int(self._random() * len(STALL))]
        self._ready: list[Task] = []  # those that could run, without the holder
        self._alarms = Alarms()
        self._numbers = 0
        self._labels: dict[str, int] = {}
        main = self._new_task("main", None)
        super().__init__(main, carriers, limit=limit, patience=patience)

    # ------------------------------------------------------------- operations

    def point(self, operation: str, thing: Waitable) -> Task:
        """
        Note an *operation* of the running thread; here the baton may change hands.

        Returns:
            The calling thread, which holds the baton (again).

        Raises:
            SimulationError: The calling thread is not a simulated one.
            Abandoned: The run is over.
        """
        me = self.current
        if self._get_ident() != me.real:
            return self._stranger()
        self.steps += 1
        if self.steps > self._limit:
            self._beyond(me)
        self.log.append((me.name, operation, thing.label))
        if self._step_seconds:
            self.now += self._random() * self._step_seconds
            self._ring()
        ready = self._ready
        if ready and self._random() < self._restless:
            index = int(self._random() * len(ready))
            other = ready[index]
            if not other.stalled or self._random() > SPARED:
                ready[index] = me
                if self._stalling:
                    me.stalled = self._random() < self._stalling
                self._hand(me, other)
        return me

    def signal(self, operation: str, thing: Waitable) -> None:
        """Do as `point` for what never waits, so it also works in clean-up code."""
        if not (self.closing or self.over):
            self.point(operation, thing)

    def tick(self) -> None:
        """Count a look at the clock, so that a loop around it is a livelock."""
        if self._get_ident() == self.current.real:
            self.steps += 1
            if self.steps > self._limit:
                self._beyond(self.current)

    def block(
        self,
        me: Task,
        operation: str,
        thing: Waitable,
        waiters: list[Task] | None,
        deadline: float | None,
    ) -> bool:
        """
        Let the others run until somebody wakes *me*, or *deadline* has come.

        Returns:
            False if it was the deadline.
        """
        if self.over:
            raise is_over(self, f"wait for {thing.label}")
        me.waits = (operation, thing)
        me.waiters = waiters
        me.timed_out = False
        if waiters is not None:
            waiters.append(me)
        if deadline is not None:
            self._alarms.set(me, deadline)
        if not me.background:
            self._alarms.barren = 0
        other = self.next()
        if other is not me:
            self._hand(me, other)
        elif me.pending is not None:
            self._raise_pending(me)
        if me.timed_out:
            self.log.append((me.name, "timeout", thing.label))
            return False
        return True

    def wake(self, waiters: list[Task]) -> None:
        """Make one of *waiters*, whom the seed says, able to run."""
        size = len(waiters)
        index = int(self._random() * size) if size > 1 else 0
        self._ready_now(waiters.pop(index))

    def wake_all(self, waiters: list[Task]) -> None:
        """Make all *waiters* able to run."""
        for task in waiters:
            self._ready_now(task)
        waiters.clear()

    def _ready_now(self, task: Task) -> None:
        """Put *task* among those that can run; its caller took it off the waiters."""
        if self.over:  # it has ended: the baton would never come back from it
            return
        task.waiters = task.waits = None
        task.ticket = 0
        self._ready.append(task)

    def new_label(self, kind: str) -> str:
        """Return ``lock-3`` for the third lock, and so on."""
        number = self._labels[kind] = self._labels.get(kind, 0) + 1
        return f"{kind}-{number}"

    # ---------------------------------------------------------------- threads

    def add(self, target: Callable[[], object], name: str, background: bool) -> Task:
        """Make a thread that can run from now on."""
        task = self._new_task(name, target)
        task.background = background
        self.tasks.append(task)
        self._ready.append(task)
        return task

    def _new_task(self, name: str, target: Callable[[], object] | None) -> Task:
        """Number a new thread."""
        self._numbers += 1
        stalled = self._stalling > 0 and self._random() < self._stalling
        return Task(name, self._numbers, target, stalled)

    def carry(self, carrier: Carrier, task: Task) -> Task | None:
        """
        Run *task* on *carrier*, which is the calling thread, to its end.

        Returns:
            The task that *carrier* shall run next; None if the baton is another's.
        """
        try:
            if not self.closing and task.target is not None:
                task.target()
        except Abandoned:
            pass  # raised at one of our own operations, to end the thread: it did
        finally:
            task.target = None
        return self._ended(carrier, task)

    def _ended(self, carrier: Carrier, task: Task) -> Task | None:
        """Strike *task* off, and find out who gets the baton."""
        task.alive = False
        self.tasks.remove(task)
        self.wake_all(task.joiners)
        if not task.background:
            self._alarms.barren = 0
        other = self.main if self.closing else self.next()
        carrier.task = other if other.gate is None else None
        if other.gate is None:  # not begun: no change of real threads is needed
            self._begin(other, carrier)
        self.current = other
        return other if carrier.task is other else None

    # -------------------------------------------------------------- the baton

    def next(self) -> Task:
        """Choose who runs next; let time pass if nobody can. Never fails."""
        ready = self._ready
        while not ready:
            if not self._pass_time():
                return self._tell_main(self._standstill())
        size = len(ready)
        index = int(self._random() * size) if size > 1 else 0
        if ready[index].stalled and size > 1 and self._random() < SPARED:
            index = int(self._random() * size)
        ready[index], ready[-1] = ready[-1], ready[index]
        return ready.pop()

    def _tell_main(self, error: BaseException) -> Task:
        """Have the main thread, which cannot be the running one, raise *error*."""
        main = self.main
        main.pending = error
        main.waits = None
        main.ticket = 0
        if main.waiters is not None:
            main.waiters.remove(main)
            main.waiters = None
        if main in self._ready:
            self._ready.remove(main)
        return main

    # -------------------------------------------------------------------- time

    def _pass_time(self) -> bool:
        """Leap to the earliest timed wait; False if there is none that counts."""
        first = self._alarms.first()
        if first is None or first[0] > self.horizon:
            return False
        moment, task = first
        if task.background and not self._alarms.is_fruitful():
            return False
        self.now = max(self.now, moment)
        self._ring()
        return True

    def _ring(self) -> None:
        """Make everybody able to run whose moment has come."""
        while (task := self._alarms.due(self.now)) is not None:
            if task.waiters is not None:
                task.waiters.remove(task)
            self._ready_now(task)
            task.timed_out = True

    # ----------------------------------------------------------------- the end

    def abandon(self) -> list[str]:
        """Do as `Baton.abandon`; afterwards nobody waits for anything."""
        names = super().abandon()
        self._ready.clear()
        self._alarms.clear()
        return names

    def _stuck(self) -> SimulationError:
        """Say who should do something, and has not for so long."""
        return stuck(self, self._patience)

    def _beyond(self, me: Task) -> None:
        """Deal with a step that is one too many, or after the end."""
        if self.closing:
            if me is not self.main and self._stragglers.swallow(me):
                self._go_on_without(me)
            raise Abandoned
        self._limit = self.steps + self._span
        error = livelock(self)
        if me is self.main:
            raise error
        self._ready.append(me)
        self._hand(me, self._tell_main(error))

    def _standstill(self) -> SimulationError:
        """Say what everybody waits for, as nobody can run or time is up."""
        first = self._alarms.first()
        if first is not None and first[0] > self.horizon:
            return left(self, "still running after the end of the main thread")
        error = deadlock(self)
        for task in self.tasks:
            task.reported = True
        return error

    def _stranger(self) -> Task:
        """Refuse a thread that is not of this simulation, while it goes on."""
        self._stragglers.hold_up(self._get_ident())
        if self.over:
            return self.main
        if self.closing:  # the main thread, which an interrupt cost the baton
            raise Abandoned
        raise stranger(self)
