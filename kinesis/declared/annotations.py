"""
The annotations of a class: read as they are written, resolved when needed.

`typing.get_type_hints` reads the annotations of all bases at once and fails for
all if one of them is for type checkers only; it knows nothing of names that are
local to a function, nor of what a class put in the place of a type variable.
So a field's annotation is resolved alone, where its class was written.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = [
    "bindings",
    "is_class_var",
    "local_names",
    "own_annotations",
    "resolve",
    "substitute",
]

_CLASS_VAR = re.compile(r"""^["']?(\w+\.)*ClassVar\b""")


def own_annotations(cls: type) -> Mapping[str, Any]:
    """Return the annotations in the body of *cls*, not evaluated."""
    if sys.version_info >= (3, 14):  # pragma: no cover  # they are computed there
        import annotationlib

        return annotationlib.get_annotations(
            cls, format=annotationlib.Format.FORWARDREF
        )
    found: Mapping[str, Any] = cls.__dict__.get("__annotations__", {})
    return found


def is_class_var(annotation: Any) -> bool:
    """Return whether it says `typing.ClassVar`, as a type or as text."""
    if isinstance(annotation, str):
        return _CLASS_VAR.match(annotation) is not None
    return typing.get_origin(annotation) is typing.ClassVar or (
        annotation is typing.ClassVar
    )


def local_names(cls: type) -> Mapping[str, Any]:
    """
    Return what the annotations of a class inside a function may refer to there.

    Only the names they use are kept, not the function's frame.
    """
    if "<locals>" not in cls.__qualname__:
        return {}
    text = " ".join(a for a in own_annotations(cls).values() if isinstance(a, str))
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


def bindings(cls: type) -> dict[type, dict[Any, Any]]:
    """Return for each generic base what stands for its type variables in *cls*."""
    found: dict[type, dict[Any, Any]] = {}
    for klass in cls.__mro__:
        for base in klass.__dict__.get("__orig_bases__", ()):
            origin = typing.get_origin(base)
            names = getattr(origin, "__parameters__", None)
            if isinstance(origin, type) and names:
                own = found.get(klass, {})
                values = [substitute(each, own) for each in typing.get_args(base)]
                found.setdefault(origin, dict(zip(names, values, strict=False)))
    return found


def substitute(kind: Any, variables: Mapping[Any, Any]) -> Any:
    """Return *kind* with type variables replaced, as far as they are known."""
    if isinstance(kind, TypeVar):
        return variables.get(kind, kind)
    parameters = getattr(kind, "__parameters__", ())
    if not variables or not parameters or isinstance(kind, type):
        return kind
    return kind[tuple(variables.get(each, each) for each in parameters)]


def resolve(
    owner: type, name: str, annotation: Any, scope: Mapping[str, Any] | None = None
) -> Any:
    """
    Return *annotation* with its names looked up where *owner* was written.

    Args:
        owner: The class that has the annotation in its body.
        name: Of the annotated attribute.
        annotation: A type, or text.
        scope: What `local_names` returned when *owner* was made.
    """
    module = sys.modules.get(owner.__module__)
    names = {
        owner.__name__: owner,
        **{k: v for k, v in vars(owner).items() if isinstance(v, type)},
        **{each.__name__: each for each in getattr(owner, "__type_params__", ())},
        **(scope or {}),
    }
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    return typing.get_type_hints(
        holder, vars(module) if module else {}, names, include_extras=True
    )[name]
