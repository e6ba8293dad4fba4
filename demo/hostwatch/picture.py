"""
What the screen shows, made of snapshots and reports: no components, no threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hostwatch.readings import PERCENT, Summary, shown

BLOCKS = "▁▂▃▄▅▆▇█"
ROWS = ("cpu", "memory", "disk", "received", "sent")
COLOURS = {"STARTED": "green", "RESTARTING": "yellow", "STOPPED": "red"}


def picture(
    title: str,
    metrics: Mapping[str, Summary],
    limits: Mapping[str, float],
    components: Iterable[tuple[int, Any]],
    footer: str,
) -> RenderableType:
    """
    Return the whole picture.

    Args:
        components: How deep each is in the tree, and its report.
    """
    return Group(
        _line(title, "bold"),
        figures(metrics, limits),
        Text(),
        tree(components),
        _line(footer, "dim"),
    )


def _line(text: str, style: str) -> Text:
    """Return one line, cut off where the terminal ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def figures(metrics: Mapping[str, Summary], limits: Mapping[str, float]) -> Table:
    """Return a table of what is measured, a line per metric."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", style="cyan", min_width=8)
    table.add_column("last values", min_width=20)
    for head in ("now", "mean", "most", "limit"):
        table.add_column(head, justify="right", min_width=9)
    for metric in ROWS:
        if (known := metrics.get(metric)) is None:
            table.add_row(metric, "waiting for samples")
            continue
        limit = limits.get(metric)
        table.add_row(
            metric,
            spark(known.recent, 100.0 if metric in PERCENT else max(known.most, 1.0)),
            shown(metric, known.last),
            shown(metric, known.mean),
            shown(metric, known.most),
            shown(metric, limit) if limit is not None else "",
            style="red" if limit is not None and known.last > limit else "",
        )
    return table


def spark(values: Iterable[float], most: float) -> str:
    """Return a small chart of *values*, whose full height is *most*."""
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[min(top, max(0, round(top * v / most)))] for v in values)


def tree(components: Iterable[tuple[int, Any]]) -> Table:
    """Return a table of the components, a line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("component", style="cyan", min_width=16)
    table.add_column("stage", min_width=24)
    for head in ("runs", "failures", "messages"):
        table.add_column(head, justify="right")
    for depth, report in components:
        counts = report.messages
        table.add_row(
            "  " * depth + report.path.rpartition("/")[2],
            Text(report.status, style=COLOURS.get(str(report.stage), "yellow")),
            str(report.run),
            str(report.failures or ""),
            str(counts.handled or "") if counts is not None else "",
        )
    return table
