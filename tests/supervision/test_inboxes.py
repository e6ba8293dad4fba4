"""The supervisor's inbox: what is put in is decided or refused, once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from kinesis.concurrency import SystemThreads, Threads
from kinesis.inboxes import Inbox, Incoming
from kinesis.supervision import Happening, Waited
from kinesis.testing import Simulation


def happening(number: int) -> Waited:
    """Return one that is like no other."""
    return Waited(None, number)


def decide_all(life: Incoming, decided: list[Happening]) -> None:
    """Decide one life to its end, as its thread does."""
    while life.bell.get(timeout=10.0):
        decide_waiting(life, decided)
    decide_waiting(life, decided)


def decide_waiting(life: Incoming, decided: list[Happening]) -> None:
    """Decide what waits now."""
    while (happened := life.next()) is not None:
        decided.append(happened)


class Books:
    """An inbox, and what became of what was put in."""

    def __init__(self, threads: Threads) -> None:
        self.decided: list[Happening] = []
        self.refused: list[Happening] = []
        self.inbox = Inbox(threads, self.refused.append)


def test_what_is_put_in_is_read_in_order() -> None:
    """
    Up to the end, and not beyond it.
    """
    books = Books(SystemThreads())
    life = books.inbox.life
    put = [books.inbox.put(happening(number)) for number in range(3)]
    books.inbox.close()
    late = books.inbox.put(happening(3))
    decide_all(life, books.decided)

    assert (put, late) == ([True] * 3, False)
    assert books.decided == [happening(number) for number in range(3)]
    assert books.refused == []


def test_what_is_put_in_without_a_sound_wakes_nobody() -> None:
    """
    Whoever does so decides it, or finds that somebody does.
    """
    books = Books(SystemThreads())
    life = books.inbox.life

    assert books.inbox.put(happening(1), ring=False)
    assert (len(life), life.bell.qsize()) == (1, 0)

    books.inbox.put(happening(2))

    assert (len(life), life.bell.qsize()) == (2, 1)


def test_an_inbox_that_is_opened_again_begins_another_life() -> None:
    """
    The end of the last life is not the end of the next.
    """
    books = Books(SystemThreads())
    first = books.inbox.for_next_life()
    books.inbox.open(first)
    books.inbox.close()
    second = books.inbox.for_next_life()
    books.inbox.open(second)
    books.inbox.put(happening(1))

    assert first is not second
    assert (len(first), len(second)) == (0, 1)
    assert (first.bell.get(timeout=1.0), second.bell.get(timeout=1.0)) == (None, True)


class Meanwhile(Incoming):
    """A life in which something happens just before something is put in."""

    def __init__(self, threads: Threads, then: Callable[[], object]) -> None:
        super().__init__(threads)
        self._then: Callable[[], object] | None = then

    def add(self, happening: Happening) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
        super().add(happening)


@pytest.mark.parametrize("reborn", [False, True])
def test_what_comes_behind_the_end_is_refused(reborn: bool) -> None:
    """
    Also if the next life has begun by then.
    """
    threads = SystemThreads()
    books = Books(threads)
    inbox = books.inbox

    def end() -> None:
        inbox.close()
        decide_all(inbox.life, books.decided)
        if reborn:
            inbox.open(inbox.for_next_life())

    inbox.life = Meanwhile(threads, end)

    assert inbox.put(happening(1))
    assert (books.decided, books.refused) == ([], [happening(1)])


@pytest.mark.seeds(100)
def test_all_is_decided_or_refused_once_whenever_a_life_ends(
    simulation: Simulation,
) -> None:
    """
    Two threads put, while the inbox is closed and opened again and again.
    """
    threads = simulation.threads
    books = Books(threads)
    inbox = books.inbox
    turned_away: list[Happening] = []

    def put(first: int) -> None:
        for number in range(first, first + 6):
            if not inbox.put(happening(number)):
                turned_away.append(happening(number))

    def live(life: Incoming) -> None:
        decide_all(life, books.decided)
        inbox.refuse_rest(life)

    askers = [threads.start(partial(put, n), f"asker-{n}") for n in (0, 10)]
    for _ in range(3):
        life = inbox.for_next_life()
        thread = threads.start(partial(live, life), "life")
        inbox.open(life)
        threads.sleep(0)
        inbox.close()
        thread.join(10.0)
    for asker in askers:
        asker.join(10.0)
    inbox.refuse_rest(inbox.life)

    ended = [*books.decided, *books.refused, *turned_away]
    assert sorted(each.token for each in ended if isinstance(each, Waited)) == [
        *range(6),
        *range(10, 16),
    ]


def test_an_inbox_says_how_it_stands() -> None:
    """
    In a debugger.
    """
    inbox = Books(SystemThreads()).inbox
    inbox.put(happening(1))

    assert repr(inbox) == "<Inbox 1 waiting>"

    inbox.close()

    assert repr(inbox) == "<Inbox closed>"
