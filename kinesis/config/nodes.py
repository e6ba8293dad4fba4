"""
What a file says, with the place of every key and value.

A file is read into these values first and checked afterwards, so that each
fault can be told with its line and column. They hold data only: text, numbers,
truth values, nothing, and lists and mappings of those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import attrs

from kinesis.errors import ConfigError

Scalar = str | int | float | bool | None
KeyPath = Sequence[str | int]

LONGEST_SHOWN = 40  # characters of a value that a message repeats


@attrs.frozen(order=True)
class Place:
    """A place in a file; *line* and *column* count from 1, in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@attrs.frozen(order=True)
class Fault:
    """One thing that is wrong in a file; ``str()`` is ``file:line:column: message``."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class Faults:
    """The faults of one file, gathered until all are known."""

    def __init__(self) -> None:
        self._found: set[Fault] = set()  # one node may be used twice, by an alias

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, message: str) -> None:
        """Note that *message* is so at *place*; the same twice is noted once."""
        self._found.add(Fault(place.file, place.line, place.column, message))

    def expected(self, place: Place, expected: str, got: str, hint: str = "") -> None:
        """Note what was *expected* at *place* and what is there instead."""
        self.add(place, f"expected {expected}; got {got}.{hint}")

    def error(self) -> ConfigError:
        """Return all of them as one error, in the order of the file."""
        return config_error(self._found)


def config_error(faults: Iterable[Fault]) -> ConfigError:
    """Return the error that lists *faults*, a line each, in the order of the file."""
    ordered = tuple(sorted(faults))
    return ConfigError("\n".join(map(str, ordered)), faults=ordered)


@attrs.frozen
class Leaf:
    """
    A value without parts.

    Attributes:
        text: What *value* was made from, after environment variables.
        place: Where it begins.
        secret: It holds an environment variable's text: messages do not repeat it.
        broken: A fault was found in it already; do not look for others.
    """

    value: Scalar
    text: str
    place: Place
    secret: bool = False
    broken: bool = False
    size = 1
    height = 0


@attrs.frozen
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place
    size: int = attrs.field(init=False, eq=False)
    height: int = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        _measure(self, self.items)


@attrs.frozen
class Entry:
    """One value of a mapping, and the place of its key."""

    key: Place
    node: Node


@attrs.frozen
class Table:
    """A mapping; its keys are text."""

    entries: Mapping[str, Entry]
    place: Place
    size: int = attrs.field(init=False, eq=False)
    height: int = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        _measure(self, [entry.node for entry in self.entries.values()])


Node = Leaf | Items | Table


def _measure(node: Items | Table, parts: Sequence[Node]) -> None:
    """Set how many values *node* counts, aliases written out, and how deep it is."""
    size = 1 + sum(part.size for part in parts)
    height = 1 + max((part.height for part in parts), default=0)
    object.__setattr__(node, "size", size)
    object.__setattr__(node, "height", height)


def plain(node: Node) -> object:
    """Return *node* as dicts, lists and scalars, new ones each time."""
    match node:
        case Leaf():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}


def follow(node: Node, path: KeyPath) -> tuple[Place, Node | None]:
    """
    Return the place of *path* below *node*, and the node there.

    Where the path leaves the file (a key that is missing), the place is that of
    the last node on it, and there is no node.
    """
    for step in path:
        if isinstance(node, Table) and str(step) in node.entries:
            node = node.entries[str(step)].node
        elif (
            isinstance(node, Items)
            and isinstance(step, int)
            and 0 <= step < len(node.items)
        ):
            node = node.items[step]
        else:
            return node.place, None
    return node.place, node


def key_place(node: Node, path: KeyPath) -> Place:
    """Return the place of the last key of *path*; without one, that of the value."""
    place, _ = follow(node, path)
    if path:
        _, parent = follow(node, path[:-1])
        if isinstance(parent, Table) and str(path[-1]) in parent.entries:
            return parent.entries[str(path[-1])].key
    return place


def has_broken(node: Node) -> bool:
    """Return whether a fault was found already in *node* or its parts."""
    match node:
        case Leaf():
            return node.broken
        case Items():
            return any(has_broken(item) for item in node.items)
        case Table():
            return any(has_broken(entry.node) for entry in node.entries.values())


def show(node: Node) -> str:
    """Return what *node* is, for a message; never the text of a variable."""
    match node:
        case Items():
            return "a list"
        case Table():
            return "a mapping"
        case Leaf(secret=True):
            return f"{_kind(node.value)} (from the environment)"
        case Leaf():
            return show_value(node.value)


def _kind(value: Scalar) -> str:
    """Return the kind of *value* alone."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"


def show_value(value: Scalar) -> str:
    """Return *value* as a file would say it, cut to what a line can hold."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        case str():
            text = repr(value)
        case _:
            text = str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
