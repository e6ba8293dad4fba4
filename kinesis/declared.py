"""
How a component's attributes are declared, and what is refused.

A class below `Declared` becomes an attrs class by being written, no decorator::

    class Poller(Component):
        url: str                                   # state, a required argument
        seen: set[str] = field(factory=set)        # state
        token: str = field(default="", secret=True)  # state, masked for readers
        socket: Socket = private()                 # a resource, set in `init`
        restart = Restart(when="always")           # new default of a setting

Three kinds: **state** is read, stored and announced; a **private** is never a
constructor argument, never encoded and never set from outside; a **setting** is
an argument that configures the runtime's work and is no state. An annotated
public attribute without a specifier is state, or what it overrides in a base.

`Declared` carries `typing.dataclass_transform`, so type checkers see the same
constructor. (A class that carries it is itself no data class: so the fields of
every component are written one level below.) Nothing here runs when an attribute
is read or set: the fields are plain entries of the instance's ``__dict__``.

Not fields: annotations of a mixin that is not a component, `typing.ClassVar`,
and what has no annotation and overrides no field.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from functools import cached_property, partialmethod
from typing import Any, Final, Literal, NoReturn, TypeVar, dataclass_transform, overload

import attrs

from kinesis.errors import ComponentCopyError, DeclarationError

__all__ = [
    "HOOKS",
    "Declared",
    "FieldInfo",
    "Kind",
    "field",
    "fields_of",
    "private",
    "setting",
]

T = TypeVar("T")
Kind = Literal["state", "private", "setting"]

HOOKS: Final = frozenset(
    ("pre_init", "init", "post_init", "pre_start", "start", "stop", "tear_down")
)

_SPEC = "kinesis"  # the key of a `_Spec` in the metadata of an attrs field
_SPECIFIERS: Final = {"state": "field", "private": "private", "setting": "setting"}
_CLASS_VAR = re.compile(r"""^["']?(\w+\.)*ClassVar\b""")
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
class _Spec:
    """What a specifier said; travels in the metadata of the attrs field."""

    kind: Kind
    persist: bool = True
    secret: bool = False
    owner: type | None = None  # the class whose module the annotation is read in


@attrs.frozen
class FieldInfo:
    """One field of a component class, its type resolved."""

    name: str
    type: Any
    kind: Kind
    persist: bool
    secret: bool
    default: Any  # `attrs.NOTHING`, a value, or an `attrs.Factory`

    @property
    def has_default(self) -> bool:
        """Return whether a constructor call may leave it out."""
        return self.default is not attrs.NOTHING


@overload
def field(*, persist: bool = True, secret: bool = False) -> Any: ...
@overload
def field(*, default: T, persist: bool = True, secret: bool = False) -> T: ...
@overload
def field(
    *, factory: Callable[[], T], persist: bool = True, secret: bool = False
) -> T: ...
def field(
    *,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    persist: bool = True,
    secret: bool = False,
) -> Any:
    """
    Declare a public attribute as state.

    Args:
        default: The value of a component that is not given one; not mutable.
        factory: Makes such a value, a new one for each component.
        persist: Whether a store keeps it.
        secret: Whether readers and logs see a mask in its place.
    """
    return _specify(_Spec("state", persist, secret), default, factory)


@overload
def private(*, init: Literal[False] = False) -> Any: ...
@overload
def private(*, default: T, init: Literal[False] = False) -> T: ...
@overload
def private(*, factory: Callable[[], T], init: Literal[False] = False) -> T: ...
def private(
    *,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    init: Literal[False] = False,  # noqa: ARG001  # for type checkers: no argument
) -> Any:
    """
    Declare an attribute as a resource of the component's own.

    It is no constructor argument, never encoded and cannot be set from outside.
    Without *default* and *factory* it does not exist until it is assigned.
    """
    return _specify(_Spec("private", persist=False), default, factory)


@overload
def setting() -> Any: ...
@overload
def setting(*, default: T) -> T: ...
@overload
def setting(*, factory: Callable[[], T]) -> T: ...
def setting(
    *, default: Any = attrs.NOTHING, factory: Callable[[], Any] | None = None
) -> Any:
    """Declare a constructor argument that configures the runtime: no state."""
    return _specify(_Spec("setting", persist=False), default, factory)


def _specify(spec: _Spec, default: Any, factory: Callable[[], Any] | None) -> Any:
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


@dataclass_transform(
    kw_only_default=True,
    eq_default=False,
    field_specifiers=(field, private, setting),
)
class Declared:
    """
    The base that makes each class below it an attrs class.

    The arguments of the constructor are keywords. A class with an ``__init__``
    of its own calls ``self.__attrs_init__(...)`` in it.
    """

    __slots__ = ("_kinesis",)

    _kinesis: Any  # the runtime's; a slot, so clearing `__dict__` leaves it alone

    if typing.TYPE_CHECKING:

        def __attrs_init__(self, **fields: Any) -> None:
            """Do what the constructor without an own ``__init__`` would do."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__kinesis_scope__" in cls.__dict__:  # a copy of a class of ours
            _refuse_second_decorator(cls)
        fields = _collect(cls)
        for name in fields:
            if name in cls.__dict__:
                delattr(cls, name)
        attrs.define(
            cls,
            these=fields,
            slots=False,  # True would make a second class, and so recurse
            eq=False,
            kw_only=True,
            repr=False,
        )
        cls.__kinesis_scope__ = _scope(cls)  # type: ignore[attr-defined]  # ours, on every class

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        """Refuse a second attrs decorator: attrs calls this after each."""
        if "__kinesis_scope__" in cls.__dict__:
            _refuse_second_decorator(cls)

    def __reduce__(self) -> NoReturn:
        kind = type(self).__qualname__
        raise ComponentCopyError(
            f"cannot copy or pickle a {kind}: it owns threads and resources. "
            f"Make a new one, or take a snapshot() of its state."
        )


def _refuse_second_decorator(cls: type) -> NoReturn:
    """Say that *cls* needs no decorator."""
    raise DeclarationError(
        f"cannot declare '{cls.__qualname__}': a class below Component is an attrs "
        f"class already. Remove the attrs or dataclass decorator."
    )


# -- reading a class body ------------------------------------------------------


def _collect(cls: type) -> dict[str, Any]:
    """
    Return the attrs fields that *cls* itself declares, by name and in order.

    Raises:
        DeclarationError: Something in the class body cannot work.
    """
    inherited = _inherited(cls)
    found: dict[str, Any] = {}
    for name, annotation in _own_annotations(cls).items():
        if not _is_dunder(name) and not _is_class_var(annotation):
            value = cls.__dict__.get(name, attrs.NOTHING)
            found[name] = _own_field(cls, name, value, inherited.get(name))
    for name, value in cls.__dict__.items():
        if name not in found and not _is_dunder(name):
            _add_override(cls, name, value, inherited.get(name), found)
    _check_names(cls, {**inherited, **found})
    _check_mixins(cls)
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
    spec = _spec_of(value)
    if spec is None and (_is_counting(value) or _is_dataclass_field(value)):
        _refuse(cls, name, "that is a field of another library", "field(...)")
    if base is not None:
        spec = _keep_kind(cls, name, spec, _required_spec(base))
    spec = spec or _Spec("state")
    if name.startswith("_") and spec.kind != "private":
        _refuse(
            cls,
            name,
            "a name with an underscore is no constructor argument and no state",
            "private(default=...)",
        )
    default = value._default if _is_counting(value) else value
    return _make(cls, name, attrs.evolve(spec, owner=cls), default)


def _keep_kind(cls: type, name: str, spec: _Spec | None, base: _Spec) -> _Spec:
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
        found[name] = _make(cls, name, _required_spec(base), value, base.type)


def _make(
    cls: type, name: str, spec: _Spec, default: Any, annotation: Any = None
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
        if not issubclass(base, Declared):
            for name, value in base.__dict__.items():
                if _spec_of(value) is not None:
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


def _own_annotations(cls: type) -> Mapping[str, Any]:
    """Return the annotations in the body of *cls*, not evaluated."""
    if sys.version_info >= (3, 14):  # pragma: no cover  # they are computed there
        import annotationlib

        return annotationlib.get_annotations(
            cls, format=annotationlib.Format.FORWARDREF
        )
    found: Mapping[str, Any] = cls.__dict__.get("__annotations__", {})
    return found


def _is_dunder(name: str) -> bool:
    """Return whether *name* is Python's own, as ``__doc__``."""
    return name.startswith("__") and name.endswith("__")


def _is_class_var(annotation: Any) -> bool:
    """Return whether it says `typing.ClassVar`, as a type or as text."""
    if isinstance(annotation, str):
        return _CLASS_VAR.match(annotation) is not None
    return typing.get_origin(annotation) is typing.ClassVar or (
        annotation is typing.ClassVar
    )


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


def _spec_of(value: Any) -> _Spec | None:
    """Return what our specifier said, None if *value* comes from none of them."""
    if not _is_counting(value):
        return None
    return typing.cast("_Spec | None", value.metadata.get(_SPEC))


def _required_spec(attribute: attrs.Attribute[Any]) -> _Spec:
    """Return the spec of a field of a class of ours."""
    return typing.cast(_Spec, attribute.metadata[_SPEC])


# -- types, resolved at first use ----------------------------------------------


def fields_of(cls: type) -> Mapping[str, FieldInfo]:
    """
    Return the fields of *cls* by name, in the order of their declaration.

    Types are resolved now, not when the class was made, so they may name what
    is defined later. The type variables of a generic base are replaced by what
    the class put in their place. Cached per class, the same mapping each time.

    Raises:
        DeclarationError: The type of a state field or setting names something
            that cannot be found; or *cls* is decorated as a dataclass.
    """
    cached = cls.__dict__.get("__kinesis_fields__")
    if cached is not None:
        return typing.cast("Mapping[str, FieldInfo]", cached)
    if "__dataclass_fields__" in cls.__dict__:
        _refuse_second_decorator(cls)
    bindings = _bindings(cls)
    found = types.MappingProxyType(
        {
            attribute.name: _describe(cls, attribute, bindings)
            for attribute in cls.__dict__.get("__attrs_attrs__", ())
        }
    )
    cls.__kinesis_fields__ = found  # type: ignore[attr-defined]  # ours, on every class
    return found


def _describe(
    cls: type, attribute: attrs.Attribute[Any], bindings: Mapping[type, Any]
) -> FieldInfo:
    """Return the description of one field with its resolved type."""
    spec = _required_spec(attribute)
    owner = spec.owner or cls
    try:
        resolved = _resolve(owner, attribute.name, attribute.type)
    except Exception as error:  # evaluating an annotation can raise anything
        if spec.kind != "private":
            raise DeclarationError(
                f"cannot read the type of '{cls.__qualname__}.{attribute.name}': "
                f"{error}. Import what {attribute.type!r} names where the class is "
                f"defined, not only for type checking.",
                component=cls,
                field=attribute.name,
            ) from error
        resolved = Any  # nobody encodes a private: its type is for checkers only
    return FieldInfo(
        name=attribute.name,
        type=_substitute(resolved, bindings.get(owner, {})),
        kind=spec.kind,
        persist=spec.persist,
        secret=spec.secret,
        default=attribute.default,
    )


def _resolve(owner: type, name: str, annotation: Any) -> Any:
    """Return *annotation* with its names looked up where *owner* was written."""
    module = sys.modules.get(owner.__module__)
    nested = {k: v for k, v in vars(owner).items() if not isinstance(v, _ACCESSORS)}
    names = {
        owner.__name__: owner,
        **nested,
        **{each.__name__: each for each in getattr(owner, "__type_params__", ())},
        **owner.__dict__.get("__kinesis_scope__", {}),
    }
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    return typing.get_type_hints(
        holder, vars(module) if module else {}, names, include_extras=True
    )[name]


def _scope(cls: type) -> Mapping[str, Any]:
    """
    Return what the annotations of a class inside a function may refer to there.

    Only the names they use are kept, not the function's frame.
    """
    if "<locals>" not in cls.__qualname__:
        return {}
    text = " ".join(a for a in _own_annotations(cls).values() if isinstance(a, str))
    words = set(re.findall(r"\w+", text))
    found: dict[str, Any] = {}
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "<module>":
        if frame.f_code.co_name != "__init_subclass__":
            local = frame.f_locals
            found = {**{w: local[w] for w in words if w in local}, **found}
            if frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a function: the end
                break
        frame = frame.f_back  # from the body of a class to where it is written
    return found


def _bindings(cls: type) -> dict[type, dict[Any, Any]]:
    """Return for each generic base what stands for its type variables in *cls*."""
    found: dict[type, dict[Any, Any]] = {}
    for klass in cls.__mro__:
        for base in klass.__dict__.get("__orig_bases__", ()):
            origin = typing.get_origin(base)
            names = getattr(origin, "__parameters__", None)
            if isinstance(origin, type) and names:
                own = found.get(klass, {})
                values = [_substitute(each, own) for each in typing.get_args(base)]
                found.setdefault(origin, dict(zip(names, values, strict=False)))
    return found


def _substitute(kind: Any, variables: Mapping[Any, Any]) -> Any:
    """Return *kind* with type variables replaced, as far as they are known."""
    if isinstance(kind, TypeVar):
        return variables.get(kind, kind)
    parameters = getattr(kind, "__parameters__", ())
    if not variables or not parameters or isinstance(kind, type):
        return kind
    return kind[tuple(variables.get(each, each) for each in parameters)]
