"""
Reading the body of a component class: its fields, and what cannot work.

`collect` is called once per class, when it is made. It returns what attrs shall
make of the class, or refuses it with what to write instead: everything it
refuses would otherwise go wrong later, and in silence.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import cached_property, partialmethod
from typing import Any, Final, Literal, NoReturn

import attrs

from kinesis.calls import check_runs
from kinesis.declared.annotations import is_class_var, own_annotations
from kinesis.errors import DeclarationError

__all__ = ["HOOKS", "SAID_OF_ALL", "Kind", "Spec", "collect", "spec_of", "specify"]

Kind = Literal["state", "private", "setting"]

HOOKS: Final = frozenset(
    ("pre_init", "init", "post_init", "pre_start", "start", "stop", "tear_down")
)

CALLED: Final = (*sorted(HOOKS), "restart_after", "default_handler")
"""What the runtime calls by its name, where a class has it."""

SAID_OF_ALL: Final = frozenset(
    (
        "content",
        "etag",
        "fields",
        "moved_to",
        "name",
        "path",
        "stage",
        "state",
        "to_json",
        "type",
    )
)
"""What every snapshot says of its component, so no state can have these names."""

_SPEC = "kinesis"  # the key of a `Spec` in the metadata of an attrs field
_SPECIFIERS: Final[Mapping[Kind, str]] = {
    "state": "field",
    "private": "private",
    "setting": "setting",
}
_ACCESSORS = (
    types.FunctionType,
    property,
    classmethod,
    staticmethod,
    cached_property,
    partialmethod,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)


@attrs.frozen
class Spec:
    """What a specifier said; travels in the metadata of the attrs field."""

    kind: Kind
    persist: bool = True
    secret: bool = False
    owner: type | None = None  # the class whose module the annotation is read in


def specify(spec: Spec, default: Any, factory: Callable[[], Any] | None) -> Any:
    """Return what attrs reads from the class body."""
    if factory is not None:
        if default is not attrs.NOTHING:
            raise DeclarationError(
                "a field has a default and a factory. Write one of them: the "
                "factory for a value that can be changed in place."
            )
        default = attrs.Factory(factory)
    return attrs.field(
        default=default, init=spec.kind != "private", metadata={_SPEC: spec}
    )


def collect(cls: type) -> dict[str, Any]:
    """
    Return the attrs fields that *cls* itself declares, by name and in order.

    Raises:
        DeclarationError: Something in the class body cannot work.
    """
    inherited = _inherited(cls)
    found: dict[str, Any] = {}
    for name, annotation in own_annotations(cls).items():
        if not _is_dunder(name) and not is_class_var(annotation):
            value = cls.__dict__.get(name, attrs.NOTHING)
            found[name] = _own_field(cls, name, value, inherited.get(name))
    for name, value in cls.__dict__.items():
        if name not in found and not _is_dunder(name):
            _add_override(cls, name, value, inherited.get(name), found)
    _check_names(cls, {**inherited, **found})
    _check_mixins(cls)
    for name in CALLED:
        check_runs(getattr(cls, name, None), f"'{cls.__qualname__}.{name}'")
    return found


def _inherited(cls: type) -> dict[str, attrs.Attribute[Any]]:
    """Return the fields of the bases, the nearest of each name."""
    found: dict[str, attrs.Attribute[Any]] = {}
    for base in cls.__mro__[1:]:
        for attribute in base.__dict__.get("__attrs_attrs__", ()):
            found.setdefault(attribute.name, attribute)
    return found


def _own_field(
    cls: type, name: str, value: Any, base: attrs.Attribute[Any] | None
) -> Any:
    """Return the attrs field for an annotated attribute of *cls*."""
    spec = _spec_or_none(value)
    if spec is None and (_is_counting(value) or _is_dataclass_field(value)):
        _refuse(cls, name, "that is a field of another library", "field(...)")
    if base is not None:
        spec = _keep_kind(cls, name, spec, spec_of(base))
    spec = spec or Spec("state")
    if name.startswith("_") and spec.kind != "private":
        _refuse(
            cls,
            name,
            "a name with an underscore is no constructor argument and no state",
            "private(default=...)",
        )
    if spec.kind == "state" and name in SAID_OF_ALL:
        _refuse(cls, name, f"every snapshot has a '{name}' of its own", "another name")
    default = value._default if _is_counting(value) else value
    return _make(cls, name, attrs.evolve(spec, owner=cls), default)


def _keep_kind(cls: type, name: str, spec: Spec | None, base: Spec) -> Spec:
    """Return the spec of an override: a field stays of the kind it has in a base."""
    if spec is None:
        return base
    if spec.kind != base.kind:
        _refuse(
            cls,
            name,
            f"it is declared with {_SPECIFIERS[base.kind]}() in a base",
            f"{_SPECIFIERS[base.kind]}(...), or take another name",
        )
    return spec


def _add_override(
    cls: type,
    name: str,
    value: Any,
    base: attrs.Attribute[Any] | None,
    found: dict[str, Any],
) -> None:
    """Make an assignment without annotation the new default of a base's field."""
    if _is_counting(value):
        _refuse(cls, name, "it has no annotation", "its type: 'name: type = ...'")
    if base is not None and not _is_own_accessor(cls, name, value):
        found[name] = _make(cls, name, spec_of(base), value, base.type)


def _make(
    cls: type, name: str, spec: Spec, default: Any, annotation: Any = None
) -> Any:
    """Return the attrs field, unless its default would be shared."""
    if default is not attrs.NOTHING and type(default).__hash__ is None:
        kind = type(default).__name__
        plain = isinstance(default, list | dict | set | bytearray)
        empty = kind if plain and not default else f"lambda: {default!r}"
        _refuse(
            cls,
            name,
            f"all instances would share its default, a {kind}",
            f"{_SPECIFIERS[spec.kind]}(factory={empty})",
        )
    return attrs.field(
        default=default,
        init=spec.kind != "private",
        metadata={_SPEC: spec},
        type=annotation,
    )


def _check_names(cls: type, fields: Mapping[str, Any]) -> None:
    """Refuse a field that would hide a hook, a method or a property."""
    for name in fields:
        if name in HOOKS:
            _refuse(cls, name, f"'{name}' is a hook", "another name")
        if _is_own_accessor(cls, name, cls.__dict__.get(name)):
            _refuse(cls, name, "it is a field and a method at once", "another name")
        for base in cls.__mro__[1:]:
            if isinstance(base.__dict__.get(name), _ACCESSORS):
                _refuse(
                    cls,
                    name,
                    f"a field of that name hides {base.__qualname__}.{name}",
                    "another name",
                )


def _check_mixins(cls: type) -> None:
    """Refuse specifiers in a base that is no component: they would be no fields."""
    for base in cls.__mro__[1:]:
        if not hasattr(base, "_kinesis"):  # the slot of `Declared`
            for name, value in base.__dict__.items():
                if _spec_or_none(value) is not None:
                    _refuse(
                        base,
                        name,
                        f"'{base.__qualname__}' is no component, so it has no fields",
                        f"'class {base.__name__}(Component)'",
                    )


def _refuse(cls: type, name: str, why: str, instead: str) -> NoReturn:
    """Raise the error that says what is wrong and what to write."""
    raise DeclarationError(
        f"cannot declare '{cls.__qualname__}.{name}': {why}. Write {instead} instead.",
        component=cls,
        field=name,
    )


def _is_dunder(name: str) -> bool:
    """Return whether *name* is Python's own, as ``__doc__``."""
    return name.startswith("__") and name.endswith("__")


def _is_own_accessor(cls: type, name: str, value: Any) -> bool:
    """Return whether *value* is a method or property written in *cls* as *name*."""
    if isinstance(value, types.FunctionType):  # a function may also be a default
        return value.__qualname__ == f"{cls.__qualname__}.{name}"
    return isinstance(value, _ACCESSORS)


def _is_counting(value: Any) -> bool:
    """Return whether it is what `attrs.field` returns."""
    return type(value).__name__ == "_CountingAttr"


def _is_dataclass_field(value: Any) -> bool:
    """Return whether it is what `dataclasses.field` returns."""
    return type(value).__module__ == "dataclasses" and type(value).__name__ == "Field"


def _spec_or_none(value: Any) -> Spec | None:
    """Return what our specifier said, None if *value* comes from none of them."""
    if not _is_counting(value):
        return None
    return typing.cast("Spec | None", value.metadata.get(_SPEC))


def spec_of(attribute: attrs.Attribute[Any]) -> Spec:
    """Return the spec of a field of a class of ours."""
    return typing.cast(Spec, attribute.metadata[_SPEC])
