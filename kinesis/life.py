"""
What a component may ask of the runtime that carries it.

The words are those of `kinesis.Component`, which explains them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from kinesis.concurrency import Event


class Scheduled(Protocol):
    """A message that comes later; `cancel` it from any thread, any number of times."""

    def cancel(self) -> None: ...


class Life(Protocol):
    """What a component may ask of the runtime that carries it."""

    path: str
    services: object  # those of its runtime, and so what tells two runtimes apart

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]: ...
    @property
    def stopping(self) -> Event: ...
    @property
    def ref(self) -> Any: ...
    @property
    def container(self) -> Any: ...
    @property
    def time_left(self) -> float | None: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def node(self) -> Hashable: ...
    def ready(self) -> None: ...
    def finish(self) -> None: ...
    def edit(self, timeout: float | None) -> AbstractContextManager[None]: ...
    def find(self, path: str) -> Any: ...
    def after(self, seconds: float, message: object) -> Scheduled: ...
    def every(self, seconds: float, message: object) -> Scheduled: ...
    def set_handler(self, kind: type, function: Callable[[Any], object]) -> None: ...


CURRENT: ContextVar[Life | None] = ContextVar("kinesis_component", default=None)
"""The life of the component whose code runs here; None outside of components."""


def at_most(inside: Life, timeout: float | None) -> float | None:
    """Return *timeout*, or what the sender of the message in hand has left if less."""
    left = inside.time_left
    if left is None or (timeout is not None and timeout <= left):
        return timeout
    return left
