"""
What type checkers must refuse of messages, each line that is marked and no other.

It never runs; see `refused.py`.
"""

from __future__ import annotations

from kinesis import Ref, Runtime
from tests.typing.accepted_messages import Account, Deposit, Statement, account

text: str = account.send(Deposit(5))  # type: ignore[assignment]
Deposit("five")  # type: ignore[arg-type]
account.send(Deposit(5), timeout="soon")  # type: ignore[call-overload]
account.send_all(Deposit(5))  # type: ignore[arg-type]
account.update(7)  # type: ignore[arg-type]
account.subscribe(overflow="drop")  # type: ignore[arg-type]
account.broadcast(Statement())  # type: ignore[attr-defined]
account.balance  # type: ignore[attr-defined]  # noqa: B018
Account(name="a", dispatch="nobody")  # type: ignore[arg-type]
Account(name="a", overflow="burst")  # type: ignore[arg-type]
other: Ref[int]  # type: ignore[type-var]
Runtime().add(Deposit(5))  # type: ignore[call-overload]
