"""
Who decides about a container's children, and when.

What happens waits in an inbox. One thread at a time takes it out, has `Books`
decide, and sees to it that the actions are carried out. Mostly that is the
supervisor's own thread; but other threads whose stack holds no code of users either
decide in place when nobody is at it: a lifecycle's that reports (`Deciding.hear`),
which saves two switches of threads a report, and that of a newcomer, before it begins
(`Deciding._add_here`), which saves one.
"""

from __future__ import annotations

from contextvars import ContextVar

from kinesis.cells import Cell
from kinesis.concurrency import Thread
from kinesis.inboxes import Inbox, Incoming
from kinesis.life import CURRENT
from kinesis.notices import Report
from kinesis.supervision import Action, Books, Close, Do, Happening, Tell
from kinesis.workers import Worker

AT_ONCE = 8  # decisions in place, before the supervisor's own thread takes over

_DECIDING: ContextVar[bool] = ContextVar("kinesis_deciding", default=False)
"""Whether this thread decides already, for this supervisor or another."""


class Deciding:
    """
    Has *books* decide what happens to the children of the container in *cell*.

    Thread safety: any thread may call any public method.
    """

    def __init__(self, cell: Cell, books: Books) -> None:
        self.cell = cell
        self.books = books
        self._services = cell.services
        self._inbox = Inbox(self._services.threads, self._refuse_happening)
        self._thread: Thread | None = None
        self._baton = self._services.threads.lock()  # who holds it decides
        # Both under the baton: the life that is decided, and what is still to be done.
        self._decided: Incoming | None = None
        self._left: list[Action] = []
        self._newcomer: tuple[Cell, Worker] | None = None  # whose thread decides
        self._lock = self._services.threads.lock()

    # -- the thread -------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        """
        Start the thread, unless it runs; in another life on a new inbox.

        Raises:
            RuntimeError: The system refuses another thread; all is as it was.
        """
        with self._lock:
            last, inbox = self._thread, self._inbox
            if last is not None and not inbox.is_closed:
                return
            life = inbox.for_next_life()
            self._thread = self._services.threads.start(
                lambda: self._run(life, last), f"kinesis:{self.cell.path}"
            )
            inbox.open(life)

    def close(self) -> None:
        """End the thread once the inbox is empty; refuse what comes later."""
        with self._lock:
            self._inbox.close()
            started = self._thread is not None
        if not started:
            self._inbox.refuse_rest(self._inbox.life)
            self._refuse_early()

    @property
    def has_begun(self) -> bool:
        """Whether children come up now: the container has begun to."""
        return self._thread is not None

    def threads(self) -> list[Thread]:
        """Return the thread, if it was ever started."""
        return [self._thread] if self._thread is not None else []

    def _run(self, life: Incoming, last: Thread | None) -> None:
        """Decide and act until closed, but not beside the thread of the *last* life."""
        if last is not None:
            last.join()
        with self._baton:
            self._decided = life
        while life.bell.get():
            self._decide_waiting()
        with self._baton:
            self._decide_all(life)
            self._decide(Close(), self._services.threads.monotonic())
            self._decided = None
        self._inbox.refuse_rest(life)

    def hear(self, told: Report) -> bool:
        """
        Take a report of a lifecycle in, and decide at once unless somebody does.

        For threads whose stack holds no code of users. Returns False if closed.
        """
        if _DECIDING.get():  # a chain of containers must not become a chain of calls
            return self._inbox.put(told)
        if not self._inbox.put(told, ring=False):
            return False
        inside = CURRENT.set(None)
        deciding = _DECIDING.set(True)
        try:
            self._decide_waiting(AT_ONCE)
        finally:
            _DECIDING.reset(deciding)
            CURRENT.reset(inside)
        return True

    def _add_here(self, told: Happening, cell: Cell, worker: Worker) -> None:
        """
        Take a newcomer in on the thread that is to be its own, and bring it up.

        If it cannot come up now, as another one does, it gets another thread later.
        """
        worker.thread = self._services.threads.current()
        CURRENT.set(None)  # some Pythons hand the starter's context on
        if not self._inbox.put(told, ring=False):
            self._refuse_happening(told)
        else:
            _DECIDING.set(True)
            self._decide_waiting(AT_ONCE, (cell, worker))
            _DECIDING.set(False)
        life = cell.life
        if life is not None and life.is_run_by(worker):
            life.begin_here()
        else:
            self._services.let_end(worker.thread)
            worker.end()

    def _decide_waiting(
        self, most: int = -1, newcomer: tuple[Cell, Worker] | None = None
    ) -> None:
        """
        Decide what waits, unless another thread is at it: that looks again.

        Args:
            most: Leave it to the supervisor's own thread after so many.
            newcomer: Who may come up on this thread, which is new.
        """
        baton = self._baton
        while baton.acquire(blocking=False):
            try:
                self._newcomer = newcomer
                life = self._decided
                too_much = life is not None and self._decide_all(life, most)
            finally:
                self._newcomer = None
                baton.release()
            # Ring only now: whoever finds the baton taken goes back to sleep.
            if life is None or too_much:  # not begun yet, or at an end: see `_run`
                self._inbox.life.bell.put(True)
                return
            if not len(life):
                return

    def _decide_all(self, life: Incoming, most: int = -1) -> bool:
        """Decide what waits in *life*; true if that was too much for one go."""
        now = self._services.threads.monotonic
        in_place = most > 0
        if self._left:
            if in_place:
                return True
            left, self._left = self._left, []
            self._carry_out(left)
        while (happening := life.next()) is not None:
            self._decide(happening, now(), in_place)
            most -= 1
            if most == 0 or self._left:
                return True
        return False

    def _decide(self, happening: Happening, now: float, in_place: bool = False) -> None:
        """
        Decide about one happening; nothing that fails in it ends the thread.

        A component is not brought up *in_place*, except on its own thread: to make
        one takes so much of the stack that each thread which did so would keep 4 KiB
        more.
        """
        try:
            actions = self.books.decide(happening, now)
        except BaseException as error:
            self._services.crashed(self.cell.path, error)
            return
        self._hold()
        if in_place:
            for number, action in enumerate(actions):
                if self._needs_a_thread(action):
                    self._left = actions[number:]
                    del actions[number:]
                    break
        self._carry_out(actions)
        if self.books.ended_now:
            self._services.on_ended()

    def _needs_a_thread(self, action: Action) -> bool:
        """Whether a thread has to be made for *action*."""
        if type(action) is not Tell or action.what is not Do.ACTIVATE:
            return False
        return self._worker_for(action.cell) is None

    def _worker_for(self, cell: Cell) -> Worker | None:
        """Return the worker whose thread decides, if it is to be that of *cell*."""
        newcomer = self._newcomer
        return newcomer[1] if newcomer is not None and newcomer[0] is cell else None

    def _carry_out(self, actions: list[Action]) -> None:
        """Do what was decided."""
        for action in actions:
            try:
                self._act(action)
            except BaseException as error:
                self._services.crashed(self.cell.path, error)

    # -- what the supervisor does ------------------------------------------------------

    def _hold(self) -> None:
        """Publish which child is coming up, before anything is done about it."""
        raise NotImplementedError

    def _act(self, action: Action) -> None:
        """Carry out what was decided."""
        raise NotImplementedError

    def _refuse_happening(self, left: Happening) -> None:
        """Answer a request that nobody will decide."""
        raise NotImplementedError

    def _refuse_early(self) -> None:
        """Answer those whose component would have come up with the container."""
        raise NotImplementedError
