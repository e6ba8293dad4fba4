"""
What a lifecycle reports to whoever decides about its component.
"""

from __future__ import annotations

from enum import Enum

import attrs

from kinesis.cells import Cell
from kinesis.restarts import Override
from kinesis.stages import Outcome


class Kind(Enum):
    """What a lifecycle reports to whoever decides about its component."""

    STARTED = "started"
    FAILED = "failed"  # a run failed: restart it, or let it fail for good
    FINISHED = "finished by itself"
    QUIET = "quiet"  # the run has ended, for a restart
    STOPPED = "stopped"
    TORN_DOWN = "torn down"


@attrs.frozen(eq=False)
class Report:
    """
    A fact about a child, for its supervisor.

    *run* is the number of the incarnation it is about: one that is over is
    counted, not obeyed.
    """

    cell: Cell
    kind: Kind
    run: int
    outcome: Outcome | None = None
    again_after: Override = None  # what `restart_after` of the component said
