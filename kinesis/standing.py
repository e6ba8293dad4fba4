"""
How a component stands: what became of it so far, as a value.
"""

from __future__ import annotations

import attrs

from kinesis.cells import Cell, Note
from kinesis.mailbox import Counts
from kinesis.stages import Outcome, Stage, State
from kinesis.supervision import explain


@attrs.frozen
class Report:
    """
    What became of a component so far.

    Attributes:
        restarts: How often it was started again.
        failures: How many of its hooks raised or hung.
        last: How the last failed run ended; None if none has.
        hung: The stack of code that outlived its deadline, while it runs.
        stalled: The stack of a handler that takes long, while it runs.
        next_attempt: Seconds until it is started again, while it backs off.
        messages: Of its mailbox; see `kinesis.mailbox.Counts`.
    """

    path: str
    stage: Stage
    state: State
    status: str
    run: int
    restarts: int
    failures: int
    last: Outcome | None
    hung: str | None
    stalled: str | None
    next_attempt: float | None
    messages: Counts | None
    notes: tuple[Note, ...]

    def __str__(self) -> str:
        ended = f", last: {explain(self.last)}" if self.last is not None else ""
        return (
            f"{self.path} {self.status}: run {self.run}, {self.restarts} restarts, "
            f"{self.failures} failures{ended}"
        )


def report_on(cell: Cell) -> Report:
    """Return what became of the component in *cell* so far."""
    attempt, now = cell.next_attempt, cell.services.threads.monotonic()
    serving = cell.life.serving if cell.life is not None else None
    return Report(
        path=cell.path,
        stage=cell.stage,
        state=cell.stage.state,
        status=cell.status(),
        run=cell.run,
        restarts=cell.restarts,
        failures=cell.failures,
        last=cell.last,
        hung=cell.hung,
        stalled=cell.stalled,
        next_attempt=None if attempt is None else max(0.0, attempt - now),
        messages=serving.mailbox.counts() if serving is not None else None,
        notes=cell.notes(),
    )
