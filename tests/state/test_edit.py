"""edit(): a blocking start changes the state."""

from __future__ import annotations

import threading

import pytest

from kinesis import Component, ComponentChange, Runtime, field, handles
from kinesis.errors import WaitTimeoutError
from tests.messages.parts import (
    PATIENCE,
    Add,
    Adder,
    Call,
    Editing,
    Hold,
    in_thread,
    wait_until,
)


def test_one_edit_is_one_change() -> None:
    """
    However much it changes; one that changes nothing is none.
    """
    go = threading.Event()

    class Once(Adder):
        def start(self) -> None:
            self.ready()
            assert go.wait(PATIENCE)
            with self.edit():
                self.sum = 1
                self.seen.append(1)
                self.sum = 2
            with self.edit():
                self.sum = 2
            with self.edit():
                self.sum = 3
            self.stopping.wait()

    with Runtime() as runtime:
        once = runtime.add(Once(name="once"))
        with once.subscribe(kinds=[ComponentChange]) as changes:
            go.set()
            heard = [changes.get(PATIENCE) for _ in range(2)]

    sums = [
        (each.previous.sum, each.current.sum)
        for each in heard
        if isinstance(each, ComponentChange)
    ]
    assert sums == [(0, 2), (2, 3)]


def test_no_handler_runs_inside_of_an_edit() -> None:
    """
    It waits for the end of the block.
    """
    part = Editing(name="once")
    with Runtime() as runtime:
        once = runtime.add(part)
        part.wait_entered()
        sending = in_thread(lambda: once.send(Add(1)))
        wait_until(lambda: once.report().messages.depth == 0)  # type: ignore[union-attr]  # it has begun

        assert not sending.is_done
        part.go.set()
        assert sending.result() == 11


def test_an_edit_waits_for_a_running_handler_as_long_as_it_says() -> None:
    """
    Then it raises, and has changed nothing.
    """
    hold = Hold()
    outcome: list[str] = []

    class Tries(Adder):
        def start(self) -> None:
            self.ready()
            hold.wait_entered()
            try:
                with self.edit(timeout=0.02):
                    self.sum = 99
            except WaitTimeoutError as error:
                outcome.append(str(error))
            hold.go.set()
            with self.edit():
                self.sum += 1
            self.stopping.wait()

    with Runtime() as runtime:
        tries = runtime.add(Tries(name="tries"))
        tries.send(hold)
        wait_until(lambda: tries.snapshot().sum == 1)

    assert outcome == [
        "cannot edit '/app/tries' within 0.02 s: the handler of Hold still runs. "
        "Wait longer, or make it shorter."
    ]


def test_an_edit_in_a_handler_or_a_hook_costs_nothing_and_nests() -> None:
    """
    They have the state to themselves anyway; the change is announced at their end.
    """

    def edit_twice(me: Adder) -> int:
        with me.edit():
            me.sum += 1
            with me.edit(timeout=0.0):
                me.sum += 1
        return me.sum

    class Hooks(Adder):
        def init(self) -> None:
            with self.edit():
                self.sum += 5

    with Runtime() as runtime:
        hooks = runtime.add(Hooks(name="hooks"))
        with hooks.subscribe(kinds=[ComponentChange]) as changes:
            assert hooks.send(Call(edit_twice)) == 7
            change = changes.get(PATIENCE)

            assert isinstance(change, ComponentChange)
            assert (change.previous.sum, change.current.sum) == (5, 7)
            assert len(changes) == 0


def test_a_block_that_raises_keeps_what_it_has_changed() -> None:
    """
    It is no transaction: the change is announced, and the turn is given back.
    """

    class Raises(Adder):
        def start(self) -> None:
            self.ready()
            try:
                with self.edit():
                    self.sum = 4
                    raise ValueError("odd")
            except ValueError:
                self.stopping.wait()

    with Runtime() as runtime:
        raises = runtime.add(Raises(name="raises"))
        wait_until(lambda: raises.snapshot().sum == 4)

        assert raises.send(Add(1)) == 5


def test_what_a_start_that_returned_has_set_is_seen_and_announced() -> None:
    """
    Without an edit: nobody else was there.
    """

    class Sets(Adder):
        def start(self) -> None:
            self.sum = 8

    with Runtime() as runtime:
        sets = runtime.add(Sets(name="sets"))
        with sets.subscribe(kinds=[ComponentChange]) as changes:
            sets.update({"sum": 1})
            sets.restart()
            heard = [changes.get(PATIENCE) for _ in range(2)]

    sums = [each.current.sum for each in heard if isinstance(each, ComponentChange)]
    assert sums == [1, 8]


def test_readers_never_see_the_middle_of_an_edit() -> None:
    """
    Two fields that are equal outside of it.
    """

    class Pair(Component):
        left: int = field(default=0)
        right: int = field(default=0)

        def start(self) -> None:
            while not self.stopping.wait(0.0005):
                with self.edit():
                    self.left += 1
                    threading.Event().wait(0.0005)
                    self.right += 1

        @handles(Add)
        def add(self, message: Add) -> None:
            self.left += message.amount
            self.right += message.amount

    with Runtime() as runtime:
        pair = runtime.add(Pair(name="pair"))
        seen = []
        for _ in range(60):
            pair.send(Add())
            snapshot = pair.snapshot()
            seen.append((snapshot.left, snapshot.right))

    assert all(left == right for left, right in seen)
    assert len(set(seen)) > 30


@pytest.mark.parametrize("timeout", [0.0, 0.02])
def test_a_first_look_waits_for_an_edit_as_long_as_it_says(timeout: float) -> None:
    """
    The block has the state to itself.
    """
    part = Editing(name="once")
    with Runtime() as runtime:
        once = runtime.add(part)
        part.wait_entered()
        with pytest.raises(WaitTimeoutError, match="its code still runs"):
            once.snapshot(timeout)
        part.go.set()

        assert once.snapshot().sum == 10
