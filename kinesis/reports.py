"""
What a runtime says of itself: the tree, the stacks, how the stop went.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kinesis.cells import Cell
from kinesis.services import Services
from kinesis.stages import Stage


@attrs.frozen
class Late:
    """A component that still ran at the end, and the stacks of its threads."""

    path: str
    status: str
    stack: str


@attrs.frozen
class StopReport:
    """
    How a stop went.

    Attributes:
        seconds: What it took.
        stopped: By path, in the order in which they stopped, the seconds each took.
        late: What still ran at the end.
    """

    seconds: float
    stopped: tuple[tuple[str, float], ...]
    late: tuple[Late, ...]

    def __str__(self) -> str:
        head = f"stopped {len(self.stopped)} components in {self.seconds:.2f} s"
        slow = [f"{path} took {t:.2f} s" for path, t in self.stopped if t >= 1.0]
        lines = [", ".join([head, *slow])]
        lines += [
            f"{late.path} hung [{late.status}]:\n{late.stack}" for late in self.late
        ]
        return "\n".join(lines)


def all_cells(root: Cell) -> Iterator[Cell]:
    """Yield *root* and everything below it, children in activation order."""
    yield root
    if root.supervisor is not None:
        for child in root.supervisor.books.in_order():
            yield from all_cells(child.cell)


def in_activation_order(root: Cell) -> list[Cell]:
    """Return all cells in the order of reaching STARTED; those never, last."""
    cells = list(all_cells(root))
    return sorted(cells, key=lambda cell: (cell.number < 0, cell.number))


def late_ones(root: Cell, services: Services) -> tuple[Late, ...]:
    """Return the components whose code still runs, with their stacks."""
    late = []
    for cell in in_activation_order(root):
        alive = [thread for thread in cell.threads() if thread.is_alive()]
        if cell.hung is None and (not alive or cell.stage is Stage.TORN_DOWN):
            continue
        stacks = "".join(services.threads.stack(thread.ident) for thread in alive)
        late.append(Late(cell.path, cell.status(), stacks or cell.hung or ""))
    return tuple(late)


def running_now(root: Cell) -> str:
    """Return, in one line, what has not stopped yet."""
    cells = [c for c in all_cells(root) if c.stage is not Stage.TORN_DOWN]
    names = [f"{cell.path} [{cell.status()}]" for cell in cells[-20:]]
    more = f" and {len(cells) - 20} more" if len(cells) > 20 else ""
    return (", ".join(names) or "nothing") + more


def tree(root: Cell, depth: int = 0) -> Iterator[str]:
    """Yield a line per component, indented by how deep it is."""
    kind = type(root.component).__name__
    yield f"{'  ' * depth}{root.name} {kind} [{root.status()}]"
    if root.supervisor is not None:
        for child in root.supervisor.books.in_order():
            yield from tree(child.cell, depth + 1)


def dump(root: Cell, services: Services) -> str:
    """Return the tree of components, and the stack of every thread."""
    import sys  # lazy: only for this
    import traceback

    names = services.threads.names()
    lines = [*tree(root), ""]
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, f"thread {ident}")
        lines.append(f"-- {name}")
        lines += [line.rstrip() for line in traceback.format_stack(frame)]
    return "\n".join(lines) + "\n"
