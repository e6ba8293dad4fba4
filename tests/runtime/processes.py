"""Python programs in processes of their own, read line by line with a deadline."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds that a line, or the end, may take on a busy machine
SLACK = 3.0  # seconds that a busy machine may add to what is measured

HEAD = """
import logging, os, signal, socket, sys, threading, time
from kinesis import Component, Container, Restart, Runtime

logging.basicConfig(
    level=logging.INFO, format="{path}: {message}", style="{", stream=sys.stderr
)
never = threading.Event()

def say(*words):
    print(*words, flush=True)

class Loop(Component):
    def start(self):
        self.stopping.wait()
"""


class Process:
    """
    A process that runs, and the lines that it has written.

    A thread reads each of its streams, so that every wait has a deadline.
    """

    def __init__(self, command: list[str], **options: Any) -> None:
        self.lines: list[str] = []  # of both streams, as they came
        self._new = threading.Condition()
        self._open = 0
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self.process = subprocess.Popen(
            command,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **given.pop("env", {})},
            **given,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream,))
            for stream in (self.process.stdout, self.process.stderr)
            if stream is not None
        ]
        self._open = len(self._readers)
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        """Take each line as it comes."""
        for line in stream:
            with self._new:
                self.lines.append(line.rstrip("\n"))
                self._new.notify_all()
        with self._new:
            self._open -= 1
            self._new.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Return the first line so far, or from now on, that *pattern* is found in."""
        wanted = re.compile(pattern)

        def found() -> str | None:
            return next((line for line in self.lines if wanted.search(line)), None)

        with self._new:
            came = self._new.wait_for(lambda: found() or not self._open, PATIENCE)
            line = found()
        why = "it never came" if not came else "the output ended before"
        assert line is not None, f"no line with {pattern!r}: {why}\n{self.text}"
        return line

    def send(self, *numbers: signal.Signals) -> None:
        """Send signals, at once."""
        for number in numbers:
            self.process.send_signal(number)

    def end(self, *numbers: signal.Signals) -> int:
        """Send signals; return the exit code once all output has been read."""
        self.send(*numbers)
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    @property
    def text(self) -> str:
        """All that it has written."""
        return "\n".join(self.lines)

    def matching(self, pattern: str) -> list[str]:
        """Return what *pattern* found in the lines: its group, or all of it."""
        found = (re.search(pattern, line) for line in list(self.lines))
        return [match[match.re.groups] for match in found if match]

    def close(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr, self.process.stdin):
            if stream is not None:
                stream.close()


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[Process]:
    """Yield the process of *command*; whatever happens, it ends."""
    process = Process(command, **options)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def script(body: str, **options: Any) -> Iterator[Process]:
    """Yield a process that runs *body* below `HEAD`."""
    source = HEAD + textwrap.dedent(body)
    with started([sys.executable, "-c", source], **options) as process:
        yield process


def command(directory: Path, module: str, *components: str) -> list[str]:
    """
    Write a program for ``kinesis run``; return the command that runs it.

    Args:
        module: The source of the components' classes, below `HEAD`.
        components: Such as ``Loop`` or ``Stuck, stop_deadline: 1``; named c0, c1, ...
    """
    directory.mkdir(exist_ok=True)
    (directory / "parts.py").write_text(HEAD + textwrap.dedent(module))
    items = []
    for number, words in enumerate(components):
        kind, *settings = words.split(", ")
        pairs = [f"name: c{number}", f"type: 'parts:{kind}'", *settings]
        items.append(f"  - {{{', '.join(pairs)}}}\n")
    file = directory / "app.yaml"
    file.write_text("name: app\ncomponents:\n" + "".join(items))
    return [sys.executable, "-m", "kinesis", "run", str(file), "--log-format", "text"]


class Stopwatch:
    """Measures what a block takes."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
