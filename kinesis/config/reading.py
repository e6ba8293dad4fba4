"""
Read YAML into nodes that know their places.

Nothing in a file is ever executed or constructed: this walks the parser's
events and keeps text, lists and mappings. (PyYAML's own ``compose`` would do,
but its C version recurses without a bound: 200 000 ``[`` end the process.)

What YAML can say and a configuration should not, each a fault at its place:
tags, keys that are twice in a mapping, keys that are no text, merge keys
(``<<``), more than one document, other encodings than UTF-8. Anchors and
aliases are fine, within the bounds below counted with every alias written out;
an alias inside its own anchor is refused.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kinesis.config.nodes import (
    Entry,
    Faults,
    Items,
    Leaf,
    Node,
    Place,
    Scalar,
    Table,
    show_value,
)
from kinesis.config.scalars import substitute, typed
from kinesis.errors import did_you_mean

MOST_BYTES = 4 * 1024 * 1024  # some 40 000 components
MOST_NODES = 500_000  # with every alias written out
MOST_DEPTH = 100  # lists and mappings inside each other
NOT_SO_DEEP = f"at most {MOST_DEPTH} lists and mappings inside each other"

_LINE_END = re.compile(r"\r\n|\r|\n")  # as editors count; YAML knows more of them
_UNPRINTABLE = re.compile(
    "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class _Unreadable(Exception):
    """The rest of the file makes no sense; the fault is noted already."""


def read(
    data: bytes, file: str, environ: Mapping[str, str], faults: Faults
) -> Node | None:
    """
    Return what the YAML in *data* says, or None for no document.

    Faults do not end it, except those of syntax and size: then None is
    returned, and *faults* has more than before.

    Args:
        data: At most `MOST_BYTES` of UTF-8; a byte order mark is passed over.
        file: The name that places carry.
        environ: Where ``${NAME}`` is looked up.
    """
    try:
        source = _Source.decode(data, file, faults)
        return _Builder(source, environ, faults).document()
    except _Unreadable:
        return None


@attrs.frozen
class _Source:
    """The text of a file, which knows the place of each of its characters."""

    file: str
    text: str
    line_starts: list[int]

    @classmethod
    def decode(cls, data: bytes, file: str, faults: Faults) -> _Source:
        """Return the text of *data*, or note why it has none."""
        if len(data) > MOST_BYTES:
            got = f"more than {MOST_BYTES:,} bytes"
            faults.expected(Place(file, 1, 1), "a smaller file", got)
            raise _Unreadable
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = cls.of(data[: error.start].decode("utf-8-sig", "replace"), file)
            got = f"the byte 0x{data[error.start]:02x}"
            faults.expected(before.place(len(before.text)), "UTF-8", got)
            raise _Unreadable from None
        source = cls.of(text, file)
        if found := _UNPRINTABLE.search(text):
            got = f"the character U+{ord(found[0]):04X}"
            faults.expected(source.place(found.start()), "printable text", got)
            raise _Unreadable
        return source

    @classmethod
    def of(cls, text: str, file: str) -> _Source:
        """Return *text* with the starts of its lines."""
        starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
        return cls(file, text, starts)

    def place(self, index: int) -> Place:
        """Return the line and column of the character at *index*."""
        line = bisect_right(self.line_starts, index)
        return Place(self.file, line, index - self.line_starts[line - 1] + 1)

    def line_at(self, index: int) -> str:
        """Return the line that the character at *index* is in."""
        line = bisect_right(self.line_starts, index)
        return self.text[self.line_starts[line - 1] :].partition("\n")[0]


class _Builder:
    """Builds nodes from the parser's events."""

    def __init__(
        self, source: _Source, environ: Mapping[str, str], faults: Faults
    ) -> None:
        self._source = source
        self._environ = environ
        self._faults = faults
        self._events = _events(source, faults)
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._depth = 0

    def document(self) -> Node | None:
        """Return the one document, None if there is none."""
        node = None
        while (event := next(self._events, None)) is not None:
            if type(event).__name__ != "DocumentStartEvent":
                continue
            if node is not None:
                place = self._place(event)
                self._faults.expected(place, "one document", "a second one after '---'")
                raise _Unreadable
            node = self._node(next(self._events))
        return node

    def _place(self, event: Any) -> Place:
        """Return where *event* begins."""
        return self._source.place(event.start_mark.index)

    def _node(self, event: Any) -> Node:
        """Return the node that begins with *event*, and take its other events."""
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event)
        self._counted(event, 1)
        if kind == "ScalarEvent":
            node: Node = self._leaf(event)
        else:
            node = self._nested(event, kind)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return self._untagged(node, event)

    def _nested(self, event: Any, kind: str) -> Node:
        """Return a list or mapping, unless it is nested too deep."""
        self._deeper(event, 1)
        self._depth += 1
        if kind == "SequenceStartEvent":
            node: Node = self._items(event)
        else:
            node = self._table(event)
        self._depth -= 1
        return node

    def _counted(self, event: Any, size: int) -> None:
        """Count *size* nodes more, up to the bound."""
        self._count += size
        if self._count > MOST_NODES:
            got = "more, with every alias written out"
            self._faults.expected(
                self._place(event), f"at most {MOST_NODES:,} values", got
            )
            raise _Unreadable

    def _deeper(self, event: Any, height: int) -> None:
        """Refuse a node of *height* where that is too deep."""
        if self._depth + height > MOST_DEPTH:
            self._faults.expected(self._place(event), NOT_SO_DEEP, "more")
            raise _Unreadable

    def _untagged(self, node: Node, event: Any) -> Node:
        """Return *node*, broken if the file gives it a tag."""
        if event.tag is None:
            return node
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self._faults.expected(
            self._place(event),
            "a plain value",
            f"the tag {show_value(tag)}",
            " Tags are never read: the types come from the component's class.",
        )
        return Leaf(None, "", node.place, broken=True)

    def _alias(self, event: Any) -> Node:
        """Return the node that an alias stands for."""
        node = self._anchors.get(event.anchor)
        if node is None:
            self._faults.expected(
                self._place(event),
                f"an anchor '&{event.anchor}' that ends before this",
                f"the alias '*{event.anchor}' alone",
                did_you_mean(event.anchor, self._anchors),
            )
            return Leaf(None, "", self._place(event), broken=True)
        self._counted(event, node.size)
        self._deeper(event, node.height)
        return node

    def _items(self, event: Any) -> Items:
        """Return a list."""
        place, items = self._place(event), []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            items.append(self._node(event))
        return Items(tuple(items), place)

    def _table(self, event: Any) -> Table:
        """Return a mapping; a key that cannot be one is noted and left out."""
        place, entries = self._place(event), dict[str, Entry]()
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key_place, key = self._place(event), self._key(event)
            node = self._node(next(self._events))
            if key is None:
                continue
            if key in entries:
                first = entries[key].key
                self._faults.expected(
                    key_place,
                    "each key once",
                    f"{show_value(key)} again",
                    f" The first is at line {first.line}, column {first.column}.",
                )
            else:
                entries[key] = Entry(key_place, node)
        return Table(entries, place)

    def _key(self, event: Any) -> str | None:
        """Return the text of a key; None, and a fault, where it is not one."""
        node, plain = self._key_node(event)
        if not isinstance(node, Leaf):
            self._faults.expected(
                self._place(event), "a text as key", "a list or mapping"
            )
        elif node.broken:
            pass  # noted already
        elif node.text == "" and plain:
            self._faults.expected(self._place(event), "a text as key", "nothing")
        elif node.text == "<<" and plain:
            hint = " Merge keys are not read: write the keys out."
            self._faults.expected(self._place(event), "a key", "'<<'", hint)
        else:
            return node.text
        return None

    def _key_node(self, event: Any) -> tuple[Node, bool]:
        """Return the node of a key, its variables left alone; and is it unquoted."""
        if type(event).__name__ != "ScalarEvent":
            return self._node(event), False
        self._counted(event, 1)
        node: Node = Leaf(event.value, event.value, self._place(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return self._untagged(node, event), event.implicit[0]

    def _leaf(self, event: Any) -> Leaf:
        """Return a scalar, its variables replaced and, if it is plain, typed."""
        place, before = self._place(event), len(self._faults)
        text = event.value
        if "${" in text:
            text = self._substituted(event)
        value: Scalar = text
        if event.implicit[0]:  # plain: neither quoted nor a block
            try:
                value = typed(text)
            except ValueError as error:
                got = f"one of {error}"
                self._faults.expected(place, "a number that a field can hold", got)
        broken = len(self._faults) > before
        return Leaf(value, text, place, text != event.value, broken)

    def _substituted(self, event: Any) -> str:
        """Return the text of a scalar with its variables replaced."""
        start, end = event.start_mark.index, event.end_mark.index

        def fault(part: str, message: str) -> None:
            at = self._source.text.find(part, start, end)  # -1: written with escapes
            self._faults.add(self._source.place(max(at, start)), message)

        return substitute(event.value, self._environ, fault)


def _events(source: _Source, faults: Faults) -> Iterator[Any]:
    """Yield the parser's events; note what it stumbles over."""
    import yaml  # lazy: embedded programs need no files

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(source.text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        _note_syntax(source, error, faults)
        raise _Unreadable from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Without a place: what the scanner written in Python lets through.
        faults.expected(source.place(0), "YAML", f"a syntax error: {error}")
        raise _Unreadable from None


def _note_syntax(source: _Source, error: Any, faults: Faults) -> None:
    """Note a syntax error at the place that the parser names."""
    mark = error.problem_mark or error.context_mark
    index = min(mark.index, len(source.text)) if mark else 0
    if "nesting depth" in str(error.problem):  # its own bound, and it reads ahead
        faults.expected(source.place(index), NOT_SO_DEEP, "more")
        return
    context = f" {error.context}" if error.context else ""
    faults.expected(
        source.place(index),
        "YAML",
        f"a syntax error: {error.problem}{context}",
        _syntax_hint(source, index, str(error.problem)),
    )


def _syntax_hint(source: _Source, index: int, problem: str) -> str:
    """Return what to do about the usual mistakes."""
    if source.text[index : index + 1] == "\t":
        return " Indent with spaces, not with tabs."
    if "${" in source.line_at(index):
        return (
            " Inside { } and [ ], write '${NAME}' in quotes: that is a text."
            " For a number, put the key on a line of its own, without braces."
        )
    if "mapping values are not allowed" in problem:
        return " A text with ': ' in it needs quotes."
    return ""
