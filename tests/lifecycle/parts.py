"""Components that note what happens to them, and what tests ask of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from kinesis import private
from tests.hooks import Passing

PATIENCE = 10.0  # seconds until a test says that something never came


class Awkward(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words for it")


KINDS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("plain"),
    lambda: SystemExit(0),
    KeyboardInterrupt,
    GeneratorExit,
    MemoryError,
    Awkward,
)
KIND_NAMES = ("plain", "exit", "interrupt", "generator-exit", "memory", "awkward")


class Traced(Passing):
    """
    Notes each hook that runs, and on which thread; does *at* there.

    Args:
        at: What a hook does, by its name, with the component.
    """

    ran: list[tuple[str, str]] = private(factory=list)
    at: dict[str, Callable[[Traced], object]] = private(factory=dict)

    def pass_by(self, hook: str) -> None:
        """Note that *hook* runs; do what the test wants it to do."""
        self.ran.append((hook, threading.current_thread().name))
        act = self.at.get(hook)
        if act is not None:
            act(self)

    def default_handler(self, message: object) -> object:
        """Say which thread handles *message*."""
        act = self.at.get("handle")
        if act is not None:
            act(self)
        self.ran.append(("handle", threading.current_thread().name))
        return message

    @property
    def hooks(self) -> list[str]:
        """What ran, in order."""
        return [hook for hook, _ in self.ran]


def traced(name: str = "part", /, **at: Callable[[Traced], object]) -> Traced:
    """Return a component that does something at some of its hooks."""
    return told(Traced(name=name), **at)


def told(part: Traced, **at: Callable[[Traced], object]) -> Traced:
    """Have *part* do something at some of its hooks."""
    part.at.update(at)
    return part


def waits(part: Traced) -> None:
    """Block until asked to stop."""
    part.stopping.wait()


def raising(error: BaseException) -> Callable[[Traced], object]:
    """Return what raises *error*."""

    def act(_: Traced) -> None:
        raise error

    return act


def errors_at(caplog: pytest.LogCaptureFixture, path: str) -> list[BaseException]:
    """Return the exceptions that were logged with *path*."""
    return [
        record.exc_info[1]
        for record in caplog.records
        if getattr(record, "path", None) == path
        and record.levelno >= logging.ERROR
        and record.exc_info
        and record.exc_info[1] is not None
    ]


def lines_at(caplog: pytest.LogCaptureFixture, path: str, word: str) -> list[str]:
    """Return the log lines about *path* with *word* in them."""
    return [
        record.getMessage()
        for record in caplog.records
        if getattr(record, "path", None) == path and word in record.getMessage()
    ]
