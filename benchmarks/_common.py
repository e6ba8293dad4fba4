"""
What the benchmarks share: rounds that alternate, ratios, and tables.

A shared machine is noisy, and its noise lasts for longer than one measurement. So
the contenders take turns, each ratio is taken within one round, and what is shown
is the median of the rounds. Compare ratios, not times.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from statistics import median

Rounds = Mapping[str, Sequence[float]]
"""What each contender measured, a number per round."""


def rounds_of(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Have *contenders* measure in turn, *rounds* times, every other time backwards."""
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        for name in reversed(names) if number % 2 else names:
            measured[name].append(contenders[name]())
    return measured


def ratio(measured: Rounds, name: str, to: str) -> float:
    """Return how many times as much *name* takes as *to*: the median of rounds."""
    pairs = zip(measured[name], measured[to], strict=True)
    return median(one / other for one, other in pairs)


def micros(seconds: Sequence[float]) -> str:
    """Return the median of *seconds* as microseconds."""
    return f"{median(seconds) * 1e6:.2f}"


def at_most(value: float, limit: float) -> str:
    """Return the aim *limit*, and whether *value* has reached it."""
    return f"<= {limit:g} {'yes' if value <= limit else 'NO'}"


def at_least(value: float, limit: float) -> str:
    """Return the aim *limit*, and whether *value* has reached it."""
    return f">= {limit:g} {'yes' if value >= limit else 'NO'}"


def print_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table in Markdown, its columns aligned."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    print(f"\n## {title}\n")
    for row in (heads, ["-" * width for width in widths], *rows):
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        print(f"| {' | '.join(cells)} |", flush=True)


def print_machine() -> None:
    """Print what the figures were taken on."""
    gil = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else " without the GIL"
    processors = len(os.sched_getaffinity(0))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"Python {platform.python_version()}{gil}, {platform.system()} "
        f"{platform.release()}, {processors} processors, load {load}; "
        f"pykka {version('pykka')}"
    )
