"""The demo runs, shows what it promises, and stops at once."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kinesis import ComponentChange, Runtime
from kinesis.errors import ETagMismatchError
from tests.programs import PATIENCE, ROOT, UNMEASURED, Program, running

pytest.importorskip("psutil", reason="the demo's own: pip install -e '.[demo]'")
pytest.importorskip("rich", reason="the demo's own: pip install -e '.[demo]'")

DEMO = ROOT / "demo"
FILE = DEMO / "demo.yaml"

UP = [
    "/hostwatch/http",
    "/hostwatch/recorder",
    "/hostwatch/analysis/statistics",
    "/hostwatch/analysis/limits",
    "/hostwatch/analysis/alarm",
    "/hostwatch/analysis/tuner",
    "/hostwatch/analysis",
    "/hostwatch/sampling/host",
    "/hostwatch/sampling/self",
    "/hostwatch/sampling/busiest",
    "/hostwatch/sampling",
    "/hostwatch/screen",
    "/hostwatch",
]
"""As they reach STARTED: a container after what is in it."""

DOWN = [
    "/hostwatch/screen",
    "/hostwatch/sampling/busiest",
    "/hostwatch/sampling/self",
    "/hostwatch/sampling/host",
    "/hostwatch/sampling",
    "/hostwatch/analysis/tuner",
    "/hostwatch/analysis/alarm",
    "/hostwatch/analysis/limits",
    "/hostwatch/analysis/statistics",
    "/hostwatch/analysis",
    "/hostwatch/recorder",
    "/hostwatch/http",
    "/hostwatch",
]
"""Siblings in the reverse order."""

QUICK = {
    **UNMEASURED,
    "HOSTWATCH_INTERVAL": "0.05",  # seconds
    "HOSTWATCH_REPORT": "0.2",  # seconds
    "HOSTWATCH_PORT": "0",  # any that is free
}
STEADY = {**QUICK, "HOSTWATCH_CHANCE": "0"}

STOP_SECONDS = 1.0  # "well under a second", with room for a busy machine


# -- the program, as a user has it ------------------------------------------------


def started(program: Program) -> None:
    """Wait until everything is up."""
    program.wait_for_message("started", "/hostwatch")


def moment(line: dict[str, Any]) -> datetime:
    """Return when *line* was logged."""
    return datetime.fromisoformat(line["time"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_at_once_in_the_reverse_order_and_with_0(
    number: signal.Signals,
) -> None:
    """
    Each component's start and stop is logged; nothing is logged as an error.
    """
    with running(FILE, **STEADY) as program:
        started(program)
        up = program.paths_of("started")
        code = program.end(number)
    levels = {line["level"] for line in program.lines}
    (began,) = [each for each in program.lines if "stopping" in each["message"]]
    seconds = moment(program.lines[-1]) - moment(began)

    assert code == 0
    assert up == UP
    assert program.paths_of("stopped") == DOWN
    assert levels <= {"info", "warning"}, program.text()
    assert seconds < timedelta(seconds=STOP_SECONDS)


def test_without_a_terminal_it_logs_what_it_measures() -> None:
    """
    One line now and then, and nothing on standard output.
    """
    with running(FILE, **STEADY) as program:
        line = program.wait_for_message("cpu ", "/hostwatch/screen")
        code = program.end()
        assert program.process.stdout is not None
        out = program.process.stdout.read()

    for metric in ("cpu", "memory", "disk", "received", "sent", "own memory"):
        assert re.search(rf"{metric} [\d.]+ ", line["message"])
    assert code == 0
    assert out == ""


def test_one_component_fails_and_comes_back_and_no_other_notices() -> None:
    """
    Later each time in a row; the failure does not go up.
    """
    with running(FILE, **QUICK, HOSTWATCH_CHANCE="1") as program:
        started(program)
        path = "/hostwatch/sampling/busiest"
        for attempt in (1, 2):
            program.wait_for_message("start failed: LostTrackError", path)
            program.wait_for_message(f"failed: restart {attempt} in ", path)
            program.wait_for_message("started", path)
        code = program.end()
    waits = [
        float(found[1])
        for line in program.lines
        if (found := re.fullmatch(r"failed: restart \d in (.*) s", line["message"]))
    ]

    assert waits[:2] == [pytest.approx(0.5, rel=0.11), pytest.approx(1.0, rel=0.11)]
    assert [each for each in program.paths_of("started") if each != path] == [
        each for each in UP if each != path
    ]
    assert program.paths_of("stopped") == DOWN
    assert code == 0


def test_what_was_accepted_is_in_the_file(tmp_path: Path) -> None:
    """
    The recorder stops last, and writes what it had accepted before.
    """
    file = tmp_path / "hostwatch.sqlite"
    with running(FILE, **STEADY, HOSTWATCH_FILE=str(file)) as program:
        program.wait_for_message("cpu ", "/hostwatch/screen")
        program.end()
        (last,) = [
            each["message"]
            for each in program.lines
            if each["message"].startswith("recorded ")
        ]
    connection = sqlite3.connect(file)
    rows = dict(
        connection.execute("select metric, count(*) from sample group by metric")
    )
    connection.close()
    samples = re.fullmatch(r"recorded (\d+) samples, \d+ alerts", last)

    assert samples is not None, last
    assert rows["cpu"] + rows["own cpu"] == int(samples[1])


def test_a_limit_is_changed_while_it_runs(tmp_path: Path) -> None:
    """
    SIGHUP replaces the limits alone; samples go on, and the alarm asks the new ones.
    """
    file = tmp_path / "demo.yaml"
    file.write_text(FILE.read_text())
    places = os.pathsep.join([str(ROOT), str(DEMO)])
    with running(file, **STEADY, PYTHONPATH=places) as program:
        started(program)
        file.write_text(FILE.read_text().replace("memory: 90.0", "memory: 0.0"))
        program.send(signal.SIGHUP)
        program.wait_for_message("reloaded", "/hostwatch")
        program.wait_for_message("memory is ", "/hostwatch/analysis/alarm")
        code = program.end()

    assert program.paths_of("started") == [*UP, "/hostwatch/analysis/limits"]
    assert code == 0


# -- on a terminal ------------------------------------------------------------------


class Terminal:
    """A pseudo terminal with the demo on it; its output is kept as it comes."""

    def __init__(self, **environment: str) -> None:
        self.shown = ""
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kinesis", "run", str(FILE)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm",
                "COLUMNS": "120",
                "LINES": "50",
                **environment,
            },
        )
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Read until *text* has been shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            seconds = max(0.0, deadline - time.monotonic())
            assert self._read(seconds), f"never shown: {text}\n{self.shown}"

    def _read(self, seconds: float) -> bool:
        """Read what comes within *seconds*; return whether something did."""
        if not select.select([self._own], [], [], seconds)[0]:
            return False
        with suppress(OSError):  # how Linux says that nobody is left on it
            piece = os.read(self._own, 65536)
            self.shown += piece.decode("utf-8", "replace")
            return bool(piece)
        return False

    def end(self, number: signal.Signals) -> int:
        """Send the signal, read to the end, return the exit code."""
        self.process.send_signal(number)
        while self._read(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@contextmanager
def on_terminal(**environment: str) -> Iterator[Terminal]:
    """Yield the demo on a terminal; whatever happens, it ends."""
    terminal = Terminal(**environment)
    try:
        yield terminal
    finally:
        terminal.close()


def plain(shown: str) -> str:
    """Return *shown* without what moves the cursor or colours the text."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)


def test_on_a_terminal_there_is_a_picture_and_the_log_above_it() -> None:
    """
    A line of the log never lands inside the picture; the cursor comes back.
    """
    with on_terminal(**QUICK, HOSTWATCH_CHANCE="1") as terminal:
        terminal.wait_for("last values")
        terminal.wait_for("failed: restart 1 in ")
        terminal.wait_for("RESTARTING")
        code = terminal.end(signal.SIGINT)
    stops = re.findall(r" (/\S+) +stopped +[\d.]+ s", plain(terminal.shown))
    lines = plain(terminal.shown).replace("\r", "").splitlines()
    logged = [line for line in lines if "restart 1 in " in line]

    assert code == 0
    assert stops == DOWN
    assert all(re.match(r"[\d:.]+ warning ", line) for line in logged), logged
    assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")


def test_a_terminal_that_cannot_move_its_cursor_gets_lines() -> None:
    """
    ``TERM=dumb`` is what editors and some continuous integration have.
    """
    with on_terminal(**STEADY, TERM="dumb") as terminal:
        terminal.wait_for("cpu ")
        code = terminal.end(signal.SIGINT)

    assert code == 0
    assert "last values" not in terminal.shown
    assert "\x1b[?25l" not in terminal.shown


def test_all_stacks_are_shown_above_the_picture() -> None:
    """
    SIGUSR1 on a terminal: the tree, the threads, and then the picture goes on.
    """
    with on_terminal(**STEADY) as terminal:
        terminal.wait_for("last values")
        terminal.process.send_signal(signal.SIGUSR1)
        terminal.wait_for("-- kinesis:/hostwatch/recorder")
        terminal.shown = ""
        terminal.wait_for("last values")
        code = terminal.end(signal.SIGINT)

    assert code == 0


# -- its parts, in this process -----------------------------------------------------


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what gives the demo's modules: ``parts("alerts")``."""
    monkeypatch.syspath_prepend(DEMO)
    return lambda name: import_module(f"hostwatch.{name}")


def test_no_write_of_a_limit_is_lost(parts: Any) -> None:
    """
    Two that look, decide and write at the same time; the ETag tells who is late.
    """
    alerts = parts("alerts")
    rounds, late = 50, []

    def count(metric: str) -> None:
        def more(seen: Any) -> dict[str, float]:
            return {**seen.above, metric: seen.above[metric] + 1}

        for _ in range(rounds):
            while True:
                try:
                    alerts.adjust(limits, more)
                    break
                except ETagMismatchError as error:  # ten times in a row
                    late.append(error)

    with Runtime() as runtime:
        limits = runtime.add(alerts.Limits(name="limits", usual={"a": 0, "b": 0}))
        threads = [threading.Thread(target=count, args=(each,)) for each in "aabb"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        assert limits.snapshot().above == {"a": 2 * rounds, "b": 2 * rounds}


def test_an_alarm_cries_once_raises_its_limit_and_has_it_recorded(parts: Any) -> None:
    """
    From a sample to a row in the file: messages, a subscription, and an ETag.
    """
    alerts, readings = parts("alerts"), parts("readings")
    with Runtime() as runtime:
        recorder = runtime.add(parts("recorder").Recorder(name="recorder"))
        source = runtime.add(parts("analysis").Statistics(name="statistics"))
        limits = runtime.add(alerts.Limits(name="limits", usual={"cpu": 50.0}))
        alarm = runtime.add(
            alerts.Alarm(
                name="alarm", source="statistics", limits="limits", recorder="recorder"
            )
        )
        with recorder.subscribe(kinds=[ComponentChange]) as recorded:
            for value in (10.0, 60.0, 70.0):
                source.send(readings.Sample(0.0, {"cpu": value}))
            change = recorded.get(PATIENCE)
        with alarm.subscribe(kinds=[ComponentChange]) as told:
            source.send(readings.Sample(0.0, {"cpu": 40.0}))
            while (change := told.get(PATIENCE)).current.open:
                pass

        assert change.current.cried == 1
        assert recorder.snapshot().alerts == 1
        assert limits.snapshot().above == {"cpu": 55.0}


def test_raised_limits_come_back_step_by_step(parts: Any) -> None:
    """
    The tuner's timer; it never goes below what is usual.
    """
    alerts = parts("alerts")
    limits = alerts.Limits(name="limits", usual={"cpu": 50.0}, above={"cpu": 51.2})
    with Runtime() as runtime:
        ref = runtime.add(limits)
        with ref.subscribe(kinds=[ComponentChange]) as changes:
            tuner = alerts.Tuner(name="tuner", limits="limits", interval=0.01)
            runtime.add(tuner)
            seen = [changes.get(PATIENCE).current.above["cpu"] for _ in range(3)]

        assert seen == pytest.approx([50.7, 50.2, 50.0])


def test_rolling_figures_are_of_the_newest_values(parts: Any) -> None:
    """
    What is older than the window counts no more.
    """
    window = parts("readings").Window(3)
    known = [window.add(value) for value in (100.0, 1.0, 2.0, 3.0)][-1]

    assert (known.last, known.mean, known.most) == (3.0, 2.0, 3.0)
    assert known.recent == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("cpu", 12.34, "12.3 %"),
        ("own threads", 17.0, "17"),
        ("received", 999.0, "999 B/s"),
        ("sent", 1_500_000.0, "1.5 MB/s"),
        ("own memory", 2e9, "2.0 GB"),
        ("own memory", 3e12, "3.0 TB"),
    ],
)
def test_values_are_shown_as_people_read_them(
    parts: Any, metric: str, value: float, text: str
) -> None:
    """
    Short, with a unit.
    """
    assert parts("readings").shown(metric, value) == text
