"""send_all: all or nothing."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis import Component, ComponentChange, Runtime, field, handles, private
from kinesis.errors import UnhandledMessageError, WaitTimeoutError
from tests.messages.parts import PATIENCE, Add, Adder, Call, Raise, counts, in_thread


class Rich(Component):
    """State of many kinds, each changed in place."""

    number: float = field(default=0.0)
    names: list[str] = field(factory=list)
    nested: dict[str, list[int]] = field(factory=dict)
    tags: set[str] = field(factory=set)
    pair: tuple[int, list[int]] = field(factory=lambda: (1, [2]))
    resource: list[str] = private(factory=list)

    @handles(str)
    def change(self, message: str) -> str:
        self.number += 0.1
        self.names.append(message)
        self.nested.setdefault(message, []).append(len(self.names))
        self.tags.add(message)
        self.pair[1].append(3)
        self.resource.append(message)
        return message

    @handles(BaseException)
    def fail(self, message: BaseException) -> None:
        self.number = float("nan")
        raise message


def test_the_replies_come_in_the_order_of_the_messages() -> None:
    """
    A list, one for each.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))

        assert adder.send_all([Add(1), Add(2), Add(3)]) == [1, 3, 6]
        assert adder.send_all(iter([Add(4)])) == [10]
        assert adder.send_all([]) == []


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(2), KeyboardInterrupt(), GeneratorExit()]
)
@pytest.mark.parametrize("where", [0, 1, 3])
def test_if_one_fails_the_state_is_what_it_was_bit_for_bit(
    error: BaseException, where: int
) -> None:
    """
    Whatever was raised, and whatever was changed in place; the ETag too.
    """
    messages: list[Any] = ["a", "b", "c"]
    messages.insert(where, error)
    with Runtime() as runtime:
        rich = runtime.add(Rich(name="rich"))
        rich.send_all(["x", "y"])
        before = rich.snapshot()
        with pytest.raises(type(error)) as raised:
            rich.send_all(messages)
        after = rich.snapshot()

        assert raised.value is error
        assert after.content == before.content
        assert after.etag == before.etag
        assert rich.send("z") == "z"


def test_nothing_of_a_failed_transaction_is_announced() -> None:
    """
    A listener hears of the next one that succeeds, as one change.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with adder.subscribe(kinds=[ComponentChange]) as changes:
            with pytest.raises(ValueError, match="no"):
                adder.send_all([Add(1), Add(2), Raise(ValueError("no"))])
            with pytest.raises(WaitTimeoutError):
                changes.get(0.05)
            adder.send_all([Add(3), Add(4)])
            change = changes.get(PATIENCE)

    assert isinstance(change, ComponentChange)
    assert (change.previous.sum, change.current.sum) == (0, 7)
    assert len(changes) == 0


def test_a_handler_that_looks_at_its_own_component_publishes_nothing_of_it() -> None:
    """
    Readers and listeners see no half of a transaction that fails.
    """
    seen: list[int] = []

    def look(me: Adder) -> None:
        seen.append(me.ref.snapshot().sum)

    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(ValueError, match="no"):
            adder.send_all([Add(1), Call(look), Raise(ValueError("no"))])

        assert seen == [1]
        assert adder.snapshot().sum == 0


def test_an_unhandled_message_undoes_those_before_it() -> None:
    """
    It is one of the failures.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(UnhandledMessageError):
            adder.send_all([Add(1), object()])

        assert adder.snapshot().sum == 0


def test_nothing_comes_in_between_the_messages_of_a_transaction() -> None:
    """
    Other senders' messages come before all of them or after.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        ones = in_thread(lambda: [adder.send(Add(1)) for _ in range(60)])
        for _ in range(20):
            adder.send_all([Add(5), Add(6), Add(7)])
        ones.result()
        seen = adder.snapshot().seen

    starts = [place for place, each in enumerate(seen) if each == 5]
    assert len(starts) == 20
    assert all(seen[place : place + 3] == [5, 6, 7] for place in starts)


def test_a_failed_transaction_counts_as_one_failure() -> None:
    """
    It is one message to the mailbox.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(ValueError, match="no"):
            adder.send_all([Add(1), Raise(ValueError("no"))])
        adder.send_all([Add(1), Add(2)])
        told = counts(adder)

    assert (told.accepted, told.failed, told.handled) == (2, 1, 1)


def test_state_that_cannot_be_put_aside_refuses_the_transaction() -> None:
    """
    Before anything has run; a plain send is none, and works.
    """

    class Stubborn(list[int]):
        """Refuses to be copied in any way."""

        def __reduce_ex__(self, protocol: object) -> Any:
            raise TypeError("not copied")

    class Holder(Component):
        items: list[int] = field(factory=Stubborn)

        @handles(int)
        def add(self, number: int) -> int:
            self.items.append(number)
            return len(self.items)

    with Runtime() as runtime:
        holder = runtime.add(Holder(name="holder"))
        with pytest.raises(ValueError, match="not copied"):
            holder.send_all([1, 2])

        assert holder.send(3) == 1


@attrs.frozen
class Step:
    """Add *amount* to one of the counters; raise if it is below zero."""

    key: str
    amount: int


class Ledger(Component):
    """Counters by name."""

    counters: dict[str, int] = field(factory=dict)

    @handles(Step)
    def step(self, message: Step) -> int:
        total = self.counters.get(message.key, 0) + message.amount
        self.counters[message.key] = total
        if total < 0:
            raise ValueError(message.key)
        return total


steps = st.lists(
    st.builds(Step, key=st.sampled_from("abc"), amount=st.integers(-3, 5)), max_size=6
)


@given(st.lists(steps, max_size=8))
def test_transactions_do_as_a_plain_model_does(batches: list[list[Step]]) -> None:
    """
    A dict that is copied before each batch, and put back if one step fails.
    """
    model: dict[str, int] = {}
    with Runtime() as runtime:
        ledger = runtime.add(Ledger(name="ledger"))
        for batch in batches:
            trial, replies = dict(model), list[int]()
            for step in batch:
                trial[step.key] = trial.get(step.key, 0) + step.amount
                replies.append(trial[step.key])
            if any(reply < 0 for reply in replies):
                with pytest.raises(ValueError):
                    ledger.send_all(batch)
            else:
                assert ledger.send_all(batch) == replies
                model = trial

            assert ledger.snapshot().counters == model
