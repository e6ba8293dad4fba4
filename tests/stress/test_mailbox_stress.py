"""Many senders against the end of a mailbox: accepted == answered, and no hang."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
    WouldDeadlockError,
)
from kinesis.mailbox import Envelope, Mailbox, Overflow, Pending
from kinesis.waits import WaitGraph

pytestmark = pytest.mark.stress

PATIENCE = 30.0  # seconds for one round, of which none takes a tenth
ROUNDS = 400  # of each of the nine pairs of overflow and ending
SENDERS = 5


@pytest.fixture(autouse=True)
def _tiniest_switch_interval() -> Iterator[None]:
    """
    Change threads after every microsecond.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    yield

    sys.setswitchinterval(usual)


class Sender:
    """A thread that asks, posts and submits until it is refused, and keeps book."""

    def __init__(self, box: Mailbox, seed: int) -> None:
        self.attempts = 0
        self.outcomes: Counter[str] = Counter()
        self.pendings: list[Pending] = []
        self.sent = threading.Event()
        self._box = box
        self._random = random.Random(seed)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        """Send until the mailbox says that it is closed."""
        try:
            while self._send_one() is not ComponentStoppedError:
                self.sent.set()
        finally:
            self.sent.set()

    def _send_one(self) -> type[BaseException] | None:
        """Make one attempt; every way it can end is counted once."""
        self.attempts += 1
        how = self._random.random()
        try:
            if how < 0.3:
                self._box.post(self.attempts, timeout=None)
                self.outcomes["posted"] += 1
            elif how < 0.5:
                self.pendings.append(self._box.submit(self.attempts))
            else:
                timeout = None if how < 0.9 else self._random.choice([0.0, 0.0005])
                assert self._box.send(self.attempts, timeout) == self.attempts
                self.outcomes["replied"] += 1
        except (ComponentStoppedError, MailboxFullError, ReplyTimeoutError) as error:
            self.outcomes[type(error).__name__] += 1
            return type(error)
        return None


class Worker:
    """A thread that serves the mailbox until it is told to leave."""

    def __init__(self, box: Mailbox) -> None:
        self.runs = 0
        self._box = box
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        """Handle what comes; a handler answers with the message itself."""
        while True:
            item = self._box.take()
            if isinstance(item, Envelope):
                self._handle(item)
            elif item == "drain":
                while isinstance(left := self._box.take(0.0), Envelope):
                    self._handle(left)
                self._box.refuse_rest()
                return
            else:
                return

    def _handle(self, envelope: Envelope) -> None:
        """Run the handler, which always works."""
        if envelope.begin():
            self.runs += 1
            envelope.answer(envelope.message)


def end_of(box: Mailbox, ending: str, first: Worker) -> list[Worker]:
    """End the mailbox's life in one of the three ways; return its workers."""
    if ending == "drain":
        box.close()
        assert box.control("drain")
        return [first]
    if ending == "refuse":
        assert box.control("leave")
        box.refuse_rest()
        return [first]
    assert box.control("leave")  # a restart: the next one takes over what waits
    join(first.thread)
    second = Worker(box)
    return [first, *end_of(box, "drain", second)]


def join(thread: threading.Thread) -> None:
    """Join *thread* or say that it hangs."""
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"{thread.name} hangs"


@pytest.mark.parametrize("overflow", ["refuse", "wait", "drop-oldest"])
@pytest.mark.parametrize("ending", ["drain", "refuse", "restart"])
def test_every_message_of_many_senders_is_answered_once_whatever_ends_the_mailbox(
    overflow: Overflow, ending: str
) -> None:
    """
    Attempts == accepted + refused, accepted == answered, and each sender knows it.
    """
    threads = SystemThreads()
    for number in range(ROUNDS):
        bound = 1 + number % 4 if number % 2 else 10_000
        box = Mailbox(threads, "/app/a", bound=bound, overflow=overflow)
        worker = Worker(box)
        senders = [Sender(box, number * SENDERS + n) for n in range(SENDERS)]
        for sender in senders[: number % (SENDERS + 1)]:
            assert sender.sent.wait(PATIENCE)

        workers = end_of(box, ending, worker)
        for thread in [x.thread for x in (*senders, *workers)]:
            join(thread)
        check(box, senders, workers)


def check(box: Mailbox, senders: list[Sender], workers: list[Worker]) -> None:
    """Compare the senders' books, the workers' and the mailbox's."""
    counts = box.counts()
    outcomes: Counter[str] = Counter()
    for sender in senders:
        outcomes += sender.outcomes
        for pending in sender.pendings:
            assert pending.done(), "accepted and never answered"
            error = pending.exception(0.0)
            outcomes["replied" if error is None else type(error).__name__] += 1
    attempts = sum(sender.attempts for sender in senders)

    assert (counts.depth, counts.running) == (0, 0)
    assert counts.accepted == counts.answered
    assert attempts == counts.accepted + counts.refused == sum(outcomes.values())
    assert sum(worker.runs for worker in workers) == counts.handled + counts.late
    assert outcomes["replied"] <= counts.handled
    assert counts.handled <= outcomes["replied"] + outcomes["posted"]


def test_no_wake_up_of_those_who_wait_for_room_is_lost() -> None:
    """
    A bound of one and no timeout: one lost wake-up, and a sender waits for ever.
    """
    threads = SystemThreads()
    for _ in range(ROUNDS):
        box = Mailbox(threads, "/app/a", bound=1, overflow="wait")

        def post(box: Mailbox = box) -> None:
            for number in range(10):
                box.post(number, timeout=None)

        senders = [threading.Thread(target=post, daemon=True) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for _ in range(10 * SENDERS):
            envelope = box.take(PATIENCE)
            assert isinstance(envelope, Envelope), "a wake-up was lost"
            assert envelope.begin()
            assert envelope.answer()
        for sender in senders:
            join(sender)

        assert box.counts().handled == 10 * SENDERS


def test_control_items_are_never_lost_beside_messages_that_are_dropped() -> None:
    """
    Whoever drops the oldest takes a WAKE now and then, and must make up for it.
    """
    threads = SystemThreads()
    for _ in range(ROUNDS):
        box = Mailbox(threads, "/app/a", bound=2, overflow="drop-oldest")

        def post(box: Mailbox = box) -> None:
            for number in range(30):
                box.post(number)

        def steer(box: Mailbox = box) -> None:
            for number in range(10):
                box.control(-number - 1)

        others = [
            threading.Thread(target=job, daemon=True) for job in (post, post, steer)
        ]
        for other in others:
            other.start()
        assert take_controls(box, 10) == [-number - 1 for number in range(10)]
        for other in others:
            join(other)

        box.refuse_rest()
        assert box.counts().accepted == box.counts().answered == 60


def take_controls(box: Mailbox, number: int) -> list[object]:
    """Serve the mailbox until so many control items have come; return them."""
    controls: list[object] = []
    while len(controls) < number:
        item = box.take(PATIENCE)
        assert item is not None, f"after {controls} the next was lost"
        if not isinstance(item, Envelope):
            controls.append(item)
        elif item.begin():
            item.answer()
    return controls


def test_components_that_all_send_to_each_other_never_hang() -> None:
    """
    Of each cycle somebody is refused; the others are answered.
    """
    threads = SystemThreads()
    refused = 0
    for number in range(ROUNDS):
        waits = WaitGraph(threads)
        boxes = [Mailbox(threads, f"/app/{n}", waits=waits) for n in range(4)]
        peers = [Peer(box, boxes, number * 4 + n) for n, box in enumerate(boxes)]
        pendings = [box.submit(hops) for box in boxes for hops in range(6)]
        errors = [pending.exception(PATIENCE) for pending in pendings]
        for box in boxes:
            box.control("leave")
        for peer in peers:
            join(peer.thread)

        assert {type(error) for error in errors} <= {type(None), WouldDeadlockError}
        assert len(waits) == 0
        for box in boxes:
            assert box.counts().accepted == box.counts().answered
        refused += sum(error is not None for error in errors)

    assert refused > 0, "no cycle came about: this has shown nothing"


class Peer:
    """A thread that hands each message on to some component, for so many hops."""

    def __init__(self, box: Mailbox, boxes: list[Mailbox], seed: int) -> None:
        self._box = box
        self._boxes = boxes
        self._random = random.Random(seed)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        """Serve the mailbox until told to leave."""
        while isinstance(envelope := self._box.take(), Envelope):
            assert envelope.begin()
            assert isinstance(envelope.message, int)
            try:
                self._hand_on(envelope.message)
            except WouldDeadlockError as error:
                envelope.fail(error)
            else:
                envelope.answer()

    def _hand_on(self, hops: int) -> None:
        """Send to somebody, itself perhaps, and wait for ever."""
        if hops:
            self._random.choice(self._boxes).send(hops - 1, None, self._box.path)
