"""
What a simulation can report::

    SimulationError (RuntimeError)
    ├── DeadlockError         nobody can run, and nobody waits for a moment in time
    ├── LivelockError         far too many steps: somebody runs in circles
    ├── StuckError            a thread waits for something outside the simulation
    ├── ThreadsLeftError      the run is over, but these threads are not
    └── ThreadCrashedError    a thread raised, and no crash handler took it

Each names the seed, and each thread concerned with its stack.
"""

from __future__ import annotations

from kinesis.errors import KinesisError

__all__ = [
    "Abandoned",
    "DeadlockError",
    "LivelockError",
    "SimulationError",
    "StuckError",
    "ThreadCrashedError",
    "ThreadsLeftError",
]


class SimulationError(KinesisError, RuntimeError):
    """The simulation cannot go on, or was used in a way that cannot work."""

    seed: int
    names: tuple[str, ...]


class DeadlockError(SimulationError):
    """Every thread waits, and no moment in time ends any of the waits."""


class LivelockError(SimulationError):
    """The run took more steps than its limit: somebody runs in circles."""


class StuckError(SimulationError):
    """A simulated thread waits, in real time, for something that is not simulated."""


class ThreadsLeftError(SimulationError):
    """The simulated main thread has ended, but these threads have not."""


class ThreadCrashedError(SimulationError):
    """A simulated thread raised; the first such error is the ``__cause__``."""


class Abandoned(BaseException):  # like SystemExit, an order and not an error
    """
    Raised in a simulated thread, at its next operation, once the run is over.

    A `BaseException`, so that code which handles errors does not take it for one.
    """
