"""
What a runtime says of itself: the tree, the stacks, how the stop went.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import attrs

from kinesis.cells import Cell
from kinesis.services import Services
from kinesis.stages import Stage

SHOWN = 20  # stacks or names; a report of ten thousand is none


@attrs.frozen
class Late:
    """
    A component that had not ended at the end.

    Attributes:
        stack: Where its code is; empty if the stop did not get to it in time.
    """

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
        late: What had not ended at the end.
    """

    seconds: float
    stopped: tuple[tuple[str, float], ...]
    late: tuple[Late, ...]

    def __str__(self) -> str:
        head = f"stopped {len(self.stopped)} components in {self.seconds:.2f} s"
        slow = [f"{path} took {t:.2f} s" for path, t in self.stopped if t >= 1.0]
        stuck = [late for late in self.late if late.stack]
        lines = [", ".join([head, *slow])]
        lines += [f"{late.path} hung [{late.status}]:\n{late.stack}" for late in stuck]
        if left := [late.path for late in self.late if not late.stack]:
            lines.append(f"not stopped, for want of time: {some(left)}")
        return "\n".join(lines)


def some(names: Sequence[str], most: int = SHOWN) -> str:
    """Return the first *most* of *names*, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


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
    """Return the components that have not ended, with the stacks of their code."""
    cells = list(filter(_has_not_ended, in_activation_order(root)))
    stuck = sorted(filter(_is_stuck, cells), key=_stuck_since)
    stacks = {cell: _stack_of(cell, services) for cell in stuck[:SHOWN]}
    late = [Late(cell.path, cell.status(), stacks.get(cell, "")) for cell in cells]
    for thread in services.left_behind():
        path = thread.name.removeprefix("kinesis:").partition(" ")[0]
        late.append(Late(path, "removed", services.threads.stack(thread.ident)))
    return tuple(late)


def _has_not_ended(cell: Cell) -> bool:
    """Whether code of this component may still run."""
    if cell.hung is not None:
        return True
    if cell.life is None or cell.stage is Stage.TORN_DOWN:
        return False
    # A container has nothing to end but its children, unless it has hooks.
    return cell.supervisor is None or cell.life.running() is not None


def _is_stuck(cell: Cell) -> bool:
    """Whether its code was asked to end, and has not."""
    if cell.hung is not None:
        return True
    running = cell.life is not None and cell.life.running() is not None
    return running and cell.stage is not Stage.STARTED


def _stuck_since(cell: Cell) -> float:
    """Return the moment when what runs began; what was given up on comes first."""
    order = cell.life.running() if cell.life is not None else None
    if cell.hung is not None or order is None or order.began is None:
        return 0.0
    return order.began


def _stack_of(cell: Cell, services: Services) -> str:
    """Return where the threads of *cell* are, or were when they were given up on."""
    alive = [thread for thread in cell.threads() if thread.is_alive()]
    stacks = "".join(services.threads.stack(thread.ident) for thread in alive)
    return stacks or cell.hung or ""


_WITHOUT_CODE = frozenset({Stage.SUBMITTED, Stage.STOPPED, Stage.TORN_DOWN})


def running_now(root: Cell) -> str:
    """Return, in one line, what has not stopped yet; the last started first."""
    cells = [cell for cell in all_cells(root) if cell.stage not in _WITHOUT_CODE]
    named = [f"{cell.path} [{cell.status()}]" for cell in reversed(cells[-SHOWN:])]
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return (", ".join(named) or "nothing") + more


def tree(root: Cell, depth: int = 0) -> Iterator[str]:
    """Yield a line per component, indented by how deep it is."""
    kind = type(root.component).__name__
    yield f"{'  ' * depth}{root.name} {kind} [{root.status()}]"
    if root.supervisor is not None:
        for child in root.supervisor.books.in_order():
            yield from tree(child.cell, depth + 1)


def dump(root: Cell, services: Services) -> str:
    """Return the tree of components, and the stack of every thread."""
    import traceback  # lazy: only for this

    names = services.threads.names()
    lines = [*tree(root), ""]
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, f"thread {ident}")
        lines.append(f"-- {name}")
        lines += [line.rstrip() for line in traceback.format_stack(frame)]
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Write *text* to standard error, if the program has one."""
    if sys.stderr is not None:
        sys.stderr.write(text)
        sys.stderr.flush()
