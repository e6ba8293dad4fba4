"""`kinesis run` in a process of its own, read line by line with a deadline."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0  # seconds that a line, or the end, may take on a busy machine

# The environment of a process that coverage does not look into: it would take twice
# as long, and show no line that others do not.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}

Line = dict[str, Any]
Wanted = Callable[[Line], bool]


class Program:
    """
    A program that runs, and what it has logged so far.

    A thread reads its log, so that a wait for a line has a deadline.
    """

    def __init__(self, file: Path, *options: str, **environment: str) -> None:
        self.lines: list[Line] = []
        self._new: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kinesis", "run", str(file), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        """Take each line of the log as it comes; others are kept as text."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text, "path": None, "level": None}
            self._new.put(line)
        self._new.put(None)

    def wait_for(self, wanted: Wanted, what: str) -> Line:
        """Return the next line that is *wanted*; *what* it is, for people."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"never logged: {what}\n{self.text()}") from None
            if line is None:
                raise AssertionError(f"ended before it logged: {what}\n{self.text()}")
            self.lines.append(line)
            if wanted(line):
                return line

    def wait_for_message(self, message: str, path: str | None = None) -> Line:
        """Return the next line whose message begins so, of *path* or of any."""
        return self.wait_for(
            lambda line: (
                line["message"].startswith(message) and path in (None, line["path"])
            ),
            f"'{message}' of {path or 'anybody'}",
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Have it end; return the exit code once the log has been read."""
        self.send(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._new.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return code

    def paths_of(self, message: str) -> list[str]:
        """Return the paths of the lines that say *message*, in order."""
        return [line["path"] for line in self.lines if line["message"] == message]

    def text(self) -> str:
        """Return what has been logged, for people."""
        return "\n".join(f"{each['path']}: {each['message']}" for each in self.lines)

    def close(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running(file: Path, *options: str, **environment: str) -> Iterator[Program]:
    """Yield the program of *file*; whatever happens, it ends."""
    program = Program(file, *options, **environment)
    try:
        yield program
    finally:
        program.close()
