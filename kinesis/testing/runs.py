"""
Whole runs under a seed: `simulate`, and the search for a seed that fails.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from kinesis.testing.errors import Abandoned, SimulationError
from kinesis.testing.simulated_threads import LIMIT, PATIENCE, SimulatedThreads
from kinesis.testing.simulation import keep_carriers

if TYPE_CHECKING:
    from kinesis.runtime import Runtime

__all__ = ["Failure", "Simulation", "find_failure", "simulate"]

T = TypeVar("T")

LAST_STEPS = 40  # of a run that failed, in a report


def simulate(
    seed: int = 0,
    *,
    step_seconds: float = 0.0,
    limit: int = LIMIT,
    patience: float = PATIENCE,
) -> Simulation:
    """
    Return a run to enter: ``with simulate(seed=7) as simulation: ...``.

    Inside the block the calling thread is the simulated main thread, and time is
    virtual. The block's end waits for all threads to end, and reports those that
    do not, and what threads raised.

    For the block, the cyclic garbage collector is off, as its finalizers would run
    at moments that the seed does not choose, and `random`'s own generator starts
    from *seed*; both are put back. What the seed cannot choose: the order of sets
    of strings (set ``PYTHONHASHSEED``), and whatever real input the code reads.

    Args:
        seed: The same seed, the same run.
        step_seconds: Virtual seconds that each operation takes at most; with more
            than 0, timeouts take part in races.
        limit: Operations after which the run is a livelock.
        patience: Real seconds without any operation before a thread is taken to be
            stuck.

    Thread safety: one simulation at a time in a process.
    """
    return Simulation(seed, step_seconds, limit, patience)


class Simulation:
    """One run under a seed; made by `simulate`."""

    def __init__(
        self, seed: int, step_seconds: float, limit: int, patience: float
    ) -> None:
        self.seed = seed
        self._options = {
            "step_seconds": step_seconds,
            "limit": limit,
            "patience": patience,
        }
        self._threads: SimulatedThreads | None = None
        self._collects = False
        self._chance: Any = None

    @property
    def threads(self) -> SimulatedThreads:
        """The simulated `Threads`, to hand to what is tested."""
        if self._threads is None:
            raise RuntimeError(
                "the simulation has not begun. Enter it: `with simulate() as s:`."
            )
        return self._threads

    @property
    def has_begun(self) -> bool:
        """Return whether it has been entered."""
        return self._threads is not None

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.threads.now

    @property
    def trace(self) -> list[tuple[str, str]]:
        """What happened: (name of the thread, operation), in order."""
        return self.threads.trace

    def __enter__(self) -> Simulation:
        if self._threads is not None:
            raise RuntimeError("a simulation runs once. Make another, by `simulate`.")
        self._collects = gc.isenabled()
        gc.disable()
        self._chance = random.getstate()
        random.seed(self.seed)
        self._threads = SimulatedThreads(self.seed, **self._options)  # type: ignore[arg-type]  # each option has its own type
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._finish(error)
        finally:
            random.setstate(self._chance)
            if self._collects:
                gc.enable()

    def _finish(self, error: BaseException | None) -> None:
        """End the run; the first thing that went wrong is what is raised."""
        threads = self.threads
        if error is None:
            threads.finish()
            return
        try:
            threads.finish(wait=False)
        except Exception as second:
            error.add_note(f"Besides: {second}")
        for name, crash in threads.crashes:
            error.add_note(f"Besides, '{name}' raised {crash!r}.")
        if isinstance(error, Abandoned):  # only after an interrupt of the main thread
            raise threads.interrupt or error

    def run(self, function: Callable[..., T], *arguments: object) -> T:
        """
        Run *function* as the main thread, then wait until all threads have ended.

        Enters the simulation if nobody has.

        Returns:
            What *function* returned; what it raises is raised.

        Raises:
            SimulationError: Threads never end, or raised.
        """
        if self._threads is None:
            with self:
                return self.run(function, *arguments)
        value = function(*arguments)
        self._threads.join_all()
        return value

    def runtime(self, name: str = "app", **options: Any) -> Runtime:
        """
        Return a new `Runtime` on the simulated threads; *options* are its own.

        Raises:
            SimulationError: *options* ask for `http`.
        """
        from kinesis.runtime import Runtime

        http = options.get("http")
        if http is not None and http is not False:
            raise SimulationError(
                "cannot serve HTTP in a simulation: the server waits for sockets, in "
                "real time. Leave `http` out, and ask `kinesis.web.Application` with "
                "werkzeug's test client; or test the server with a real `Runtime`.",
                seed=self.seed,
                names=(),
            )
        return Runtime(name=name, threads=self.threads, **options)

    def sleep(self, seconds: float) -> None:
        """Wait *seconds* of virtual time while the others run."""
        self.threads.sleep(seconds)

    advance = sleep

    def settle(self) -> None:
        """Let the others run until all of them wait; no time passes."""
        self.threads.settle()

    def story(self, last: int = LAST_STEPS) -> str:
        """Return the *last* steps of the run, a line each, for reports."""
        trace = self.trace
        first = max(0, len(trace) - last)
        lines = [
            f"{first + number:6}  {name}: {step}"
            for number, (name, step) in enumerate(trace[first:], 1)
        ]
        return "\n".join(lines)


@attrs.frozen
class Failure:
    """A seed under which a run failed."""

    seed: int
    error: BaseException = attrs.field(eq=False)
    story: str = attrs.field(repr=False)


def find_failure(
    body: Callable[[Simulation], object],
    seeds: int | Iterable[int] = 200,
    **options: Any,
) -> Failure | None:
    """
    Run *body* under one seed after the other, and return the first that fails.

    Args:
        body: Called with a `Simulation` that has begun; a failure is an
            `Exception` out of it, or of one of its threads.
        seeds: How many, from 0; or which.
        options: Those of `simulate`.

    Returns:
        The seed, its error and the last steps; None if none failed.
    """
    with keep_carriers():
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            simulation = simulate(seed, **options)
            try:
                with simulation:
                    body(simulation)
            except Exception as error:
                return Failure(seed, error, simulation.story())
    return None
