"""The mailbox: what it accepts is answered, once, and counted, once."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from kinesis.concurrency import SystemThreads
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
    WouldDeadlockError,
)
from kinesis.mailbox import Counts, Envelope, Mailbox, Overflow, Pending
from kinesis.mailbox.tally import BATCH
from kinesis.testing import Simulation
from kinesis.waits import WaitGraph

PATIENCE = 5.0  # seconds; nothing here takes as long unless it hangs

tracing: ContextVar[str] = ContextVar("tracing")


@attrs.frozen
class Add:
    """A message."""

    amount: int


class HandClock(SystemThreads):
    """Threads whose clock is moved by hand; what waits, waits in real time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.monotonic = lambda: self.now  # type: ignore[method-assign]  # a fake


def mailbox(**options: Any) -> Mailbox:
    """Return a mailbox on real threads."""
    return Mailbox(SystemThreads(), "/app/account", **options)


def taken(box: Mailbox) -> Envelope:
    """Take what must be an envelope."""
    item = box.take(PATIENCE)
    assert isinstance(item, Envelope)
    return item


def begun(box: Mailbox) -> Envelope:
    """Take an envelope and begin it."""
    envelope = taken(box)
    assert envelope.begin()
    return envelope


class Caller:
    """A thread that calls *function*, and what came of it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.value: object = None
        self.error: BaseException | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.value = self._function()
        except BaseException as error:
            self.error = error

    def ended(self) -> Caller:
        """Wait until it has returned or raised."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the caller still waits"
        return self


# -- asking and answering ---------------------------------------------------------


def test_a_send_returns_what_the_worker_answers() -> None:
    """
    The sender waits, the worker takes, begins and answers.
    """
    box = mailbox()
    sender = Caller(lambda: box.send(Add(1)))

    envelope = begun(box)
    assert (envelope.message, envelope.is_asked) == (Add(1), True)
    assert envelope.answer(7)

    assert sender.ended().value == 7
    assert box.counts().handled == 1


def test_a_send_raises_what_the_handler_raised_with_its_traceback() -> None:
    """
    It is that same object, and its traceback begins in the handler.
    """

    def handler() -> None:
        raise error

    error = ValueError("no such account")
    box = mailbox()
    sender = Caller(lambda: box.send(Add(1)))
    envelope = begun(box)
    with pytest.raises(ValueError, match="no such account") as raised:
        handler()
    assert envelope.fail(raised.value)

    assert sender.ended().error is error
    assert "handler" in [
        frame.name for frame in traceback.extract_tb(error.__traceback__)
    ]
    assert box.counts().failed == 1


def test_system_exit_in_a_handler_reaches_the_sender_only() -> None:
    """
    A BaseException is an answer like any other.
    """
    box = mailbox()
    sender = Caller(lambda: box.send(Add(1)))

    begun(box).fail(SystemExit(3))

    assert isinstance(sender.ended().error, SystemExit)


def test_gates_are_used_again_by_the_next_sender() -> None:
    """
    Many sends after one another, also after one that timed out, get their own answer.
    """
    box = mailbox()

    def worker() -> None:
        for number in range(20):
            begun(box).answer(number)

    with pytest.raises(ReplyTimeoutError):
        box.send(Add(0), 0.0)
    assert not taken(box).begin()
    thread = threading.Thread(target=worker)
    thread.start()

    assert [box.send(Add(n), PATIENCE) for n in range(20)] == list(range(20))
    thread.join(PATIENCE)


def test_a_batch_is_one_envelope_with_all_its_messages() -> None:
    """
    The worker answers a send_all as one, with whatever list it likes.
    """
    box = mailbox()
    sender = Caller(lambda: box.send_all([Add(1), Add(2)], sender="/app/b"))

    envelope = begun(box)
    assert (envelope.message, envelope.batch) == (None, (Add(1), Add(2)))
    assert envelope.sender == "/app/b"
    assert repr(envelope) == (
        "<AskedWithMore a batch of 2 from /app/b to /app/account>"
    )
    envelope.answer([1, 3])

    assert sender.ended().value == [1, 3]


def test_a_post_waits_for_nobody_and_its_answer_goes_nowhere() -> None:
    """
    Posted messages come in order; answering one only counts.
    """
    box = mailbox()
    box.post(Add(1))
    box.post(Add(2), sender="/app/b")
    box.post(None)

    first, second, third = begun(box), taken(box), taken(box)
    assert first.answer()
    assert second.begin()
    assert second.fail(ValueError())
    assert third.begin()
    assert third.answer()

    assert [e.message for e in (first, second, third)] == [Add(1), Add(2), None]
    assert [e.sender for e in (first, second, third)] == [None, "/app/b", None]
    assert not first.is_asked
    assert repr(first) == "<Envelope Add to /app/account>"
    assert (box.counts().handled, box.counts().failed) == (2, 1)


def test_the_first_answer_wins_so_an_abandoned_handler_answers_nobody() -> None:
    """
    A supervisor fails the message of a handler that hangs; what the handler says
    when it comes back is ignored, and not counted again.
    """
    box = mailbox()
    sender = Caller(lambda: box.send(Add(1)))
    envelope = begun(box)

    assert envelope.fail(ComponentStoppedError("abandoned"))
    assert not envelope.answer(7)
    assert not envelope.fail(ValueError())

    assert isinstance(sender.ended().error, ComponentStoppedError)
    counts = box.counts()
    assert (counts.answered, counts.failed, counts.running) == (1, 1, 0)


def test_a_message_that_has_not_begun_may_be_failed_too() -> None:
    """
    It counts as stopped; a second answer is ignored.
    """
    box = mailbox()
    pending = box.submit(Add(1))
    envelope = taken(box)

    assert envelope.fail(ValueError())
    assert not envelope.fail(KeyError())

    assert isinstance(pending.exception(0.0), ValueError)
    assert box.counts() == attrs.evolve(nothing(), stopped=1)


def test_a_message_that_has_its_answer_neither_begins_nor_is_turned_away() -> None:
    """
    Whoever comes second to it is told so, and nothing is counted twice.
    """
    box = mailbox()
    box.post(Add(1))
    envelope = begun(box)
    envelope.answer()

    assert not envelope.begin()
    assert not envelope.turn_away("dropped", ValueError)
    assert box.counts() == attrs.evolve(box.counts(), handled=1, dropped=0, running=0)


def test_two_threads_may_take_one_after_the_other() -> None:
    """
    The mailbox is served by the next incarnation, on another thread.
    """
    box = mailbox()
    for number in range(3):
        box.post(Add(number))

    first = Caller(lambda: begun(box).message).ended().value
    second = Caller(lambda: begun(box).message).ended().value

    assert (first, second, begun(box).message) == (Add(0), Add(1), Add(2))


def test_take_returns_none_when_nothing_comes_in_time() -> None:
    """
    Also with a time that is over already, and with a WAKE left in the queue.
    """
    box = mailbox()
    box.post(Add(1))
    box.control("first")
    assert box.take(0.0) == "first"
    assert isinstance(box.take(0.0), Envelope)

    assert box.take(0.01) is None
    assert box.take(-1.0) is None


def test_context_variables_are_carried_only_when_asked_and_only_if_there_are() -> None:
    """
    A copy is cheap, but it is not made for nothing.
    """

    def set_and_post() -> None:
        box.post(Add(1))
        tracing.set("request 7")
        box.post(Add(2))
        plain.post(Add(3))
        box.submit(Add(4))

    box, plain = mailbox(carry_context=True), mailbox()
    assert Caller(set_and_post).ended().error is None

    without, posted, submitted = taken(box), taken(box), taken(box)
    assert without.context is None or tracing not in without.context
    for envelope in (posted, submitted):
        assert envelope.context is not None
        assert envelope.context[tracing] == "request 7"
    assert taken(plain).context is None


# -- time ----------------------------------------------------------------------


def test_a_message_that_timed_out_in_the_queue_was_taken_out_and_never_begins() -> None:
    """
    The sender knows that it never ran; it keeps its place until it is reached.
    """
    box = mailbox()

    with pytest.raises(ReplyTimeoutError, match="taken out before it ran") as e:
        box.send(Add(1), 0.01)

    assert (e.value.began, e.value.path) == (False, "/app/account")
    assert box.depth == 1
    assert not taken(box).begin()
    assert box.counts() == attrs.evolve(nothing(), expired=1)


def test_a_message_that_timed_out_while_it_ran_says_so(simulation: Simulation) -> None:
    """
    Its answer is thrown away, and it counts as late.
    """
    box = Mailbox(simulation.threads, "/app/account")
    errors: list[ReplyTimeoutError] = []

    def send() -> None:
        with pytest.raises(ReplyTimeoutError) as raised:
            box.send(Add(1), 0.05)
        errors.append(raised.value)

    sender = simulation.threads.start(send, "sender")
    envelope = begun(box)
    sender.join(1.0)
    (error,) = errors

    assert error.began
    assert "had begun and goes on" in str(error)
    assert not envelope.answer(7)
    assert (box.counts().late, box.counts().handled) == (1, 0)


def test_an_answer_at_the_very_moment_of_the_timeout_is_returned() -> None:
    """
    Once the worker has taken the right to answer, the sender waits for it.
    """
    box = mailbox()
    box._new_lock = lambda: LateGate(box)  # type: ignore[assignment]  # a lock that lies

    assert box.send(Add(1), PATIENCE) == 7
    assert box.counts() == attrs.evolve(box.counts(), handled=1, late=0, expired=0)


class LateGate:
    """A lock that lies: the answer comes just as the wait for it has timed out."""

    def __init__(self, box: Mailbox) -> None:
        self._box = box
        self._asked = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Shut it; then time out while the worker answers; then find it open."""
        self._asked += 1
        if self._asked == 2:
            begun(self._box).answer(7)
        return self._asked != 2

    def release(self) -> None:
        """Nobody waits at this gate."""


def test_a_deadline_that_has_passed_keeps_a_message_from_beginning() -> None:
    """
    Submitted or posted: whoever reaches it answers that it was not begun.
    """
    threads = HandClock()
    box = Mailbox(threads, "/app/account")
    pending = box.submit(Add(1), 2.0)
    box.post(Add(2), deadline=102.0)
    box.post(Add(3), deadline=102.1)
    threads.now = 102.0

    assert [taken(box).begin() for _ in range(3)] == [False, False, True]
    with pytest.raises(ReplyTimeoutError, match="within 2 s") as e:
        pending.result(0.0)
    assert not e.value.began
    assert box.counts().expired == 2


def test_busy_time_and_latency_are_counted() -> None:
    """
    Busy from begin to answer, latency from accepted to answered.
    """
    threads = HandClock()
    box = Mailbox(threads, "/app/account")
    box.submit(Add(1))
    threads.now += 1.0
    envelope = begun(box)
    threads.now += 2.0
    envelope.answer()
    box.submit(Add(1))
    envelope = begun(box)
    threads.now += 0.004
    envelope.fail(ValueError())

    counts = box.counts()
    assert counts.busy_seconds == pytest.approx(2.004)
    assert counts.latency_seconds == counts.latency_most == pytest.approx(3.0)
    assert counts.latency_buckets == (0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)


def test_latencies_are_counted_without_anybody_looking() -> None:
    """
    They come together in a short list, by whichever side answers or is answered.
    """
    box = mailbox()
    for _ in range(BATCH):
        box.submit(Add(1))
        begun(box).answer()
    assert sum(box.tally.latency_buckets) == BATCH

    worker = Caller(lambda: [begun(box).answer() for _ in range(BATCH)])
    for _ in range(BATCH):
        box.send(Add(1), PATIENCE)
    worker.ended()

    assert sum(box.tally.latency_buckets) == 2 * BATCH
    assert len(box.tally.latencies) == 0


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e12])
def test_a_timeout_may_be_for_ever(timeout: float | None) -> None:
    """
    Longer than a lock can wait is for ever too.
    """
    box = mailbox()
    sender = Caller(lambda: box.send(Add(1), timeout))

    envelope = begun(box)
    envelope.answer(7)

    assert envelope.deadline is None
    assert sender.ended().value == 7


def test_a_timeout_below_zero_is_zero_and_nan_is_an_error() -> None:
    """
    What was left of a deadline that has passed may well be negative.
    """
    box = mailbox()

    with pytest.raises(ReplyTimeoutError, match="within 0 s"):
        box.send(Add(1), -3.0)
    with pytest.raises(ValueError, match="NaN"):
        box.send(Add(1), float("nan"))


# -- submitting --------------------------------------------------------------------


def test_a_submitted_message_tells_its_callback_on_the_answering_thread() -> None:
    """
    So that an event loop need not wait on a thread.
    """
    answers: list[object] = []
    box = mailbox()
    pending = box.submit(Add(1), then=lambda done: answers.append(done.result(0.0)))

    assert not pending.done()
    begun(box).answer(7)

    assert answers == [7]
    assert pending.result(0.0) == 7


def test_a_callback_that_raises_is_logged_and_costs_the_worker_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    An event loop that is closed already is no concern of the component.
    """

    def closed_loop(_: object) -> None:
        raise RuntimeError("Event loop is closed")

    box = mailbox()
    box.submit(Add(1), then=closed_loop)

    with caplog.at_level(logging.ERROR, "kinesis"):
        assert begun(box).answer(7)

    assert [getattr(record, "path", None) for record in caplog.records] == [
        "/app/account"
    ]
    assert "Event loop is closed" in caplog.text


def test_withdrawing_takes_a_message_out_once() -> None:
    """
    True says that it never runs.
    """
    box = mailbox()
    pending = box.submit(Add(1), batch=[Add(1)])

    assert pending.withdraw()
    assert not pending.withdraw()

    assert isinstance(pending.exception(0.0), ReplyTimeoutError)
    assert not taken(box).begin()


def test_withdrawing_a_message_that_runs_only_ends_the_wait() -> None:
    """
    False says that it runs, or has run.
    """
    box = mailbox()
    pending = box.submit(Add(1))
    envelope = begun(box)

    assert not pending.withdraw()

    error = pending.exception(0.0)
    assert isinstance(error, ReplyTimeoutError)
    assert error.began
    assert not envelope.answer(7)


def test_withdrawing_at_the_moment_of_the_answer_leaves_the_answer() -> None:
    """
    The worker has the right to answer already; the result follows.
    """
    box = mailbox()
    pending = box.submit(Add(1))
    envelope = begun(box)
    envelope.claim.pop()  # as `answer` does first

    assert not pending.withdraw()
    assert not pending.done()
    envelope.deliver(7, None)
    assert pending.result(0.0) == 7


# -- the control lane -----------------------------------------------------------


def test_control_items_come_before_all_messages_in_their_own_order() -> None:
    """
    Whatever came first, and also if a message has been taken from the queue.
    """
    box = mailbox()
    box.post(Add(1))
    box.control("a")
    box.post(Add(2))
    box.control("b")

    order = [box.take(0.0) for _ in range(3)]
    assert order[:2] == ["a", "b"]
    assert isinstance(order[2], Envelope)
    assert order[2].message == Add(1)
    assert taken(box).message == Add(2)


def test_a_control_item_wakes_a_worker_that_waits() -> None:
    """
    No message is needed.
    """
    box = mailbox()
    worker = Caller(lambda: box.take(PATIENCE))

    assert box.control("leave")

    assert worker.ended().value == "leave"


def test_control_items_take_no_room() -> None:
    """
    The bound is for messages.
    """
    box = mailbox(bound=1)
    for _ in range(5):
        box.control("x")

    box.post(Add(1))

    assert box.depth == 1
    with pytest.raises(MailboxFullError):
        box.post(Add(2))


def test_a_closed_mailbox_takes_control_items_until_it_is_over() -> None:
    """
    The order to leave must reach the worker; an item that nobody takes is refused.
    """
    box = mailbox()
    box.close()
    assert box.control("leave")
    box.refuse_rest()
    assert not box.control("too late")

    assert box.take(0.0) == "leave"


def test_reopening_gives_back_what_was_meant_for_the_life_before() -> None:
    """
    The next incarnation must not obey the order to leave of the last.
    """
    box = mailbox()
    box.control("leave")
    assert box.reopen() == []
    box.refuse_rest()

    assert box.reopen() == ["leave"]
    assert box.take(0.0) is None
    assert box.control("b")
    assert box.take(0.0) == "b"


# -- the bound -------------------------------------------------------------------


def test_a_full_mailbox_refuses_and_says_what_to_do() -> None:
    """
    The error names the path and the bound.
    """
    box = mailbox(bound=2)
    box.post(Add(1))
    box.submit(Add(2))

    for attempt in (lambda: box.post(Add(3)), lambda: box.send(Add(3), None)):
        with pytest.raises(MailboxFullError, match="2 messages wait there") as e:
            attempt()
        assert (e.value.path, e.value.bound) == ("/app/account", 2)
    assert (box.counts().refused, box.counts().accepted) == (2, 2)


def test_drop_oldest_tells_the_sender_of_the_dropped() -> None:
    """
    Newest in, oldest out; one that had timed out counts as expired.
    """
    box = mailbox(bound=2, overflow="drop-oldest")
    oldest, next_one = box.submit(Add(1)), box.submit(Add(2))
    box.control("x")
    box.post(Add(3))
    assert next_one.withdraw()
    box.post(Add(4))

    with pytest.raises(MailboxFullError, match="dropped Add, the oldest") as e:
        oldest.result(0.0)
    assert (e.value.path, e.value.bound) == ("/app/account", 2)
    assert (box.counts().dropped, box.counts().expired) == (1, 1)
    assert box.take(0.0) == "x"
    assert [taken(box).message, taken(box).message] == [Add(3), Add(4)]
    assert box.take(0.0) is None


def test_drop_oldest_finds_the_message_that_waits_for_the_control_lane() -> None:
    """
    One that was taken, and set aside for a control item, is the oldest.
    """
    box = mailbox(bound=2, overflow="drop-oldest")
    oldest = box.submit(Add(1))
    box.post(Add(2))
    box.control("x")
    assert box.take(0.0) == "x"
    assert box.depth == 2

    box.post(Add(3))

    assert isinstance(oldest.exception(0.0), MailboxFullError)
    assert [taken(box).message, taken(box).message] == [Add(2), Add(3)]


def in_front_of(box: Mailbox, senders: int = 1) -> None:
    """Wait until so many senders wait for room."""
    lanes = box._lanes
    deadline = SystemThreads.monotonic() + PATIENCE
    while len(lanes._doorstep) < senders:
        assert SystemThreads.monotonic() < deadline, "nobody came to wait for room"


def test_a_sender_waits_for_room_and_goes_in_when_a_message_is_taken() -> None:
    """
    Without busy waiting: whoever takes lets one in.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))
    sender = Caller(lambda: box.post(Add(2)))
    in_front_of(box)

    assert taken(box).message == Add(1)

    assert sender.ended().error is None
    assert taken(box).message == Add(2)


def test_a_sender_goes_in_when_a_message_set_aside_is_taken_too() -> None:
    """
    That one held a place as well.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))
    box.control("x")
    sender = Caller(lambda: box.post(Add(2)))
    in_front_of(box)

    assert box.take(0.0) == "x"
    assert taken(box).message == Add(1)

    assert sender.ended().error is None


def test_waiting_for_room_ends_with_the_timeout() -> None:
    """
    A send's timeout covers both waits; a submit never waits.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))

    for attempt in (
        lambda: box.post(Add(2), timeout=0.01),
        lambda: box.send(Add(2), 0.01),
        lambda: box.submit(Add(2)),
    ):
        with pytest.raises(MailboxFullError):
            attempt()
    assert box.counts().refused == 3
    assert box._lanes._doorstep == []


def test_a_send_waits_for_its_answer_with_what_is_left_of_its_time() -> None:
    """
    Waiting for room is part of the timeout, and for ever stays for ever.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))
    sender = Caller(lambda: box.send(Add(2), None))
    in_front_of(box)

    begun(box).answer()
    begun(box).answer(7)

    assert sender.ended().value == 7


def test_closing_refuses_those_who_wait_for_room() -> None:
    """
    All of them, at once.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))
    senders = [Caller(lambda: box.post(Add(2), timeout=None)) for _ in range(3)]
    in_front_of(box, 3)

    box.close()

    for sender in senders:
        assert isinstance(sender.ended().error, ComponentStoppedError)


def test_one_who_is_let_in_and_interrupted_passes_the_place_on() -> None:
    """
    A ctrl-c in the middle of the wait must not cost another sender its wake-up.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))
    patient = Caller(lambda: box.post(Add(3)))
    in_front_of(box)
    lanes = box._lanes
    lanes._new_lock = lambda: InterruptedGate(lanes)  # type: ignore[assignment]

    with pytest.raises(KeyboardInterrupt):
        box.post(Add(2))

    assert patient.ended().error is None


def test_one_who_is_interrupted_while_waiting_leaves_no_gate_behind() -> None:
    """
    Else the next place would go to nobody.
    """
    box = mailbox(bound=1, overflow="wait")
    box.post(Add(1))
    lanes = box._lanes
    lanes._new_lock = lambda: InterruptedGate(None)  # type: ignore[assignment]

    with pytest.raises(KeyboardInterrupt):
        box.post(Add(2))

    assert lanes._doorstep == []


@pytest.mark.parametrize("is_let_in", [False, True])
def test_room_that_came_before_one_had_queued_up_is_seen(is_let_in: bool) -> None:
    """
    By a second look; one who was let in besides passes that on.
    """
    lanes = mailbox()._lanes
    other = SystemThreads().lock()
    other.acquire()

    def is_full() -> bool:
        lanes._doorstep.append(other)
        if is_let_in:
            lanes.let_one_in()
        return False

    assert lanes.wait_for_room(is_full, None)
    assert lanes._doorstep == ([] if is_let_in else [other])
    assert other.locked() != is_let_in


class InterruptedGate:
    """A gate at which ctrl-c comes right after it was opened."""

    def __init__(self, lanes: Any) -> None:
        self._lanes = lanes
        self._asked = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Shut it; then be first in line, let in, and interrupted."""
        self._asked += 1
        if self._asked == 2:
            if self._lanes is not None:
                self._lanes._doorstep.remove(self)
                self._lanes._doorstep.insert(0, self)
                self._lanes.take(0.0)
            raise KeyboardInterrupt
        return True

    def release(self) -> None:
        """Nobody waits at this gate."""


@pytest.mark.parametrize(
    ("options", "message"),
    [({"bound": 0}, "bounded to 0"), ({"overflow": "explode"}, "'explode'")],
)
def test_a_bound_or_overflow_that_cannot_work_is_refused(
    options: dict[str, Any], message: str
) -> None:
    """
    When the mailbox is made, with what to write instead.
    """
    with pytest.raises(ValueError, match=message):
        mailbox(**options)


# -- waiting for each other ------------------------------------------------------


def test_a_component_that_sends_to_itself_is_told_so_at_once() -> None:
    """
    Nothing is let in, and no wait stays in the graph.
    """
    waits = WaitGraph(SystemThreads())
    box = mailbox(waits=waits)

    with pytest.raises(WouldDeadlockError) as e:
        box.send(Add(1), None, "/app/account")

    assert e.value.chain == ("/app/account", "/app/account")
    assert (box.depth, len(waits)) == (0, 0)


def test_a_wait_is_noted_while_it_lasts_and_only_for_components() -> None:
    """
    Another component's send to one that waits for it is refused with the chain.
    """
    threads = SystemThreads()
    waits = WaitGraph(threads)
    account, bank = (
        Mailbox(threads, f"/app/{n}", waits=waits) for n in ("account", "bank")
    )
    sender = Caller(lambda: bank.send(Add(1), PATIENCE, "/app/account"))
    outside = Caller(lambda: bank.send(Add(2), PATIENCE))
    envelopes = begun(bank), taken(bank)

    assert waits.reaches("/app/account", "/app/bank") is not None
    assert len(waits) == 1
    with pytest.raises(WouldDeadlockError) as e:
        account.send(Add(3), None, "/app/bank")
    assert e.value.chain == ("/app/bank", "/app/account", "/app/bank")

    for envelope in envelopes:
        envelope.fail(ValueError())
    assert isinstance(sender.ended().error, ValueError)
    assert isinstance(outside.ended().error, ValueError)
    assert len(waits) == 0


def test_the_thread_of_a_blocking_start_may_wait_for_its_own_handlers() -> None:
    """
    It is a node of its own: it keeps no message from being handled.
    """
    box = mailbox(waits=WaitGraph(SystemThreads()))
    sender = Caller(
        lambda: box.send(
            Add(1), PATIENCE, "/app/account", waiter=("/app/account", "start")
        )
    )

    begun(box).answer(7)

    assert sender.ended().value == 7


def test_a_handler_does_not_wait_for_room_in_its_own_mailbox() -> None:
    """
    Only itself could make some.
    """
    waits = WaitGraph(SystemThreads())
    box = mailbox(bound=1, overflow="wait", waits=waits)
    box.post(Add(1))

    with pytest.raises(WouldDeadlockError):
        box.post(Add(2), sender="/app/account")
    sender = Caller(lambda: box.post(Add(3), sender="/app/other"))
    in_front_of(box)
    assert len(waits) == 1
    taken(box)

    assert sender.ended().error is None
    assert len(waits) == 0


# -- the end ---------------------------------------------------------------------


def test_a_closed_mailbox_refuses_but_what_it_has_is_still_handled() -> None:
    """
    Closing twice changes nothing.
    """
    box = mailbox()
    pending = box.submit(Add(1))
    box.close()
    box.close()

    with pytest.raises(ComponentStoppedError, match="takes no more messages") as e:
        box.post(Add(2))
    assert e.value.path == "/app/account"
    begun(box).answer(7)

    assert pending.result(0.0) == 7
    assert box.is_closed
    assert box.counts().refused == 1


def test_what_is_left_is_answered_with_component_stopped_and_its_cause() -> None:
    """
    Each sender gets an error of its own: they raise it in different threads.
    """
    cause = ValueError("disk gone")
    box = mailbox()
    pendings = [box.submit(Add(n)) for n in range(2)]
    box.post(Add(2))
    box.control("leave")
    sender = Caller(lambda: box.send(Add(3), PATIENCE))
    while box.depth < 4:
        assert sender.error is None

    box.refuse_rest(cause)
    box.refuse_rest(cause)

    errors = [pending.exception(0.0) for pending in pendings] + [sender.ended().error]
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, ComponentStoppedError)
        assert error.__cause__ is cause
    assert box.counts() == attrs.evolve(nothing(), stopped=4)


def test_a_sender_that_saw_the_mailbox_open_sweeps_after_its_put() -> None:
    """
    The race that loses messages elsewhere: over, between the look and the put.
    """
    box = mailbox()
    real = box.put

    def put_late(item: object) -> None:
        box.put = real
        box.refuse_rest()
        real(item)

    for attempt in (
        lambda: box.send(Add(1), PATIENCE),
        lambda: box.submit(Add(1)).result(0.0),
    ):
        box.reopen()
        box.put = put_late  # type: ignore[method-assign]  # a put that is late
        with pytest.raises(ComponentStoppedError):
            attempt()
    box.reopen()
    box.put = put_late  # type: ignore[method-assign]  # a put that is late
    box.post(Add(1))

    assert box.counts() == attrs.evolve(nothing(), stopped=3)


def test_a_wake_that_a_sweep_has_taken_is_made_up_for() -> None:
    """
    The worker still learns of the control item.
    """
    box = mailbox()
    box.control("leave")
    pending = box.submit(Add(1))

    box.refuse_rest()

    assert isinstance(pending.exception(0.0), ComponentStoppedError)
    assert box.take(0.0) == "leave"
    assert box.take(0.0) is None
    assert box.depth == 0


def test_a_message_set_aside_while_the_rest_is_refused_is_answered_too() -> None:
    """
    The sweep came while the worker had it in hand and a control item came first.
    """
    box = mailbox()
    lanes = box._lanes
    pending = box.submit(Add(1))
    real = lanes.get

    def get_late(block: bool, timeout: float | None) -> object:
        item = real(block, timeout)
        box.control("leave")
        box.refuse_rest()
        return item

    lanes.get = get_late  # type: ignore[assignment]  # a get that is late

    assert box.take(0.0) == "leave"
    assert isinstance(pending.exception(0.0), ComponentStoppedError)


def test_a_call_at_the_next_message_comes_once() -> None:
    """
    At once if one waits, else after whichever kind of put comes first.
    """
    calls: list[int] = []
    box = mailbox()
    box.call_at_next(lambda: calls.append(box.depth))
    assert calls == []
    box.post(Add(1))
    box.post(Add(2))
    assert calls == [1]

    box.call_at_next(lambda: calls.append(box.depth))
    assert calls == [1, 2]
    box.take()
    box.take()
    box.call_at_next(lambda: calls.append(box.depth))
    box.submit(Add(3))
    assert calls == [1, 2, 1]


def test_a_call_at_the_next_message_may_be_taken_back() -> None:
    """
    By whoever serves the mailbox now, and by its end.
    """
    calls: list[int] = []
    box = mailbox()
    box.call_at_next(lambda: calls.append(1))
    box.call_at_next(None)
    box.post(Add(1))
    box.take()
    box.call_at_next(lambda: calls.append(2))
    box.refuse_rest()
    box.reopen()
    box.post(Add(2))

    assert calls == []


def test_a_reopened_mailbox_accepts_again() -> None:
    """
    For a component that is started again by hand.
    """
    box = mailbox(bound=1)
    box.refuse_rest()
    with pytest.raises(ComponentStoppedError):
        box.send(Add(1))
    box.reopen()

    box.post(Add(1))

    assert begun(box).answer()
    assert repr(box) == "<Mailbox /app/account [open | 0 of 1 waiting, 1 handled]>"


def nothing() -> Counts:
    """Return the counts of a mailbox that has seen nothing."""
    return mailbox().counts()


# -- against a model -------------------------------------------------------------

Fate = Literal[
    "waiting", "running", "handled", "failed", "late", "expired", "dropped", "stopped"
]


@attrs.define(eq=False)
class Sent:
    """What the model knows of one message."""

    number: int
    deadline: float | None
    pending: Pending | None
    fate: Fate = "waiting"
    answer: object = None  # a value, or the type of an error
    withdrawn: bool = False


class MailboxAgainstModel(RuleBasedStateMachine):
    """
    One thread does everything that many do, in every order.
    """

    @initialize(
        bound=st.integers(1, 4),
        overflow=st.sampled_from(["refuse", "wait", "drop-oldest"]),
    )
    def make(self, bound: int, overflow: Overflow) -> None:
        """Begin with an empty mailbox."""
        self.threads = HandClock()
        self.box = Mailbox(self.threads, "/app/a", bound=bound, overflow=overflow)
        self.overflow = overflow
        self.sent: list[Sent] = []
        self.queue: list[Sent] = []
        self.control: list[int] = []
        self.phase = "open"
        self.refused = 0
        self.running: tuple[Sent, Envelope] | None = None
        self.number = 0

    def _is_let_in(self) -> type[Exception] | None:
        """Do in the model what accepting does; return the error it must raise."""
        if self.phase != "open":
            self.refused += 1
            return ComponentStoppedError
        if len(self.queue) >= self.box.bound:
            if self.overflow != "drop-oldest":
                self.refused += 1
                return MailboxFullError
            self._end(self.queue.pop(0), "dropped", MailboxFullError)
        return None

    def _end(self, sent: Sent, fate: Fate, answer: object) -> None:
        """Answer *sent* in the model."""
        if sent.withdrawn:
            sent.fate = "expired" if sent.fate == "waiting" else sent.fate
        else:
            sent.fate, sent.answer = fate, answer

    def _send(
        self, deadline: float | None, attempt: Callable[[int], Pending | None]
    ) -> None:
        """Try to send the next message, in the model and for real."""
        self.number += 1
        error = self._is_let_in()
        if error is not None:
            with pytest.raises(error):
                attempt(self.number)
            return
        sent = Sent(self.number, deadline, attempt(self.number))
        self.sent.append(sent)
        self.queue.append(sent)

    @rule(
        span=st.none() | st.sampled_from([0.5, 1.0, 2.0]),
        sender=st.none() | st.just("/app/b"),
    )
    def post(self, span: float | None, sender: str | None) -> None:
        """Post, bare or with more."""
        deadline = None if span is None else self.threads.now + span

        def attempt(number: int) -> None:
            self.box.post(number, sender, timeout=0.0, deadline=deadline)

        self._send(deadline, attempt)

    @rule(span=st.none() | st.sampled_from([0.5, 1.0, 2.0]))
    def submit(self, span: float | None) -> None:
        """Submit: a send that does not block this thread."""
        deadline = None if span is None else self.threads.now + span
        self._send(deadline, lambda number: self.box.submit(number, span))

    @rule()
    def put_control(self) -> None:
        """Use the lane ahead; negative, to be told from messages."""
        self.number += 1
        accepted = self.box.control(-self.number)
        assert accepted == (self.phase != "over")
        if accepted:
            self.control.append(-self.number)

    @precondition(lambda self: self.running is None)
    @rule()
    def take(self) -> None:
        """Take what comes next, and begin it if it is a message."""
        item = self.box.take(0.0)
        if self.control:
            assert item == self.control.pop(0)
        elif not self.queue:
            assert item is None
        else:
            self._begin(self.queue.pop(0), item)

    def _begin(self, sent: Sent, envelope: object) -> None:
        """Begin what was taken, if it may."""
        assert isinstance(envelope, Envelope)
        assert envelope.message == sent.number
        late = sent.deadline is not None and self.threads.now >= sent.deadline
        begins = envelope.begin()
        assert begins == (not late and not sent.withdrawn)
        if begins:
            sent.fate = "running"
            self.running = sent, envelope
        else:
            self._end(sent, "expired", ReplyTimeoutError)

    @precondition(lambda self: self.running is not None)
    @rule(fails=st.booleans())
    def answer(self, fails: bool) -> None:
        """Answer what runs; false for one that was withdrawn while it ran."""
        assert self.running is not None
        (sent, envelope), self.running = self.running, None
        answered = envelope.fail(KeyError()) if fails else envelope.answer(sent.number)
        assert answered == (not sent.withdrawn)
        if fails:
            self._end(sent, "failed", KeyError)
        else:
            self._end(sent, "handled", sent.number)
        assert not envelope.answer(None)
        assert not envelope.fail(KeyError())

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """Give up one that is not answered, or try to with one that is."""
        asked = [sent for sent in self.sent if sent.pending is not None]
        if not asked:
            return
        sent = data.draw(st.sampled_from(asked))
        assert sent.pending is not None
        never_runs = sent.pending.withdraw()
        open_still = not sent.withdrawn and sent.answer is None
        assert never_runs == (open_still and sent.fate == "waiting")
        if open_still:
            sent.withdrawn = True
            sent.answer = ReplyTimeoutError
            if sent.fate == "running":
                sent.fate = "late"

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0]))
    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.threads.now += seconds

    @rule()
    def close(self) -> None:
        """Close, again perhaps."""
        self.box.close()
        if self.phase == "open":
            self.phase = "closed"

    @rule()
    def refuse_rest(self) -> None:
        """Answer what is left."""
        self.box.refuse_rest()
        self.phase = "over"
        for sent in self.queue:
            self._end(sent, "stopped", ComponentStoppedError)
        self.queue.clear()

    @rule()
    def reopen(self) -> None:
        """Start again."""
        given_back = self.box.reopen()
        assert given_back == (self.control if self.phase == "over" else [])
        if self.phase == "over":
            self.control.clear()
        self.phase = "open"

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Each message is counted once; all that is answered has its answer."""
        counts = self.box.counts()
        fates = [sent.fate for sent in self.sent]
        for fate in ("handled", "failed", "late", "expired", "dropped", "stopped"):
            assert getattr(counts, fate) == fates.count(fate), fate
        assert counts.depth == self.box.depth == len(self.queue)
        running = self.running is not None and self.running[0].fate == "running"
        assert counts.running == running
        assert counts.refused == self.refused
        assert counts.accepted == len(self.sent)
        for sent in self.sent:
            self._check_answer(sent)

    def _check_answer(self, sent: Sent) -> None:
        """Compare what the sender has got with the model."""
        if sent.pending is None:
            return
        assert sent.pending.done() == (sent.answer is not None)
        if isinstance(sent.answer, type):
            assert type(sent.pending.exception(0.0)) is sent.answer
        elif sent.answer is not None:
            assert sent.pending.result(0.0) == sent.answer


TestMailboxAgainstModel = MailboxAgainstModel.TestCase
TestMailboxAgainstModel.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None
)
