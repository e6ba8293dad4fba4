"""
A runtime: the root container and everything around it.

`run` is a program's main: it waits for signals and returns the exit code.
`start`, `stop` and `join` put a runtime into a program of somebody else; they
touch no signal and never end the process.

One control thread boots and stops the tree, for both. It waits for nothing but
its queue, so whatever a component does, it hears the wish to stop.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Self

from kinesis import reports
from kinesis.cells import Kind, Report
from kinesis.component import Component
from kinesis.concurrency import Empty, Future, SystemThreads, Thread, Threads
from kinesis.container import Container, ContainerRef, find_cell, make_cell, ref_of
from kinesis.errors import HungError, StageError, WaitTimeoutError
from kinesis.interrupts import DUMP, RELOAD, Interrupts, Patience
from kinesis.lifecycle import Lifecycle
from kinesis.reports import StopReport
from kinesis.restarts import Strategy
from kinesis.services import Services, Transitions, report
from kinesis.stages import Outcome, Stage
from kinesis.supervision import explain
from kinesis.supervisor import activation_error
from kinesis.systemd import Notifier

SHUTDOWN_DEADLINE = 30.0  # seconds for the whole stop
JOIN_SECONDS = 1.0  # for threads that have ended, or nearly
WATCH_SECONDS = 1.0  # how often handlers are looked at that run for long

OK, FAILED, HUNG = 0, 1, 3  # exit codes; see also 128 + n for a forced exit


class _Say(Enum):
    """What the control thread is told."""

    FINISHED = "a component has finished by itself"
    LATE = "the shutdown deadline has passed"


class _Stop:
    """A wish to stop, and who has it."""

    def __init__(self, why: str) -> None:
        self.why = why


_DONE = object()  # to the main thread: the control thread has ended


class Runtime:
    """
    A program of components.

    ::

        with Runtime(name="app") as runtime:
            counter = runtime.add(Counter(name="counter"))

    Args:
        name: The root's, and so the first part of every path.
        components: What starts with it, in order.
        strategy: The root container's; see `Container`.
        shutdown_deadline: Seconds for the whole stop.
        transitions: ``parked``, or ``new``: each on a thread made for it.
        threads: Where threads and clocks come from; the system's by default.

    Thread safety: any thread may call any method.
    """

    def __init__(
        self,
        name: str = "app",
        components: Sequence[Component] = (),
        *,
        strategy: Strategy = "one-for-one",
        shutdown_deadline: float = SHUTDOWN_DEADLINE,
        transitions: Transitions = "parked",
        threads: Threads | None = None,
    ) -> None:
        if threads is None:
            threads = SystemThreads(lambda where, e: self._services.crashed(where, e))
        root = Container(name=name, components=tuple(components), strategy=strategy)
        self._services = services = Services(name, threads, transitions)
        services.ref_of = ref_of
        services.find = lambda cell, path: ref_of(find_cell(cell, path))
        services.on_finished = lambda: self._wishes.put(_Say.FINISHED)
        self.name = name
        self.shutdown_deadline = shutdown_deadline
        self._threads = threads
        self._cell = make_cell(root, None, services)
        self._cell.tell = self._take_report
        self._root: ContainerRef[Container] = ContainerRef(self._cell)
        self._wishes = threads.queue()  # to the control thread
        self._lock = threads.lock()
        self._reloading = threads.lock()
        self._control: Thread | None = None
        self._started: Future[None] = Future(threads, f"the start of '{name}'")
        self._ended: Future[StopReport] = Future(threads, f"the end of '{name}'")
        self._code = OK
        self._ends_when_finished = False
        self._reload: Callable[[], object] | None = None

    # -- a program's main ---------------------------------------------------------------

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """
        Return the runtime that the YAML file at *path* describes.

        SIGHUP reads the file again and applies the difference.

        Raises:
            ConfigError: The file has faults; all are listed.
        """
        from kinesis.reloading import runtime_from_file  # lazy: reads YAML

        return runtime_from_file(cls, path, **options)

    def run(self) -> int:
        """
        Run until stopped, and return the exit code.

        0 stopped as asked, or everything finished by itself; 1 it could not start,
        or a failure reached the root; 3 it stopped, but something hangs. In the
        main thread the first SIGINT or SIGTERM stops everything; a second one, more
        than 0.25 s later, ends the process with 130 or 143. SIGHUP reloads, SIGUSR1
        prints the tree and all stacks to stderr. Elsewhere no handler is installed.
        """
        self._ends_when_finished = True
        self._begin()
        if not self._threads.in_main_thread():
            report(logging.DEBUG, self._cell.path, "not the main thread: no signals")
            self.join()
            return self._code
        signals = self._threads.queue()
        self._ended.add_done_callback(lambda _: signals.put(_DONE))
        with Interrupts(signals):
            self._obey_signals(signals)
        self.join()
        return self._code

    def _obey_signals(self, signals: Any) -> None:
        """Wait for signals until all has ended; on the main thread."""
        patience = Patience()
        while (number := signals.get()) is not _DONE:
            now = self._threads.monotonic()
            if number == DUMP:
                self._aside(self._dump)
            elif number == RELOAD:
                self._aside(self._reload_now)
            elif patience.is_first(now):
                self._wishes.put(_Stop(f"signal {number}"))
            elif patience.is_second(now):
                self._force(number)

    def _aside(self, job: Callable[[], object]) -> None:
        """Do *job* on a thread of its own: this one must hear the next signal."""
        try:
            self._threads.start(job, f"kinesis:{self.name}:aside", background=True)
        except RuntimeError as error:
            report(logging.ERROR, self._cell.path, "no thread for a signal", error)

    def _force(self, number: int) -> None:
        """End the process at once, after a line that says what still ran."""
        from kinesis.leave import leave  # lazy: only for this

        line = (
            f"kinesis: forced exit; still running: {reports.running_now(self._cell)}\n"
        )
        self._aside(lambda: sys.stderr.write(line))
        leave(128 + number, True, self._threads)

    def _dump(self) -> None:
        """Print the tree and all stacks."""
        sys.stderr.write(reports.dump(self._cell, self._services))
        sys.stderr.flush()

    def _reload_now(self) -> None:
        """Read the file again, if there is one."""
        if self._reload is None:
            report(logging.WARNING, self._cell.path, "nothing to reload: no file")
            return
        with self._reloading:
            self._reload()

    # -- inside another program -----------------------------------------------------------

    def start(self, timeout: float | None = None) -> Self:
        """
        Start the components, and return once all are STARTED.

        Installs no signal handlers. Idempotent while it runs.

        Raises:
            ActivationError: One did not start; those that had are stopped.
            StageError: It has been stopped: make a new one.
            WaitTimeoutError: Not within *timeout* seconds.
        """
        self._begin()
        report(logging.DEBUG, self._cell.path, "embedded: no signal handlers")
        self._started.result(timeout)
        return self

    def _begin(self) -> None:
        """Start the control thread, which boots."""
        self._services.check_process()
        with self._lock:
            if self._ended.done():
                raise StageError(
                    f"the runtime '{self.name}' has been stopped, and does not start "
                    f"again. Make a new Runtime."
                )
            if self._control is None:
                name = f"kinesis:{self.name}:control"
                self._control = self._threads.start(self._run_control, name)

    def stop(self, timeout: float | None = None) -> StopReport:
        """
        Stop everything, the last started first; wait for it, join every thread.

        Idempotent. Called by a component, it does not wait.

        Args:
            timeout: Seconds; None: the shutdown deadline, and a little more.

        Raises:
            HungError: Code of these components still runs; their threads cannot
                be ended. The process goes on.
        """
        self._services.check_process()
        if self._control is None:
            self._finish_unstarted()
        self._wishes.put(_Stop("stop()"))
        if timeout is None:
            timeout = self.shutdown_deadline + 5 * JOIN_SECONDS
        told = self._ended.result(timeout)
        if told.late:
            paths = tuple(late.path for late in told.late)
            raise HungError(
                f"'{self.name}' has stopped, but these still run: {', '.join(paths)}. "
                f"Their threads cannot be ended:\n{told}",
                paths=paths,
            )
        return told

    def join(self, timeout: float | None = None) -> int:
        """
        Wait until it has ended, and return the exit code.

        Raises:
            WaitTimeoutError: It runs for longer than *timeout* seconds.
        """
        self._ended.result(timeout)
        control = self._control
        if control is not None and control.ident != self._threads.get_ident():
            control.join(JOIN_SECONDS)
        return self._code

    def _finish_unstarted(self) -> None:
        """End a runtime that was never started."""
        with self._lock:
            if self._control is None:
                self._ended.set_result(StopReport(0.0, (), ()))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.join(JOIN_SECONDS)

    # -- the tree -------------------------------------------------------------------------

    @property
    def root(self) -> ContainerRef[Container]:
        """The root container."""
        return self._root

    def add(self, component: Any, timeout: float | None = None) -> Any:
        """Start *component* in the root; see `ContainerRef.add`."""
        return self._root.add(component, timeout)

    def add_nowait(self, component: Component) -> Future[Any]:
        """Have *component* started in its turn; see `ContainerRef.add_nowait`."""
        return self._root.add_nowait(component)

    def remove(self, name: str, timeout: float | None = 60.0) -> None:
        """Stop and forget a child of the root; see `ContainerRef.remove`."""
        self._root.remove(name, timeout)

    def __getitem__(self, path: str) -> Any:
        """Return the `Ref` at *path*: ``/app/shop/stock``, or ``shop/stock``."""
        return self._root[path] if path != self._cell.path else self._root

    def __contains__(self, path: object) -> bool:
        return path == self._cell.path or path in self._root

    def __iter__(self) -> Any:
        return iter(self._root)

    def __len__(self) -> int:
        return len(self._root)

    def __bool__(self) -> bool:
        return True

    @property
    def exit_code(self) -> int:
        """What `run` returns, or would by now."""
        return self._code

    def __repr__(self) -> str:
        return f"<Runtime {self.name} {self._root!r}>"

    # -- the control thread ------------------------------------------------------------------

    def _take_report(self, told: Report) -> bool:
        """Take what the root's lifecycle reports."""
        self._wishes.put(told)
        return True

    def _run_control(self) -> None:
        """Boot, wait, stop, join; whatever comes, it ends."""
        began = self._threads.monotonic()
        try:
            began = self._control_tree()
        except BaseException as error:
            self._services.crashed(f"/{self.name}", error)
            self._code = FAILED
        finally:
            self._close(began)

    def _control_tree(self) -> float:
        """Boot the tree and see it down; return when its stop began."""
        threads, cell = self._threads, self._cell
        notifier = Notifier()
        cell.life = life = Lifecycle(cell, cell.supervisor)
        cell.serving = life.serving
        cell.component._kinesis = life.inside
        watch = self._services.timers.call_later(
            WATCH_SECONDS, self._watch, period=WATCH_SECONDS
        )
        ping = _period(notifier)
        life.activate()
        stopping: float | None = None
        while True:
            try:
                wish = self._wishes.get(timeout=ping)
            except Empty:
                notifier.tell("WATCHDOG=1")
                continue
            now = threads.monotonic()
            if isinstance(wish, _Stop) and stopping is None:
                stopping = self._begin_stop(wish.why, now, notifier)
            elif wish is _Say.FINISHED and stopping is None:
                if self._ends_when_finished and cell.supervisor.books.all_finished():
                    stopping = self._begin_stop("all have finished", now, notifier)
            elif wish is _Say.LATE:
                break
            elif isinstance(wish, Report):
                if wish.kind is Kind.STARTED:
                    notifier.tell("READY=1")
                    self._started.set_result(None)
                elif wish.kind is Kind.FAILED and stopping is None:
                    stopping = self._fail(wish.outcome, now, notifier)
                elif wish.kind is Kind.TORN_DOWN:
                    stopping = now if stopping is None else stopping
                    break
        watch.cancel()
        return stopping

    def _begin_stop(self, why: str, now: float, notifier: Notifier) -> float:
        """Order the whole tree to stop, and set its deadline; return *now*."""
        report(logging.INFO, self._cell.path, f"stopping: {why}")
        self._cell.note(f"stopped: {why}")
        self._order_stop(notifier)
        if self._cell.life is not None:
            self._cell.life.stop(tear_down=True)
        return now

    def _order_stop(self, notifier: Notifier) -> None:
        notifier.tell("STOPPING=1")
        self._services.stopped.clear()
        self._services.timers.call_later(
            self.shutdown_deadline, lambda: self._wishes.put(_Say.LATE)
        )

    def _fail(self, outcome: Outcome | None, now: float, notifier: Notifier) -> float:
        """A failure has reached the root: everything stops."""
        self._code = FAILED
        text = f"failed, so everything stops: {explain(outcome)}"
        report(logging.ERROR, self._cell.path, text)
        self._cell.note(text)
        self._order_stop(notifier)
        self._started.set_exception(activation_error(self._cell.path, outcome))
        if self._cell.life is not None:
            self._cell.life.fail()
        return now

    def _watch(self) -> None:
        """Look for handlers that run for long; on the timer thread."""
        now = self._threads.monotonic()
        for cell in reports.all_cells(self._cell):
            if cell.busy_since is not None:
                cell.look_for_stall(now)

    def _close(self, began: float) -> None:
        """Join every thread, in activation order; say how it went."""
        services, threads = self._services, self._threads
        until = threads.monotonic() + JOIN_SECONDS
        for cell in reports.in_activation_order(self._cell):
            for thread in cell.threads():
                wait = 0.0 if cell.hung is not None else until - threads.monotonic()
                thread.join(max(0.0, wait))
        for thread in services.left_behind():
            thread.join(max(0.0, until - threads.monotonic()))
        services.changes.close(JOIN_SECONDS)
        services.timers.close(JOIN_SECONDS)
        threads.close(JOIN_SECONDS)
        late = reports.late_ones(self._cell, services)
        seconds = threads.monotonic() - began
        told = StopReport(seconds, tuple(services.stopped), late)
        level = logging.ERROR if late else logging.INFO
        report(level, self._cell.path, str(told))
        if late:
            self._code = HUNG
        self._started.set_exception(
            WaitTimeoutError(f"'{self.name}' was stopped before it had started.")
        )
        self._ended.set_result(told)


def _period(notifier: Notifier) -> float | None:
    """Return how often to tell systemd that we live: twice as often as it asks."""
    seconds = notifier.watchdog_seconds
    return None if seconds is None else seconds / 2
