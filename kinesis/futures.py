"""
A result that comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from kinesis.concurrency import FOREVER, Threads
from kinesis.errors import WaitTimeoutError

__all__ = ["Future", "OutsideFuture"]

T = TypeVar("T")


class Future(Generic[T]):
    """
    A result that comes later.

    The same questions as `concurrent.futures.Future` answers, on locks that come
    from a `Threads`. It is set once; whoever comes second is told so.

    Thread safety: any thread may call any method.
    """

    __slots__ = ("_callbacks", "_error", "_gate", "_mutex", "_value", "_what")

    def __init__(self, threads: Threads, what: str = "the result") -> None:
        self._what = what
        self._gate = threads.lock()
        self._gate.acquire()
        self._mutex = threads.lock()
        self._callbacks: tuple[Callable[[Future[T]], object], ...] | None = ()
        self._value: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Return whether the result is there."""
        return self._callbacks is None

    def result(self, timeout: float | None = None) -> T:
        """
        Wait for the result and return it, or raise what it failed with.

        Args:
            timeout: Seconds; None waits forever.

        Raises:
            WaitTimeoutError: It is not there in time.
        """
        self._wait(timeout)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set whenever there is no error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait as `result` does; return the error, or None for a value."""
        self._wait(timeout)
        return self._error

    def _wait(self, timeout: float | None) -> None:
        """Pass the gate, and leave it open for the next."""
        if self._callbacks is None:
            return
        if timeout is None or timeout > FOREVER:
            self._gate.acquire()
        elif not self._gate.acquire(timeout=max(0.0, timeout)):
            raise WaitTimeoutError(
                f"{self._what} did not come within {timeout:g} s. "
                f"Wait longer, or look at what it waits for."
            )
        self._gate.release()

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """
        Call *callback* with this future once it is done, at once if it is.

        If it has to wait for the result, it runs on the thread that sets it: keep it
        short. What one raises keeps no other from being called; it comes out of
        there, on that thread.
        """
        with self._mutex:
            if self._callbacks is not None:
                self._callbacks += (callback,)
                return
        callback(self)

    def set_result(self, value: T) -> bool:
        """Set the value; False if another result came first."""
        return self._set(value, None)

    def set_exception(self, error: BaseException) -> bool:
        """Set the error; False if another result came first."""
        return self._set(None, error)

    def _set(self, value: T | None, error: BaseException | None) -> bool:
        """Keep the first result, open the gate, tell who asked to be told."""
        with self._mutex:
            callbacks = self._callbacks
            if callbacks is None:
                return False
            self._value, self._error = value, error
            self._callbacks = None
        self._gate.release()
        if callbacks:
            self._let_know(callbacks)
        return True

    def _call(self, callbacks: tuple[Callable[[Future[T]], object], ...]) -> None:
        """Call all of them, whatever one raises."""
        first: BaseException | None = None
        for callback in callbacks:
            try:
                callback(self)
            except BaseException as error:
                first = first or error
        if first is not None:
            raise first

    def _let_know(self, callbacks: tuple[Callable[[Future[T]], object], ...]) -> None:
        """Call all of them, on the thread that has set the result."""
        self._call(callbacks)

    def __repr__(self) -> str:
        state = "waiting"
        if self.done():
            error = self._error
            state = "done" if error is None else f"failed: {type(error).__name__}"
        return f"<Future of {self._what} [{state}]>"


class OutsideFuture(Future[T]):
    """
    A future for code of users: its callbacks hold up nobody but one another.

    Those that have to wait for the result run, one after another, on a thread that
    has nothing else to do; what they raise is logged.
    """

    __slots__ = ("_threads",)

    def __init__(self, threads: Threads, what: str = "the result") -> None:
        super().__init__(threads, what)
        self._threads = threads

    def _let_know(self, callbacks: tuple[Callable[[Future[T]], object], ...]) -> None:
        """Call all of them on another thread; here if the system has none."""
        try:
            self._threads.fresh(lambda: self._call(callbacks))
        except RuntimeError:
            self._call(callbacks)
