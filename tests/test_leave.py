"""The process ends in time, with the code that was meant, whatever hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

import pytest

from kinesis.concurrency import SystemThreads
from kinesis.leave import TIDY_SECONDS, tidy_up

PATIENCE = 20.0  # seconds until a process that should have ended is killed
SLACK = 2.0  # seconds for a Python to start and end on a busy machine

HEAD = """
import atexit, logging, os, sys, threading, time
from kinesis.concurrency import SystemThreads
from kinesis.leave import leave
threads = SystemThreads()
"""


def program(body: str) -> list[str]:
    """Return the command that runs *body* below the imports it needs."""
    return [sys.executable, "-c", HEAD + textwrap.dedent(body)]


# Output is held back until it is flushed, as it is for users.
BUFFERED = {
    key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"
}


def run(body: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run *body* to its end; return what it printed and its exit code."""
    return subprocess.run(
        program(body),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=BUFFERED,
    )


@pytest.mark.parametrize("code", [0, 1, 3])
def test_with_nothing_hung_the_interpreter_ends_as_usual(code: int) -> None:
    """
    What was printed is there, what was registered runs, the code is the code.
    """
    ended = run(f"""
        atexit.register(print, "at the end")
        print("printed")
        leave({code}, False, threads)
    """)

    assert (ended.returncode, ended.stdout) == (code, "printed\nat the end\n")
    assert ended.stderr == ""


@pytest.mark.parametrize("code", [3, 130, 143])
def test_with_something_hung_the_usual_is_tidied_up_and_the_process_ends(
    code: int,
) -> None:
    """
    Output is flushed, logs and what was registered come to their end; once.
    """
    ended = run(f"""
        class Handler(logging.Handler):
            def flush(self):
                print("log flushed")
            def emit(self, record): ...
        logging.getLogger().addHandler(Handler())
        atexit.register(print, "at the end")
        threads.start(threading.Event().wait, "stuck")
        print("printed", end=" ")
        print("said", end="", file=sys.stderr)
        leave({code}, True, threads)
    """)

    assert ended.returncode == code
    assert ended.stdout.startswith("printed at the end\n")
    assert ended.stdout.count("at the end") == 1
    assert "log flushed" in ended.stdout
    assert ended.stderr == "said"


STUCK = {
    "waits": "threading.Event().wait()",
    "waits for a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "sleeps": "time.sleep(1000)",
    "spins": "while True: pass",
    "prints": "while True: print('x' * 100)",
}


@pytest.mark.parametrize("body", STUCK.values(), ids=STUCK)
def test_no_thread_can_keep_the_process(body: str) -> None:
    """
    Whatever a thread is stuck in, the process ends with its code, in time.
    """
    ended = run(
        f"""
        def stuck():
            began.set()
            {body}
        began = threading.Event()
        threads.start(stuck, "stuck")
        began.wait()
        before = time.monotonic()
        print("printed", file=sys.stderr)
        atexit.register(lambda: print(time.monotonic() - before, file=sys.stderr))
        leave(3, True, threads)
        """
    )

    assert ended.returncode == 3
    assert ended.stderr.startswith("printed\n")
    assert float(ended.stderr.split()[1]) < TIDY_SECONDS


@pytest.mark.parametrize("hung", [True, False])
def test_a_full_pipe_does_not_keep_the_process(hung: bool) -> None:
    """
    Nobody reads standard output any more: what is left is given up after a second.
    """
    reader, writer = os.pipe()
    began = time.monotonic()
    try:
        ended = run(
            f"""
            os.set_blocking(1, False)
            try:
                while True:
                    os.write(1, b"." * 65536)
            except BlockingIOError:
                os.set_blocking(1, True)
            print("never read")
            atexit.register(print, "at the end", file=sys.stderr)
            leave(3, {hung}, threads)
            """,
            stdout=writer,
        )
    finally:
        os.close(reader)
        os.close(writer)

    assert ended.returncode == 3
    assert ended.stderr == ("at the end\n" if hung else "")
    assert TIDY_SECONDS * 0.9 <= time.monotonic() - began < TIDY_SECONDS + SLACK


@pytest.mark.parametrize("hung", [True, False])
def test_a_reader_that_is_gone_does_not_change_the_code(hung: bool) -> None:
    """
    The interpreter's own 120 for output that nobody took would be a lie.
    """
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = run(f"print('for nobody'); leave(1, {hung}, threads)", stdout=writer)
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (1, "")


def test_closed_streams_are_left_alone() -> None:
    """
    A service without standard output and error ends like any other.
    """
    ended = run("sys.stdout = sys.stderr = None; leave(3, True, threads)")

    assert ended.returncode == 3


def test_what_was_registered_and_hangs_takes_nothing_from_the_rest() -> None:
    """
    Each step has its share: a stuck exit function leaves the output its own.
    """
    ended = run("""
        atexit.register(threading.Event().wait)
        print("printed")
        leave(3, True, threads)
    """)

    assert (ended.returncode, ended.stdout) == (3, "printed\n")


def test_ctrl_c_on_the_way_out_changes_nothing() -> None:
    """
    A KeyboardInterrupt while tidying up does not bring the process back.
    """
    ended = run("""
        import _thread
        atexit.register(_thread.interrupt_main)
        atexit.register(threading.Event().wait, 0.1)
        threads.start(threading.Event().wait, "stuck")
        leave(130, True, threads)
    """)

    assert ended.returncode == 130


class NoMoreThreads(SystemThreads):
    """What a machine gives that has no thread left."""

    def start(
        self, target: Callable[[], object], name: str, *, background: bool = False
    ) -> threading.Thread:
        """Refuse."""
        raise RuntimeError("can't start new thread")


def test_without_a_thread_to_be_had_nothing_is_tried() -> None:
    """
    In this thread a step could hang for ever: the process just ends.
    """
    ran: list[int] = []

    assert not tidy_up(NoMoreThreads(), [lambda: ran.append(1)])
    assert ran == []


def test_steps_run_in_order_and_one_that_raises_has_ended() -> None:
    """
    Nobody is left to hear of an error; the next step runs.
    """
    ran: list[int] = []

    def second() -> None:
        ran.append(2)
        raise SystemExit

    steps = [lambda: ran.append(1), second, lambda: ran.append(3)]

    assert tidy_up(SystemThreads(), steps)
    assert ran == [1, 2, 3]


def test_a_step_that_is_stuck_is_told() -> None:
    """
    The others have run, and the answer says that not all have ended.
    """
    release = threading.Event()
    ran: list[int] = []
    ended = tidy_up(SystemThreads(), [release.wait, lambda: ran.append(1)], seconds=0.2)
    release.set()

    assert not ended
    assert ran == [1]


SEND = "os.kill(os.getpid(), signal.SIG{name})"


@pytest.mark.parametrize("name", ["INT", "TERM"])
@pytest.mark.parametrize("when", ["in an exit handler", "at the very end"])
def test_an_echo_of_the_signal_changes_no_exit_code(name: str, when: str) -> None:
    """
    A key pressed twice: the second signal meets a process that is ending well.
    """
    send = SEND.format(name=name)
    ended = run(f"""
        import os, signal
        from kinesis.leave import deafen
        class Last:
            def __init__(self, send): self.send = send
            def __del__(self): self.send()
        def send(kill=os.kill, pid=os.getpid(), number=signal.SIG{name}):
            kill(pid, number)
        atexit.register(deafen)
        if {when == "at the very end"}:
            sys.last = Last(send)  # goes when the interpreter takes itself apart
        else:
            atexit.register(lambda: {send})
        leave(0, False, threads)
    """)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_later_signal_ends_an_exit_that_hangs() -> None:
    """
    A thread that is no daemon keeps the process: ctrl-c must still end it.
    """
    ended = run("""
        import os, signal
        from kinesis.leave import ECHO_SECONDS
        def later():
            time.sleep(2 * ECHO_SECONDS)
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait()
        threading.Thread(target=later).start()
        leave(0, False, threads)
    """)

    assert ended.returncode == 130
