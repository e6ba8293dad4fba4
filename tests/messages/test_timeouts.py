"""Deadlines: who waits for how long, and what never runs."""

from __future__ import annotations

import contextlib
import threading
from contextlib import suppress
from typing import Any

import pytest

from kinesis import Component, Runtime, field, handles
from kinesis.errors import (
    ComponentStoppedError,
    MailboxFullError,
    ReplyTimeoutError,
    WaitTimeoutError,
)
from kinesis.testing import simulate
from tests.messages.parts import (
    LONG,
    Add,
    Adder,
    Call,
    Editing,
    Get,
    Hold,
    Looping,
    counts,
    in_thread,
    wait_until,
)


def test_a_message_whose_time_is_over_before_it_ran_never_runs() -> None:
    """
    The error says that it was taken out.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        with pytest.raises(ReplyTimeoutError, match="taken out before it ran") as late:
            adder.send(Add(5), timeout=0.02)
        hold.go.set()

        assert late.value.began is False
        assert adder.send(Get()) == 0
        assert counts(adder).expired == 1


def test_a_message_whose_time_is_over_while_it_runs_goes_on() -> None:
    """
    The error says that it had begun; what it answers is thrown away.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        hold = Hold()
        with pytest.raises(ReplyTimeoutError, match="had begun and goes on") as late:
            adder.send(hold, timeout=0.05)
        hold.go.set()

        assert late.value.began is True
        assert adder.send(Get()) == 0
        assert counts(adder).late == 1


def test_a_message_that_waits_for_an_edit_until_its_time_is_over_never_runs() -> None:
    """
    It has not begun while somebody else has the state to himself.
    """
    part = Editing(name="edits")
    with Runtime() as runtime:
        edits = runtime.add(part)
        part.wait_entered()
        with pytest.raises(ReplyTimeoutError) as late:
            edits.send(Add(5), timeout=0.05)
        part.go.set()

        assert late.value.began is False
        assert edits.send(Get()) == 10


def time_left(component: Component) -> float | None:
    """Return what a handler is told."""
    return component.time_left


def pass_on(component: Component) -> Any:
    """Send on to the sibling called ``b``, with a timeout that is much longer."""
    return component.find("b").send(Call(time_left), timeout=LONG)


def pass_on_for_ever(component: Component) -> Any:
    """Send on to the sibling called ``b``, without a timeout."""
    return component.find("b").send_all([Call(time_left)], timeout=None)[0]


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
@pytest.mark.parametrize("on", [time_left, pass_on, pass_on_for_ever])
def test_what_a_handler_sends_on_has_at_most_what_its_sender_has_left(
    on: Any, dispatch: str
) -> None:
    """
    The deadline travels from message to message.
    """
    with Runtime() as runtime:
        a, _ = (
            runtime.add(Adder(name=name, dispatch=dispatch))  # type: ignore[arg-type]  # one of the two
            for name in "ab"
        )
        left = a.send(Call(on), timeout=1.5)

        assert 0.5 < left <= 1.5


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
def test_without_a_deadline_there_is_no_time_left(dispatch: str) -> None:
    """
    None, for one that waits for ever; a post has nobody who waits.
    """
    seen: list[object] = []
    with Runtime() as runtime:
        a = runtime.add(Adder(name="a", dispatch=dispatch))  # type: ignore[arg-type]  # one of the two

        assert a.send(Call(time_left), timeout=None) is None
        a.post(Call(lambda me: seen.append(me.time_left)))
        a.send(Get())
        assert seen == [None]


@pytest.mark.parametrize("dispatch", ["mailbox", "caller"])
def test_what_is_sent_on_when_the_time_is_over_never_runs(dispatch: str) -> None:
    """
    A handler that took all the time learns so at its own send.
    """
    outcome: list[object] = []

    def too_late(me: Adder) -> None:
        go.wait(0.1)
        try:
            me.find("b").send(Add(5), timeout=LONG)
        except ReplyTimeoutError as error:
            outcome.append(error.began)

    go = threading.Event()
    with Runtime() as runtime:
        a = runtime.add(Adder(name="a"))
        b = runtime.add(Adder(name="b", dispatch=dispatch))  # type: ignore[arg-type]  # one of the two
        with pytest.raises(ReplyTimeoutError):
            a.send(Call(too_late), timeout=0.02)
        wait_until(lambda: outcome == [False])

        assert b.send(Get()) == 0


def test_a_post_waits_for_room_no_longer_than_its_sender_waits() -> None:
    """
    Nobody waits for a post, but it must not hold up who is waited for.
    """
    outcome: list[float] = []

    def post_on(me: Adder) -> None:
        before = threads.monotonic()
        try:
            me.find("full").post(Add(), timeout=LONG)
        except MailboxFullError:
            outcome.append(threads.monotonic() - before)

    with simulate() as simulation:
        threads = simulation.threads
        with simulation.runtime() as runtime:
            a = runtime.add(Adder(name="a"))
            full = runtime.add(
                Waits(name="full", mailbox_bound=1, overflow="wait", stall_after=99.0)
            )
            full.post(Add())
            simulation.settle()
            full.post(Add())
            with suppress(ReplyTimeoutError):  # it answers at that very moment
                a.send(Call(post_on), timeout=3.0)
            simulation.advance(20.0)

    assert outcome == [3.0]


class Waits(Component):
    """Takes ten seconds for each message."""

    @handles(Add)
    def add(self, message: Add) -> None:
        self.ref._cell.services.threads.sleep(10.0)


def test_a_blocking_start_is_not_held_to_the_deadline_of_a_message() -> None:
    """
    It runs beside the handler: what its sender has left is none of its business.
    """
    hold = Hold()
    seen: list[object] = []

    class Looks(Looping):
        answer: int = field(default=0)

        def start(self) -> None:
            self.ready()
            hold.wait_entered()
            seen.append(self.time_left)
            self.find("other").send(Add(), timeout=LONG)
            seen.append("sent")
            self.stopping.wait()

    with Runtime() as runtime:
        runtime.add(Adder(name="other"))
        looks = runtime.add(Looks(name="looks"))
        with pytest.raises(ReplyTimeoutError):
            looks.send(hold, timeout=0.02)
        wait_until(lambda: seen == [None, "sent"])
        hold.go.set()


def test_a_first_look_from_a_handler_takes_no_longer_than_its_sender_waits() -> None:
    """
    Only a first look waits at all, for a handler that runs.
    """
    hold = Hold()
    outcome: list[object] = []

    def look(me: Adder) -> None:
        before = me.ref._cell.services.threads.monotonic()
        try:
            me.find("b").snapshot(timeout=LONG)
        except WaitTimeoutError:
            outcome.append(me.ref._cell.services.threads.monotonic() - before)

    with Runtime() as runtime:
        a, b = (runtime.add(Adder(name=name)) for name in "ab")
        b.post(hold)
        hold.wait_entered()
        with contextlib.suppress(ReplyTimeoutError):  # both end at one moment
            a.send(Call(look), timeout=0.1)
        wait_until(lambda: outcome)
        hold.go.set()

    [seconds] = outcome
    assert isinstance(seconds, float)
    assert seconds < LONG / 2


def test_a_sender_that_waits_for_ever_is_answered_when_the_component_stops() -> None:
    """
    Without a timeout there is still an end.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder", on_stop="refuse"))
        hold = Hold()
        adder.post(hold)
        hold.wait_entered()
        waiting = in_thread(lambda: adder.send(Add(), timeout=None))
        wait_until(lambda: counts(adder).depth == 1)
        stopping = in_thread(lambda: runtime.remove("adder"))
        wait_until(lambda: str(adder.stage) == "STOPPING")
        hold.go.set()
        with pytest.raises(ComponentStoppedError, match="which never ran"):
            waiting.result()
        stopping.result()
