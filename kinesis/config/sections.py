"""Take the keys of one mapping, noting what does not fit."""

from __future__ import annotations

import math
from collections.abc import Collection

from kinesis.config.nodes import Faults, Items, Leaf, Node, Place, Table, show
from kinesis.errors import did_you_mean


class Section:
    """
    One mapping of a file, of which every key must be known.

    Each getter returns None where the key is missing, or where its value does
    not fit, which is then noted.

    Args:
        what: What the mapping describes, for messages: ``a component``.
        keys: The keys that it may have.
    """

    def __init__(
        self, table: Table, what: str, keys: Collection[str], faults: Faults
    ) -> None:
        self.table = table
        self._what = what
        self._faults = faults
        for key, entry in table.entries.items():
            if key not in keys:
                hint = did_you_mean(key, keys) or f" Known: {', '.join(keys)}."
                faults.expected(entry.key, f"a key of {what}", f"'{key}'", hint)

    def __contains__(self, key: str) -> bool:
        return key in self.table.entries

    def key_place(self, key: str) -> Place:
        """Return the place of *key*, or of the mapping where it is missing."""
        entry = self.table.entries.get(key)
        return entry.key if entry else self.table.place

    def require(self, *keys: str) -> None:
        """Note each of *keys* that is missing."""
        for key in keys:
            if key not in self.table.entries:
                got = f"{self._what} without it"
                self._faults.expected(self.table.place, f"the key '{key}'", got)

    def get(self, key: str) -> Node | None:
        """Return the node of *key*, unless it is broken."""
        entry = self.table.entries.get(key)
        if entry is None or isinstance(entry.node, Leaf) and entry.node.broken:
            return None
        return entry.node

    def wrong(self, node: Node, key: str, expected: str, hint: str = "") -> None:
        """Note that the value of *key* should be what is *expected*."""
        self._faults.expected(node.place, f"{expected} for '{key}'", show(node), hint)

    def text(self, key: str) -> str | None:
        """Return a text; what a variable holds is text, digits or not."""
        node = self.get(key)
        if node is None:
            return None
        if isinstance(node, Leaf) and (node.secret or isinstance(node.value, str)):
            return node.text
        quotable = isinstance(node, Leaf) and node.value is not None
        self.wrong(node, key, "a text", " Put it in quotes." if quotable else "")
        return None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of texts."""
        items = self.items_of(key)
        if items is None:
            return None
        found = []
        for node in items.items:
            if isinstance(node, Leaf) and (node.secret or isinstance(node.value, str)):
                found.append(node.text)
            else:
                self.wrong(node, key, "texts")
        return tuple(found)

    def choice(self, key: str, choices: Collection[str]) -> str | None:
        """Return one of *choices*."""
        node = self.get(key)
        if node is None:
            return None
        if isinstance(node, Leaf) and node.value in choices:
            return node.text
        hint = did_you_mean(node.text, choices) if isinstance(node, Leaf) else ""
        self.wrong(node, key, f"one of {', '.join(choices)}", hint)
        return None

    def number(self, key: str, *, positive: bool = False) -> float | None:
        """Return a finite number of 0 or more; of more than 0 if *positive*."""
        node = self.get(key)
        if node is None:
            return None
        value = node.value if isinstance(node, Leaf) else None
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and _fits(value)
            and (value > 0 if positive else value >= 0)
        ):
            return float(value)
        least = "more than 0" if positive else "0 or more"
        self.wrong(node, key, f"a number, {least},")
        return None

    def seconds(self, key: str) -> float | None:
        """Return a number of seconds, more than 0."""
        return self.number(key, positive=True)

    def count(self, key: str, least: int, most: int | None = None) -> int | None:
        """Return a whole number from *least* to *most*."""
        node = self.get(key)
        if node is None:
            return None
        value = node.value if isinstance(node, Leaf) else None
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and least <= value
            and (most is None or value <= most)
        ):
            return value
        range_ = f"{least} or more," if most is None else f"{least} to {most},"
        self.wrong(node, key, f"a whole number, {range_}")
        return None

    def table_of(self, key: str) -> Table | None:
        """Return a mapping."""
        node = self.get(key)
        if node is None or isinstance(node, Table):
            return node
        self.wrong(node, key, "a mapping")
        return None

    def items_of(self, key: str) -> Items | None:
        """Return a list."""
        node = self.get(key)
        if node is None or isinstance(node, Items):
            return node
        self.wrong(node, key, "a list")
        return None


def _fits(value: float) -> bool:
    """Return whether *value* is a finite float, or can be one."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an int of more than 308 digits
        return False
