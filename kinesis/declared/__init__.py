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

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, TypeVar, dataclass_transform, overload

import attrs

from kinesis.declared.annotations import bindings, local_names, resolve, substitute
from kinesis.declared.class_body import HOOKS, Kind, Spec, collect, spec_of, specify
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
    return specify(Spec("state", persist, secret), default, factory)


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
    init: Literal[False] = False,  # for type checkers: no argument
) -> Any:
    """
    Declare an attribute as a resource of the component's own.

    It is no constructor argument, never encoded and cannot be set from outside.
    Without *default* and *factory* it does not exist until it is assigned.
    """
    return specify(Spec("private", persist=False), default, factory)


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
    return specify(Spec("setting", persist=False), default, factory)


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
        fields = collect(cls)
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
        cls.__kinesis_scope__ = local_names(cls)  # type: ignore[attr-defined]  # ours, on every class

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
    bound = bindings(cls)
    found = types.MappingProxyType(
        {
            attribute.name: _describe(cls, attribute, bound)
            for attribute in cls.__dict__.get("__attrs_attrs__", ())
        }
    )
    cls.__kinesis_fields__ = found  # type: ignore[attr-defined]  # ours, on every class
    return found


def _describe(
    cls: type, attribute: attrs.Attribute[Any], bound: Mapping[type, Any]
) -> FieldInfo:
    """Return the description of one field with its resolved type."""
    spec = spec_of(attribute)
    owner = spec.owner or cls
    try:
        scope = owner.__dict__.get("__kinesis_scope__")
        resolved = resolve(owner, attribute.name, attribute.type, scope)
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
        type=substitute(resolved, bound.get(owner, {})),
        kind=spec.kind,
        persist=spec.persist,
        secret=spec.secret,
        default=attribute.default,
    )
