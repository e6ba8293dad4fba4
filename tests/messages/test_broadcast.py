"""One message to all below."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from kinesis import Component, Container, Runtime, Stage, control, handles
from kinesis.broadcasting import Broadcast
from kinesis.errors import (
    ComponentStoppedError,
    ReplyTimeoutError,
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
    Raise,
    counts,
    in_thread,
    wait_until,
)


class Other(Component):
    """Handles something else."""

    @handles(str)
    def on(self, message: str) -> str:
        return message


class Poller(Component):
    """Handles nothing at all."""

    def start(self) -> None:
        self.stopping.wait()


class Boss(Container):
    """A container that handles messages itself."""

    @handles(Call)
    def call(self, message: Call) -> Any:
        return message.function(self)


def tree() -> Boss:
    """Return a container with some of each."""
    return Boss(
        name="boss",
        components=[
            Adder(name="a"),
            Poller(name="poller"),
            Container(name="inner", components=[Adder(name="b"), Other(name="other")]),
            Adder(name="c"),
        ],
    )


def test_there_is_a_result_for_each_path_in_activation_order() -> None:
    """
    The value, or the error; those that handle nothing are left out.
    """
    with Runtime() as runtime:
        boss = runtime.add(tree())
        boss["c"].stop()
        results = boss.broadcast(Add(2))

    assert list(results) == [
        "/app/boss/a",
        "/app/boss/inner/b",
        "/app/boss/inner/other",
        "/app/boss/c",
    ]
    assert results["/app/boss/a"] == Broadcast(2)
    assert results["/app/boss/inner/b"].ok
    assert isinstance(results["/app/boss/inner/other"].error, UnhandledMessageError)
    assert isinstance(results["/app/boss/c"].error, ComponentStoppedError)
    assert not results["/app/boss/c"].ok


def test_the_root_reaches_containers_that_handle_messages_too() -> None:
    """
    They are components like others.
    """
    with Runtime() as runtime:
        runtime.add(tree())
        results = runtime.root.broadcast(Call(lambda me: me.path))

    assert results["/app/boss"] == Broadcast("/app/boss")
    assert results["/app/boss/inner/b"] == Broadcast("/app/boss/inner/b")


def test_what_one_raises_is_its_result_and_no_others() -> None:
    """
    SystemExit and the like as well: nothing is raised here.
    """
    with Runtime() as runtime:
        boss = runtime.add(tree())
        error = SystemExit(3)
        results = boss.broadcast(Raise(error))

    assert results["/app/boss/a"].error is error
    assert results["/app/boss/c"].error is error


def test_all_are_sent_at_once_and_the_timeout_is_for_the_whole() -> None:
    """
    One that holds costs the others nothing; it gets the error of send.
    """
    with Runtime() as runtime:
        boss = runtime.add(tree())
        hold = Hold()
        boss["a"].post(hold)
        hold.wait_entered()
        results = boss.broadcast(Add(2), timeout=0.05)
        assert counts(boss["a"]).running == 1, "it waited for the handler that holds"
        hold.go.set()
        late = results["/app/boss/a"].error

        assert isinstance(late, ReplyTimeoutError)
        assert not late.began
        assert results["/app/boss/c"] == Broadcast(2)
        assert boss["a"].send(Get()) == 0


def test_tell_children_is_a_broadcast_from_inside() -> None:
    """
    For a container's own hooks and handlers.
    """
    with Runtime() as runtime:
        boss = runtime.add(tree())
        results = boss.send(Call(lambda me: me.tell_children(Add(3))))

    assert results["/app/boss/inner/b"] == Broadcast(3)


def test_a_child_that_sends_up_while_it_is_told_learns_of_the_deadlock() -> None:
    """
    At once: the container waits for it.
    """
    up = Call(lambda me: me.find("/app/boss").send(Call(str), timeout=LONG))
    with Runtime() as runtime:
        boss = runtime.add(tree())
        results = boss.send(Call(lambda me: me.tell_children(up, timeout=LONG)))
        error = results["/app/boss/a"].error

    assert isinstance(error, WouldDeadlockError)
    assert error.chain == ("/app/boss/a", "/app/boss", "/app/boss/a")


def test_who_is_below_itself_gets_an_error_as_its_own_result() -> None:
    """
    A component that broadcasts in its container reaches the others.
    """
    with Runtime() as runtime:
        boss = runtime.add(tree())
        results = boss["a"].send(Call(lambda me: me.container.broadcast(Add(1))))

        assert isinstance(results["/app/boss/a"].error, WouldDeadlockError)
        assert results["/app/boss/c"] == Broadcast(1)
        assert len(boss._cell.services.waits) == 0


def test_a_broadcast_has_at_most_what_its_sender_has_left() -> None:
    """
    As every message that is sent on.
    """
    outcome: list[Any] = []
    hold = Hold()

    def tell(me: Boss) -> None:
        outcome.append(me.tell_children(Add(1), timeout=LONG))

    with Runtime() as runtime:
        boss = runtime.add(tree())
        boss["a"].post(hold)
        hold.wait_entered()
        with contextlib.suppress(ReplyTimeoutError):  # both end at one moment
            boss.send(Call(tell), timeout=0.1)
        wait_until(lambda: outcome)
        hold.go.set()

    assert isinstance(outcome[0]["/app/boss/a"].error, ReplyTimeoutError)


def test_control_messages_reach_all_also_those_that_handle_nothing() -> None:
    """
    Each is obeyed, past the mailboxes.
    """
    with Runtime() as runtime:
        boss = runtime.add(tree())
        results = boss.broadcast(control.Shutdown())
        for ref in boss:
            ref.wait_stopped(PATIENCE)

        assert all(result.ok for result in results.values())
        assert len(results) == 6
        assert boss["poller"].stage is Stage.STOPPED


def test_ctrl_c_breaks_a_broadcast_off() -> None:
    """
    It is the caller's, not the result of a component.
    """
    hold = Hold()
    with Runtime() as runtime:
        boss = runtime.add(tree())
        boss["a"].post(hold)
        hold.wait_entered()
        interrupting = in_thread(lambda: interrupt_main(boss["a"]))
        with pytest.raises(KeyboardInterrupt):
            boss.broadcast(Add(1), timeout=LONG)
        hold.go.set()
        interrupting.result()


def interrupt_main(ref: Any) -> None:
    """Do as ctrl-c does, once the main thread waits for *ref*."""
    import signal

    wait_until(lambda: counts(ref).depth == 1)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)
