"""How work from outside ends before the parts stop."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import pytest

from kinesis.doors import LINGER, Doors
from kinesis.testing import FakeClock


@attrs.define(eq=False)
class Later:
    """Calls at a later time, made by the test."""

    clock: FakeClock
    calls: list[tuple[float, Callable[[], object]]] = attrs.field(factory=list)

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self.calls.append((seconds, call))

    def pass_by(self) -> float:
        """Let the time of the next call come, and make it."""
        seconds, call = self.calls.pop(0)
        self.clock.advance(seconds)
        call()
        return seconds


@attrs.define(eq=False)
class FakeDoor:
    """A door that is busy for as long as the test says."""

    delay: float = 0.0
    busy: bool = False
    told: list[str] = attrs.field(factory=list)

    def shut(self) -> None:
        self.told.append("shut")

    def is_busy(self) -> bool:
        return self.busy


class BrokenDoor(FakeDoor):
    def shut(self) -> None:
        raise ValueError("stuck")


class ClockThreads:
    """As much of the threads as doors need."""

    def __init__(self, clock: FakeClock) -> None:
        import threading

        self.monotonic = clock.monotonic
        self.lock = threading.Lock


@pytest.fixture
def later() -> Later:
    """Time that stands still."""
    return Later(FakeClock())


@pytest.fixture
def doors(later: Later) -> Doors:
    """Doors without any yet."""
    return Doors(ClockThreads(later.clock), later)  # type: ignore[arg-type]  # enough


def test_without_doors_nothing_takes_any_time(doors: Doors, later: Later) -> None:
    """
    The parts stop at once.
    """
    done: list[str] = []
    doors.shut(lambda: done.append("stop"))

    assert done == ["stop"]
    assert doors.stopping
    assert later.calls == []


def test_first_it_is_not_ready_then_it_refuses_then_it_stops(
    doors: Doors, later: Later
) -> None:
    """
    After the longest delay that a door asks for.
    """
    door = FakeDoor(delay=5.0)
    doors.add(FakeDoor(delay=1.0))
    doors.add(door)
    doors.shut(lambda: door.told.append("stop"))

    assert doors.stopping
    assert door.told == []
    assert later.pass_by() == 5.0
    assert door.told == ["shut", "stop"]


def test_what_was_taken_in_is_done_first(doors: Doors, later: Later) -> None:
    """
    It looks again and again until it is.
    """
    door = FakeDoor(busy=True)
    doors.add(door)
    doors.shut(lambda: door.told.append("stop"))
    for _ in range(3):
        later.pass_by()

    assert door.told == ["shut"]

    door.busy = False
    later.pass_by()

    assert door.told == ["shut", "stop"]


def test_what_never_ends_is_not_waited_for(doors: Doors, later: Later) -> None:
    """
    The bound is a few seconds.
    """
    door = FakeDoor(busy=True)
    doors.add(door)
    doors.shut(lambda: door.told.append("stop"))
    waited = 0.0
    while later.calls:
        waited += later.pass_by()

    assert door.told == ["shut", "stop"]
    assert waited == pytest.approx(LINGER, abs=0.1)


def test_a_door_that_does_not_shut_keeps_nothing_open(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The others are shut, and the stop goes on; the log says which it was.
    """
    door, done = FakeDoor(), []
    doors.add(BrokenDoor())
    doors.add(door)
    with caplog.at_level(logging.ERROR, "kinesis"):
        doors.shut(lambda: done.append("stop"))

    assert door.told == ["shut"]
    assert done == ["stop"]
    assert "does not shut" in caplog.text


def test_a_door_that_was_removed_is_forgotten(doors: Doors) -> None:
    """
    It takes nothing in any more.
    """
    door = FakeDoor(delay=5.0)
    doors.add(door)
    doors.remove(door)
    doors.shut(lambda: None)

    assert doors.delay == 0.0
    assert door.told == []
