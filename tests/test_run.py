"""`kinesis run` in processes of its own: signals, exit codes, and who sees what."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kinesis.leave import TIDY_SECONDS

PATIENCE = 20.0  # seconds until a process that should have ended is killed
SLACK = 1.0  # seconds that a busy machine may add

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
    "PYTHONPATH": str(Path(__file__).parents[1]),
}

PARTS = """\
import os, sys, threading
from kinesis import Component

class Loop(Component):
    def start(self):
        while not self.stopping.wait(60): ...

class Done(Component):
    '''Has nothing to do, and so is finished at once.'''

class Broken(Component):
    def init(self):
        raise ValueError("no such port")

class Stuck(Component):
    def start(self):
        while not self.stopping.wait(60): ...
    def stop(self):
        threading.Event().wait()

class Chatty(Loop):
    '''Fills standard output, which nobody reads.'''
    def init(self):
        os.set_blocking(1, False)
        try:
            while True:
                os.write(1, b"." * 65536)
        except BlockingIOError:
            os.set_blocking(1, True)
        sys.stdout.write("never read")

class StuckChatty(Stuck, Chatty):
    '''Both.'''
"""


def write(directory: Path, *components: str) -> Path:
    """Write a program of components such as ``Loop`` or ``Stuck, stop_deadline: 1``."""
    (directory / "parts.py").write_text(PARTS)
    items = []
    for number, words in enumerate(components):
        kind, *settings = words.split(", ")
        pairs = [f"name: c{number}", f"type: 'parts:{kind}'", *settings]
        items.append(f"  - {{{', '.join(pairs)}}}\n")
    file = directory / "app.yaml"
    file.write_text("name: app\ncomponents:\n" + "".join(items))
    return file


@contextmanager
def running(
    file: Path, *options: str, **streams: Any
) -> Iterator[subprocess.Popen[str]]:
    """Yield the process that runs *file*; whatever happens, it ends."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    process = subprocess.Popen(
        [sys.executable, "-m", "kinesis", "run", str(file), *options],
        text=True,
        env=ENVIRONMENT,
        **given,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)  # ends every read from it, too
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        watchdog.join()
        process.kill()
        process.communicate()


def lines_until(
    process: subprocess.Popen[str], message: str, path: str
) -> list[dict[str, Any]]:
    """Read the log until *path* says *message*; return all lines so far."""
    assert process.stderr is not None
    found = []
    for text in process.stderr:
        found.append(json.loads(text))
        if (found[-1]["message"], found[-1]["path"]) == (message, path):
            return found
    raise AssertionError(f"{path} never said '{message}': {found}")


def stopped_by(
    process: subprocess.Popen[str], number: signal.Signals
) -> tuple[int, list[dict[str, Any]]]:
    """Send the signal; return the exit code and the rest of the log."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    logged = [json.loads(line) for line in errors.splitlines() if line[0] == "{"]
    return process.returncode, logged


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_reverse_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    """
    Exit code 0; each component's start and stop is a line with its path and time.
    """
    with running(write(tmp_path, "Loop", "Loop", "Loop")) as process:
        up = lines_until(process, "started", "/app")
        code, down = stopped_by(process, number)
    started = [line["path"] for line in up if line["message"] == "started"]
    stopped = [line["path"] for line in down if line["message"] == "stopped"]

    assert code == 0
    assert started == ["/app/c0", "/app/c1", "/app/c2", "/app"]
    assert [path for path in stopped if path != "/app"] == started[-2::-1]
    assert all(line["path"].startswith("/app") for line in [*up, *down])
    assert all(line["seconds"] < SLACK for line in up if line["message"] == "started")


def test_a_program_that_is_finished_ends_with_zero(tmp_path: Path) -> None:
    """
    Nobody has to stop what has nothing left to do.
    """
    with running(write(tmp_path, "Done")) as process:
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 0


def test_what_cannot_start_ends_with_one_and_says_why(tmp_path: Path) -> None:
    """
    The component's path and the exception are in the log.
    """
    with running(write(tmp_path, "Loop", "Broken")) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert "/app/c1" in errors
    assert "ValueError: no such port" in errors


def test_a_program_without_http_imports_no_server(tmp_path: Path) -> None:
    """
    A program starts at once: what it does not use, it does not import.
    """
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kinesis", "run"]
        + [str(write(tmp_path, "Done"))],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRONMENT,
    )
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    loaded = {name.partition(".")[0] for name in names}

    assert "yaml" in loaded
    assert not loaded & {"waitress", "werkzeug"}


@pytest.mark.parametrize("full", [False, True], ids=["", "full pipe"])
def test_what_hangs_ends_with_three_in_time(tmp_path: Path, full: bool) -> None:
    """
    Within the stop deadline and 1.2 s, also when nobody reads standard output.
    """
    kind = "StuckChatty" if full else "Stuck"
    reader, writer = os.pipe()
    try:
        file = write(tmp_path, f"{kind}, stop_deadline: 0.5")
        with running(file, stdout=writer) as process:
            lines_until(process, "started", "/app")
            began = time.monotonic()
            code, logged = stopped_by(process, signal.SIGTERM)
            taken = time.monotonic() - began
    finally:
        os.close(reader)
        os.close(writer)
    hung = [line for line in logged if line.get("hung")]

    assert code == 3
    assert taken < 0.5 + 1.2 + SLACK
    assert [line["path"] for line in hung] == ["/app/c0"]
    assert "parts.py" in hung[0]["message"]


def test_a_full_pipe_alone_does_not_hold_the_end(tmp_path: Path) -> None:
    """
    Output that nobody takes is given up: exit code 0 all the same.
    """
    reader, writer = os.pipe()
    try:
        with running(write(tmp_path, "Chatty"), stdout=writer) as process:
            lines_until(process, "started", "/app")
            began = time.monotonic()
            code, _ = stopped_by(process, signal.SIGTERM)
            taken = time.monotonic() - began
    finally:
        os.close(reader)
        os.close(writer)

    assert code == 0
    assert taken < TIDY_SECONDS + SLACK


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_the_second_signal_forces_it(
    tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    """
    More than 0.25 s after the first; what was still running is named.
    """
    with running(write(tmp_path, "Stuck, stop_deadline: 60")) as process:
        lines_until(process, "started", "/app")
        process.send_signal(number)
        lines_until(process, f"stopping: {number.name}", "/app")
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(number)  # within 0.25 s of the first: still the first
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == expected
    assert "/app/c0" in errors


def test_on_a_terminal_people_see_each_component_come_up(tmp_path: Path) -> None:
    """
    Time, level, path, message, and how long it took.
    """
    master, slave = os.openpty()
    raw = b""
    try:
        with running(write(tmp_path, "Loop"), stderr=slave) as process:
            os.close(slave)
            while not re.search(r"/app +started", seen := without_colours(raw)):
                raw += os.read(master, 4096)
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
    finally:
        os.close(master)

    assert re.search(
        r"^[\d:.]{12} info     /app/c0 +started \d\.\d{3} s\r?$", seen, re.M
    )


def without_colours(raw: bytes) -> str:
    """Return what a terminal shows of *raw*, all in one colour."""
    return re.sub(r"\x1b\[[0-9;]*m", "", raw.decode(errors="replace"))


def test_a_closed_standard_error_changes_nothing(tmp_path: Path) -> None:
    """
    A service that nobody listens to works, and stops, like any other.
    """
    file = write(tmp_path, "Done")
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&- >&-', "sh", sys.executable]
        + ["-m", "kinesis", "run", str(file)],
        timeout=PATIENCE,
        check=False,
        env=ENVIRONMENT,
    )

    assert ended.returncode == 0
