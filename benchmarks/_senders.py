"""
Those who answer messages, and those who send them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import attrs
import pykka

from kinesis import Component, Message, Ref, Runtime, field, handles

SENDS = 1_000  # in one portion, by each sender
POSTS = 5_000  # in one portion: fewer than a mailbox holds
SHORTEST = 0.01  # seconds of a measurement; a portion of some takes a tenth of that
FOUR = 4

Send = Callable[[], object]


@attrs.frozen
class Deposit(Message[int]):
    """Add *amount*, answer the balance."""

    amount: int


class Account(Component):
    """A component whose state each message changes."""

    balance: int = field(default=0)

    @handles(Deposit)
    def deposit(self, message: Deposit) -> int:
        """Add, answer."""
        self.balance += message.amount
        return self.balance


class Direct(Account):
    """The same, in the sender's thread."""

    dispatch = "caller"


class AccountActor(pykka.ThreadingActor):
    """The same as an actor."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.balance = 0

    def on_receive(self, message: Any) -> int:
        """Add, answer."""
        return self.deposit(message)

    def deposit(self, message: Deposit) -> int:
        """Add, answer; by a proxy it is called by name."""
        self.balance += message.amount
        return self.balance


class Floor:
    """A thread that takes messages off one queue and puts answers on another."""

    def __init__(self) -> None:
        self._balance = 0
        self._asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Add and answer, until there is None."""
        while (item := self._asked.get()) is not None:
            message, answers = item
            self._balance += message.amount
            if answers is not None:
                answers.put(self._balance)

    def sender(self) -> Send:
        """Return what sends and waits, for one thread."""
        answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        item, put, get = (MESSAGE, answers), self._asked.put, answers.get

        def send() -> int:
            put(item)
            return get()

        return send

    def poster(self) -> Send:
        """Return what sends and does not wait."""
        item, put = (MESSAGE, None), self._asked.put
        return partial(put, item)

    def close(self) -> None:
        """End the thread."""
        self._asked.put(None)
        self._thread.join()


class Ear:
    """A listener that does nothing with what it is told."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, change: object) -> None:
        """Be told of a change; on the delivery thread."""
        self._told += 1

    def settle(self) -> None:
        """Wait until nothing more is told."""
        told = -1
        while told != self._told:
            told = self._told
            time.sleep(0.02)


MESSAGE = Deposit(1)


class Senders:
    """
    All that can be sent to, at once: who has nothing to do costs nothing.

    Attributes:
        sends: By name, what makes a sender for one thread.
        posts: By name, what posts, and what waits for all that was posted.

    Args:
        listeners: Add a component with so many, for each of these numbers.
    """

    def __init__(self, listeners: tuple[int, ...]) -> None:
        self._stack = ExitStack()
        self.sends: dict[str, Callable[[], Send]] = {}
        self.posts: dict[str, tuple[Send, Send]] = {}
        self._listeners = listeners
        self._ear = Ear()

    def __enter__(self) -> Self:
        floor = Floor()
        self._stack.callback(floor.close)
        self.sends["floor"] = floor.sender
        self.posts["floor"] = (floor.poster(), floor.sender())
        runtime = self._stack.enter_context(Runtime(name="bench"))
        self._add("kinesis", runtime.add(Account(name="account")))
        for count in self._listeners:
            ref = runtime.add(Account(name=f"heard-by-{count}"))
            for _ in range(count):
                ref.callback(self._ear)
            self._add(f"kinesis, {count} listening", ref)
        self._add("kinesis, dispatch=caller", runtime.add(Direct(name="direct")))
        self._add_pykka()
        return self

    def _add(self, name: str, ref: Ref[Account]) -> None:
        """Enter a component."""
        send = partial(ref.send, MESSAGE)
        self.sends[name] = lambda: send
        self.posts[name] = (partial(ref.post, MESSAGE), send)

    def _add_pykka(self) -> None:
        """Enter an actor: by ask, by proxy, by tell."""
        ref = AccountActor.start()
        self._stack.callback(ref.stop)
        ask, proxy = partial(ref.ask, MESSAGE), ref.proxy()
        self.sends["pykka ask"] = lambda: ask
        self.sends["pykka proxy"] = lambda: lambda: proxy.deposit(MESSAGE).get()
        self.posts["pykka tell"] = (partial(ref.tell, MESSAGE), ask)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # -- measurements: seconds a message ---------------------------------------------

    def by_one(self, make: Callable[[], Send]) -> float:
        """Send from this thread."""
        send = make()
        portions, took = 0, 0.0
        began = time.perf_counter()
        while took < SHORTEST:
            for _ in range(SENDS):
                send()
            portions += 1
            took = time.perf_counter() - began
        self._ear.settle()
        return took / (portions * SENDS)

    def by_four(self, make: Callable[[], Send]) -> float:
        """
        Send from four threads at once: the time of all by the number of all.

        From the first that begins to the last that ends. This thread would look at
        the clock too late: of those that wait at the barrier it may be the last to
        go on, when one of the others is half through.
        """
        ready = threading.Barrier(FOUR)
        times: list[float] = []

        def run() -> None:
            send = make()
            ready.wait()
            times.append(time.perf_counter())
            for _ in range(SENDS):
                send()
            times.append(time.perf_counter())

        threads = [threading.Thread(target=run, daemon=True) for _ in range(FOUR)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = max(times) - min(times)
        self._ear.settle()
        return took / (FOUR * SENDS)

    def accepted(self, way: tuple[Send, Send]) -> float:
        """Post from this thread: the time until all are let in."""
        return self._post(way)[0]

    def handled(self, way: tuple[Send, Send]) -> float:
        """Post from this thread: the time until all are handled."""
        return self._post(way)[1]

    def _post(self, way: tuple[Send, Send]) -> tuple[float, float]:
        """Post, and wait for all that was posted."""
        post, wait = way
        wait()
        portions, accepted, handled = 0, 0.0, 0.0
        while accepted < SHORTEST:
            began = time.perf_counter()
            for _ in range(POSTS):
                post()
            accepted += time.perf_counter() - began
            wait()
            handled += time.perf_counter() - began
            portions += 1
        self._ear.settle()
        return accepted / (portions * POSTS), handled / (portions * POSTS)
