"""
Stacks of simulated threads, as text, without the simulation's own lines.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinesis.testing.tasks import Task

__all__ = ["depth_outside", "stack_of", "stacks"]

OURS = tuple(
    os.path.join(os.path.dirname(__file__), name)
    for name in (
        "plugin.py",
        "primitives.py",
        "reports.py",
        "runs.py",
        "scheduler.py",
        "simulated_threads.py",
        "simulation.py",
    )
)
BOOTSTRAP = os.path.join(os.path.dirname(os.__file__), "threading.py")


def stacks(tasks: Iterable[Task], frames: Mapping[int, FrameType]) -> str:
    """Return a block for each of *tasks*: its name, its wait, its stack."""
    return "\n".join(_block(task, frames) for task in tasks)


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
