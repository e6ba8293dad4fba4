"""
What a type is made of, and what people call it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs
import msgspec

from kinesis.declared.annotations import substitute
from kinesis.snapshots.shapes import class_of

__all__ = ["Part", "bare", "parts_of", "pretty"]


@attrs.frozen
class Part:
    """One attribute of a class of values."""

    type: Any
    required: bool
    attribute: str  # its name on an instance; the key may differ


def parts_of(kind: Any) -> Mapping[str, Part] | None:
    """Return the constructor arguments of a class of values; None for others."""
    kind = bare(kind)
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


@cache
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
        return {
            key: Part(_without_need(kind), _is_required(cls, key, kind), key)
            for key, kind in hints.items()
        }
    if dataclasses.is_dataclass(cls):
        return _dataclass_parts(cls)
    return None


def _is_required(cls: Any, key: str, kind: Any) -> bool:
    """Return whether a typed dict must have *key*."""
    origin = typing.get_origin(kind)
    if origin in {typing.Required, typing.NotRequired}:
        return origin is typing.Required  # what it knows itself is wrong for text
    return key in cls.__required_keys__


def _without_need(kind: Any) -> Any:
    """Return the type in ``Required[…]`` or ``NotRequired[…]``."""
    if typing.get_origin(kind) in {typing.Required, typing.NotRequired}:
        return typing.get_args(kind)[0]
    return kind


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


def bare(kind: Any) -> Any:
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


def pretty(kind: Any) -> str:
    """Return a type as people say it: ``int or None``, ``'a' or 'b'``."""
    kind = bare(kind)
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
