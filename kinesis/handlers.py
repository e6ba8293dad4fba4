"""
Which function of a component handles which message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import getattr_static
from typing import TYPE_CHECKING, Any

import attrs

from kinesis.calls import check_runs
from kinesis.component import Component
from kinesis.errors import ETagMismatchError, UnhandledMessageError
from kinesis.messages import handlers_of
from kinesis.snapshots import Snapshot

if TYPE_CHECKING:
    from kinesis.publishing import Publishing

Function = Callable[[Any], object]


@attrs.frozen
class Update:
    """Set *values*, checked already, if the state's ETag is *etag* (None: any)."""

    values: dict[str, Any]
    etag: str | None = None


NONE_ADDED: Mapping[type, Function] = {}


class Handlers(dict[type, Function]):
    """
    The functions of one component: ``handlers[type(message)](message)``.

    What the class declares is shared by all of its components; a component keeps
    what it has added, and, as the items of this dict, what it has found so far. A
    dict, as it is asked for each message: what is known needs no call of ours.

    Thread safety: it is asked with the component's turn; `set` is for any thread.

    Args:
        publishing: For an `Update`, which is no message of the user's.
    """

    __slots__ = ("_added", "_component", "_path", "_publishing")

    def __init__(self, component: Component, path: str, publishing: Publishing) -> None:
        self._component = component
        self._path = path
        self._publishing = publishing
        self._added = NONE_ADDED

    def __bool__(self) -> bool:
        return bool(self._declared) or bool(self._added) or self.takes_all

    @property
    def _declared(self) -> Mapping[type, str]:
        cls: type = type(self._component)
        return handlers_of(cls)

    @property
    def types(self) -> tuple[type, ...]:
        """The classes of messages that have a handler of their own."""
        return tuple({**self._declared, **self._added})

    @property
    def takes_all(self) -> bool:
        """Whether a default handler takes the rest."""
        return hasattr(type(self._component), "default_handler")

    def takes(self, kind: type) -> bool:
        """Whether there is a function for messages of class *kind*."""
        return self.takes_all or not set(kind.__mro__).isdisjoint(self.types)

    def set(self, kind: type, function: Function) -> None:
        """
        Handle messages of class *kind* with *function* from now on.

        Raises:
            DeclarationError: A call of *function* would run nothing.
        """
        check_runs(function, f"the handler of {kind.__name__}")
        self._added = {**self._added, kind: function}
        self.clear()  # after it is added: see `__missing__`

    def __missing__(self, kind: type) -> Function:
        """
        Find the function for the most derived class of *kind* that has one.

        Raises:
            UnhandledMessageError: None has, and there is no default handler.
        """
        while True:
            added = self._added
            self[kind] = found = self._search(kind, added)
            if added is self._added:  # else `set` may have cleared before we wrote
                return found
            self.pop(kind, None)

    def _search(self, kind: type, added: Mapping[type, Function]) -> Function:
        if kind is Update:
            return updater(self._component, self._publishing)
        declared = self._declared
        for base in kind.__mro__:
            if base in added:
                return added[base]
            if base in declared:
                return self._bound(declared[base])
        if self.takes_all:
            return self._bound("default_handler")
        handled = self.types
        names = ", ".join(sorted(each.__name__ for each in handled)) or "no messages"
        raise UnhandledMessageError(
            f"'{self._path}' has no handler for {kind.__name__}. It handles: "
            f"{names}. Add one with @handles({kind.__name__}).",
            path=self._path,
            handled=handled,
        )

    def _bound(self, name: str) -> Function:
        """Return the method that the class has by that name."""
        component = self._component
        cls = type(component)
        # Past what the component itself has of that name; a staticmethod will do.
        function: Function = getattr_static(cls, name).__get__(component, cls)
        return function


def updater(component: Component, publishing: Publishing) -> Function:
    """Return the function that handles an `Update` of *component*."""

    def update(message: Update) -> Snapshot:
        if message.etag is not None:
            current = publishing.present()
            if current.etag != message.etag:
                raise ETagMismatchError(
                    f"'{current.path}' was changed by somebody else: its ETag is "
                    f"{current.etag}, not {message.etag}. Take a new snapshot, and "
                    f"make the change again.",
                    path=current.path,
                    expected=message.etag,
                    current=current.etag,
                )
        state = component.__dict__
        before = {name: state[name] for name in message.values if name in state}
        state.update(message.values)
        try:
            return publishing.present()
        except BaseException:  # what cannot be read again is not to be kept
            state.update(before)
            for name in message.values.keys() - before.keys():
                state.pop(name, None)
            raise

    return update
