"""
What a field's type means for encoding it, decided once per class.

msgspec reads types well, with gaps that would be silent: it writes NaN as
``null``, a set in an order that differs between processes, and it refuses to
sort a dict whose keys are not text. A `Shape` says which of these can happen.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections import deque
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import attrs
import msgspec
from msgspec import inspect

__all__ = ["Order", "Shape", "class_of", "from_data", "shape_of", "to_data"]


class Order(enum.IntEnum):
    """What it takes to encode equal values to equal bytes."""

    PLAIN = 0  # nothing
    SORTED = 1  # msgspec can sort it
    CANONICAL = 2  # only `canonical` can


@attrs.frozen
class Shape:
    """What can be in a value of some type."""

    order: Order = Order.PLAIN
    floats: bool = False  # NaN can be in it
    mutable: bool = False  # it can be changed in place
    problem: str = ""  # why it cannot be encoded

    def __or__(self, other: Shape) -> Shape:
        return Shape(
            max(self.order, other.order),
            self.floats or other.floats,
            self.mutable or other.mutable,
            self.problem or other.problem,
        )


ANYTHING = Shape(Order.CANONICAL, floats=True, mutable=True)

_SORTABLE = (
    inspect.StrType,
    inspect.IntType,
    inspect.FloatType,
    inspect.BytesType,
    inspect.BoolType,
)


def shape_of(kind: Any) -> Shape:
    """Return the shape of type *kind*; a type without one has a `problem`."""
    try:
        return _shape(inspect.type_info(kind), set())
    except Exception as error:  # what annotations are made of can raise anything
        return Shape(problem=str(error))


def _shape(info: inspect.Type, seen: set[Any]) -> Shape:
    """Return the shape of what msgspec knows of a type."""
    if isinstance(info, inspect.Metadata):
        return _shape(info.type, seen)
    if isinstance(info, inspect.AnyType | inspect.RawType):
        return ANYTHING
    if isinstance(info, inspect.CustomType):
        return _custom(info.cls)
    if isinstance(info, inspect.EnumType) and issubclass(info.cls, enum.Flag):
        return Shape(problem=f"{info.cls.__name__} is a Flag; use an int")
    own = Shape(floats=isinstance(info, inspect.FloatType)) | _own(info)
    cls = getattr(info, "cls", None)
    if cls is not None:
        if cls in seen:  # a type that contains itself
            return own
        seen = {*seen, cls}
    for part in _parts(info):
        own |= _shape(part, seen)
    return own


def _own(info: inspect.Type) -> Shape:
    """Return what a type adds to the shape of its parts."""
    match info:
        case inspect.DictType(key_type=inspect.StrType()):
            return Shape(Order.SORTED, mutable=True)
        case inspect.DictType():
            return Shape(Order.CANONICAL, mutable=True)
        case inspect.SetType() | inspect.FrozenSetType():
            easy = isinstance(info.item_type, _SORTABLE)
            return Shape(
                Order.SORTED if easy else Order.CANONICAL,
                mutable=isinstance(info, inspect.SetType),
            )
        case inspect.TypedDictType():
            return Shape(Order.SORTED, mutable=True)
        case inspect.ListType() | inspect.ByteArrayType() | inspect.MemoryViewType():
            return Shape(mutable=True)
        case inspect.StructType() | inspect.DataclassType():
            return Shape(mutable=not _is_frozen(class_of(info.cls)))
    return Shape()


def _parts(info: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the types that *info* is made of."""
    for name in ("item_type", "key_type", "value_type"):
        part = getattr(info, name, None)
        if part is not None:
            yield part
    yield from getattr(info, "item_types", ())
    if isinstance(info, inspect.UnionType):
        yield from info.types
    for each in getattr(info, "fields", ()):
        yield each.type


def _custom(kind: Any) -> Shape:
    """Return the shape of a type that msgspec leaves to us."""
    cls = class_of(kind)
    if cls is object or cls is deque:  # msgspec does not say of what a deque is
        return ANYTHING
    if isinstance(cls, type) and issubclass(cls, PurePath):
        return Shape()
    name = getattr(cls, "__name__", repr(kind))
    return Shape(problem=f"{name} has no form in JSON")


def _is_frozen(cls: type) -> bool:
    """Return whether the attributes of a class of values never change."""
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_config__.frozen
    if dataclasses.is_dataclass(cls):
        return bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # CPython's own mark
    return getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"  # attrs'


def class_of(kind: Any) -> Any:
    """Return ``deque`` for ``deque[int]``, and a class for itself."""
    return typing.get_origin(kind) or kind


def to_data(value: Any) -> Any:
    """
    Return the JSON form of a value that msgspec does not encode itself.

    Subclasses of plain types are taken for what they derive from: a number from
    a library of arrays is a number.
    """
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, deque):
        return list(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def from_data(kind: Any, data: Any) -> Any:
    """Return the value of type *kind* whose JSON form is *data*."""
    cls = class_of(kind)
    if cls is object:
        return data
    if cls is deque:
        items = (typing.get_args(kind) or (Any,))[0]
        data = list(data) if isinstance(data, deque) else data
        return deque(msgspec.convert(data, list[items], dec_hook=from_data))  # type: ignore[valid-type]  # known at run time only
    if isinstance(cls, type) and issubclass(cls, PurePath):
        if isinstance(data, str | cls):
            return cls(data)
        raise ValueError(f"Expected `str`, got `{type(data).__name__}`")
    raise TypeError(f"{getattr(cls, '__name__', cls)} has no form in JSON")
