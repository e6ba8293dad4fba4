"""
Reading JSON-like data into the values of a type, with every fault named.

msgspec stops at the first fault, ignores the keys that it does not know and
reads past NaN. So containers and classes are walked here, and only what they
are made of in the end is left to `msgspec.convert`.
"""

from __future__ import annotations

import copy
import types
import typing
from collections import abc, deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from kinesis.errors import did_you_mean
from kinesis.snapshots.canonical import NUMBERS, count_odd_numbers
from kinesis.snapshots.kinds import Part, bare, parts_of, pretty
from kinesis.snapshots.shapes import class_of, from_data, to_data

__all__ = ["BAD", "Fault", "Path", "Reader"]

Path = tuple[str | int, ...]

BAD: Any = object()
"""What stands for a value that has a fault."""

_LONGEST = 40  # characters of a value that a fault shows

_ARRAYS: Mapping[Any, tuple[Any, Callable[[list[Any]], Any]]] = {
    # what is read, from what, and made by what
    list: (list | tuple, list),
    tuple: (list | tuple, tuple),
    set: (list | tuple | set | frozenset, set),
    frozenset: (list | tuple | set | frozenset, frozenset),
    deque: (list | tuple | deque, deque),
}
_ABSTRACT: Mapping[Any, type] = {
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Set: set,
    abc.MutableSet: set,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
}


@attrs.frozen
class Fault:
    """One thing wrong, and where: ``("rules", 0, "above")``."""

    path: Path
    problem: str

    @property
    def where(self) -> str:
        """The path as people write it: ``rules[0].above``."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return text.removeprefix(".")

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" if self.path else self.problem


class Reader:
    """
    Reads values and collects what is wrong with them in `faults`.

    Args:
        show: Whether faults may quote values; not those of secrets.
        ours: The data is what `canonical` wrote: the text of `NUMBERS` stands
            for numbers. From outside, such numbers are refused.
    """

    def __init__(self, *, show: bool = True, ours: bool = False) -> None:
        self.faults: list[Fault] = []
        self._show = show
        self._ours = ours

    def read(self, kind: Any, value: Any, at: Path = ()) -> Any:
        """Return *value* as a new value of type *kind*, or `BAD` with faults."""
        before = len(self.faults)
        found = self._walk(bare(kind), value, at)
        if found is _NO_WALK:
            found = self._leaf(kind, value, at)
        elif len(self.faults) == before and bare(kind) is not kind:
            found = self._leaf(kind, found, at)  # bounds on the container itself
        return BAD if len(self.faults) > before else found

    def fault(self, at: Path, problem: str) -> Any:
        """Note a fault; returns `BAD`."""
        self.faults.append(Fault(at, problem))
        return BAD

    # -- what is made of parts -------------------------------------------------

    def _walk(self, kind: Any, value: Any, at: Path) -> Any:
        """Read what has parts, each by itself; `_NO_WALK` for what has none."""
        if typing.get_origin(kind) in {typing.Union, types.UnionType}:
            return self._union(kind, value, at)
        cls = _ABSTRACT.get(class_of(kind), class_of(kind))
        if cls in _ARRAYS and isinstance(value, _ARRAYS[cls][0]):
            return self._items(cls, kind, list(value), at)
        if cls is dict and isinstance(value, Mapping):
            return self._entries(kind, value, at)
        parts = parts_of(kind)
        if parts is None:
            return _NO_WALK
        if isinstance(cls, type) and not typing.is_typeddict(cls):
            value = _as_mapping(cls, parts, value)
        if isinstance(value, Mapping):
            return self._object(cls, parts, value, at)
        return _NO_WALK

    def _union(self, kind: Any, value: Any, at: Path) -> Any:
        """Read the only alternative that *value* can be, so that its parts show."""
        options = [each for each in typing.get_args(kind) if each is not type(None)]
        if value is None and len(options) < len(typing.get_args(kind)):
            return None
        if self._is_plain(value):
            return _NO_WALK
        if len(options) > 1:
            options = [each for each in options if _has_parts_like(each, value)]
        return self.read(options[0], value, at) if len(options) == 1 else _NO_WALK

    def _is_plain(self, value: Any) -> bool:
        """Return whether *value* has no parts."""
        return value is None or isinstance(value, bool | int | float | str | bytes)

    def _items(self, cls: Any, kind: Any, items: list[Any], at: Path) -> Any:
        """Read the items of an array."""
        types_ = typing.get_args(kind)
        if typing.get_origin(kind) is None:  # bare, as ``list``
            types_ = (Any,)
        elif cls is tuple and types_[1:] != (Ellipsis,):
            if len(types_) != len(items):
                return self.fault(
                    at, f"expected {len(types_)} items, found {len(items)}"
                )
        else:
            types_ = types_[:1]
        many = types_ if len(types_) == len(items) else types_[:1] * len(items)
        found = [
            self.read(many[index], each, (*at, index))
            for index, each in enumerate(items)
        ]
        if any(each is BAD for each in found):
            return BAD
        try:
            return _ARRAYS[cls][1](found)
        except TypeError as error:  # a set of what has no hash
            return self.fault(at, str(error))

    def _entries(self, kind: Any, value: Mapping[Any, Any], at: Path) -> Any:
        """Read the entries of a dict."""
        key_type, value_type = typing.get_args(kind) or (Any, Any)
        found = {}
        for key, each in value.items():
            step = key if isinstance(key, str | int) else str(key)
            read = self._key(key_type, key, (*at, step))
            content = self.read(value_type, each, (*at, step))
            if read is not BAD:
                found[read] = content
        return found

    def _key(self, kind: Any, key: Any, at: Path) -> Any:
        """Read a key, which in JSON is text whatever its type."""
        if not isinstance(key, str) or bare(kind) in {str, Any}:
            return self._leaf(kind, key, at)
        try:
            read = msgspec.convert({key: None}, dict[kind, None], str_keys=True)
        except Exception:  # every kind of misfit is the same fault
            return self.fault(at, f"expected {pretty(kind)} as a key")
        return next(iter(read))

    def _object(
        self, cls: Any, parts: Mapping[str, Part], value: Mapping[Any, Any], at: Path
    ) -> Any:
        """Read the attributes of a class, and make the value with its constructor."""
        before = len(self.faults)
        found = {}
        for key, each in value.items():
            if key in parts:
                found[key] = self.read(parts[key].type, each, (*at, key))
            else:
                hint = did_you_mean(str(key), parts)
                known = ", ".join(parts) or "none"
                self.fault((*at, str(key)), f"unknown.{hint} Known: {known}")
        for key, part in parts.items():
            if part.required and key not in value:
                self.fault((*at, key), f"missing (expected {pretty(part.type)})")
        if len(self.faults) > before:
            return BAD
        try:
            return cls(**found)
        except Exception as error:  # its validators may raise anything
            return self.fault(at, str(error) if self._show else "not accepted")

    # -- what is not -----------------------------------------------------------

    def _leaf(self, kind: Any, value: Any, at: Path) -> Any:
        """Read a value that has no parts."""
        try:
            if self._ours and isinstance(value, str) and value in NUMBERS:
                value = self._number(kind, value)
            elif not self._ours and count_odd_numbers(value):
                return self.fault(at, "NaN and infinity are not accepted")
            if bare(kind) in {Any, object}:
                msgspec.json.encode(value, enc_hook=to_data)
                return copy.deepcopy(value)
            return msgspec.convert(value, kind, dec_hook=from_data)
        except msgspec.ValidationError as error:
            return self.fault(at, self._misfit(kind, value, str(error)))
        except RecursionError:
            raise  # for who began to read: this deep there is no room for more
        except Exception:  # a type or a value that has no form in JSON
            if kind is not Any and isinstance(kind, type) and isinstance(value, kind):
                return value  # as a setting can be
            return self.fault(at, self._misfit(kind, value, "Expected"))

    def _number(self, kind: Any, value: str) -> Any:
        """Return the number that *value* stands for where one is expected."""
        try:
            msgspec.convert(value, kind, dec_hook=from_data)
        except Exception:  # text is not expected, then it is the number
            return NUMBERS[value]
        return value

    def _misfit(self, kind: Any, value: Any, reason: str) -> str:
        """Return what was expected and what was found."""
        found = type(value).__name__
        if self._show and self._is_plain(value):
            shown = repr(value)
            if len(shown) > _LONGEST:
                shown = shown[: _LONGEST - 1] + "…"
            found = shown if value is None else f"{found} {shown}"
        if (
            reason.startswith("Expected")
            and " got " in reason
            or reason == "Expected"
            or reason.startswith("Invalid enum value")
        ):
            reason = f"expected {pretty(kind)}"
        else:
            reason = reason[:1].lower() + reason[1:].replace("`", "")
        return f"{reason}, found {found}"


def _is_about_the_type(reason: str) -> bool:
    """Return whether msgspec's *reason* says no more than which type it expected."""
    return reason.startswith("Invalid enum value") or " got " in reason


_NO_WALK: Any = object()


def _has_parts_like(kind: Any, value: Any) -> bool:
    """Return whether *value*, which has parts, could be of type *kind*."""
    cls = class_of(bare(kind))
    cls = _ABSTRACT.get(cls, cls)
    if cls in _ARRAYS:
        return isinstance(value, _ARRAYS[cls][0])
    if isinstance(value, Mapping):
        return cls is dict or parts_of(kind) is not None
    return isinstance(cls, type) and isinstance(value, cls)


def _as_mapping(cls: type, parts: Mapping[str, Part], value: Any) -> Any:
    """Return the attributes of an instance of *cls*, else *value* itself."""
    if not isinstance(value, cls):
        return value
    return {key: getattr(value, part.attribute) for key, part in parts.items()}
