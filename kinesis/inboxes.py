"""
What waits for a supervisor to decide, over all the lives of its container.
"""

from __future__ import annotations

from collections.abc import Callable

from kinesis.concurrency import Empty, Queue, Threads
from kinesis.supervision import Happening


class Incoming:
    """
    What happens in one life of a container, in order.

    Attributes:
        bell: Rung (True) when the thread is to look at what waits; None ends it.
    """

    __slots__ = ("_happenings", "bell")

    def __init__(self, threads: Threads) -> None:
        self._happenings: Queue[Happening] = threads.queue()
        self.bell: Queue[bool | None] = threads.queue()

    def add(self, happening: Happening) -> None:
        """Enter *happening*, without a sound."""
        self._happenings.put(happening)

    def next(self) -> Happening | None:
        """Take what comes next, None if nothing waits."""
        if not self._happenings.qsize():  # cheaper than the exception
            return None
        try:
            return self._happenings.get_nowait()
        except Empty:  # somebody else has taken it
            return None

    def __len__(self) -> int:
        return self._happenings.qsize()


class Inbox:
    """
    Accepts what happens, or refuses it; never loses it.

    Each life of the container has an `Incoming` of its own, which is decided to its
    end. What comes behind the end is handed to *refuse*.

    Thread safety: any thread may put. `open` and `close` one at a time.
    """

    __slots__ = ("_refuse", "_threads", "is_closed", "life")

    def __init__(self, threads: Threads, refuse: Callable[[Happening], object]) -> None:
        self._threads = threads
        self._refuse = refuse
        self.life = Incoming(threads)
        self.is_closed = False

    def put(self, happening: Happening, *, ring: bool = True) -> bool:
        """
        Accept *happening*, and see to it that it is decided; False if closed.

        Args:
            ring: Have the supervisor's thread decide. Without, the caller sees to
                it that somebody does.
        """
        life = self.life
        if self.is_closed:
            return False
        life.add(happening)
        if self._is_over(life):  # it may have come behind the end: look again
            self.refuse_rest(life)
        elif ring:
            life.bell.put(True)
        return True

    def _is_over(self, life: Incoming) -> bool:
        """Whether *life* is only decided to its end, or not at all any more."""
        return self.is_closed or life is not self.life

    def for_next_life(self) -> Incoming:
        """Return what the next life's thread is to decide."""
        return Incoming(self._threads) if self.is_closed else self.life

    def open(self, life: Incoming) -> None:
        """Take in what happens again, in another *life*."""
        self.life = life
        self.is_closed = False

    def close(self) -> None:
        """Let the thread end once it has decided what is there; refuse what comes."""
        self.is_closed = True
        self.life.bell.put(None)

    def refuse_rest(self, life: Incoming) -> None:
        """Refuse what nobody will decide; several threads may."""
        while (left := life.next()) is not None:
            self._refuse(left)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"{len(self.life)} waiting"
        return f"<Inbox {state}>"
