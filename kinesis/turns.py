"""
Whose turn it is to have a component's state to oneself.
"""

from __future__ import annotations

from kinesis.concurrency import Lock, Threads

__all__ = ["Turn"]


class Turn:
    """
    The right to one component's state: one thread has it, first come, first served.

    A lock alone is not enough. Who gives one back and takes it again, as a busy
    component does, is faster than a waiter wakes up: that one would wait for as
    long as messages come. So it is handed to who has waited longest, without
    being free in between.

    What lies there while it is free is a token in a list: ``list.pop`` gives it to
    exactly one thread, in a fifth of the time of a lock that is tried.

    Thread safety: any thread may call any method but `give_back`, which is for who
    has the turn.

    Attributes:
        claim: For who takes it with each message: to call this and then set *owner*
            is `take_now` without a call of ours. IndexError if it is not free.
        owner: The thread that has it, or None.
    """

    __slots__ = ("_ident", "_lay_down", "_new_lock", "_waiting", "claim", "owner")

    def __init__(self, threads: Threads) -> None:
        self.owner: int | None = None
        token = [None]  # empty while somebody has the turn
        # Looked up once: each message takes the turn and gives it back.
        self.claim, self._lay_down = token.pop, token.append
        self._new_lock, self._ident = threads.lock, threads.get_ident
        self._waiting: list[Lock] = []  # shut gates, each opened by who hands it over

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread has it."""
        return self.owner == self._ident()

    def take_now(self) -> bool:
        """Take it if nobody has it, and nobody waits for it."""
        if not self._is_claimed():
            return False
        self.owner = self._ident()
        return True

    def take(self, timeout: float | None = None) -> bool:
        """Wait for it; false if it did not come within *timeout* seconds."""
        if not self._is_claimed() and not self._queue_up(timeout):
            return False
        self.owner = self._ident()
        return True

    def _is_claimed(self) -> bool:
        """Claim it; false if it is not free."""
        try:
            self.claim()
        except IndexError:
            return False
        return True

    def _queue_up(self, timeout: float | None) -> bool:
        """Wait until it is handed over."""
        gate = self._new_lock()
        gate.acquire()
        self._waiting.append(gate)
        if self._is_claimed():  # given back while we queued up
            self._waiting.remove(gate)
            return True
        try:
            if gate.acquire(True, -1.0 if timeout is None else max(0.0, timeout)):
                return True
        except BaseException:  # KeyboardInterrupt: it is for the next one
            if not self._leave(gate):
                self.give_back()
            raise
        return not self._leave(gate)

    def _leave(self, gate: Lock) -> bool:
        """Stop waiting; false if it has been handed to us."""
        try:
            self._waiting.remove(gate)
        except ValueError:
            return False
        return True

    def give_back(self) -> None:
        """Hand it to who has waited longest, or let it lie."""
        self.owner = None
        while not (self._waiting and self._hand_over()):
            self._lay_down(None)
            # Look again: somebody may have queued up behind the first look.
            if not self._waiting or not self._is_claimed():
                return

    def _hand_over(self) -> bool:
        """Give it to the first that waits, if there still is one."""
        try:
            gate = self._waiting.pop(0)
        except IndexError:
            return False
        gate.release()
        return True

    def __repr__(self) -> str:
        return f"<Turn of thread {self.owner} | {len(self._waiting)} waiting>"
