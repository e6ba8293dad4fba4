"""
What a simulation says when it cannot go on: who waits for what, and where.

The stacks are without the simulation's own lines, and begin where it was entered.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Protocol

from kinesis.testing.errors import (
    DeadlockError,
    LivelockError,
    SimulationError,
    StuckError,
    ThreadCrashedError,
    ThreadsLeftError,
)
from kinesis.testing.tasks import Task

__all__ = [
    "crashed",
    "deadlock",
    "depth_outside",
    "is_over",
    "left",
    "livelock",
    "stack_of",
    "stranger",
    "stuck",
]

OURS = tuple(
    os.path.join(os.path.dirname(__file__), name)
    for name in (
        "alarms.py",
        "baton.py",
        "plugin.py",
        "primitives.py",
        "reports.py",
        "runs.py",
        "scheduler.py",
        "simulated_threads.py",
        "simulation.py",
        "stragglers.py",
    )
)
BOOTSTRAP = os.path.join(os.path.dirname(os.__file__), "threading.py")


class Run(Protocol):
    """What a report needs to know; the first task is the main thread."""

    seed: int
    now: float
    steps: int
    tasks: list[Task]
    current: Task
    crashes: list[tuple[str, BaseException]]


def deadlock(run: Run) -> SimulationError:
    """Say that nobody can run."""
    return _error(
        run,
        DeadlockError,
        f"deadlock at {run.now:g} s: nobody can run, and no wait ends by itself.\n"
        f"{_everybody(run)}",
        run.tasks,
    )


def livelock(run: Run) -> SimulationError:
    """Say that there is no end of steps."""
    return _error(
        run,
        LivelockError,
        f"still running after {run.steps} operations, at {run.now:g} s: somebody runs "
        f"in circles, or raise `limit`.\n{_everybody(run)}",
        run.tasks,
    )


def stuck(run: Run, patience: float) -> SimulationError:
    """Say who should do something, and has not in *patience* real seconds."""
    task = run.current
    return _error(
        run,
        StuckError,
        f"'{task.name}' has done nothing for {patience:g} real seconds. It waits for "
        f"something that is not simulated (a lock of `threading`, a socket), or runs "
        f"in circles:\n{stack_of(task)}",
        [task],
    )


def left(run: Run, what: str) -> SimulationError:
    """Say which threads there are beside the main one."""
    others = run.tasks[1:]
    names = ", ".join(task.name for task in others)
    return _error(
        run,
        ThreadsLeftError,
        f"{what}, at {run.now:g} s: {names}. End them in the test.\n{_everybody(run)}",
        others,
    )


def crashed(run: Run) -> SimulationError:
    """Say which threads raised, and what; the first error is the cause."""
    names = tuple(name for name, _ in run.crashes)
    error = ThreadCrashedError(
        f"(seed {run.seed}) threads ended with an error that nobody handled:"
        f"{_crashes(run)}",
        seed=run.seed,
        names=names,
    )
    error.__cause__ = run.crashes[0][1]
    return error


def is_over(run: Run, what: str) -> SimulationError:
    """Say that *what* cannot be done any more."""
    return _error(
        run,
        SimulationError,
        f"cannot {what}: the simulation is over. Do it within the `with` block.",
        [],
    )


def stranger(run: Run) -> SimulationError:
    """Say that the calling thread has no part in this."""
    return _error(
        run,
        SimulationError,
        "this thread is not part of the simulation, so it cannot use its locks, events "
        "and queues. Start it with `threads.start`.",
        [],
    )


def _error(
    run: Run, kind: type[SimulationError], text: str, tasks: Iterable[Task]
) -> SimulationError:
    """Return an error that names the seed, and *tasks*."""
    names = tuple(task.name for task in tasks)
    return kind(f"(seed {run.seed}) {text}", seed=run.seed, names=names)


def _everybody(run: Run) -> str:
    """Return each thread's name, what it waits for and its stack."""
    frames = sys._current_frames()
    blocks = [_block(task, frames) for task in run.tasks]
    return "\n".join(blocks) + _crashes(run)


def _crashes(run: Run) -> str:
    """Return a line for each thread that raised."""
    return "".join(
        f"\n'{name}' raised {type(error).__name__}: {error}"
        for name, error in run.crashes
    )


def stack_of(task: Task) -> str:
    """Return the stack of *task*, or in brackets why it has none."""
    return _stack(task, sys._current_frames())


def _block(task: Task, frames: Mapping[int, FrameType]) -> str:
    """Return one thread's part of a report."""
    wait = "can run"
    if task.waits is not None:
        operation, thing = task.waits
        wait = f"{operation} {thing.label}{thing.holder()}"
    kind = " (background)" if task.background else ""
    return f"thread '{task.name}'{kind}: {wait}\n{_stack(task, frames)}"


def _stack(task: Task, frames: Mapping[int, FrameType]) -> str:
    """Format the frames of *task* that are not the simulation's."""
    if not task.alive:
        return "  (the thread has ended)\n"
    if task.real is None:
        return "  (the thread has not begun)\n"
    frame = frames.get(task.real)
    lines = traceback.StackSummary.extract(traceback.walk_stack(frame))
    lines.reverse()
    del lines[: task.base]
    theirs = [line for line in lines if not _is_ours(line.filename)]
    return "".join(traceback.format_list(theirs)) or "  (in the simulation)\n"


def depth_outside() -> int:
    """Return how many lines of the caller's stack are outside the simulation."""
    lines = list(traceback.walk_stack(sys._getframe()))
    inner = 0
    while inner < len(lines) and _is_ours(lines[inner][0].f_code.co_filename):
        inner += 1
    return len(lines) - inner - 1


def _is_ours(filename: str) -> bool:
    """Return whether a line of *filename* only shows how the simulation works."""
    return filename in OURS or filename == BOOTSTRAP
