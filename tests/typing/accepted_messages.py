"""What type checkers must accept of messages, refs and state; it also runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_type

import attrs

from kinesis import Component, Container, Message, Ref, Runtime, control, field, handles
from kinesis.broadcasting import Broadcast
from kinesis.container import ContainerRef
from kinesis.snapshots import Snapshot


@attrs.frozen
class Deposit(Message[int]):
    """Answered with an int."""

    amount: int


class Statement(Message[list[str]]):
    """Answered with lines of text."""


class Close(Message[None]):
    """Answered with nothing."""


@attrs.frozen
class Plain:
    """A message that knows nothing of kinesis: its reply may be anything."""

    text: str


class Account(Component):
    """Handles all of them."""

    balance: int = field(default=0)

    @handles(Deposit)
    def deposit(self, message: Deposit) -> int:
        self.balance += message.amount
        return self.balance

    @handles(Statement)
    def statement(self, message: Statement) -> list[str]:
        return [f"balance {self.balance}"]

    @handles(Close, Plain)
    def rest(self, message: object) -> None:
        """Do nothing."""

    def schedule(self) -> None:
        """Set timers, and handlers at run time."""
        self.after(1.0, Deposit(1)).cancel()
        self.every(1.0, Statement()).cancel()
        self.set_handler(int, lambda number: number)
        assert_type(self.time_left, float | None)
        with self.edit(timeout=1.0):
            self.balance += 1


class Bank(Container):
    """A container of one's own class."""


def deposit_five(ref: Ref[Account]) -> int:
    """Take a ref as an argument."""
    return ref.send(Deposit(5))


async def deposit_from_asyncio(ref: Ref[Account]) -> int:
    """Await the answer."""
    assert_type(await ref.asend(Statement()), list[str])
    assert_type(await ref.asend(Plain("x")), Any)
    return await ref.asend(Deposit(5))


with Runtime(name="typed") as runtime:
    account = runtime.add(Account(name="account"))
    assert_type(account, Ref[Account])
    assert_type(account.type, type[Account])
    assert_type(account.send(Deposit(5)), int)
    assert_type(account.send(Statement(), timeout=None), list[str])
    assert_type(account.send(Plain("x")), Any)
    assert_type(account.send_all([Deposit(1), Statement()]), list[Any])
    account.send(Close())
    account.send(control.Persist())
    account.post(Deposit(5))
    assert_type(deposit_five(account), int)
    assert_type(asyncio.run(deposit_from_asyncio(account)), int)

    snapshot = account.snapshot()
    assert_type(snapshot, Snapshot)
    assert_type(snapshot.etag, str)
    assert_type(snapshot.balance, Any)
    assert_type(account.update({"balance": 7}, etag=snapshot.etag), Snapshot)
    assert_type(account.update(snapshot, timeout=1.0), Snapshot)

    bank = runtime.add(Bank(name="bank"))
    assert_type(bank, ContainerRef[Bank])
    assert_type(bank.add(Account(name="inner")), Ref[Account])
    assert_type(bank.add_nowait(Account(name="later")).result(5.0), Ref[Account])
    assert_type(bank.broadcast(Statement()), dict[str, Broadcast])
    anybody: Ref[Component] = account  # a ref to something more derived
    listener: Callable[[object], None] = lambda change: None  # noqa: E731  # its type is the point
    with (
        account.subscribe(max=5, overflow="wait") as changes,
        account.callback(listener, first=True, deadline=1.0),
    ):
        assert_type(len(changes), int)

balance: int = account.snapshot().balance
