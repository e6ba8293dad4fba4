"""
For those who test components: simulated threads, forced orders, a still clock.

The pytest plugin (`kinesis.testing.plugin`) offers them as fixtures and markers.
"""

from kinesis.testing.clock import FakeClock
from kinesis.testing.errors import (
    Abandoned,
    DeadlockError,
    LivelockError,
    SimulationError,
    StuckError,
    ThreadCrashedError,
    ThreadsLeftError,
)
from kinesis.testing.runs import Failure, Simulation, find_failure, simulate
from kinesis.testing.sequencer import Sequencer
from kinesis.testing.simulated_threads import SimulatedThreads
from kinesis.testing.simulation import keep_carriers

__all__ = [
    "Abandoned",
    "DeadlockError",
    "Failure",
    "FakeClock",
    "LivelockError",
    "Sequencer",
    "SimulatedThreads",
    "Simulation",
    "SimulationError",
    "StuckError",
    "ThreadCrashedError",
    "ThreadsLeftError",
    "find_failure",
    "keep_carriers",
    "simulate",
]
