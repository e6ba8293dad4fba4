"""
A place in the tree, and everything that is known about who lives there.

Whoever is outside of a component holds its `Cell` (inside a `Ref`), never the
component: the cell stays the same over restarts and after the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import attrs

from kinesis.component import Component, overridden_hooks
from kinesis.concurrency import Thread
from kinesis.errors import ComponentStoppedError, WaitTimeoutError, describe
from kinesis.futures import Future
from kinesis.services import Services, report
from kinesis.stages import ACTIVE, Outcome, Stage
from kinesis.traces import TRACE

if TYPE_CHECKING:
    from kinesis.lifecycle import Lifecycle
    from kinesis.notices import Report
    from kinesis.serving import Serving
    from kinesis.supervisor import Supervisor
    from kinesis.timers import Timer

log = logging.getLogger("kinesis")

NOTES_KEPT = 200  # the newest lines of `why`


@attrs.frozen
class Note:
    """One line of what happened: when (seconds since the epoch), and what."""

    time: float
    text: str


class Cell:
    """
    One place in the tree.

    The lifecycle writes `stage` and `hung`, the supervisor the restart books,
    anybody notes; all read. What is read may be stale by the time it is used.
    """

    __slots__ = (
        "__weakref__",
        "_lock",
        "_notes",
        "_scheduled",
        "_waiters",
        "abandoned",
        "began",
        "busy_since",
        "by_hand",
        "component",
        "coming_since",
        "ending_since",
        "failures",
        "gone",
        "hooks",
        "hung",
        "last",
        "life",
        "name",
        "next_attempt",
        "number",
        "parent",
        "path",
        "peers_enabled",
        "restarts",
        "run",
        "policy",
        "services",
        "serving",
        "stage",
        "stall_after",
        "stalled",
        "start_deadline",
        "stop_deadline",
        "suffix",
        "supervised_by",
        "supervisor",
        "tell",
    )

    def __init__(
        self,
        component: Component,
        path: str,
        services: Services,
        parent: Cell | None = None,
    ) -> None:
        self.component = component
        self.name = component.name
        # Copied: a hook may delete the attributes of its component.
        self.policy = component.restart
        self.start_deadline = component.start_deadline
        self.stop_deadline = component.stop_deadline
        self.stall_after = component.stall_after
        self.path = path
        self.parent = parent
        self.services = services
        self.supervisor: Supervisor | None = None  # of a container: decides below it
        self.supervised_by: Supervisor | None = None  # decides about this one
        self.life: Lifecycle | None = None
        self.serving: Serving | None = None  # of the life
        self.suffix = ""  # of the thread's name, where the plain one is taken
        self.tell: Callable[[Report], bool] = _nobody  # where reports go
        cls: type = type(component)
        self.hooks = overridden_hooks(cls)
        self.stage = Stage.SUBMITTED
        self.run = 0  # incarnations so far
        self.began: float | None = None  # when the present stage was entered
        self.coming_since: float | None = None  # when this run began to come up
        self.ending_since: float | None = None  # when this life began to end
        self.number = -1  # in the order of reaching STARTED
        self.busy_since: float | None = None  # when the running handler began
        self.hung: str | None = None  # the stack of code that outlived a deadline
        self.stalled: str | None = None  # the stack of a handler that takes long
        self.abandoned = False  # the runtime has ended, and did not get it to end
        self.gone = False  # out of the tree for ever
        self.by_hand = False  # stopped by somebody, to stay so
        self.peers_enabled = True
        self.failures = 0
        self.restarts = 0
        self.next_attempt: float | None = None  # monotonic moment, while backing off
        self.last: Outcome | None = None  # of the last run or life that ended
        self._lock = services.threads.lock()
        self._notes: tuple[Note, ...] = ()
        self._scheduled: tuple[Timer, ...] = ()  # by control messages
        self._waiters: tuple[tuple[Collection[Stage], Future[Stage]], ...] = ()

    def begin_life(self, life: Lifecycle) -> None:
        """Let *life* be the one that is lived here, the first or another one."""
        self.life = life
        self.serving = life.serving
        self.component._kinesis = life.inside
        self.stage = Stage.SUBMITTED

    # -- what happened ----------------------------------------------------------

    def note(self, text: str) -> None:
        """Keep one line of why it is where it is."""
        note = Note(self.services.threads.time(), text)
        with self._lock:
            self._notes = (*self._notes[1 - NOTES_KEPT :], note)

    def notes(self) -> tuple[Note, ...]:
        """Return the lines, oldest first."""
        return self._notes

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose every line carries the path."""
        return _Log(log, {"path": self.path})

    def ended(self, outcome: Outcome) -> None:
        """Keep how a stage ended; note and log what failed."""
        if not outcome.failed:
            return
        self.last = outcome
        self.failures += 1
        text = f"{outcome.hook or outcome.stage} failed: {describe(outcome.error)}"
        self.note(text)
        report(logging.ERROR, self.path, text, outcome.error)

    def scheduled(self, timer: Timer) -> None:
        """Remember a restart or shutdown that comes later."""
        with self._lock:
            waiting = [each for each in self._scheduled if each.call is not None]
            self._scheduled = (*waiting, timer)

    def cancel_scheduled(self) -> None:
        """Forget every restart and shutdown that is scheduled."""
        with self._lock:
            scheduled, self._scheduled = self._scheduled, ()
        for timer in scheduled:
            timer.cancel()

    def persist(self) -> None:
        """Have the store keep the state now; a runtime without a store has none."""
        self.note("asked to persist: the runtime has no store")

    def forgotten(self) -> None:
        """It, and all in it, is in the tree no more: end the listeners to it."""
        if self.supervisor is not None:
            for child in self.supervisor.books.children.copy().values():
                child.cell.forgotten()
        self.gone = True  # first: who begins to listen after the next line looks at it
        self.cancel_scheduled()
        self.services.changes.gone(self.path)
        self._let_go()

    def look_for_stall(self, now: float) -> None:
        """Mark it as stalled, with the stack, if its handler runs for too long."""
        since, life = self.busy_since, self.life
        if since is None or life is None or self.stalled is not None:
            return
        if now - since < self.stall_after:
            return
        owner = life.serving.turn.owner
        stack = self.services.threads.stack(owner) if owner is not None else ""
        if self.busy_since != since:
            return  # it has ended meanwhile
        self.stalled = stack
        what = life.serving.handler_name()
        text = f"stalled: {what} runs for {now - since:.1f} s"
        self.note(text)
        report(logging.WARNING, self.path, f"{text}. It is here:\n{stack}")

    def recovered(self) -> None:
        """Its handler has returned after all."""
        self.stalled = None
        self.note("recovered: the handler that took long has returned")
        report(logging.WARNING, self.path, "recovered: no longer stalled")

    # -- waiting for a stage ------------------------------------------------------

    def enter(self, stage: Stage) -> None:
        """Publish a new stage, and let those go who wait for it."""
        previous, self.stage = self.stage, stage
        self.began = now = self.services.threads.monotonic()
        if stage in _NOTED or previous is Stage.SUBMITTED:
            self._log_stage(previous, stage, now)
        if self.serving is not None:
            feed = self.serving.publishing.feed
            feed.stage_changed(previous, stage)
            if (previous in ACTIVE) is not (stage in ACTIVE):
                feed.state_changed(previous.state, stage.state)
        if self._waiters:
            self._let_go()

    def abandon(self) -> None:
        """The runtime ends without it: answer all who wait for it."""
        self.abandoned = True
        if self.serving is not None:
            self.serving.close()
        self._let_go()

    def _let_go(self) -> None:
        """End the waits that are over."""
        with self._lock:
            waits = [(entry, self._over_at(entry[0])) for entry in self._waiters]
            self._waiters = tuple(entry for entry, reached in waits if reached is None)
        for (_, future), reached in waits:
            if reached is not None:
                future.set_result(reached)

    def _over_at(self, stages: Collection[Stage]) -> Stage | None:
        """Return the stage in which a wait for *stages* is over, None if it goes on."""
        stage = self.stage  # read once: it may move on
        over = self.abandoned or self.gone or stage is Stage.TORN_DOWN
        over = over or stage in stages
        return stage if over else None

    def _log_stage(self, previous: Stage, stage: Stage, now: float) -> None:
        """Log what people want to read: it came up, it went down, in what time."""
        if stage is Stage.STARTED:
            self.number = next(self.services.started)
            seconds = now - (self.coming_since or now)
            report(logging.INFO, self.path, "started", seconds=seconds)
        elif previous is Stage.SUBMITTED or stage is Stage.RESTARTING:
            self.coming_since, self.ending_since = now, None
        if stage in _GOING and self.ending_since is None:
            self.ending_since = now
        elif stage is Stage.STOPPED or stage is Stage.TORN_DOWN and self.ending_since:
            seconds = now - (self.ending_since or now)
            report(logging.INFO, self.path, "stopped", seconds=seconds)
            self.services.note_stopped(self.path, seconds)
            self.ending_since = None

    def wait_for(self, stages: Collection[Stage], timeout: float | None) -> Stage:
        """
        Wait until one of *stages* is entered; return it.

        Raises:
            WaitTimeoutError: Not within *timeout* seconds.
            ComponentStoppedError: It was torn down instead, or its runtime has ended.
            ForkedError: In a forked child.
        """
        self.services.check_process()
        wanted = " or ".join(map(str, stages))
        future: Future[Stage] = Future(self.services.threads, f"'{self.path}' {wanted}")
        entry = (stages, future)
        with self._lock:
            self._waiters += (entry,)
        try:
            reached = self._over_at(stages) or future.result(timeout)
        except WaitTimeoutError:
            raise WaitTimeoutError(
                f"'{self.path}' was not {wanted} within {timeout:g} s: it is "
                f"{self.status()}. Wait longer, or ask its why().",
                path=self.path,
                stage=self.stage,
            ) from None
        finally:
            with self._lock:
                self._waiters = tuple(e for e in self._waiters if e is not entry)
        if reached not in stages:
            raise ComponentStoppedError(
                f"'{self.path}' is {self.status()} and will not be {wanted}: its life, "
                f"or its runtime, has ended. Its why() tells the reason.",
                path=self.path,
            )
        return reached

    def status(self) -> str:
        """Return the stage and what is special about it, for people."""
        first = self.waits_for()
        if first is None:
            return f"{self.stage}{self._details()}"
        last = first
        while (inner := last.waits_for()) is not None:
            last = inner
        return f"{self.stage}, waiting for {last.path}{last._details()}"

    def _details(self) -> str:
        """Return what is to be said beside the stage, each with a space before it."""
        now = self.services.threads.monotonic()
        text = ""
        order = self.life.running() if self.life is not None else None
        if order is not None and order.began is not None and self.stage not in _CALM:
            limit = self.deadline(self.stage)
            text += f" ({order.at}, {now - order.began:.1f} s of {limit:g} s)"
        if (attempt := self.next_attempt) is not None:
            text += f" (next attempt in {max(0.0, attempt - now):.1f} s)"
        if self.hung is not None:
            text += " hung"
        if self.stalled is not None:
            text += " stalled"
        return text

    def waits_for(self) -> Cell | None:
        """Return the component whose activation this one waits for, if it does."""
        if self.stage is Stage.STARTING and self.supervisor is not None:
            return self.supervisor.holding
        if self.stage is Stage.SUBMITTED and self.supervised_by is not None:
            holding = self.supervised_by.holding
            if holding is None and self.parent is not None:
                return self.parent if self.parent.stage in _WAY_UP else None
            return holding if holding is not self else None
        return None

    def deadline(self, stage: Stage) -> float:
        """Return the seconds that the hooks of *stage* may take."""
        return self.start_deadline if stage in _WAY_UP else self.stop_deadline

    @property
    def thread_name(self) -> str:
        """What the component's own thread is called."""
        return f"kinesis:{self.path}{self.suffix}"

    def threads(self) -> list[Thread]:
        """Return the threads that run this component's code, or did last."""
        return self.life.threads() if self.life is not None else []

    def __repr__(self) -> str:
        return f"<{type(self.component).__name__} {self.path} [{self.status()}]>"


class _Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the path, and a trace, beside what the caller adds."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        extra = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        if (trace := TRACE.get()) is not None:
            extra.setdefault("trace", trace.id)
        kwargs["extra"] = extra
        return msg, kwargs


_WAY_UP = frozenset(
    {Stage.PREINITIALIZING, Stage.INITIALIZING, Stage.STARTING, Stage.SUBMITTED}
)
_GOING = frozenset({Stage.STOPPING, Stage.ABORTING})
_NOTED = _GOING | {Stage.STARTED, Stage.RESTARTING, Stage.STOPPED, Stage.TORN_DOWN}
_CALM = frozenset({Stage.STARTED, Stage.STOPPED, Stage.TORN_DOWN})


def _nobody(_: Report) -> bool:
    """Take no report: there is nobody who decides."""
    return False
