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
        DeclarationError: No type, or something that is no class.
    """
    given: tuple[object, ...] = types
    wrong = [kind for kind in given if not isinstance(kind, type)]
    if wrong or not types:
        raise DeclarationError(
            f"@handles takes message classes, not {wrong or 'nothing'}. "
            f"Write @handles(Deposit)."
        )

    def mark(function: Function) -> Function:
        setattr(function, MARK, (*getattr(function, MARK, ()), *types))
        return function

    return mark


@cache
def handlers_of(cls: type) -> Mapping[type, str]:
    """Return the name of the method that handles each type, for a component class."""
    found: dict[type, str] = {}
    for base in reversed(cls.__mro__):
        for name, attribute in vars(base).items():
            types = getattr(attribute, MARK, ())
            if types or attribute is None:  # what a base said of that name is void
                found = {kind: other for kind, other in found.items() if other != name}
            found.update(dict.fromkeys(types, name))
    return MappingProxyType(found)
