"""How work from outside ends before the parts stop."""

from __future__ import annotations

import logging

import attrs
import pytest

from kinesis.concurrency import SystemThreads
from kinesis.doors import LINGER, LOOK_EVERY, Doors
from kinesis.testing import FakeClock


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


class ClockThreads(SystemThreads):
    """The system's threads with a clock that stands still."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.monotonic = clock.now  # type: ignore[assignment]  # a clock it is


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def doors(clock: FakeClock) -> Doors:
    """Doors without any yet."""
    return Doors(ClockThreads(clock), clock)  # type: ignore[arg-type]  # it calls later


def test_without_doors_nothing_takes_any_time(doors: Doors) -> None:
    """
    The parts stop at once.
    """
    done: list[str] = []
    doors.shut(lambda: done.append("stop"))

    assert done == ["stop"]
    assert doors.stopping


def test_first_it_is_not_ready_then_it_refuses_then_it_stops(
    doors: Doors, clock: FakeClock
) -> None:
    """
    After the longest delay that a door asks for.
    """
    door = FakeDoor(delay=5.0)
    doors.add(FakeDoor(delay=1.0))
    doors.add(door)
    doors.shut(lambda: door.told.append("stop"))

    assert doors.stopping
    clock.advance(4.9)
    assert door.told == []

    clock.advance(0.1)
    assert door.told == ["shut", "stop"]


def test_what_was_taken_in_is_done_first(doors: Doors, clock: FakeClock) -> None:
    """
    It looks again and again until it is.
    """
    door = FakeDoor(busy=True)
    doors.add(door)
    doors.shut(lambda: door.told.append("stop"))
    clock.advance(1.0)

    assert door.told == ["shut"]

    door.busy = False
    clock.advance(LOOK_EVERY)

    assert door.told == ["shut", "stop"]


def test_what_never_ends_is_not_waited_for(doors: Doors, clock: FakeClock) -> None:
    """
    The bound is a few seconds.
    """
    door = FakeDoor(busy=True)
    doors.add(door)
    doors.shut(lambda: door.told.append("stop"))
    clock.advance(LINGER - 0.1)
    assert door.told == ["shut"]

    clock.advance(0.2)
    assert door.told == ["shut", "stop"]


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
