"""Components that let others in at every step, and what watches them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from kinesis import Component, Message, field, handles, private
from kinesis.concurrency import Thread
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
)
from kinesis.mailbox import Counts
from kinesis.testing import Simulation


@attrs.frozen
class Add(Message[int]):
    """Add *amount* in two steps, and return the sum."""

    amount: int = 1


def yield_to_others(component: Component) -> None:
    """Let the seed choose who goes on."""
    component.ref._cell.services.threads.sleep(0.0)


class Pair(Component):
    """Two numbers that are equal between messages; others come in between."""

    left: int = field(default=0)
    right: int = field(default=0)

    @handles(Add)
    def add(self, message: Add) -> int:
        self.left += message.amount
        yield_to_others(self)
        self.right += message.amount
        return self.right


class Watch:
    """Notes for one component who is in it, and what ran when."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self.events: list[str] = []

    def enter(self, what: str) -> None:
        """Note that *what* begins."""
        self.events.append(what)
        self.inside.append(what)
        self.most = max(self.most, len(self.inside))

    def leave(self, what: str) -> None:
        """Note that *what* ends."""
        self.inside.remove(what)


class Watched(Component):
    """Notes each hook and handler in its watch; all take a step in between."""

    count: int = field(default=0)
    watch: Any = private(default=None)

    def note(self, what: str) -> None:
        self.watch.enter(what)
        yield_to_others(self)
        self.watch.leave(what)

    def init(self) -> None:
        self.note("init")

    def pre_start(self) -> None:
        self.note("pre_start")

    def stop(self) -> None:
        self.note("stop")

    def tear_down(self) -> None:
        self.note("tear_down")

    @handles(Add)
    def add(self, message: Add) -> int:
        self.note("handle")
        self.count += message.amount
        return self.count


class Books:
    """What senders did and what came of it, to compare with a mailbox's counts."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def send(self, send: Callable[[], object]) -> None:
        """Call *send*, and note what comes of it."""
        self.outcomes["tried"] += 1
        try:
            send()
        except (ComponentStoppedError, MailboxFullError, ReplyTimeoutError) as error:
            self.outcomes[type(error).__name__] += 1
        else:
            self.outcomes["done"] += 1

    def agree_with(self, counts: Counts) -> None:
        """Check that nothing accepted was left unanswered, and nothing miscounted."""
        assert counts.depth == 0, "a message was left behind"
        assert counts.running == 0, "a message was begun and not answered"
        assert counts.accepted == counts.answered
        assert self.outcomes["tried"] == counts.accepted + counts.refused


def start_all(
    simulation: Simulation, jobs: Iterable[Callable[[], object]]
) -> list[Thread]:
    """Start a thread for each job."""
    return [
        simulation.threads.start(job, f"job-{number}")
        for number, job in enumerate(jobs)
    ]


def join_all(threads: Iterable[Thread]) -> None:
    """Wait for the end of all."""
    for thread in threads:
        thread.join()
