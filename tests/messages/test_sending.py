"""Sending: order, answers, errors, room, and who may send."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import traceback
import weakref

import attrs
import pytest

from kinesis import (
    Backoff,
    Component,
    Message,
    Ref,
    Restart,
    Runtime,
    control,
    field,
    handles,
)
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    UnhandledMessageError,
    WouldDeadlockError,
)
from tests.messages.parts import (
    LONG,
    PATIENCE,
    Add,
    Adder,
    Call,
    Get,
    Hold,
    Looping,
    Raise,
    counts,
    in_thread,
    wait_until,
)


def test_send_waits_and_returns_what_the_handler_returned() -> None:
    """
    The state is what the handler has made of it.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))

        assert [adder.send(Add(5)), adder.send(Add(3))] == [5, 8]
        assert adder.snapshot().sum == 8


def test_messages_of_one_sender_are_handled_in_the_order_sent() -> None:
    """
    However they are sent: post and send alike.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        for number in range(0, 300, 3):
            adder.post(Add(number))
            adder.send(Add(number + 1))
            adder.send_all([Add(number + 2)])

        assert list(range(300)) == adder.snapshot().seen


def test_one_message_at_a_time_is_handled() -> None:
    """
    Whoever sends: two handlers never overlap.
    """

    class Narrow(Component):
        inside: int = field(default=0)
        most: int = field(default=0)

        @handles(Add)
        def add(self, message: Add) -> None:
            self.inside += 1
            threading.Event().wait(0.001)
            self.most = max(self.most, self.inside)
            self.inside -= 1

    with Runtime() as runtime:
        narrow = runtime.add(Narrow(name="narrow"))
        senders = [
            in_thread(lambda: [narrow.send(Add()) for _ in range(10)]) for _ in range(4)
        ]
        for sender in senders:
            sender.result()

        assert narrow.snapshot().most == 1


def test_post_does_not_wait_for_its_handler() -> None:
    """
    It returns while another handler still runs.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        adder.post(Add(2))

        assert counts(adder).depth == 1
        hold.go.set()
        assert adder.send(Get()) == 2


def test_a_sender_gets_the_very_exception_with_the_handler_in_its_traceback() -> None:
    """
    And the component goes on with the next message.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        error = LookupError("not here")
        with pytest.raises(LookupError) as raised:
            adder.send(Raise(error))
        frames = [each.name for each in traceback.extract_tb(raised.tb)]

        assert raised.value is error
        assert "fail" in frames
        assert adder.send(Add(1)) == 1
        assert (
            counts(adder).failed,
            counts(adder).handled,
        ) == (1, 1)


@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError]
)
@pytest.mark.parametrize("component", [Adder, Looping])
def test_whatever_a_handler_raises_ends_no_mailbox(
    kind: type[BaseException], component: type[Adder]
) -> None:
    """
    The thread is the same before and after, and what waits is handled.
    """
    with Runtime() as runtime:
        adder = runtime.add(component(name="adder"))
        before = adder.send(Call(lambda _: threading.get_ident()))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        failing = in_thread(lambda: adder.send(Raise(kind())))
        wait_until(lambda: counts(adder).depth == 1)
        adder.post(Add(1))
        hold.go.set()
        with pytest.raises(kind):
            failing.result()

        assert adder.send(Get()) == 1
        assert before == adder.send(Call(lambda _: threading.get_ident()))
        assert adder.report().restarts == 0


def test_what_a_post_raises_is_logged_with_the_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Nobody waits for it, so the log is who learns of it.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.post(Raise(ValueError("odd")))
        adder.send(Get())
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]

    assert record.message == "the handler of Raise failed: ValueError: odd"
    assert getattr(record, "path", None) == "/app/adder"
    assert record.exc_info is not None


def test_a_failure_that_its_sender_no_longer_waits_for_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The sender's time was over, so somebody else must learn of it.
    """

    def hold_then_fail(_: Adder) -> None:
        assert go.wait(PATIENCE)
        raise ValueError("too late to tell")

    go = threading.Event()
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(TimeoutError):
            adder.send(Call(hold_then_fail), timeout=0.05)
        go.set()
        adder.send(Get())

    assert any("too late to tell" in each.message for each in caplog.records)


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="without the GIL, what another thread has made waits until that one runs",
)
def test_an_error_leaves_nothing_behind_that_only_the_collector_finds() -> None:
    """
    Once its sender drops it, it is gone: no cycle through frames or envelopes.
    """

    class Odd(Exception):
        """One that can be referred to weakly."""

    def fail(_: Adder) -> None:
        raise Odd

    def once(adder: Ref[Adder]) -> weakref.ref[BaseException]:
        try:  # pytest.raises would make a cycle of its own
            adder.send(Call(fail))
        except Odd as error:
            return weakref.ref(error)
        raise AssertionError("it did not raise")

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Get())
        gc.collect()
        gc.disable()
        try:
            error = once(adder)
            wait_until(lambda: error() is None)
        finally:
            gc.enable()


def test_a_message_without_a_handler_is_refused_with_those_there_are() -> None:
    """
    The error has the types, and says how to add one.
    """

    class Stranger:
        """A message that nobody knows."""

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(UnhandledMessageError, match="Add, Call, Get") as raised:
            adder.send(Stranger())

    assert {Add, Get, Hold, Raise, Call} == set(raised.value.handled)
    assert "@handles(Stranger)" in str(raised.value)


# -- who waits for whom ------------------------------------------------------------


class Relay(Component):
    """Sends on what it gets, along a path."""

    @handles(tuple)
    def on(self, message: tuple[str, ...]) -> object:
        first, *rest = message
        return self.find(first).send(tuple(rest), timeout=LONG)


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
@pytest.mark.parametrize(
    ("hops", "chain"),
    [
        (("a",), ("/app/a", "/app/a")),
        (("b", "a"), ("/app/b", "/app/a", "/app/b")),
        (("b", "c", "a"), ("/app/c", "/app/a", "/app/b", "/app/c")),
        (("b", "c", "b"), ("/app/c", "/app/b", "/app/c")),
    ],
)
def test_a_wait_for_oneself_is_refused_at_once_with_the_chain(
    hops: tuple[str, ...], chain: tuple[str, ...], dispatch: str
) -> None:
    """
    Directly or through others: not after the timeout, which is a minute here.
    """
    with Runtime() as runtime:
        for name in "abc":
            runtime.add(Relay(name=name, dispatch=dispatch))  # type: ignore[arg-type]  # one of the two
        with pytest.raises(WouldDeadlockError) as raised:
            runtime["a"].send(hops, timeout=LONG)

        assert chain == raised.value.chain
        assert " -> ".join(chain[:1]) in str(raised.value)


def test_a_post_to_oneself_is_no_deadlock() -> None:
    """
    Nobody waits: it is handled after what runs now.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Call(lambda component: component.ref.post(Add(3))))

        assert adder.send(Get()) == 3


def test_a_blocking_start_may_send_to_its_own_component() -> None:
    """
    Another thread handles the message; that thread waits for nobody.
    """

    class Asks(Adder):
        answer: int = field(default=0)

        def start(self) -> None:
            self.ready()
            answer = self.ref.send(Add(7), timeout=LONG)
            with self.edit():
                self.answer = answer
            self.stopping.wait()

    with Runtime() as runtime:
        asks = runtime.add(Asks(name="asks"))
        wait_until(lambda: asks.snapshot().answer == 7)


def test_a_blocking_start_that_edits_is_waited_for_by_its_messages() -> None:
    """
    In the block of edit() it has the turn, so a send to itself would never end.
    """

    class Asks(Adder):
        chain: tuple[str, ...] = field(default=())

        def start(self) -> None:
            self.ready()
            with self.edit():
                try:
                    self.ref.send(Add(7), timeout=LONG)
                except WouldDeadlockError as error:
                    self.chain = error.chain
            self.stopping.wait()

    with Runtime() as runtime:
        asks = runtime.add(Asks(name="asks"))
        wait_until(lambda: asks.snapshot().chain == ("/app/asks", "/app/asks"))


def test_two_blocking_starts_may_send_to_one_another() -> None:
    """
    Neither keeps the other's handlers waiting.
    """

    class Asks(Adder):
        other: str = field(default="")

        def start(self) -> None:
            self.ready()
            while not self.stopping.wait(0.001):
                if self.other in self.container:
                    self.find(self.other).send(Add(), timeout=LONG)

    with Runtime() as runtime:
        for name, other in (("a", "b"), ("b", "a")):
            runtime.add(Asks(name=name, other=other))
        wait_until(lambda: runtime["a"].snapshot().sum > 5)
        wait_until(lambda: runtime["b"].snapshot().sum > 5)
        runtime.stop()


# -- room --------------------------------------------------------------------------


def fill(adder: Ref[Adder], count: int) -> Hold:
    """Keep the handler busy, and let *count* messages wait behind."""
    hold = Hold()
    adder.post(hold)
    hold.wait_entered()
    for number in range(count):
        adder.post(Add(number))
    return hold


def test_a_full_mailbox_refuses_at_once_and_counts_it() -> None:
    """
    The default; control messages still pass.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", mailbox_bound=2))
        hold = fill(adder, 2)
        for send in (adder.send, adder.post, lambda m: adder.send_all([m])):
            with pytest.raises(MailboxFullError, match="2 messages wait") as raised:
                send(Add(9))
            assert raised.value.bound == 2
        adder.send(control.RestartMailbox())
        hold.go.set()

        wait_until(lambda: counts(adder).depth == 0)
        assert adder.send(Get()) == 1
        assert counts(adder).refused == 3


def test_a_full_mailbox_can_make_its_senders_wait() -> None:
    """
    Until there is room, in the order in which they came.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", mailbox_bound=1, overflow="wait"))
        hold = fill(adder, 1)
        with pytest.raises(MailboxFullError):
            adder.post(Add(9), timeout=0.02)
        waiting = in_thread(lambda: adder.send(Add(5), timeout=LONG))
        hold.go.set()

        assert waiting.result() == 5


def test_a_full_mailbox_can_drop_the_oldest_and_tell_its_sender() -> None:
    """
    The newest are kept; who waits for the dropped one learns at once.
    """
    with Runtime() as runtime:
        adder = runtime.add(
            Adder(name="adder", mailbox_bound=1, overflow="drop-oldest")
        )
        hold = fill(adder, 0)
        oldest = in_thread(lambda: adder.send(Add(5), timeout=LONG))
        wait_until(lambda: counts(adder).depth == 1)
        adder.post(Add(7))
        with pytest.raises(MailboxFullError, match="dropped") as raised:
            oldest.result()
        hold.go.set()

        assert raised.value.dropped  # type: ignore[attr-defined]  # a part of it
        wait_until(lambda: adder.snapshot().sum == 7)
        assert counts(adder).dropped == 1


# -- before and after ----------------------------------------------------------------


def test_what_comes_while_a_component_comes_up_waits_for_it() -> None:
    """
    It is handled once it is STARTED.
    """
    go = threading.Event()

    class Slow(Adder):
        def init(self) -> None:
            assert go.wait(PATIENCE)

    with Runtime() as runtime:
        coming = runtime.add_nowait(Slow(name="slow"))
        wait_until(lambda: "slow" in runtime)
        wait_until(lambda: str(runtime["slow"].stage) == "INITIALIZING")
        early = in_thread(lambda: runtime["slow"].send(Add(2), timeout=LONG))
        go.set()

        assert early.result() == 2
        coming.result(PATIENCE)


def test_what_comes_between_two_runs_is_kept_for_the_next() -> None:
    """
    While it restarts, and while it backs off.
    """

    class Fails(Adder):
        restart = Restart(when="on-failure", backoff=Backoff(first=0.2, jitter=0.0))

        def start(self) -> None:
            self.ready()
            if self.report_run() == 1:
                raise OSError("the first run fails")
            self.stopping.wait()

        def report_run(self) -> int:
            run: int = self.ref.report().run
            return run

    with Runtime() as runtime:
        fails = runtime.add(Fails(name="fails"))
        wait_until(lambda: str(fails.stage) == "RESTARTING")
        fails.post(Add(1))

        assert fails.send(Add(2), timeout=LONG) == 3
        assert fails.report().run == 2


def test_a_stopped_component_refuses_until_it_is_started_again() -> None:
    """
    The same Ref serves both.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        adder.send(Add(1))
        adder.stop()
        for send in (adder.send, adder.post, lambda m: adder.send_all([m])):
            with pytest.raises(ComponentStoppedError, match="takes no more messages"):
                send(Add(9))
        adder.start()

        assert adder.send(Add(2)) == 3


def test_a_component_that_waits_for_its_turn_takes_no_messages() -> None:
    """
    It has no mailbox yet, and says what to wait for.
    """
    go = threading.Event()

    class Slow(Adder):
        def init(self) -> None:
            assert go.wait(PATIENCE)

    with Runtime() as runtime:
        first = runtime.add_nowait(Slow(name="first"))
        second = runtime.add_nowait(Adder(name="second"))
        wait_until(lambda: "second" in runtime)
        with pytest.raises(ComponentStoppedError, match="takes no messages yet"):
            runtime["second"].send(Add())
        go.set()
        first.result(PATIENCE)
        second.result(PATIENCE)


def test_any_class_may_be_a_message() -> None:
    """
    Also one of attrs that knows nothing of kinesis, or an int.
    """

    @attrs.frozen
    class Plain:
        value: int

    class Takes(Component):
        @handles(Plain, int)
        def take(self, message: object) -> str:
            return type(message).__name__

    with Runtime() as runtime:
        takes = runtime.add(Takes(name="takes"))

        assert [takes.send(Plain(1)), takes.send(5)] == ["Plain", "int"]


def test_counters_tell_what_became_of_the_messages() -> None:
    """
    Accepted is answered, and running, and waiting.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", mailbox_bound=2))
        for _ in range(3):
            adder.send(Add())
        with pytest.raises(ValueError, match="odd"):
            adder.send(Raise(ValueError("odd")))
        hold = fill(adder, 2)
        with pytest.raises(MailboxFullError):
            adder.post(Add())
        told = counts(adder)

        assert (
            told.handled,
            told.failed,
            told.refused,
            told.depth,
            told.running,
        ) == (3, 1, 1, 2, 1)
        assert told.accepted == 7
        hold.go.set()
        wait_until(lambda: counts(adder).depth == 0)
        adder.send(Get())
        told = counts(adder)
        assert told.accepted == told.answered == 8
        assert told.busy_seconds > 0.0
        assert 0.0 < told.latency_most <= told.latency_seconds


def test_a_message_class_names_the_type_of_its_reply() -> None:
    """
    At run time it is nothing but the message.
    """

    class Ask(Message[str]):
        """Ask for text."""

    class Tells(Component):
        @handles(Ask)
        def tell(self, message: Ask) -> str:
            return "text"

    with Runtime() as runtime:
        text: str = runtime.add(Tells(name="tells")).send(Ask())

    assert text == "text"
