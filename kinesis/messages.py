"""
Messages, and how a method says which of them it handles.

``class Deposit(Message[int])`` makes the reply's type known to type checkers:
``ref.send(Deposit(5))`` is an ``int``. Any other class may be sent as well; its
reply is ``Any``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from kinesis.calls import check_runs
from kinesis.errors import DeclarationError

Reply = TypeVar("Reply", covariant=True)
Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "__kinesis_handles__"


class Message(Generic[Reply]):
    """
    A message whose handler answers with a *Reply*.

    Make subclasses immutable (`attrs.frozen`): a message is shared between the
    sender's thread and the component's, not copied.
    """

    __slots__ = ()


def handles(*types: type) -> Callable[[Function], Function]:
    """
    Mark a method as the handler of messages of these *types*.

    The most derived type of a message that has a handler decides. A subclass that
    handles the same type replaces its parent's handler; so does one that has a
    method of the same name. ``deposit = None`` takes a handler away.

    Raises:
        DeclarationError: No type, or something that is no class; or the method is a
            coroutine function or a generator, of which a call would run nothing. By
            the class: two of its own methods handle one type.
    """
    given: tuple[object, ...] = types
    wrong = [kind for kind in given if not isinstance(kind, type)]
    if wrong or not types:
        raise DeclarationError(
            f"@handles takes message classes, not {wrong or 'nothing'}. "
            f"Write @handles(Deposit)."
        )

    def mark(function: Function) -> Function:
        check_runs(function, f"'{getattr(function, '__qualname__', function)}'")
        plain = getattr(function, "__func__", function)  # of a staticmethod, say
        setattr(plain, MARK, (*getattr(plain, MARK, ()), *types))
        return function

    return mark


@cache
def handlers_of(cls: type) -> Mapping[type, str]:
    """Return the name of the method that handles each type, for a component class."""
    found: dict[type, str] = {}
    for base in reversed(cls.__mro__):
        for name, attribute in vars(base).items():
            types = _types_at(attribute)
            if types or attribute is None:  # what a base said of that name is void
                found = {kind: other for kind, other in found.items() if other != name}
            found.update(dict.fromkeys(types, name))
    return MappingProxyType(found)


def check_handlers(cls: type) -> None:
    """
    Refuse two handlers for the same type in the body of *cls*.

    Raises:
        DeclarationError: Only the last would ever be called.
    """
    found: dict[type, str] = {}
    for name, attribute in vars(cls).items():
        for kind in _types_at(attribute):
            first = found.setdefault(kind, name)
            if vars(cls)[first] is not attribute:
                raise DeclarationError(
                    f"'{cls.__qualname__}' handles {kind.__name__} twice, in "
                    f"'{first}' and in '{name}'. Remove one of them.",
                    component=cls,
                )


def _types_at(attribute: object) -> tuple[type, ...]:
    """Return the types that a method handles; none for all else."""
    found: tuple[type, ...] = getattr(
        getattr(attribute, "__func__", attribute), MARK, ()
    )
    return found
