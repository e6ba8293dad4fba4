"""What is measured, and what is known of it: values, no threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import attrs

from kinesis import Message

RECENT = 20  # values that a summary keeps for the picture

PERCENT = frozenset({"cpu", "memory", "disk", "own cpu"})
PER_SECOND = frozenset({"received", "sent"})
COUNT = frozenset({"own threads"})


@attrs.frozen
class Sample(Message[None]):
    """
    What was measured at one moment.

    Attributes:
        time: Seconds since the epoch.
        values: By the name of the metric.
    """

    time: float
    values: Mapping[str, float]


@attrs.frozen
class Summary:
    """What is known of one metric: over the window, and its *recent* values."""

    last: float
    mean: float
    most: float
    recent: tuple[float, ...]


class Window:
    """The newest *size* values of one metric."""

    def __init__(self, size: int) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> Summary:
        """Take one more value in; return what is known now."""
        values = self._values
        values.append(value)
        return Summary(
            last=value,
            mean=sum(values) / len(values),
            most=max(values),
            recent=tuple(values)[-RECENT:],
        )


def shown(metric: str, value: float) -> str:
    """Return *value* as people read it: ``12.3 %``, ``4.5 MB``, ``1.2 kB/s``."""
    if metric in PERCENT:
        return f"{value:.1f} %"
    if metric in COUNT:
        return f"{value:.0f}"
    return f"{_bytes(value)}/s" if metric in PER_SECOND else _bytes(value)


def _bytes(value: float) -> str:
    """Return a number of bytes, in the unit that makes it short."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
