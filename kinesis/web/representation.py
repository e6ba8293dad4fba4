"""
What a client sees of a component: its state, and what is so besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec

from kinesis.cells import Cell
from kinesis.container import ref_of
from kinesis.snapshots import Snapshot
from kinesis.stages import Stage
from kinesis.web.routes import children_of, path_of
from kinesis.web.tags import json_of, tag_of

LOOK_TIMEOUT = 5.0  # seconds that the first look waits for a running handler


class Shows:
    """A base of components that show more than their state."""

    shown_types: ClassVar[Mapping[str, type]] = {}
    """The types of what they show, by name."""

    def shown(self) -> Mapping[str, object]:
        """Return what is so now. It is no state: nobody sets it from outside."""
        raise NotImplementedError


def represent(cell: Cell) -> tuple[Snapshot, str, Callable[[], bytes]]:
    """
    Return the snapshot of a component, its entity tag, and what makes its JSON.

    Raises:
        WaitTimeoutError: It is the first look, and a handler runs for longer.
    """
    serving = cell.serving
    if serving is not None:
        snapshot = serving.snapshot(LOOK_TIMEOUT)
    else:
        snapshot = ref_of(cell).snapshot(LOOK_TIMEOUT)
    tag = tag_of(snapshot)
    if snapshot.stage is not Stage.STARTED:
        tag = f"{tag}-{snapshot.stage.value.lower()}"
    besides = shown_besides(cell)
    if not besides:
        return snapshot, tag, lambda: json_of(snapshot)
    more = msgspec.json.encode(besides)
    seen = blake2b(more, digest_size=8).hexdigest()
    return snapshot, f"{tag}-{seen}", lambda: json_of(snapshot)[:-1] + b"," + more[1:]


def shown_besides(cell: Cell) -> dict[str, Any]:
    """Return what a representation shows besides the state, by name."""
    besides: dict[str, Any] = {}
    if isinstance(cell.component, Shows):
        besides.update(cell.component.shown())
    if cell.supervisor is not None:
        besides["children"] = [line_of(child) for child in children_of(cell)]
    return besides


def line_of(cell: Cell) -> dict[str, str]:
    """Return what a listing says of a component."""
    return {
        "name": cell.name,
        "href": path_of(cell),
        "type": type(cell.component).__name__,
        "stage": cell.stage.value,
    }
