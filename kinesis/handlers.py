"""
Which function of a component handles which message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

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


class Handlers:
    """
    The functions of one component, by the class of the message.

    `find` is called with the component's turn; `set` from any thread.
    """

    __slots__ = ("_default", "_found", "_functions", "_own", "_path")

    def __init__(self, component: Component, path: str) -> None:
        cls: type = type(component)
        self._path = path
        self._functions: dict[type, Function] = {
            kind: getattr(cls, name).__get__(component)
            for kind, name in handlers_of(cls).items()
        }
        default = getattr(cls, "default_handler", None)
        self._default: Function | None = (
            default.__get__(component) if default is not None else None
        )
        self._own: dict[type, Function] = {}
        self._found: dict[type, Function] = {}

    def __bool__(self) -> bool:
        return bool(self._functions) or self._default is not None

    @property
    def types(self) -> tuple[type, ...]:
        """The classes of messages that have a handler of their own."""
        return tuple(self._functions)

    @property
    def takes_all(self) -> bool:
        """Whether a default handler takes the rest."""
        return self._default is not None

    def set(self, kind: type, function: Function) -> None:
        """Handle messages of class *kind* with *function* from now on."""
        self._functions = {**self._functions, kind: function}
        self._found = dict(self._own)

    def set_own(self, kind: type, function: Function) -> None:
        """Handle a message of kinesis itself, which does not count as the user's."""
        self._own = {**self._own, kind: function}
        self._found = dict(self._own)

    def find(self, kind: type) -> Function:
        """
        Return the function for the most derived class of *kind* that has one.

        Raises:
            UnhandledMessageError: None has, and there is no default handler.
        """
        found = self._found.get(kind)
        if found is None:
            found = self._search(kind)
            self._found[kind] = found
        return found

    def _search(self, kind: type) -> Function:
        for base in kind.__mro__:
            function = self._functions.get(base)
            if function is not None:
                return function
        if self._default is not None:
            return self._default
        handled = self.types
        names = ", ".join(sorted(each.__name__ for each in handled)) or "no messages"
        raise UnhandledMessageError(
            f"'{self._path}' has no handler for {kind.__name__}. It handles: "
            f"{names}. Add one with @handles({kind.__name__}).",
            path=self._path,
            handled=handled,
        )


def updater(component: Component, publishing: Publishing) -> Function:
    """Return the function that handles an `Update` of *component*."""

    def update(message: Update) -> Snapshot:
        if message.etag is not None:
            current = publishing.publish()
            if current.etag != message.etag:
                raise ETagMismatchError(
                    f"'{current.path}' was changed by somebody else: its ETag is "
                    f"{current.etag}, not {message.etag}. Take a new snapshot, and "
                    f"make the change again.",
                    path=current.path,
                    expected=message.etag,
                    current=current.etag,
                )
        component.__dict__.update(message.values)
        publishing.touched += 1
        return publishing.publish()

    return update
