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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from kinesis import reports
from kinesis.component import Component
from kinesis.concurrency import Empty, Queue, SystemThreads, Threads
from kinesis.conductor import JOIN_SECONDS, Conductor, check_program
from kinesis.container import (
    Container,
    ContainerRef,
    K,
    N,
    find_cell,
    make_cell,
    ref_of,
)
from kinesis.errors import (
    ActivationError,
    ComponentStoppedError,
    HungError,
    KinesisError,
    StageError,
    WouldDeadlockError,
)
from kinesis.futures import Future
from kinesis.interrupts import DUMP, RELOAD, Interrupts, Patience, signal_name
from kinesis.refs import Ref
from kinesis.reports import StopReport
from kinesis.restarts import Strategy
from kinesis.services import Services, Transitions, report

if TYPE_CHECKING:
    from kinesis.web.component import HTTP

SHUTDOWN_DEADLINE = 30.0  # seconds for the whole stop
JOINS_TAKE = 30.0  # seconds at most, on a busy machine with ten thousand components
LOOK_SECONDS = 0.25  # how late a signal may be heard, once in a thousand times

_DONE = 0  # to the main thread, where signals have numbers: all has ended

Reload = Callable[[ContainerRef[Container]], object]


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
        reload: What SIGHUP calls, with the root, on a thread of its own and never
            twice at once; `from_file` gives one.
        http: The HTTP server: True for one at 127.0.0.1:8080, a port (0 takes a
            free one), or settings of `kinesis.web.HTTP` by name. None for none.
        threads: Where threads and clocks come from; the system's by default.

    Attributes:
        http: The component that serves HTTP, if one does: its `address`, and its
            `app` to add routes to.

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
        reload: Reload | None = None,
        http: Any = None,
        threads: Threads | None = None,
    ) -> None:
        check_program(shutdown_deadline, transitions)
        if threads is None:
            threads = SystemThreads(lambda where, e: self._services.crashed(where, e))
        server = None
        if http is not None and http is not False:
            from kinesis.web.component import component_for  # lazy: imports Werkzeug

            server = component_for(http, {component.name for component in components})
            components = (server, *components)
        root = Container(name=name, components=tuple(components), strategy=strategy)
        self._services = services = Services(name, threads, transitions)
        services.ref_of = ref_of
        services.find = lambda cell, path: ref_of(find_cell(cell, path))
        self.name = name
        self.shutdown_deadline = shutdown_deadline
        self._threads = threads
        self._cell = make_cell(root, None, services)
        self._root: ContainerRef[Container] = ContainerRef(self._cell)
        self._conductor = Conductor(self._cell, services, shutdown_deadline)
        self._http = server
        if server is not None:
            server.attach(find_cell(self._cell, server.name))
        self._reload = reload
        self._reload_wanted = False
        self._reloading = threads.lock()

    # -- a program's main --------------------------------------------------------

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """
        Return the runtime that the YAML file at *path* describes.

        SIGHUP reads the file again and applies the difference.

        Raises:
            ConfigError: The file has faults; all are listed.
        """
        from kinesis.reloading import runtime_from_file  # lazy: reads YAML

        runtime: Self = runtime_from_file(cls, path, **options)
        return runtime

    def run(self) -> int:
        """
        Run until stopped, and return the exit code.

        0 stopped as asked, or everything finished by itself; 1 it could not start,
        or a failure reached the root; 3 it stopped, but something hangs. In the
        main thread the first SIGINT or SIGTERM stops everything; a second one, more
        than 0.25 s later, ends the process with 130 or 143. SIGHUP reloads, SIGUSR1
        prints the tree and all stacks to stderr. Elsewhere no handler is installed.
        """
        if not self._threads.in_main_thread():
            self._begin(as_program=True)
            report(logging.DEBUG, self._cell.path, "not the main thread: no signals")
            return self.join()
        signals: Queue[int] = self._threads.queue()
        self._conductor.ended.add_done_callback(lambda _: signals.put(_DONE))
        with Interrupts(signals):
            self._begin(as_program=True)
            self._obey_signals(signals)
            return self.join()

    def _obey_signals(self, signals: Queue[int]) -> None:
        """Wait for signals until all has ended; on the main thread."""
        patience = Patience()
        while (number := self._next_signal(signals)) != _DONE:
            now = self._threads.monotonic()
            if number == DUMP:
                self._aside(self._dump)
            elif number == RELOAD:
                self._aside(self._reload_now)
            elif patience.is_first(now):
                self._conductor.stop(signal_name(number))
            elif patience.is_second(now):
                self._force(number)

    def _next_signal(self, signals: Queue[int]) -> int:
        """
        Wait for a signal.

        Python runs a handler in the main thread, once that thread is interrupted.
        A signal that comes just before it blocks does not interrupt it, and would
        wait for the next one: so look again every now and then.
        """
        while True:
            with suppress(Empty):
                return signals.get(timeout=LOOK_SECONDS)

    def _aside(self, job: Callable[[], object]) -> None:
        """Do *job* on a thread of its own: this one must hear the next signal."""
        try:
            self._threads.start(job, f"kinesis:{self.name}:aside", background=True)
        except RuntimeError as error:
            report(logging.ERROR, self._cell.path, "no thread for a signal", error)

    def _force(self, number: int) -> None:
        """End the process at once, after a line that says what still ran."""
        from kinesis.leave import leave  # lazy: only for this

        leave(128 + number, True, self._threads, self._say_what_runs)

    def _say_what_runs(self) -> None:
        still = reports.running_now(self._cell)
        reports.say(f"kinesis: forced exit; still running: {still}\n")

    def _dump(self) -> None:
        """Print the tree and all stacks."""
        reports.say(reports.dump(self._cell, self._services))

    def _reload_now(self) -> None:
        """
        Read the file again, if there is one.

        While one reload is under way, any number of wishes make one more.
        """
        if self._reload is None:
            report(logging.WARNING, self._cell.path, "nothing to reload: no file")
            return
        self._reload_wanted = True
        # Looked at again once the lock is free: no wish in between is lost.
        while self._reload_wanted and self._reloading.acquire(blocking=False):
            try:
                self._reload_wanted = False
                self._reload(self._root)
            finally:
                self._reloading.release()

    # -- inside another program --------------------------------------------------

    def start(self, timeout: float | None = None) -> Self:
        """
        Start the components, and return once all are STARTED.

        Installs no signal handlers. Idempotent while it runs.

        Raises:
            ActivationError: One did not start; those that had are stopped, and every
                thread has been joined.
            StageError: It has been stopped: make a new one.
            WaitTimeoutError: Not within *timeout* seconds.
            WouldDeadlockError: One of its components calls, before all are STARTED.
        """
        self._begin()
        report(logging.DEBUG, self._cell.path, "embedded: no signal handlers")
        self._check_waits(self._conductor.started)
        try:
            self._conductor.started.result(timeout)
        except (ActivationError, ComponentStoppedError):
            self.join(JOIN_SECONDS)
            raise
        return self

    def _begin(self, *, as_program: bool = False) -> None:
        """Start the control thread, which boots."""
        self._services.check_process()
        self._conductor.begin(as_program=as_program)

    def stop(self, timeout: float | None = None) -> StopReport:
        """
        Stop everything, the last started first; wait for it, join every thread.

        Idempotent. Called by a component, it does not wait.

        Args:
            timeout: Seconds; None: as long as a stop may take by its own deadlines.

        Raises:
            HungError: Code of these components still runs; their threads cannot
                be ended. The process goes on.
        """
        self._services.check_process()
        conductor = self._conductor
        conductor.stop("stop()")
        if self._services.inside() is not None and not conductor.ended.done():
            return StopReport(0.0, (), ())  # it would wait for itself
        if timeout is None:
            delay = self._services.doors.delay
            timeout = delay + self.shutdown_deadline + JOINS_TAKE
        told = conductor.ended.result(timeout)
        if told.late:
            paths = tuple(late.path for late in told.late)
            raise HungError(
                f"'{self.name}' has stopped, but these still run: {', '.join(paths)}. "
                f"Their threads cannot be ended:\n{told}",
                paths=paths,
            )
        self.join(JOIN_SECONDS)
        return told

    def join(self, timeout: float | None = None) -> int:
        """
        Wait until it has ended, and return the exit code.

        Raises:
            WaitTimeoutError: It runs for longer than *timeout* seconds.
            WouldDeadlockError: One of its components calls.
        """
        self._services.check_process()
        self._check_waits(self._conductor.ended)
        self._conductor.ended.result(timeout)
        thread = self._conductor.thread
        if thread is not None and thread.ident != self._threads.get_ident():
            thread.join(JOIN_SECONDS)
        return self._conductor.code

    def _check_waits(self, what: Future[Any]) -> None:
        """Refuse to let a component wait for what waits for it."""
        inside = self._services.inside()
        if inside is not None and not what.done():
            raise WouldDeadlockError(
                f"'{inside.path}' cannot wait for its own runtime, which waits for "
                f"it. A component may call stop(), which does not wait there.",
                chain=(inside.path, self._cell.path),
            )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # ctrl-c too: nobody else would stop what has begun
            with suppress(KinesisError):
                self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- the tree ----------------------------------------------------------------

    @property
    def root(self) -> ContainerRef[Container]:
        """The root container."""
        return self._root

    @property
    def http(self) -> HTTP:
        """
        The component that serves HTTP: its `address`, and its `app` for more routes.

        Raises:
            StageError: There is none, as nobody has asked for one.
        """
        if self._http is None:
            raise StageError(
                f"the runtime '{self.name}' serves no HTTP. Make it with http=True."
            )
        return self._http

    @overload
    def add(self, component: K, timeout: float | None = ...) -> ContainerRef[K]: ...
    @overload
    def add(self, component: N, timeout: float | None = ...) -> Ref[N]: ...
    def add(self, component: Any, timeout: float | None = None) -> Any:
        """Start *component* in the root; see `ContainerRef.add`."""
        return self._root.add(component, timeout)

    @overload
    def add_nowait(self, component: K) -> Future[ContainerRef[K]]: ...
    @overload
    def add_nowait(self, component: N) -> Future[Ref[N]]: ...
    def add_nowait(self, component: Any) -> Any:
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

    def __iter__(self) -> Iterator[Any]:
        return iter(self._root)

    def __len__(self) -> int:
        return len(self._root)

    def __bool__(self) -> bool:
        return True

    @property
    def exit_code(self) -> int:
        """What `run` returns, or would by now."""
        return self._conductor.code

    def __repr__(self) -> str:
        return f"<Runtime {self.name} {self._root!r}>"
