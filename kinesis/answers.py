"""
What those get who ask a container for something: an answer, or the error.
"""

from __future__ import annotations

from collections.abc import Callable

from kinesis.cells import Cell
from kinesis.errors import (
    ActivationError,
    ContainerStoppingError,
    DuplicateNameError,
    describe,
)
from kinesis.futures import Future
from kinesis.stages import Outcome, Stage
from kinesis.supervision import Reply


class Answer(Reply):
    """
    A reply that somebody may wait for.

    Args:
        adds: It is about a newcomer, which is let go if it is not taken in.
    """

    __slots__ = ("adds", "cell", "future", "undo")

    def __init__(self, cell: Cell, adds: bool = False) -> None:
        self.cell = cell
        self.adds = adds
        self.future: Future[Cell] = Future(cell.services.threads, f"'{cell.path}'")
        # Takes the waits out of the graph again.
        self.undo: Callable[[], object] | None = None

    def resolve(self) -> None:
        """It is done."""
        self._settle()
        self.future.set_result(self.cell)

    def reject(self, error: BaseException) -> None:
        """It will not be done."""
        self._settle()
        self.future.set_exception(error)

    def _settle(self) -> None:
        undo, self.undo = self.undo, None
        if undo is not None:
            undo()


def release(cell: Cell) -> None:
    """Let the components in *cell* go, which was refused: they may go elsewhere."""
    cell.component._kinesis = None
    if cell.supervisor is not None:
        for child in cell.supervisor.books.in_order():
            release(child.cell)


def stopping_error(path: str) -> ContainerStoppingError:
    """Say that a container takes nothing more."""
    return ContainerStoppingError(
        f"'{path}' stops or has stopped, and starts nothing more. Add it to another "
        f"container, or once this one runs again.",
        path=path,
    )


def taken_error(path: str, cell: Cell) -> DuplicateNameError:
    """Say that the container at *path* has the name of *cell* already."""
    return DuplicateNameError(
        f"'{path}' has a component '{cell.name}' already. Give the new one another "
        f"name, or remove the old one first.",
        path=path,
        name=cell.name,
    )


def activation_error(path: str, outcome: Outcome | None) -> ActivationError:
    """Return what `add` raises, caused by what the hook raised."""
    where = outcome.stage if outcome is not None else Stage.SUBMITTED
    hook = outcome.hook if outcome is not None else None
    if outcome is None or outcome.error is None:
        return ActivationError(
            f"'{path}' did not start: it was stopped or removed in {where}.",
            path=path,
            stage=where,
            hook=hook,
        )
    if isinstance(outcome.error, ActivationError):  # a child's, on its way up
        return outcome.error
    error = ActivationError(
        f"'{path}' did not start: {hook or where} failed in {where}: "
        f"{describe(outcome.error).rstrip('.')}. Mend that, and add it again.",
        path=path,
        stage=where,
        hook=hook,
    )
    error.__cause__ = outcome.error
    return error
