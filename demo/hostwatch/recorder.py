"""Keeps what happens, in a file."""

from __future__ import annotations

import os
import sqlite3
import tempfile

import attrs

from hostwatch.alerts import Alert
from hostwatch.readings import Sample
from kinesis import Component, field, handles, private

TABLES = """
    create table if not exists sample (time real, metric text, value real);
    create table if not exists alert (time real, metric text, value real, above real);
"""


@attrs.frozen
class Commit:
    """Make what came in last: what the timer says."""


class Recorder(Component):
    """
    Writes samples and alerts into an SQLite file.

    `init` opens the connection, handlers use it, `tear_down` closes it, all on
    one thread: what SQLite asks for, and kinesis promises. What was accepted
    before a stop is still written.
    """

    file: str = field(default="")  # empty: a temporary one
    commit_every: float = field(default=2.0)  # seconds
    samples: int = field(default=0)
    alerts: int = field(default=0)
    _directory: tempfile.TemporaryDirectory[str] | None = private(default=None)
    _connection: sqlite3.Connection = private()

    def init(self) -> None:
        """Open the file."""
        if not self.file:
            self._directory = tempfile.TemporaryDirectory(prefix="hostwatch-")
            self.file = os.path.join(self._directory.name, "hostwatch.sqlite")
        self._connection = sqlite3.connect(self.file)
        self._connection.executescript(TABLES)
        self.log.info("recording to %s", self.file)

    def start(self) -> None:
        """Commit now and then, not for every row: each one waits for the disk."""
        self.every(self.commit_every, Commit())

    @handles(Sample)
    def keep_sample(self, sample: Sample) -> None:
        """Write a row for each value."""
        rows = [(sample.time, *each) for each in sample.values.items()]
        self._connection.executemany("insert into sample values (?, ?, ?)", rows)
        self.samples += 1

    @handles(Alert)
    def keep_alert(self, alert: Alert) -> None:
        """Write an alert, and at once make it last."""
        row = (alert.time, *attrs.astuple(alert.breach))
        self._connection.execute("insert into alert values (?, ?, ?, ?)", row)
        self._connection.commit()
        self.alerts += 1

    @handles(Commit)
    def commit(self, _: Commit) -> None:
        """Make the rows last."""
        self._connection.commit()

    def tear_down(self) -> None:
        """Close the file; also if opening it went wrong half way."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.commit()
            connection.close()
            self.log.info("recorded %d samples, %d alerts", self.samples, self.alerts)
        if self._directory is not None:
            self._directory.cleanup()
