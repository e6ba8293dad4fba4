"""
What a component sees of the runtime that carries it: the `Life` of `Component`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from kinesis.concurrency import Event
from kinesis.errors import StageError
from kinesis.schedules import Scheduled, schedule

if TYPE_CHECKING:
    from kinesis.lifecycle.machine import Machine


class Inside:
    """One component's view; `node` is what it is in the wait-for graph."""

    __slots__ = ("_life", "path", "services")

    def __init__(self, life: Machine) -> None:
        self._life = life
        self.path = life.cell.path
        self.services: object = life.services

    @property
    def node(self) -> Hashable:
        """
        What waits, when the calling thread waits.

        Messages are handled while `start` blocks: then its thread waits alone, but
        in a block of `edit`, where they wait for it.
        """
        if self._life.serving.turn.is_mine:
            return self.path
        return self._life.node()

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        return self._life.cell.log

    @property
    def stopping(self) -> Event:
        return self._life.stopping

    @property
    def ref(self) -> Any:
        cell = self._life.cell
        return cell.services.ref_of(cell)

    @property
    def container(self) -> Any:
        cell = self._life.cell
        if cell.parent is None:
            raise StageError(f"'{self.path}' is the root: it is in no container.")
        return cell.services.ref_of(cell.parent)

    @property
    def time_left(self) -> float | None:
        deadline = self.deadline
        if deadline is None:
            return None
        return max(0.0, deadline - self._life.services.threads.monotonic())

    @property
    def deadline(self) -> float | None:
        """The monotonic moment when the sender of the message gives up."""
        return self._life.serving.deadline

    def ready(self) -> None:
        self._life.ready()

    def finish(self) -> None:
        self._life.finish()

    def edit(self, timeout: float | None) -> AbstractContextManager[None]:
        return self._life.serving.edit(timeout)

    def find(self, path: str) -> Any:
        cell = self._life.cell
        base = cell if cell.parent is None else cell.parent
        return cell.services.find(base, path)

    def after(self, seconds: float, message: object) -> Scheduled:
        return schedule(self._life.serving, seconds, None, message)

    def every(self, seconds: float, message: object) -> Scheduled:
        return schedule(self._life.serving, seconds, seconds, message)

    def set_handler(self, kind: type, function: Callable[[Any], object]) -> None:
        self._life.serving.handlers.set(kind, function)

    def __repr__(self) -> str:
        return f"<Inside {self.path}>"
