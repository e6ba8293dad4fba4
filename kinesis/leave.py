"""
The last second of a process that the command ends.

When everything has stopped, `sys.exit` is right. When something hangs it is not:
a thread that is stuck in `print` makes the interpreter abort, and one whose
standard output is a full pipe makes it wait for ever (both reproduced). Then the
usual tidying up is done by helper threads, for at most `TIDY_SECONDS`, and the
process ends through `os._exit`.

The command calls this, and `Runtime.run` after a second signal to stop. An embedded
runtime never ends its host.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import NoReturn, TextIO

from kinesis.concurrency import Thread, Threads

TIDY_SECONDS = 1.0  # all the tidying up together
ECHO_SECONDS = 0.25  # a signal to stop that comes so soon is of the one obeyed

STOPS = (signal.SIGINT, signal.SIGTERM)

Step = Callable[[], object]


def leave(code: int, hung: bool, threads: Threads, *first: Step) -> NoReturn:
    """
    End the process with *code*, within `TIDY_SECONDS` if something hangs.

    Args:
        code: What the operating system is told.
        hung: Whether code of a component still runs, or nobody waited to see:
            after exit code 3, and after a forced exit (130, 143).
        threads: Where the helpers come from.
        first: Steps that come before the usual ones, such as last words.

    Raises:
        SystemExit: Nothing hung, and what was printed has been taken.
    """
    usual: list[Step] = [flush_stdout, flush_stderr]
    if hung:
        usual = [run_atexit, logging.shutdown, *usual]
    ignore_echoes(threads)
    clean = False
    try:
        clean = tidy_up(threads, [*first, *usual])
    finally:  # whatever comes in between, such as one more ctrl-c
        if hung or not clean:
            os._exit(code)
    sys.exit(code)


def ignore_echoes(threads: Threads) -> None:
    """
    Let no signal to stop change the exit code, now that all has stopped.

    A key that is pressed twice, or a supervisor that sends twice, would else have
    the process killed in its last moments. After `ECHO_SECONDS` it is somebody who
    waits for an exit that hangs, and the process ends at once. See `deafen` too.
    """
    if not threads.in_main_thread():
        return  # signals are not its affair
    until = threads.monotonic() + ECHO_SECONDS

    def handle(number: int, _: FrameType | None) -> None:
        if threads.monotonic() > until:
            os._exit(128 + number)

    for each in STOPS:
        signal.signal(each, handle)


def deafen() -> None:
    """
    Ignore signals to stop; for the last of all that is registered with `atexit`.

    After that Python takes its handlers away, and a signal would kill the process.
    """
    with contextlib.suppress(ValueError):  # in a helper, and so nearly at the end
        for each in STOPS:
            signal.signal(each, signal.SIG_IGN)


def tidy_up(
    threads: Threads, steps: Iterable[Step], seconds: float = TIDY_SECONDS
) -> bool:
    """
    Run *steps* one after another; return whether all have ended in *seconds*.

    Each has a helper thread of its own and an even share of the time that is left.
    The next begins when the share is used up; what is late may go on until the end.
    So one that is stuck takes nothing from the others. A step that raises has ended.
    """
    deadline = threads.monotonic() + seconds
    left = list(steps)
    helpers: list[Thread] = []
    while left:
        step, share = left.pop(0), (deadline - threads.monotonic()) / (len(left) + 1)
        try:
            helpers.append(threads.start(_quiet(step), "kinesis:leave"))
        except RuntimeError:  # no more threads; here the step could hang us all
            return False
        helpers[-1].join(max(0.0, share))
    for helper in helpers:
        helper.join(max(0.0, deadline - threads.monotonic()))
    return not any(helper.is_alive() for helper in helpers)


def _quiet(step: Step) -> Step:
    """Return *step* with its exceptions dropped: nobody is left to hear of them."""

    def run() -> None:
        with contextlib.suppress(BaseException):
            step()

    return run


def run_atexit() -> None:
    """Run what was registered with `atexit`; each of them at most once."""
    run = getattr(atexit, "_run_exitfuncs", None)  # private: another Python may not
    if run is not None:
        run()


def flush_stdout() -> None:
    """Hand on what was printed to standard output."""
    _flush(sys.stdout)


def flush_stderr() -> None:
    """Hand on what was printed to standard error."""
    _flush(sys.stderr)


def _flush(stream: TextIO | None) -> None:
    """
    Flush *stream*; when nobody takes its text any more, let the text go.

    Else the interpreter would try again at its very end, and make the exit code
    120, whatever the program's own was.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
