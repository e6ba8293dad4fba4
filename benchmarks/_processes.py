"""
Times of whole processes: how soon they are up, how soon they have ended.
"""

from __future__ import annotations

import compileall
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kinesis

PATIENCE = 300.0  # seconds; what takes longer is killed, and fails the benchmark
PIPE_FULL = 1 << 20  # more than any pipe holds

PARTS = '''
import sys
import time

from kinesis import Component, Message, handles


class Ping(Message[int]):
    """The one type of message."""


class Idle(Component):
    @handles(Ping)
    def ping(self, message: Ping) -> int:
        return 1


class Up(Idle):
    """The last to start: says that all are up."""

    def start(self) -> None:
        print("up", file=sys.stderr, flush=True)


class Stuck(Up):
    """One that outlives every deadline."""

    def stop(self) -> None:
        while True:
            time.sleep(60.0)


class Chatty(Up):
    """One that is stuck in writing to a pipe that nobody reads."""

    def stop(self) -> None:
        while True:
            print("x" * 10_000, flush=True)
'''

MANY = """
import sys

from kinesis import Runtime
from parts import Idle, Up

parts = [Idle(name=f"idle-{number}") for number in range(int(sys.argv[1]) - 1)]
sys.exit(Runtime(name="bench", components=[*parts, Up(name="up")]).run())
"""

KINESIS = [sys.executable, "-m", "kinesis"]


def compile_package() -> None:
    """Compile kinesis, as an installed one is, also where Python is told not to."""
    compileall.compile_dir(Path(kinesis.__file__).parent, quiet=1)


def write_parts(folder: Path) -> None:
    """Write the modules that the processes here run."""
    (folder / "parts.py").write_text(PARTS, encoding="utf-8")
    (folder / "many.py").write_text(MANY, encoding="utf-8")


def write_file(folder: Path, count: int, last: str, stop_deadline: float = 5.0) -> str:
    """Write a file for ``kinesis run``: idle components, and *last* behind them."""
    lines = ["name: bench", "components:"]
    for number in range(count - 1):
        lines += [f"  - name: idle-{number}", "    type: parts:Idle"]
    lines += ["  - name: last", f"    type: parts:{last}"]
    lines += [f"    stop_deadline: {stop_deadline:g}"]
    path = folder / f"{last.lower()}-{count}.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


def seconds_of(arguments: list[str], folder: Path) -> float:
    """Return how long a process takes from its start to its end."""
    began = time.perf_counter()
    subprocess.run(arguments, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def seconds_until_up(arguments: list[str], folder: Path) -> float:
    """Return how long a process takes from its start until all of it is up."""
    began = time.perf_counter()
    with started(arguments, folder) as process:
        took = time.perf_counter() - began
        process.send_signal(signal.SIGTERM)
        expect(process, 0)
    return took


def seconds_to_exit(arguments: list[str], folder: Path, code: int = 0) -> float:
    """Return how long a process takes from SIGTERM until it ends with *code*."""
    with started(arguments, folder) as process:
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        expect(process, code)
        return time.perf_counter() - began


def seconds_to_exit_blocked(arguments: list[str], folder: Path, code: int) -> float:
    """Do as `seconds_to_exit`, with a standard output that is full from the start."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        fill(writing)
        os.set_blocking(writing, True)
        with started(arguments, folder, writing) as process:
            began = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            expect(process, code)
            return time.perf_counter() - began
    finally:
        os.close(reading)
        os.close(writing)


def fill(writing: int) -> None:
    """Write into a pipe until it takes no more."""
    for size in (4096, 1):
        try:
            for _ in range(PIPE_FULL):
                os.write(writing, b"x" * size)
        except BlockingIOError:
            continue


@contextmanager
def started(
    arguments: list[str], folder: Path, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """Run a process for the block, which begins once the process says that it is up."""
    with subprocess.Popen(
        arguments, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until_up(process)
            yield process
        finally:
            process.kill()


def wait_until_up(process: subprocess.Popen[str]) -> None:
    """Read what *process* says until it says that it is up."""
    said: list[str] = []
    for line in process.stderr or ():
        if line.strip() == "up":
            return
        said.append(line)
    raise RuntimeError(f"{process.args!r} did not come up:\n{''.join(said)}")


def expect(process: subprocess.Popen[str], code: int) -> None:
    """Wait for the end of *process*, which must be *code*."""
    _, said = process.communicate(timeout=PATIENCE)
    if process.returncode != code:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{said}")
