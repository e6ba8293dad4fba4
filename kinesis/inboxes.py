"""
What waits for a supervisor to decide, over all the lives of its container.
"""

from __future__ import annotations

from collections.abc import Callable

from kinesis.concurrency import Empty, Queue, Threads
from kinesis.supervision import Happening

Incoming = Queue[Happening | None]  # None: the end of a life


class Inbox:
    """
    Accepts what happens, or refuses it; never loses it.

    Each life of the container has a queue of its own, which one thread reads to its
    end. What comes behind the end is handed to *refuse*.

    Thread safety: any thread may put. `renew` and `close` one at a time.
    """

    __slots__ = ("_refuse", "_threads", "is_closed", "queue")

    def __init__(self, threads: Threads, refuse: Callable[[Happening], object]) -> None:
        self._threads = threads
        self._refuse = refuse
        self.queue: Incoming = threads.queue()
        self.is_closed = False

    def put(self, happening: Happening) -> bool:
        """Accept *happening*, and see to it that it is decided; False if closed."""
        queue = self.queue
        if self.is_closed:
            return False
        queue.put(happening)
        if self._is_over(queue):  # it may have come behind the end: look again
            self.refuse_rest(queue)
        return True

    def _is_over(self, queue: Incoming) -> bool:
        """Whether *queue* is only read to its end, or not at all any more."""
        return self.is_closed or queue is not self.queue

    def for_next_life(self) -> Incoming:
        """Return the queue that the next life's thread is to read."""
        return self._threads.queue() if self.is_closed else self.queue

    def open(self, queue: Incoming) -> None:
        """Take in what happens again; its thread reads *queue*."""
        self.queue = queue
        self.is_closed = False

    def close(self) -> None:
        """Let the thread end once it has read what is there; refuse what comes."""
        self.is_closed = True
        self.queue.put(None)

    def refuse_rest(self, queue: Incoming) -> None:
        """Refuse what nobody will decide; several threads may."""
        ended = False
        while True:
            try:
                left = queue.get_nowait()
            except Empty:
                break
            if left is None:
                ended = True
            else:
                self._refuse(left)
        if ended:
            queue.put(None)  # the thread's own sign to end

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"{self.queue.qsize()} waiting"
        return f"<Inbox {state}>"
