"""Whom a component's thread interrupts when a message wakes it up."""

from __future__ import annotations

import os
from typing import Any

import pytest

from kinesis import Component, Message, Runtime, handles, private
from kinesis.concurrency import SystemThreads
from kinesis.concurrency import system as system_threads
from kinesis.errors import DeclarationError
from tests.messages.parts import PATIENCE

if not hasattr(os, "SCHED_BATCH"):
    pytest.skip("only Linux has this policy", allow_module_level=True)

BATCH, NORMAL, IDLE = os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_IDLE


def policy() -> int:
    """Return how the calling thread is scheduled."""
    return os.sched_getscheduler(0)


class Ask(Message[int]):
    """Ask for the policy of the thread that handles it."""


class Telling(Component):
    """Tells how its thread is scheduled, and was in its hooks."""

    hooks: list[int] = private(factory=list)

    def pre_start(self) -> None:
        self.hooks.append(policy())

    @handles(Ask)
    def ask(self, message: Ask) -> int:
        return policy()


class Normal(Telling):
    """The same, on a thread like all others."""

    scheduling = "normal"


@pytest.mark.parametrize(("cls", "expected"), [(Telling, BATCH), (Normal, NORMAL)])
def test_a_message_interrupts_its_sender_only_if_the_class_says_so(
    cls: type[Telling], expected: int
) -> None:
    """
    What wakes up waits for its turn, in the system's words SCHED_BATCH.
    """
    with Runtime() as runtime:
        assert runtime.add(cls(name="part")).send(Ask()) == expected
    assert policy() == NORMAL


def test_hooks_run_on_a_thread_like_all_others() -> None:
    """
    Also those of the next run, on a thread that has handled messages.
    """
    telling = Telling(name="part")
    with Runtime() as runtime:
        ref = runtime.add(telling)
        between = ref.send(Ask())
        ref.restart()
        after = ref.send(Ask())

    assert telling.hooks == [NORMAL, NORMAL]
    assert (between, after) == (BATCH, BATCH)


def test_a_policy_that_somebody_else_has_chosen_is_left_alone() -> None:
    """
    Threads inherit that of whoever starts them.
    """
    threads = SystemThreads()
    seen: list[int] = []

    def host() -> None:
        os.sched_setscheduler(0, IDLE, os.sched_param(0))
        with Runtime() as runtime:
            seen.append(runtime.add(Telling(name="part")).send(Ask()))

    threads.start(host, "host").join(PATIENCE)

    assert seen == [IDLE]


def test_our_threads_do_not_inherit_it_from_the_handler_that_makes_them_start() -> None:
    """
    The clock is set going by the first timer, and is to be on time.
    """
    threads = SystemThreads()
    seen: list[int] = []

    def start_another() -> None:
        threads.batch(True)
        seen.append(policy())
        threads.start(lambda: seen.append(policy()), "inner").join(PATIENCE)

    threads.start(start_another, "outer").join(PATIENCE)

    assert seen == [BATCH, NORMAL]


@pytest.mark.parametrize("error", [PermissionError("not here"), MemoryError()])
def test_messages_are_handled_where_the_system_refuses_the_policy(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """
    As some sandboxes do. A message is in hand at that moment, and must not be lost.
    """

    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with Runtime() as runtime:
        assert runtime.add(Telling(name="part")).send(Ask()) == NORMAL


def test_messages_are_handled_where_the_system_has_no_such_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    As all but Linux.
    """
    monkeypatch.setattr(system_threads, "_BATCH", None)
    with Runtime() as runtime:
        assert runtime.add(Telling(name="part")).send(Ask()) == NORMAL


def test_another_word_is_refused() -> None:
    """
    With those there are.
    """

    class Hasty(Telling):
        scheduling = "fast"  # type: ignore[assignment]  # is what is tested

    with (
        Runtime() as runtime,
        pytest.raises(DeclarationError, match="one of 'batch', 'normal'"),
    ):
        runtime.add(Hasty(name="part"))
