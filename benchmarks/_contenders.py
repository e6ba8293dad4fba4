"""
Starts and stops many idle components, or what others have for them, once.

`lifecycle.py` runs this in a process of its own for each measurement, so that none
inherits memory or threads from the one before. It prints what it measured as JSON.

    python -m benchmarks._contenders kinesis 1000
"""

from __future__ import annotations

import gc
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import pykka

from kinesis import Component, Container, Message, Ref, Runtime, handles

WARM_UP = 20  # started and stopped first: what is made once is made by then
SETTLED = 5  # readings of the memory in a row that are the same


class Ping(Message[int]):
    """The one type of message that everybody here can handle."""


PING = Ping()


class Contender(Protocol):
    """Something that starts idle parts of a program, and stops them all."""

    def start(self, count: int) -> None:
        """Start *count* parts; return once they can be given messages."""
        ...

    def greet(self, number: int) -> None:
        """Send the part started as *number* a message, and wait for the answer."""
        ...

    def stop(self) -> None:
        """Stop all parts, the last started first, and join their threads."""
        ...


class Idle(Component):
    """A component that waits for messages."""

    @handles(Ping)
    def ping(self, message: Ping) -> int:
        """Answer."""
        return 1


class Kinesis:
    """Components of one runtime, which is there already."""

    def __init__(self) -> None:
        self._runtime = Runtime(name="bench").start()
        self._refs: list[Ref[Idle]] = []

    def start(self, count: int) -> None:
        """Add one component after another; each is STARTED when `add` returns."""
        for number in range(count):
            self._refs.append(self._runtime.add(Idle(name=f"idle-{number}")))

    def greet(self, number: int) -> None:
        """Send a component its message."""
        self._refs[number].send(PING)

    def stop(self) -> None:
        """Stop the runtime, which joins every thread."""
        self._runtime.stop(timeout=600.0)
        self._runtime.join()


class Given(Kinesis):
    """Components that a container is given, and brings up itself."""

    def start(self, count: int) -> None:
        """Make the components, and add their container; all are STARTED then."""
        parts = [Idle(name=f"idle-{number}") for number in range(count)]
        self._refs.extend(self._runtime.add(Container(name="all", components=parts)))


class IdleActor(pykka.ThreadingActor):
    """An actor that waits for messages."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return 1 if isinstance(message, Ping) else None


class Pykka:
    """Actors of pykka."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())
        self._refs: list[pykka.ActorRef[IdleActor]] = []

    def start(self, count: int) -> None:
        """Start one actor after another."""
        for _ in range(count):
            self._refs.append(IdleActor.start())

    def greet(self, number: int) -> None:
        """Ask an actor."""
        self._refs[number].ask(PING)

    def stop(self) -> None:
        """Stop the actors one after another, then join their threads."""
        threads = set(threading.enumerate()) - self._before
        pykka.ActorRegistry.stop_all(block=True)
        for thread in threads:
            thread.join()


class IdleThread(threading.Thread):
    """A thread that waits for messages."""

    def __init__(self, number: int) -> None:
        super().__init__(name=f"idle-{number}", daemon=True)
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run(self) -> None:
        """Handle messages until there is None."""
        while (item := self.messages.get()) is not None:
            message, answers = item
            answers.put(1 if isinstance(message, Ping) else 0)


class Plain:
    """Threads with a queue each, and nothing else."""

    def __init__(self) -> None:
        self._threads: list[IdleThread] = []

    def start(self, count: int) -> None:
        """Start one thread after another."""
        for number in range(count):
            thread = IdleThread(number)
            thread.start()
            self._threads.append(thread)

    def greet(self, number: int) -> None:
        """Send a thread its message."""
        answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._threads[number].messages.put((PING, answers))
        answers.get()

    def stop(self) -> None:
        """End the threads one after another, and join each."""
        for thread in reversed(self._threads):
            thread.messages.put(None)
            thread.join()


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "threading.Thread": Plain,
    "pykka": Pykka,
    "kinesis": Kinesis,
    "kinesis, given": Given,
}


def measure(make: Callable[[], Contender], count: int) -> dict[str, float]:
    """
    Start and stop *count* parts of a program; and others, with a message between.

    Returns:
        For one: ``start`` and ``stop`` in seconds, the same of the processor as
        ``start_cpu`` and ``stop_cpu``; ``memory`` in bytes, while idle; ``answer``,
        the seconds of a start and of a first message, and ``late_stop``, those of
        the stop after it.
    """
    warm = make()
    warm.start(WARM_UP)
    for_each(warm.greet, WARM_UP)
    warm.stop()
    contender = make()
    before = settled_memory()
    start = timed(partial(contender.start, count))
    memory = settled_memory() - before
    stop = timed(contender.stop)
    contender = make()
    again = timed(partial(contender.start, count))
    greet = timed(partial(for_each, contender.greet, count))
    late_stop = timed(contender.stop)
    return {
        "start": start[0] / count,
        "start_cpu": start[1] / count,
        "stop": stop[0] / count,
        "stop_cpu": stop[1] / count,
        "memory": memory / count,
        "answer": (again[0] + greet[0]) / count,
        "late_stop": late_stop[0] / count,
    }


def for_each(call: Callable[[int], object], count: int) -> None:
    """Call for each of *count* parts, one after another."""
    for number in range(count):
        call(number)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that *call* takes, and those of all processors."""
    began, began_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - began_cpu


def settled_memory() -> int:
    """Return the bytes of this process that are in memory, once they stay the same."""
    gc.collect()
    readings: list[int] = []
    while len(readings) < SETTLED or len(set(readings[-SETTLED:])) > 1:
        time.sleep(0.02)
        with open("/proc/self/statm", encoding="ascii") as file:
            readings.append(int(file.read().split()[1]) * 4096)
    return readings[-1]


if __name__ == "__main__":
    print(json.dumps(measure(CONTENDERS[sys.argv[1]], int(sys.argv[2]))))
