"""Messages and components that the tests of messages share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

from kinesis import Component, Message, Ref, field, handles, private
from kinesis.mailbox import Counts
from kinesis.serving import Serving

PATIENCE = 10.0  # seconds that a waiting test waits before it reports a hang
LONG = 60.0  # seconds of a timeout that should not be reached


@attrs.frozen
class Add(Message[int]):
    """Add *amount*, and return the sum."""

    amount: int = 1


@attrs.frozen
class Get(Message[int]):
    """Return the sum."""


@attrs.frozen
class Raise(Message[None]):
    """Raise *error*."""

    error: BaseException


@attrs.frozen
class Call(Message[Any]):
    """Call *function* with the component, and return what it returns."""

    function: Callable[[Any], object]


@attrs.frozen
class Hold(Message[str]):
    """Stay in the handler until *go* is set; set *entered* first."""

    entered: threading.Event = attrs.field(factory=threading.Event)
    go: threading.Event = attrs.field(factory=threading.Event)

    def wait_entered(self) -> None:
        """Wait until the handler runs."""
        assert self.entered.wait(PATIENCE), "the handler never began"


class Adder(Component):
    """Adds, holds, raises and calls."""

    sum: int = field(default=0)
    seen: list[int] = field(factory=list)

    @handles(Add)
    def add(self, message: Add) -> int:
        self.sum += message.amount
        self.seen.append(message.amount)
        return self.sum

    @handles(Get)
    def get(self, message: Get) -> int:
        return self.sum

    @handles(Raise)
    def fail(self, message: Raise) -> None:
        raise message.error

    @handles(Call)
    def call(self, message: Call) -> object:
        return message.function(self)

    @handles(Hold)
    def hold(self, message: Hold) -> str:
        message.entered.set()
        assert message.go.wait(PATIENCE), "nobody let the handler go"
        return "held"


class Editing(Adder):
    """An adder whose `start` stays in an edit until *go* is set, and adds ten in it."""

    entered: threading.Event = private(factory=threading.Event)
    go: threading.Event = private(factory=threading.Event)

    def start(self) -> None:
        self.ready()
        with self.edit():
            self.entered.set()
            assert self.go.wait(PATIENCE), "nobody let the edit go"
            self.sum += 10
        self.stopping.wait()

    def wait_entered(self) -> None:
        """Wait until the edit has begun."""
        assert self.entered.wait(PATIENCE), "the edit never began"


class Looping(Adder):
    """An adder whose `start` blocks: a second thread handles its messages."""

    def start(self) -> None:
        self.stopping.wait()


def counts(ref: Ref[Any]) -> Counts:
    """Return what the mailbox of *ref* has counted."""
    told = ref.report().messages
    assert told is not None, "it has no mailbox yet"
    return told


def serving_of(ref: Ref[Any]) -> Serving:
    """Return what is inside of *ref*, for tests that look there."""
    serving = ref._cell.serving
    assert serving is not None, "it has not begun"
    return serving


def in_thread(function: Callable[[], object]) -> Outcome:
    """Run *function* on a thread of its own; join it with ``.result()``."""
    return Outcome(function)


class Outcome:
    """What a function that runs on another thread returns or raises."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # for whoever asks for the result
            self._error = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Wait for the end, and return or raise as the function did."""
        self._thread.join(PATIENCE)
        assert self.is_done, "it does not end"
        if self._error is not None:
            raise self._error
        return self._value


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until *condition* holds, looking two hundred times a second."""
    tick = threading.Event()
    for _ in range(int(PATIENCE * 200)):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError(f"{what} never came true")
