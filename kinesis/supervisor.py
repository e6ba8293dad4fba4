"""
Supervises a container's children.

What is decided (see `kinesis.deciding`) is carried out here: orders to lifecycles,
timers, answers. Nobody waits in between, and no code of users runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from kinesis.answers import (
    Answer,
    activation_error,
    release,
    stopping_error,
    taken_error,
)
from kinesis.cells import Cell
from kinesis.concurrency import Thread
from kinesis.deciding import Deciding
from kinesis.errors import ComponentStoppedError, WouldDeadlockError, describe
from kinesis.lifecycle import Lifecycle
from kinesis.notices import Kind, Report
from kinesis.restarts import Strategy
from kinesis.services import report
from kinesis.stages import Outcome, Result, Stage
from kinesis.supervision import (
    Action,
    Add,
    Ask,
    Began,
    Begin,
    Books,
    Do,
    End,
    Ended,
    Escalate,
    Happening,
    Reply,
    Rest,
    Say,
    Settle,
    Tell,
    Wait,
    Waited,
    Wish,
    explain,
)
from kinesis.workers import Worker

__all__ = ["Answer", "Supervisor", "activation_error"]


class Supervisor(Deciding):
    """
    Supervises the children of the container in *cell*.

    It is also the token of that container's activations, in the wait-for graph:
    `holder` is the path of the child that is coming up.

    Thread safety: any thread may call any public method.
    """

    def __init__(self, cell: Cell, strategy: Strategy) -> None:
        super().__init__(cell, Books(strategy))
        self.holder: Hashable = None
        self.holding: Cell | None = None  # the child that is coming up
        self._began: Callable[[Outcome], object] | None = None
        self._ended: Callable[[], object] | None = None
        self._act_on = {
            Tell: self._tell,
            Wait: self._wait,
            Settle: self._settle,
            Began: self._say_began,
            Ended: self._say_ended,
            Escalate: self._escalate,
            Say: self._say,
        }

    # -- the body of the container's lifecycle -----------------------------------

    def begin(self, done: Callable[[Outcome], object]) -> None:
        """Bring the children up in order; call *done* with how it went."""
        self._began = done
        try:
            self._ensure_thread()
        except RuntimeError as error:
            done(Outcome(Result.RAISED, Stage.STARTING, None, error))
            return
        self._inbox.put(Begin())

    def end(self, done: Callable[[], object]) -> None:
        """Take the children down, the last started first; call *done* then."""
        self._ended = done
        if self._thread is None or not self._inbox.put(End()):  # it never began
            done()

    def rest(self) -> None:
        """Bring nobody up until the container is started again."""
        with self._lock:
            if self._thread is not None:
                self._inbox.put(Rest())
                return
        self._refuse_early()  # it was stopped before its children began

    def register(self, child: Cell) -> None:
        """Take a child that comes up together with the container."""
        child.tell = self.hear
        child.supervised_by = self
        self.books.register(child)

    # -- requests ----------------------------------------------------------------------

    def add(self, newcomer: Cell, node: Hashable = None, wait: bool = True) -> Answer:
        """
        Have *newcomer* come up in its turn.

        Args:
            node: Who waits for it in the wait-for graph, None if nobody inside.
            wait: Whether the caller waits; only then may it come up at once,
                inside the activation that waits for *node*.
        """
        newcomer.tell = self.hear
        newcomer.supervised_by = self
        answer = Answer(newcomer, adds=True)
        if self._take_early(newcomer, answer):
            return answer
        nested: Hashable = None
        if node is not None and wait:
            try:
                nested = self._note_waits(newcomer, node, answer)
            except WouldDeadlockError:  # it is another one of that path that waits
                self._refuse(answer, taken_error(self.cell.path, newcomer))
                return answer
        request = Add(newcomer, answer, nested)
        alone = wait and node is None and newcomer.supervisor is None
        if not (alone and self._add_on_own_thread(request)):
            self._request(request, answer)
        return answer

    def _add_on_own_thread(self, request: Add) -> bool:
        """
        Have the newcomer's own thread, a new one, take it in and bring it up.

        That saves the way through the supervisor's thread. The caller itself must not
        decide: its stack holds code of users, and ctrl-c may interrupt it anywhere. To
        start a thread is one step, so the request is made, or it is not.

        False if something else comes up now, or the system refuses a thread.
        """
        if self.holding is not None or self._inbox.is_closed:
            return False
        cell = request.cell
        try:
            Worker(
                self._services.threads,
                cell.thread_name,
                lambda worker: self._add_here(request, cell, worker),
            )
        except RuntimeError:
            return False
        return True

    def _take_early(self, newcomer: Cell, answer: Answer) -> bool:
        """Take in what comes up with the container; false if that has begun."""
        with self._lock:
            if self._thread is not None or self._inbox.is_closed:
                return False
            stopped = self.cell.stage is Stage.STOPPED
            taken = newcomer.name in self.books.children
            if not (stopped or taken):
                self.books.register(newcomer).until_up = (answer,)
        if stopped:
            self._refuse(answer, stopping_error(self.cell.path))
        elif taken:
            self._refuse(answer, taken_error(self.cell.path, newcomer))
        return True

    def _note_waits(self, newcomer: Cell, node: Hashable, answer: Answer) -> Hashable:
        """Enter the adder's wait; return the token's holder if that waits for it."""
        waits = self._services.waits
        path = newcomer.path
        with waits.locked() as edges:
            nested = self.holder if edges.reaches(self, node) is not None else None
            edges.add(node, path)
            if nested is None:
                try:
                    edges.add(path, self)
                except WouldDeadlockError:
                    edges.remove(node, path)
                    raise

        def undo() -> None:
            with waits.locked() as edges:
                edges.remove(node, path)
                if nested is None:
                    edges.remove(path, self)

        answer.undo = undo
        return nested

    def ends_too(self, cell: Cell) -> list[Cell]:
        """Return those whose run ends, too, when *cell* is restarted."""
        child = self.books.child_of(cell)
        if child is None:
            return [cell]
        return [each.cell for each in self.books.affected(child)]

    def ask(self, wish: Wish, cell: Cell, by: str) -> Answer:
        """Have something done with one child."""
        answer = Answer(cell)
        self._request(Ask(wish, cell, answer, by), answer)
        return answer

    def _request(self, happening: Happening, answer: Answer) -> None:
        """Put a request into the inbox, or answer it if nobody would."""
        if not self._inbox.put(happening):
            self._refuse(answer, stopping_error(self.cell.path))

    def _refuse(self, answer: Reply, error: BaseException) -> None:
        """Answer with *error*; let go of a newcomer that was not taken in."""
        if isinstance(answer, Answer) and answer.adds:
            cell = answer.cell
            if cell.life is None and self.books.child_of(cell) is None:
                release(cell)
        answer.reject(error)

    def _refuse_early(self) -> None:
        """Answer those whose component would have come up with the container."""
        for child in self.books.in_order():
            for reply in child.until_up:
                reply.reject(stopping_error(self.cell.path))
            child.until_up = ()

    def _refuse_happening(self, left: Happening) -> None:
        """Answer a request that nobody will decide."""
        if isinstance(left, Add | Ask):
            self._refuse(left.reply, stopping_error(self.cell.path))

    # -- what is decided ---------------------------------------------------------------

    def _act(self, action: Action) -> None:
        self._act_on[type(action)](action)  # type: ignore[operator]  # by its type

    def _tell(self, action: Tell) -> None:
        """Give an order to a child's lifecycle."""
        cell, life = action.cell, action.cell.life
        cell.next_attempt = None
        match action.what:
            case Do.ACTIVATE:
                self._activate(cell)
            case Do.FORGET:
                _end_unbegun(cell)
                self._services.leave_behind(_threads_in(cell))
                cell.forgotten()
            case Do.RESTART if life is not None:
                life.restart()
            case Do.START_AGAIN if life is not None:
                life.start_again()
            case Do.FAIL if life is not None:
                life.fail()
            case Do.STOP if life is not None:
                life.stop(tear_down=False)
            case Do.TEAR_DOWN if life is not None:
                life.stop(tear_down=True)
            case Do.TEAR_DOWN:
                _end_unbegun(cell)

    def _activate(self, cell: Cell) -> None:
        """Begin a life, the first or another one."""
        try:
            life = Lifecycle(cell, cell.supervisor)
        except Exception as error:  # what it was given changed since it was checked
            outcome = Outcome(Result.RAISED, Stage.SUBMITTED, None, error)
            cell.ended(outcome)
            cell.enter(Stage.TORN_DOWN)
            self._inbox.put(Report(cell, Kind.TORN_DOWN, cell.run, outcome))
            return
        cell.begin_life(life)
        try:
            life.activate(self._worker_for(cell))
        except RuntimeError as error:  # its TORN_DOWN is on the way
            text = (
                f"no thread for it: {describe(error)}. Look at `ulimit -u`, at the "
                f"threads of this process and at vm.max_map_count."
            )
            cell.note(text)
            report(logging.ERROR, cell.path, text)

    def _hold(self) -> None:
        """
        Publish which child is coming up, before anything is done about it.

        Under the graph's lock: whoever waits sees the one or the other.
        """
        holder = self.books.holder
        top = holder.cell if holder is not None else None
        if top is self.holding:
            return
        with self._services.waits.locked():
            self.holding = top
            self.holder = top.path if top is not None else None

    def _wait(self, action: Wait) -> None:
        """Come back later; a stop makes the wait void."""
        cell, token = action.cell, action.token
        timers = self._services.timers
        if cell is not None:
            cell.next_attempt = self._services.threads.monotonic() + action.seconds
        timers.call_later(action.seconds, lambda: self._inbox.put(Waited(cell, token)))

    def _settle(self, action: Settle) -> None:
        """Answer who waits."""
        if action.error is None:
            action.reply.resolve()
        else:
            self._refuse(action.reply, self._error(action))

    def _error(self, action: Settle) -> BaseException:
        """Return the error that says why not."""
        cell = action.cell
        path = cell.path if cell is not None else self.cell.path
        if action.stopping:
            return stopping_error(self.cell.path)
        if action.error == "taken" and cell is not None:
            return taken_error(self.cell.path, cell)
        if action.error == "failed":
            return activation_error(path, action.outcome)
        return ComponentStoppedError(
            f"'{path}' is {action.error}: it cannot start now. Wait with "
            f"wait_stopped(), or add a new one.",
            path=path,
        )

    def _say_began(self, action: Began) -> None:
        done, self._began = self._began, None
        if done is None:
            return
        if action.outcome is None:
            done(Outcome(Result.RETURNED, Stage.STARTING))
            return
        path = action.cell.path if action.cell is not None else self.cell.path
        error = activation_error(path, action.outcome)
        done(Outcome(Result.RAISED, Stage.STARTING, action.outcome.hook, error))

    def _say_ended(self, _: Ended) -> None:
        done, self._ended = self._ended, None
        if done is not None:
            done()

    def _escalate(self, action: Escalate) -> None:
        """Tell the container's own lifecycle that it has failed."""
        text = f"failed because of '{action.cell.path}': {explain(action.outcome)}"
        self.cell.note(text)
        report(logging.ERROR, self.cell.path, text)
        if self.cell.life is not None:
            self.cell.life.body_failed(action.outcome)

    def _say(self, action: Say) -> None:
        action.cell.note(action.text)
        if not action.quiet:
            level = logging.WARNING if action.failure else logging.INFO
            report(level, action.cell.path, action.text)

    def __repr__(self) -> str:
        return f"<Supervisor of {self.cell.path} {self.books!r}>"


def _threads_in(cell: Cell) -> list[Thread]:
    """Return the threads of *cell*, and of all below it."""
    threads = cell.threads()
    if cell.supervisor is not None:
        for child in cell.supervisor.books.in_order():
            threads += _threads_in(child.cell)
    return threads


def _end_unbegun(cell: Cell) -> None:
    """End what never had a life, and all in it: answer those who wait for it."""
    if cell.life is not None or cell.stage is Stage.TORN_DOWN:
        return
    cell.enter(Stage.TORN_DOWN)
    if cell.supervisor is not None:
        cell.supervisor.close()
        for child in cell.supervisor.books.in_order():
            _end_unbegun(child.cell)
