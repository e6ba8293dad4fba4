"""
Reading JSON-like data into the values of a type, with every fault named.

msgspec stops at the first fault, ignores the keys that it does not know and
reads past NaN. So containers and classes are walked here, and only what they
are made of in the end is left to `msgspec.convert`.
"""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections import abc, deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from kinesis.declared.annotations import substitute
from kinesis.errors import did_you_mean
from kinesis.snapshots.canonical import NUMBERS, count_odd_numbers
from kinesis.snapshots.shapes import class_of, from_data, to_data

__all__ = ["BAD", "Fault", "Part", "Reader", "parts_of", "pretty"]

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


@attrs.frozen
class Part:
    """One attribute of a class of values."""

    type: Any
    required: bool
    attribute: str  # its name on an instance; the key may differ


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
        found = self._walk(_bare(kind), value, at)
        if found is _NO_WALK:
            found = self._leaf(kind, value, at)
        elif len(self.faults) == before and _bare(kind) is not kind:
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
        types_ = typing.get_args(kind) or (Any,)
        if cls is tuple and not (len(types_) == 2 and types_[1] is Ellipsis):
            if typing.get_args(kind) and len(types_) != len(items):
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
        if not isinstance(key, str) or _bare(kind) in {str, Any}:
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
        if self._ours and isinstance(value, str) and value in NUMBERS:
            value = self._number(kind, value)
        elif not self._ours and count_odd_numbers(value):
            return self.fault(at, "NaN and infinity are not accepted")
        try:
            if _bare(kind) in {Any, object}:
                msgspec.json.encode(value, enc_hook=to_data)
                return copy.deepcopy(value)
            return msgspec.convert(value, kind, dec_hook=from_data)
        except msgspec.ValidationError as error:
            return self.fault(at, self._misfit(kind, value, str(error)))
        except Exception:  # a type or a value that has no form in JSON
            if isinstance(kind, type) and isinstance(value, kind):
                return value
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


def _bare(kind: Any) -> Any:
    """Return *kind* without annotations, aliases and new names for it."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif type(kind).__name__ == "TypeAliasType":
            kind = kind.__value__
        else:
            return kind


def _has_parts_like(kind: Any, value: Any) -> bool:
    """Return whether *value*, which has parts, could be of type *kind*."""
    cls = class_of(_bare(kind))
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


def parts_of(kind: Any) -> Mapping[str, Part] | None:
    """Return the constructor arguments of a class of values; None for others."""
    kind = _bare(kind)
    cls = class_of(kind)
    if not isinstance(cls, type):
        return None
    try:
        found = _parts(cls)
    except Exception:  # names that cannot be resolved: msgspec says so better
        return None
    if found is None:
        return None
    names = getattr(cls, "__parameters__", ())
    bound = dict(zip(names, typing.get_args(kind), strict=False))
    return {
        key: attrs.evolve(part, type=substitute(part.type, bound))
        for key, part in found.items()
    }


def _parts(cls: Any) -> dict[str, Part] | None:
    """Return the constructor arguments of a class, with their types resolved."""
    if issubclass(cls, msgspec.Struct):
        return _struct_parts(cls)
    if "__attrs_attrs__" in cls.__dict__:
        hints = typing.get_type_hints(cls, include_extras=True)
        return {
            each.alias or each.name: Part(
                hints.get(each.name, Any), each.default is attrs.NOTHING, each.name
            )
            for each in attrs.fields(cls)
            if each.init
        }
    if typing.is_typeddict(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        needed = cls.__required_keys__
        return {key: Part(kind, key in needed, key) for key, kind in hints.items()}
    if dataclasses.is_dataclass(cls):
        return _dataclass_parts(cls)
    return None


def _struct_parts(cls: type[msgspec.Struct]) -> dict[str, Part] | None:
    """Return the arguments of a Struct whose JSON form is an object of its fields."""
    config = cls.__struct_config__
    fields = msgspec.structs.fields(cls)
    renamed = any(each.encode_name != each.name for each in fields)
    if config.tag is not None or config.array_like or renamed:
        return None  # its JSON form is msgspec's to know
    return {each.name: Part(each.type, each.required, each.name) for each in fields}


def _dataclass_parts(cls: Any) -> dict[str, Part]:
    """Return the arguments of a dataclass."""
    hints = typing.get_type_hints(cls, include_extras=True)
    missing = dataclasses.MISSING
    return {
        each.name: Part(
            hints[each.name],
            each.default is missing and each.default_factory is missing,
            each.name,
        )
        for each in dataclasses.fields(cls)
        if each.init
    }


def pretty(kind: Any) -> str:
    """Return a type as people say it: ``int or None``, ``'a' or 'b'``."""
    kind = _bare(kind)
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(map(pretty, typing.get_args(kind)))
    if origin is typing.Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    if kind is type(None):
        return "None"
    members = getattr(kind, "__members__", None)
    if members is not None:
        return " or ".join(repr(each.value) for each in members.values())
    if origin is not None:
        inner = ", ".join(
            "..." if each is Ellipsis else pretty(each)
            for each in typing.get_args(kind)
        )
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(kind, "__name__", str(kind))
