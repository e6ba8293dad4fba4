"""Shows everything: as a picture on a terminal, as a line now and then elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from hostwatch.picture import picture
from hostwatch.readings import shown
from hostwatch.terminal import Stage, can_show
from kinesis import Component, ContainerRef, KinesisError, field


class Screen(Component):
    """
    Looks at the others from outside, as anybody may, and shows what it sees.

    It reads snapshots and reports: neither keeps a handler waiting.
    """

    source: str = field()  # paths
    limits: str = field()
    busiest: str = field()
    interval: float = field(default=10.0)  # seconds between lines
    rate: float = field(default=4.0)  # pictures a second

    def start(self) -> None:
        """Show until asked to stop."""
        console = Console()
        if can_show(console):
            self.show_pictures(console)
        else:
            self.log_lines()

    def show_pictures(self, console: Console) -> None:
        """Draw a picture a few times a second."""
        with Stage(console) as stage:
            while not self.stopping.wait(1 / self.rate):
                stage.show(self.picture())

    def log_lines(self) -> None:
        """Log a summary now and then."""
        while not self.stopping.wait(self.interval):
            metrics = self.find(self.source).snapshot().metrics
            self.log.info(
                ", ".join(
                    f"{name} {shown(name, each.last)}" for name, each in metrics.items()
                )
            )

    def picture(self) -> Any:
        """Return the picture of now."""
        metrics = self.look(self.source, "metrics")
        own = ", ".join(
            f"{name.removeprefix('own ')} {shown(name, each.last)}"
            for name, each in metrics.items()
            if name.startswith("own ")
        )
        busiest = self.look(self.busiest, "process") or "nothing yet"
        return picture(
            f"hostwatch: busiest is {busiest}; own process: {own}",
            metrics,
            self.look(self.limits, "above"),
            self.walk(self.container, 0),
            f"ctrl-c stops · kill -HUP {os.getpid()} reads the file again · "
            f"-USR1 shows all threads",
        )

    def look(self, path: str, name: str) -> Any:
        """Return one field of the component at *path*; empty while it is not there."""
        try:
            return self.find(path).snapshot()[name]
        except KinesisError:
            return {}

    def walk(self, container: Any, depth: int) -> Iterator[tuple[int, Any]]:
        """Yield the report of each component, and how deep in the tree it is."""
        for ref in container:
            yield depth, ref.report()
            if isinstance(ref, ContainerRef):
                yield from self.walk(ref, depth + 1)
