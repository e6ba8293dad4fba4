"""Components that tests of the runtime put into it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from kinesis import Component, private
from tests.hooks import Passing

PATIENCE = 10.0  # seconds until a test says that something never came


class Loop(Component):
    """Runs until it is asked to stop."""

    def start(self) -> None:
        self.stopping.wait()


class Brief(Component):
    """Has nothing to do, and so has finished at once."""


class Stubborn(Passing):
    """Does something at one of its hooks, such as to hang there."""

    at: dict[str, Callable[[], object]] = private(factory=dict)

    def start(self) -> None:
        super().start()
        self.stopping.wait()

    def pass_by(self, hook: str) -> None:
        """Do what the test wants done at *hook*."""
        self.at.get(hook, int)()


def stubborn(
    hook: str, act: Callable[[], object], name: str = "stubborn", **settings: Any
) -> Stubborn:
    """Return a component that does *act* at *hook*."""
    made = Stubborn(name=name, **settings)
    made.at[hook] = act
    return made


class Hang:
    """
    Something to hang in, until the test lets go.

    In ``with``: at the block's end all that hangs in it goes on.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.over = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        self.over.wait()

    def wait_entered(self) -> None:
        """Wait until somebody hangs in it."""
        assert self.entered.wait(PATIENCE), "nobody came to hang"

    def __enter__(self) -> Hang:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()


def eventually(condition: Callable[[], object], what: str) -> None:
    """Look until *condition* holds, where nobody tells when it begins to."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        threading.Event().wait(0.002)


def kinesis_threads() -> list[str]:
    """Return the names of the library's threads that run now."""
    return sorted(
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("kinesis:")
    )
