"""
Boots the tree, hears every wish to stop, and sees to the end.

All on one control thread, which runs no code of users and waits for nothing but
its queue. So whatever a component does, a stop is heard, and ends in time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs

from kinesis import reports
from kinesis.cells import Cell
from kinesis.component import is_seconds
from kinesis.concurrency import Empty, Queue, Thread
from kinesis.errors import (
    ComponentStoppedError,
    DeclarationError,
    KinesisError,
    StageError,
)
from kinesis.futures import Future
from kinesis.lifecycle import Lifecycle
from kinesis.notices import Kind, Report
from kinesis.reports import StopReport
from kinesis.services import Services, report
from kinesis.stages import Outcome, Result, Stage
from kinesis.supervision import explain
from kinesis.supervisor import activation_error
from kinesis.systemd import Notifier

JOIN_SECONDS = 1.0  # for threads that have ended, or nearly
WATCH_SECONDS = 1.0  # how often handlers are looked at that run for long

TRANSITIONS = ("parked", "new")

OK, FAILED, HUNG = 0, 1, 3  # exit codes; a forced exit has 128 + n


@attrs.frozen
class StopWish:
    """Somebody wants everything to stop."""

    why: str


@attrs.frozen
class SomeEnded:
    """A component has ended by itself."""


@attrs.frozen
class IsProgram:
    """This runtime is the whole program: `Runtime.run` waits for its end."""


@attrs.frozen
class TooLate:
    """The deadline of the whole stop has passed."""


Wish = StopWish | SomeEnded | IsProgram | TooLate | Report


def check_program(shutdown_deadline: object, transitions: object) -> None:
    """
    Refuse what would only go wrong at the stop, or in silence.

    Raises:
        DeclarationError: With what it may be.
    """
    if not is_seconds(shutdown_deadline):
        raise DeclarationError(
            f"a runtime cannot have shutdown_deadline={shutdown_deadline!r}: it must "
            f"be a number of seconds. Write float('inf') for no limit."
        )
    if transitions not in TRANSITIONS:
        raise DeclarationError(
            f"a runtime cannot have transitions={transitions!r}: it must be one of "
            f"{', '.join(map(repr, TRANSITIONS))}."
        )


class Conductor:
    """
    The control thread of one runtime.

    Attributes:
        started: Done once all is STARTED; if that fails, once all has ended again.
        ended: Done once everything that can be joined has been.
        code: The exit code, so far.

    Thread safety: any thread may call any public method.
    """

    def __init__(
        self,
        root: Cell,
        services: Services,
        shutdown_deadline: float,
        notifier: Notifier | None = None,
    ) -> None:
        threads = services.threads
        self.started: Future[None] = Future(threads, f"the start of '{root.path}'")
        self.ended: Future[StopReport] = Future(threads, f"the end of '{root.path}'")
        self.code = OK
        self.thread: Thread | None = None
        self._root = root
        self._services = services
        self._threads = threads
        self._shutdown_deadline = shutdown_deadline
        self._given_notifier = notifier
        self._notifier: Notifier | None = None  # an embedded runtime tells nobody
        self._wishes: Queue[Wish] = threads.queue()
        self._lock = threads.lock()
        self._never_begins = False
        self._stopping: float | None = None  # since when
        self._failure: KinesisError | None = None  # why it did not start
        self._next_sign = 0.0  # when systemd is to be told that we live
        self._look_wanted = False  # at whether all have ended
        self._finished = False
        self._unasked: list[Lifecycle] = []  # to stop, for want of time
        self._act_on: dict[type, Callable[..., object]] = {
            StopWish: self._stop,
            SomeEnded: self._some_ended,
            IsProgram: self._is_program,
            TooLate: self._too_late,
            Report: self._report,
        }
        root.tell = self._tell
        services.on_ended = self._note_ended

    def begin(self, *, as_program: bool = False) -> None:
        """
        Start the control thread, which boots. Idempotent.

        Args:
            as_program: It ends when all components have ended, and tells systemd
                how it is.

        Raises:
            RuntimeError: The system refuses a thread.
            StageError: It has ended already.
        """
        with self._lock:
            if self._never_begins or self.ended.done():
                name = self._services.name
                raise StageError(
                    f"the runtime '{name}' has been stopped, and does not start "
                    f"again. Make a new Runtime.",
                    path=self._root.path,
                )
            if as_program:
                self._wishes.put(IsProgram())
            if self.thread is None:
                name = f"kinesis:{self._services.name}:control"
                self.thread = self._threads.start(self._run, name)

    def stop(self, why: str) -> None:
        """Have everything stopped; one that has not begun ends at once."""
        with self._lock:
            self._never_begins = self.thread is None
        if self._never_begins:
            self._give_up()
            self.ended.set_result(StopReport(0.0, (), ()))
        else:
            self._wishes.put(StopWish(why))

    def _tell(self, told: Report) -> bool:
        """Take what the root's lifecycle reports."""
        self._wishes.put(told)
        return True

    # -- the control thread -------------------------------------------------------

    def _run(self) -> None:
        """Boot, wait, stop, join; whatever comes, it ends."""
        try:
            self._boot()
            self._conduct()
        except BaseException as error:
            self._services.crashed(self._root.path, error)
            self.code = FAILED
            outcome = Outcome(Result.RAISED, self._root.stage, None, error)
            self._failure = activation_error(self._root.path, outcome)
        finally:
            self._close()

    def _boot(self) -> None:
        """Begin the root's life."""
        root = self._root
        self._services.timers.call_later(
            WATCH_SECONDS, self._watch, period=WATCH_SECONDS
        )
        life = Lifecycle(root, root.supervisor)
        root.begin_life(life)
        life.activate()

    def _conduct(self) -> None:
        """Do as is wished until the root's life is over, or it is too late."""
        while not self._finished:
            try:
                wish = self._wishes.get(timeout=self._sign_of_life())
            except Empty:
                continue
            self._act_on[type(wish)](wish)

    def _sign_of_life(self) -> float | None:
        """Tell systemd that we live, if it is time; return for how long that is."""
        notifier = self._notifier
        if notifier is None or notifier.watchdog_seconds is None:
            return None
        now = self._threads.monotonic()
        if now >= self._next_sign:
            notifier.tell("WATCHDOG=1")
            self._next_sign = now + notifier.watchdog_seconds / 2
        return self._next_sign - now

    def _is_program(self, _: IsProgram) -> None:
        """Tell systemd from now on, and end once all have ended."""
        self._notifier = self._given_notifier or Notifier()
        if self.started.done():
            self._notifier.tell("READY=1")
        self._end_if_ended()

    def _stop(self, wish: StopWish) -> None:
        """Stop the whole tree, the last started first."""
        if self._stopping is not None:
            return
        report(logging.INFO, self._root.path, f"stopping: {wish.why}")
        self._root.note(f"stopped: {wish.why}")
        self._begin_stop(self._services.doors.delay)
        self._services.doors.shut(then=self._stop_parts)

    def _stop_parts(self) -> None:
        """Stop the tree: nothing comes in from outside any more."""
        if self._root.life is not None:
            self._root.life.stop(tear_down=True)

    def _begin_stop(self, delay: float = 0.0) -> None:
        """Note that all stops now or in *delay* seconds, and by when it must have."""
        self._services.doors.stopping = True
        self._stopping = self._threads.monotonic()
        if self._notifier is not None:
            self._notifier.tell("STOPPING=1")
        self._services.timers.call_later(
            delay + self._shutdown_deadline, lambda: self._wishes.put(TooLate())
        )

    def _note_ended(self) -> None:
        """Have a look at whether all have ended, unless one is to come anyway."""
        if not self._look_wanted:
            self._look_wanted = True
            self._wishes.put(SomeEnded())

    def _some_ended(self, _: SomeEnded) -> None:
        self._look_wanted = False  # first: what ends while we look is looked at again
        self._end_if_ended()

    def _end_if_ended(self) -> None:
        """Stop a program that has nothing left to do."""
        supervisor = self._root.supervisor
        if self._notifier is None or supervisor is None:
            return
        if not supervisor.books.all_ended() or self._stopping is not None:
            return
        why = "all components have finished"
        if supervisor.books.has_failures():
            self.code = FAILED
            why = "all components have ended, and not all had finished"
        self._stop(StopWish(why))

    def _too_late(self, _: TooLate) -> None:
        """Give up on what has not stopped."""
        text = f"the stop takes longer than {self._shutdown_deadline:g} s: given up"
        report(logging.ERROR, self._root.path, text)
        self._finished = True

    def _report(self, told: Report) -> None:
        """The root's lifecycle says how it is."""
        match told.kind:
            case Kind.STARTED:
                if self._notifier is not None:
                    self._notifier.tell("READY=1")
                self.started.set_result(None)
            case Kind.FAILED if self._stopping is None:
                self._fail(told.outcome)
            case Kind.TORN_DOWN:
                self._finished = True

    def _fail(self, outcome: Outcome | None) -> None:
        """A failure has reached the root: everything stops."""
        self.code = FAILED
        text = f"failed, so everything stops: {explain(outcome)}"
        report(logging.ERROR, self._root.path, text)
        self._root.note(text)
        self._begin_stop()
        self._failure = activation_error(self._root.path, outcome)
        if self._root.life is not None:
            self._root.life.fail()

    def _watch(self) -> None:
        """Look for handlers that run for long; on the timer thread."""
        now = self._threads.monotonic()
        for cell in reports.all_cells(self._root):
            if cell.busy_since is not None:
                cell.look_for_stall(now)

    # -- the end --------------------------------------------------------------------

    def _close(self) -> None:
        """Join every thread, say how it went, and let all go who wait."""
        told = StopReport(0.0, (), ())
        try:
            if self._root.stage is not Stage.TORN_DOWN:
                self._give_up()
            else:
                self._let_go_of_unbegun()
            told = self._join()
            report(
                logging.ERROR if told.late else logging.INFO, self._root.path, str(told)
            )
        except BaseException as error:  # or those who wait would wait for ever
            self._services.crashed(self._root.path, error)
            self.code = FAILED
        if told.late:
            self.code = HUNG
        self.started.set_exception(self._failure or self._stopped_before())
        self.ended.set_result(told)
        for life in self._unasked:
            life.stop(tear_down=True)

    def _stopped_before(self) -> KinesisError:
        path = self._root.path
        text = f"'{path}' was stopped before it had started."
        return ComponentStoppedError(text, path=path)

    def _give_up(self) -> None:
        """
        Answer all who wait for something that has not ended, or never began.

        What waits for its turn to stop is asked to now, all at once: in the little
        time that is left some of it will, and the rest does not run on for ever. Of
        thousands, some are only asked once nobody waits for the end any more.
        """
        until = self._threads.monotonic() + JOIN_SECONDS
        for cell in reports.all_cells(self._root):
            if cell.supervisor is not None:
                cell.supervisor.close()
            life = cell.life
            if life is not None and self._threads.monotonic() < until:
                life.stop(tear_down=True)
            elif life is not None:
                self._unasked.append(life)
            cell.abandon()

    def _let_go_of_unbegun(self) -> None:
        """Answer all who wait for what never began: one before it did not start."""
        for cell in reports.all_cells(self._root):
            if cell.life is None:
                cell.abandon()

    def _join(self) -> StopReport:
        """Join every thread; those of components in activation order."""
        services = self._services
        self._join_components()
        services.changes.close(JOIN_SECONDS)
        services.overdue.close(JOIN_SECONDS)
        services.timers.close(JOIN_SECONDS)
        self._threads.close(JOIN_SECONDS)
        now = self._threads.monotonic()
        seconds = now - (self._stopping if self._stopping is not None else now)
        late = reports.late_ones(self._root, services)
        return StopReport(seconds, tuple(services.stopped), late)

    def _join_components(self) -> None:
        """Join the threads of all components, those of hung ones without a wait."""
        until = self._threads.monotonic() + JOIN_SECONDS
        for cell in reports.in_activation_order(self._root):
            for thread in cell.threads():
                left = until - self._threads.monotonic()
                thread.join(0.0 if cell.hung is not None else max(0.0, left))
        for thread in (*self._services.left_behind(), *self._services.unused()):
            thread.join(max(0.0, until - self._threads.monotonic()))

    def __repr__(self) -> str:
        now = "runs" if self.thread is not None else "not begun"
        if self.ended.done():
            now = "ended"
        return f"<Conductor {self._root.path} [{now}, exit code {self.code}]>"
