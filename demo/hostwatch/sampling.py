"""The components that measure; what they find goes out as messages."""

from __future__ import annotations

import random
import time
from typing import Any

import attrs
import psutil

from hostwatch.readings import Sample
from kinesis import Component, KinesisError, field, handles, private


@attrs.frozen
class Take:
    """Take a sample: what the timer says."""


class Sampler(Component):
    """
    Takes a sample on a timer and posts it to whoever is named.

    Between two samples none of its code runs. The timer ends with the component.
    """

    interval: float = field(default=1.0)  # seconds
    to: list[str] = field(factory=list)  # paths
    taken: int = field(default=0)
    refused: int = field(default=0)

    def start(self) -> None:
        """Set the timer and return: from here on messages drive this."""
        self.measure()  # a percentage, or a rate, is of the time since the last one
        self.every(self.interval, Take())

    @handles(Take)
    def take(self, _: Take) -> None:
        """Measure, and tell everybody; nobody's answer is waited for."""
        sample = Sample(time.time(), self.measure())
        self.taken += 1
        for path in self.to:
            try:
                self.find(path).post(sample)
            except KinesisError as error:  # not there, or full: the next one may go
                self.refused += 1
                self.log.warning("sample not taken: %s", error)

    def measure(self) -> dict[str, float]:
        """Return the values of now."""
        raise NotImplementedError


class Host(Sampler):
    """Measures the machine."""

    disk: str = field(default="/")
    _before: tuple[float, int, int] | None = private(default=None)

    def measure(self) -> dict[str, float]:
        """Return how much is in use, and what went over the network since."""
        received, sent = self._rates()
        return {
            "cpu": psutil.cpu_percent(),
            "memory": psutil.virtual_memory().percent,
            "disk": psutil.disk_usage(self.disk).percent,
            "received": received,
            "sent": sent,
        }

    def _rates(self) -> tuple[float, float]:
        """Return the bytes per second received and sent since the last time."""
        # None on a machine without a network.
        counters: Any = psutil.net_io_counters()
        received, sent = (
            (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)
        )
        now = time.monotonic()
        before, self._before = self._before, (now, received, sent)
        if before is None or now == before[0]:
            return 0.0, 0.0
        seconds = now - before[0]
        return (received - before[1]) / seconds, (sent - before[2]) / seconds


class Self(Sampler):
    """Measures this process."""

    _process: psutil.Process = private(factory=psutil.Process)

    def measure(self) -> dict[str, float]:
        """Return what this process uses."""
        process = self._process
        with process.oneshot():
            return {
                "own cpu": process.cpu_percent(),
                "own memory": float(process.memory_info().rss),
                "own threads": float(process.num_threads()),
            }


class LostTrackError(Exception):
    """The busiest process got away: what fails at random here."""


class Busiest(Component):
    """
    Looks for the process that uses most of the processor, and fails at random.

    Its `start` is a loop, so an exception there ends the run: the supervisor
    starts another one after a while. (One in a handler fails one message only.)
    """

    interval: float = field(default=1.0)  # seconds
    chance: float = field(default=0.0)  # of failing, from 0 to 1, each time
    process: str = field(default="")
    cpu: float = field(default=0.0)
    looks: int = field(default=0)

    def start(self) -> None:
        """Look again and again until asked to stop."""
        self.look()  # a percentage is of the time since the last look
        while not self.stopping.wait(self.interval):
            cpu, process = self.look()
            if random.random() < self.chance:
                raise LostTrackError(f"lost track of {process}")
            with self.edit():  # one change for all three
                self.process, self.cpu = process, cpu
                self.looks += 1

    def look(self) -> tuple[float, str]:
        """Return the most percent of a processor, and what process uses them."""
        found = [
            (each.info["cpu_percent"] or 0.0, f"{each.info['name']} ({each.pid})")
            for each in psutil.process_iter(["name", "cpu_percent"])
        ]
        return max(found, default=(0.0, "nothing"))
