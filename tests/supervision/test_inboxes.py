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


def decide_all(queue: Incoming, decided: list[Happening]) -> None:
    """Read one life's queue to its end, as its thread does."""
    while (happened := queue.get()) is not None:
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
    queue = books.inbox.queue
    put = [books.inbox.put(happening(number)) for number in range(3)]
    books.inbox.close()
    late = books.inbox.put(happening(3))
    decide_all(queue, books.decided)

    assert (put, late) == ([True] * 3, False)
    assert books.decided == [happening(number) for number in range(3)]
    assert books.refused == []


def test_an_inbox_that_is_opened_again_has_a_new_queue() -> None:
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
    assert (first.qsize(), second.qsize()) == (1, 1)


class Meanwhile:
    """A queue that lets something happen just before something is put in."""

    def __init__(self, queue: Incoming, then: Callable[[], object]) -> None:
        self._queue = queue
        self._then: Callable[[], object] | None = then
        self.get, self.get_nowait = queue.get, queue.get_nowait
        self.qsize, self.empty = queue.qsize, queue.empty

    def put(self, item: Happening | None) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
        self._queue.put(item)


@pytest.mark.parametrize("reborn", [False, True])
def test_what_comes_behind_the_end_is_refused(reborn: bool) -> None:
    """
    Also if the next life has begun by then, whose queue is another one.
    """
    books = Books(SystemThreads())
    inbox = books.inbox

    def end() -> None:
        inbox.close()
        decide_all(inbox.queue, books.decided)
        if reborn:
            inbox.open(inbox.for_next_life())

    inbox.queue = Meanwhile(inbox.queue, end)

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

    def live(queue: Incoming) -> None:
        decide_all(queue, books.decided)
        inbox.refuse_rest(queue)

    askers = [threads.start(partial(put, n), f"asker-{n}") for n in (0, 10)]
    for _ in range(3):
        queue = inbox.for_next_life()
        life = threads.start(partial(live, queue), "life")
        inbox.open(queue)
        threads.sleep(0)
        inbox.close()
        life.join(10.0)
    for asker in askers:
        asker.join(10.0)
    inbox.refuse_rest(inbox.queue)

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
